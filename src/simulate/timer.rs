//! Whatever happens at a strict period and is harmless: heartbeats, health checks, time, telemetry, polling clients.

use super::known;
use super::queue::{Context, Step};
use super::rng::Rng;
use super::world::{STREAM_TIMERS, Tier, World, service};

const SECOND: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Tls,
    Tcp(u16),
    Udp(u16),
    /// A health check over HTTP.
    Check,
}

/// A periodic exchange of one host with one other.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    /// The laptop's user, whose work it accompanies; else it runs always, from `source`.
    user: Option<u32>,
    source: u32,
    dest: u32,
    /// Index of the name asked for, with [`Wire::Tls`].
    domain: u32,
    wire: Wire,
    period: i64,
    jitter: i64,
    bytes_out: f64,
    bytes_in: f64,
    spread: f64,
    /// Not before.
    from: i64,
    due: i64,
    rng: Rng,
}

/// How a timer is set up; the rest follows from where it is installed.
struct Beat {
    wire: Wire,
    period_seconds: i64,
    jitter_seconds: f64,
    bytes_out: f64,
    bytes_in: f64,
    spread: f64,
}

const fn beat(wire: Wire, period_seconds: i64, jitter_seconds: f64, bytes_out: f64, bytes_in: f64, spread: f64) -> Beat {
    Beat { wire, period_seconds, jitter_seconds, bytes_out, bytes_in, spread }
}

const ENDPOINT: Beat = beat(Wire::Tls, 600, 1.0, 4_200.0, 900.0, 0.35);
const CLOCK: Beat = beat(Wire::Udp(123), 2_048, 2.0, 76.0, 76.0, 0.0);
const SERVER_CLOCK: Beat = beat(Wire::Udp(123), 1_024, 1.0, 76.0, 76.0, 0.0);
const INBOX: Beat = beat(Wire::Tls, 900, 120.0, 2_400.0, 9_000.0, 0.9);
const DEVICE: Beat = beat(Wire::Tls, 3_600, 40.0, 1_800.0, 5_200.0, 0.3);
const SYNC: Beat = beat(Wire::Tls, 300, 4.0, 1_100.0, 800.0, 0.7);
const NEW_APP: Beat = beat(Wire::Tls, 240, 6.0, 900.0, 1_300.0, 0.3);
const AGENT: Beat = beat(Wire::Tcp(10_050), 300, 0.05, 3_300.0, 210.0, 0.15);
const LOGS: Beat = beat(Wire::Tcp(6_514), 240, 0.5, 22_000.0, 600.0, 0.8);
const TELEMETRY: Beat = beat(Wire::Tls, 900, 3.0, 2_900.0, 700.0, 0.2);
const HEALTH: Beat = beat(Wire::Check, 180, 0.02, 180.0, 320.0, 0.0);
const POLL: Beat = beat(Wire::Udp(161), 600, 0.3, 420.0, 1_900.0, 0.1);
const DEVICE_CLOUD: Beat = beat(Wire::Tls, 300, 2.0, 640.0, 410.0, 0.1);

/// Installs every timer of the world: those of people first, then those of servers and devices.
pub(super) fn install(world: &mut World) {
    let new_app = service::POPULAR + 60;
    let new_app_from = world.learned + (world.end - world.learned) / 5;
    for index in 0..world.users.len() {
        let first = world.timers.len() as u32;
        let user = Some(index as u32);
        name(world, user, 0, service::ENDPOINT, &ENDPOINT);
        name(world, user, 0, service::SYNC, &INBOX);
        name(world, user, 0, service::DEVICES, &DEVICE);
        host(world, user, 0, known::TIME_SERVER, &CLOCK);
        if index % 4 == 1 {
            let period_seconds = 90 + (index as i64 * 37) % 90;
            name(world, user, 0, service::CHAT, &beat(Wire::Tls, period_seconds, 0.8, 520.0, 460.0, 0.4));
        }
        if index % 5 == 2 {
            name(world, user, 0, service::SYNC, &SYNC);
        }
        if index % 30 == 11 {
            name(world, user, 0, new_app, &NEW_APP);
            world.timers.last_mut().expect("just added").from = new_app_from;
        }
        world.users[index].timers = first..world.timers.len() as u32;
    }
    // Computers that nobody switches off.
    for index in 0..world.users.len() {
        let user = &world.users[index];
        if user.always_on && !user.hidden {
            let source = user.lan;
            name(world, None, source, service::ENDPOINT, &ENDPOINT);
            name(world, None, source, service::TELEMETRY, &TELEMETRY);
        }
    }
    install_servers(world);
    for site in 0..3 {
        for device in 20..23 {
            name(world, None, super::world::lan(site, device), service::DEVICES, &DEVICE_CLOUD);
        }
    }
}

fn install_servers(world: &mut World) {
    for index in 0..world.servers.len() {
        let (address, tier) = (world.servers[index].address, world.servers[index].tier);
        host(world, None, address, known::COLLECTOR, &AGENT);
        host(world, None, address, known::TIME_SERVER, &SERVER_CLOCK);
        name(world, None, address, service::TELEMETRY, &TELEMETRY);
        host(world, None, known::COLLECTOR, address, &POLL);
        if matches!(tier, Tier::Web | Tier::App) {
            host(world, None, known::BALANCER, address, &HEALTH);
        }
        if index % 4 == 0 {
            host(world, None, address, known::COLLECTOR, &LOGS);
        }
    }
}

/// Adds a timer to an internet service.
fn name(world: &mut World, user: Option<u32>, source: u32, domain: usize, beat: &Beat) {
    let dest = world.domains[domain].address;
    host(world, user, source, dest, beat);
    world.timers.last_mut().expect("just added").domain = domain as u32;
}

/// Adds a timer to a host.
fn host(world: &mut World, user: Option<u32>, source: u32, dest: u32, beat: &Beat) {
    let rng = Rng::of(world.seed, STREAM_TIMERS + world.timers.len() as u64);
    world.timers.push(Timer {
        user,
        source,
        dest,
        domain: 0,
        wire: beat.wire,
        period: beat.period_seconds * SECOND,
        jitter: (beat.jitter_seconds * SECOND as f64) as i64,
        bytes_out: beat.bytes_out,
        bytes_in: beat.bytes_in,
        spread: beat.spread,
        from: i64::MIN,
        due: 0,
        rng,
    });
}

/// Starts the timers that run always.
pub(super) fn start(world: &mut World, ctx: &mut Context<'_>) {
    for index in 0..world.timers.len() {
        if world.timers[index].user.is_none() {
            arm(&mut world.timers[index], index as u32, 0, 1.0, ctx);
        }
    }
}

/// Starts the timers of a computer that its user has just begun to work at.
pub(super) fn start_of(world: &mut World, user: usize, ctx: &mut Context<'_>) {
    let (range, epoch) = (world.users[user].timers.clone(), world.users[user].epoch);
    for index in range {
        arm(&mut world.timers[index as usize], index, epoch, 0.2, ctx);
    }
}

fn arm(timer: &mut Timer, index: u32, epoch: u32, share: f64, ctx: &mut Context<'_>) {
    timer.due = ctx.now + (timer.rng.unit() * share * timer.period as f64) as i64;
    if timer.due < timer.from {
        // Aligned to the first period past its start, so that strictness holds across it.
        timer.due += (timer.from - timer.due) / timer.period * timer.period + timer.period;
    }
    ctx.queue.push(timer.due, Step::Timer { index, epoch });
}

/// One beat; plans the next. Says whether an event was written.
pub(super) fn fire(world: &mut World, ctx: &mut Context<'_>, index: u32, epoch: u32) -> bool {
    let timer = &mut world.timers[index as usize];
    let source = match timer.user {
        None => timer.source,
        Some(user) => {
            let user = &world.users[user as usize];
            if user.epoch != epoch || !user.works_at(ctx.now) {
                return false;
            }
            user.address()
        }
    };
    timer.due += timer.period;
    let offset = ((timer.rng.unit() - 0.5) * timer.jitter as f64) as i64;
    ctx.queue.push((timer.due + offset).max(ctx.now), Step::Timer { index, epoch });
    let bytes_out = timer.rng.bytes(timer.bytes_out, timer.spread);
    let bytes_in = timer.rng.bytes(timer.bytes_in, timer.spread);
    let millis = 8 + u64::from(timer.rng.below(90));
    match timer.wire {
        Wire::Tls => ctx.draft.tls(source, timer.dest, &world.domains[timer.domain as usize].name),
        Wire::Tcp(port) => ctx.draft.flow(source, timer.dest, "tcp", port),
        Wire::Udp(port) => ctx.draft.flow(source, timer.dest, "udp", port),
        Wire::Check => {
            let draft = ctx.draft.flow(source, timer.dest, "tcp", 8_080);
            (draft.event_type, draft.action) = ("http.request", "GET");
            draft.text("/healthz")
        }
    };
    ctx.draft.volume(bytes_out, bytes_in, millis);
    true
}

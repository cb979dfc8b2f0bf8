//! People at work: log-ins with their typos, second factors and phones; files, applications, administration.

use super::super::draft::FAILURE;
use super::super::geo::Egress;
use super::super::known;
use super::super::names::{self, APPS, APPS_COMMON, APPS_SENSITIVE};
use super::super::people::{self, RETRY_MICROS};
use super::super::queue::{Context, Step, micros};
use super::super::rng::Rng;
use super::super::timer;
use super::super::world::{Role, User, World};
use crate::core::types::MICROS_PER_DAY;

/// A day is planned this long before it begins where its person is at home: long enough for every other time zone.
const AHEAD_MICROS: i64 = 14 * 3_600_000_000;
const LUNCH_MICROS: i64 = 45 * 60_000_000;

/// Plans the first day of everyone; the days plan each other from there.
pub(in crate::simulate) fn start(world: &World, ctx: &mut Context<'_>) {
    for (index, user) in world.users.iter().enumerate() {
        let today = (ctx.now + user.offset_micros()).div_euclid(MICROS_PER_DAY);
        ctx.queue.push(ctx.now, Step::Day { user: index as u32, day: today as i32 - 1 });
    }
}

pub(in crate::simulate) fn day(world: &mut World, ctx: &mut Context<'_>, user: u32, day: i32) -> bool {
    let planned = people::plan(world, user as usize, i64::from(day));
    for (part, shift) in planned.into_iter().enumerate().filter_map(|(part, shift)| Some((part, shift?))) {
        let second = part == 1;
        let begin = shift.start - i64::from(shift.typos) * RETRY_MICROS;
        if begin >= ctx.now {
            ctx.queue.push(begin, Step::LogIn { user, day, second, left: shift.typos });
        } else if shift.end > ctx.now {
            // Already at work when the simulation begins.
            let seconds = world.users[user as usize].rng.between(1.0, 900.0);
            ctx.after(seconds, Step::LogIn { user, day, second, left: 0 });
        }
    }
    let midnight = i64::from(day + 2) * MICROS_PER_DAY - world.users[user as usize].offset_micros();
    ctx.queue.push((midnight - MICROS_PER_DAY - AHEAD_MICROS).max(ctx.now), Step::Day { user, day: day + 1 });
    false
}

pub(in crate::simulate) fn log_in(world: &mut World, ctx: &mut Context<'_>, who: u32, day: i32, second: bool, left: u8) -> bool {
    let Some(shift) = people::plan(world, who as usize, i64::from(day))[usize::from(second)] else { return false };
    let user = &mut world.users[who as usize];
    let egress = shift.egress;
    if left > 0 {
        ctx.queue.push(ctx.now + RETRY_MICROS, Step::LogIn { user: who, day, second, left: left - 1 });
    } else {
        user.shift = shift;
        user.epoch += 1;
        user.session = user.rng.bits();
        begin_work(world, ctx, who);
    }
    attempt(&world.users[who as usize], ctx, who, egress, left > 0);
    true
}

/// Writes one attempt at the log-in page, and plans that page's own log line.
fn attempt(user: &User, ctx: &mut Context<'_>, who: u32, egress: Egress, failed: bool) {
    let draft = ctx.draft.deed("auth.login", who, egress.address, Some(egress)).text("sso");
    (draft.action, draft.agent, draft.device) = ("password", user.agent, user.laptop);
    if failed {
        draft.outcome = FAILURE;
    } else {
        draft.session = user.session;
    }
    ctx.after(0.04, Step::Portal { source: egress.address, account: who, failed, label: None });
}

fn begin_work(world: &mut World, ctx: &mut Context<'_>, who: u32) {
    let gap = world.gap;
    timer::start_of(world, who as usize, ctx);
    let expiring = world.users[who as usize].expiring && ctx.now.div_euclid(MICROS_PER_DAY) == world.expiry_day;
    let user = &mut world.users[who as usize];
    let (epoch, rng) = (user.epoch, &mut user.rng);
    if rng.chance(0.7) {
        ctx.after(5.0 + 6.0 * rng.unit(), Step::SecondFactor { user: who, epoch });
    }
    ctx.after(12.0 + 30.0 * rng.unit(), Step::Directory { user: who, epoch });
    ctx.after(gap * rng.exponential(90.0), Step::Work { user: who, epoch });
    ctx.after(gap * rng.exponential(60.0), Step::Browse { user: who, epoch });
    ctx.after(rng.between(1_800.0, 9_000.0), Step::Meeting { user: who, epoch });
    ctx.after(rng.between(9_000.0, 24_000.0), Step::LogInAgain { user: who, epoch });
    if expiring {
        // The phone goes on with the old password until someone remembers it.
        let left = 6 + rng.below(12) as u8;
        ctx.after(rng.between(60.0, 900.0), Step::Phone { user: who, left, stale: true });
    } else if rng.chance(0.4) {
        ctx.after(rng.between(600.0, 25_000.0), Step::Phone { user: who, left: 0, stale: false });
    }
}

pub(in crate::simulate) fn second_factor(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch {
        return false;
    }
    let failed = user.rng.chance(0.02);
    let egress = user.shift.egress;
    let draft = ctx.draft.deed("auth.mfa", who, egress.address, Some(egress)).text("sso");
    (draft.action, draft.device, draft.session) = ("push", user.phone, user.session);
    if failed {
        draft.failed();
        ctx.after(20.0, Step::SecondFactor { user: who, epoch });
    }
    true
}

/// The computer's own log-in at a domain controller: internal addresses have no place.
pub(in crate::simulate) fn directory(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch {
        return false;
    }
    let draft = ctx.draft.deed("auth.login", who, user.address(), None).text("directory");
    (draft.action, draft.device, draft.session) = ("kerberos", user.laptop, user.session);
    draft.dest = *user.rng.pick(&known::DOMAIN_CONTROLLERS);
    true
}

/// Tokens run out in the course of a day. Those whose traffic takes a detour seem to be elsewhere.
pub(in crate::simulate) fn log_in_again(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch || !user.works_at(ctx.now) {
        return false;
    }
    let egress = match user.detour {
        Some(detour) if user.rng.chance(0.45) => detour,
        _ => user.shift.egress,
    };
    let failed = user.rng.chance(user.typo * 0.5);
    let seconds = if failed { 9.0 } else { user.rng.between(7_000.0, 20_000.0) };
    ctx.after(seconds, Step::LogInAgain { user: who, epoch });
    attempt(&world.users[who as usize], ctx, who, egress, failed);
    true
}

/// A phone's mail client. `stale`: with a password that has expired, `left` more times in vain.
pub(in crate::simulate) fn phone(world: &mut World, ctx: &mut Context<'_>, who: u32, left: u8, stale: bool) -> bool {
    let user = &mut world.users[who as usize];
    // Abroad it uses the hotel's network, at home and in the office the carrier's.
    let away = user.trips.iter().any(|trip| trip.egress == user.shift.egress);
    let egress = if away { user.shift.egress } else { user.carrier };
    if stale && left > 0 {
        ctx.after(user.rng.between(240.0, 900.0), Step::Phone { user: who, left: left - 1, stale });
    }
    let draft = ctx.draft.deed("auth.login", who, egress.address, Some(egress)).text("mail");
    (draft.action, draft.agent, draft.device) = ("password", names::PHONE_AGENT, user.phone);
    if stale && left > 0 {
        draft.failed();
    }
    ctx.after(0.05, Step::Portal { source: egress.address, account: who, failed: stale && left > 0, label: None });
    true
}

/// Seconds until the next deed: most follow closely, some after a while; lunch thins them out.
pub(in crate::simulate) fn pause(user: &mut User, now: i64, near: f64, far: f64, near_share: f64) -> f64 {
    let mean = if user.rng.chance(near_share) { near } else { far };
    let lunch = (user.shift.lunch..user.shift.lunch + LUNCH_MICROS).contains(&now);
    user.rng.exponential(mean) / user.pace * if lunch { 5.0 } else { 1.0 }
}

pub(in crate::simulate) fn work(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch || !user.works_at(ctx.now) {
        return false;
    }
    let seconds = pause(user, ctx.now, 35.0, 620.0, 0.62) * world.gap;
    ctx.queue.push(ctx.now + micros(seconds), Step::Work { user: who, epoch });
    let roll = user.rng.unit();
    if user.role == Role::Admin && roll < 0.3 {
        administer(world, ctx, who);
    } else if roll < 0.5 {
        use_app(world, ctx, who);
    } else if roll < 0.88 {
        use_file(world, ctx, who);
    } else {
        let bytes = user.rng.bytes(45_000.0, 1.5);
        let draft = ctx.draft.deed("mail.send", who, user.address(), None).text("mail");
        (draft.action, draft.bytes_out, draft.device, draft.session) = ("send", bytes, user.laptop, user.session);
    }
    true
}

fn use_app(world: &mut World, ctx: &mut Context<'_>, who: u32) {
    let user = &mut world.users[who as usize];
    let own = APPS_COMMON + 2 * user.department;
    let app = match user.rng.below(100) {
        0..55 => user.rng.skewed(APPS_COMMON),
        55..96 => own + user.rng.index(2),
        96..99 => APPS_COMMON + user.rng.index(2 * names::DEPARTMENTS.len()),
        _ if user.role == Role::Admin => APPS_SENSITIVE.start + user.rng.index(APPS_SENSITIVE.len()),
        _ => 0,
    };
    // Every other application is run by someone else, and so sees the public address.
    let (source, place) = match app % 2 {
        0 => (user.shift.egress.address, Some(user.shift.egress)),
        _ => (user.address(), None),
    };
    let write = user.rng.chance(0.3);
    let bytes = user.rng.bytes(9_000.0, 1.2);
    let draft = ctx.draft.deed("app.access", who, source, place).text(APPS[app]);
    (draft.action, draft.bytes_in) = (if write { "update" } else { "view" }, bytes);
    (draft.agent, draft.device, draft.session) = (user.agent, user.laptop, user.session);
}

fn use_file(world: &mut World, ctx: &mut Context<'_>, who: u32) {
    let user = &mut world.users[who as usize];
    let (department, file) = match user.rng.below(100) {
        0..80 => (user.department, usize::from(*user.rng.pick(&user.favourites))),
        80..97 => (user.department, user.rng.skewed(world.files[0].len())),
        _ => (user.rng.index(names::DEPARTMENTS.len()), user.rng.skewed(world.files[0].len())),
    };
    let action = match user.rng.below(100) {
        0..70 => "read",
        70..96 => "write",
        96..98 => "share",
        _ => "delete",
    };
    let bytes = user.rng.bytes(160_000.0, 1.7);
    file_deed(user, ctx, who, action, &world.files[department][file], bytes);
    ctx.after(0.02, Step::FileFlow { user: who, kilobytes: (bytes / 1_000) as u32 });
}

/// Writes one file access by the user's own computer, as it is connected now.
fn file_deed(user: &User, ctx: &mut Context<'_>, who: u32, action: &'static str, file: &str, bytes: u64) {
    let draft = ctx.draft.deed("file.access", who, user.address(), None).text(file);
    (draft.action, draft.device, draft.session) = (action, user.laptop, user.session);
    if action == "write" {
        draft.bytes_out = bytes;
    } else {
        draft.bytes_in = bytes;
    }
}

fn administer(world: &mut World, ctx: &mut Context<'_>, who: u32) {
    let people = world.users.len();
    let rng = &mut world.users[who as usize].rng;
    let action = *rng.pick(&["restart_service", "change_setting", "read_log", "reset_password", "deploy", "remote_logon", "remote_logon"]);
    let (server, colleague) = (rng.index(world.servers.len()), rng.index(people));
    let helps = action == "remote_logon" && rng.chance(0.3);
    let refused = rng.chance(0.04);
    let helps = helps && !world.users[colleague].hidden;
    let dest = if helps { world.users[colleague].lan } else { world.servers[server].address };
    let user = &world.users[who as usize];
    let draft = ctx.draft.deed("admin.action", who, user.address(), None);
    push_host(&mut draft.resource, dest);
    (draft.action, draft.device, draft.session) = (action, user.laptop, user.session);
    draft.dest = dest;
    if refused {
        draft.failed();
    }
    ctx.after(0.3, Step::Manage { user: who, dest });
}

/// A host's name: what it is, and the numbers of its address.
pub(in crate::simulate) fn push_host(out: &mut Vec<u8>, address: u32) {
    let [_, site, high, low] = address.to_be_bytes();
    out.extend_from_slice(if site == 50 { b"srv-" } else { b"pc-" });
    for octet in [site, high, low] {
        out.extend_from_slice(&[b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10]);
    }
}

/// An administrator's session on another host: Windows or not.
pub(in crate::simulate) fn manage(world: &mut World, ctx: &mut Context<'_>, who: u32, dest: u32) -> bool {
    let user = &mut world.users[who as usize];
    let laptop = dest >> 16 != known::server(0) >> 16;
    let port = if laptop || dest.is_multiple_of(3) { 3_389 } else { 22 };
    let (bytes_out, bytes_in) = (user.rng.bytes(24_000.0, 1.2), user.rng.bytes(70_000.0, 1.4));
    let millis = user.rng.bytes(120_000.0, 1.3);
    ctx.draft.flow(user.address(), dest, "tcp", port).volume(bytes_out, bytes_in, millis);
    true
}

/// The log-in page's line for an attempt.
pub(in crate::simulate) fn portal(ctx: &mut Context<'_>, source: u32, account: u32, failed: bool) -> bool {
    // Drawn from the attempt itself, so that it shifts nobody's stream.
    let mut rng = Rng::of(ctx.now as u64, u64::from(source));
    let (bytes_out, bytes_in) = (1_400 + u64::from(rng.below(400)), if failed { 2_100 } else { 5_600 } + u64::from(rng.below(300)));
    let draft = ctx.draft.flow(source, known::PORTAL, "tcp", 443).text("/sso/login");
    (draft.event_type, draft.action, draft.user) = ("http.request", "POST", account);
    draft.volume(bytes_out, bytes_in, 120 + u64::from(rng.below(200)));
    if failed {
        draft.failed();
    }
    true
}

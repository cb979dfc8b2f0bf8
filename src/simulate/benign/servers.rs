//! Servers at their work: queries, builds, backups, customers from the internet, mail, service accounts.

use super::super::known;
use super::super::queue::{Context, Step};
use super::super::world::{Server, Tier, World, hosted, service};
use super::activity;
use crate::core::types::MICROS_PER_DAY;

const BACKUP_PARTS: u8 = 8;
const OFF_SITE_PARTS: u8 = 24;

pub(in crate::simulate) fn start(world: &mut World, ctx: &mut Context<'_>) {
    for index in 0..world.servers.len() {
        let server = &mut world.servers[index];
        let number = index as u32;
        match server.tier {
            Tier::Build => ctx.after(server.rng.exponential(1_200.0), Step::Build { server: number, left: 1 }),
            _ => ctx.after(server.rng.exponential(120.0), Step::Load { server: number }),
        }
        // Backups begin at one in the morning, each server at its own minute.
        let begin = next_at(ctx.now, 60.0 + (index % 60) as f64 * 1.5);
        ctx.queue.push(begin, Step::Backup { server: number, left: BACKUP_PARTS });
    }
    ctx.queue.push(next_at(ctx.now, 210.0), Step::OffSite { left: OFF_SITE_PARTS });
    ctx.after(world.crowd.customers.between(0.0, 30.0), Step::Customer { customer: 0, left: 0 });
    ctx.after(world.crowd.mail.between(0.0, 30.0), Step::MailIn);
    for index in 0..world.crowd.services.len() as u32 {
        let seconds = world.crowd.services[index as usize].between(0.0, 60.0);
        ctx.after(seconds, Step::Service { index });
    }
}

/// The next time that the UTC day is `minutes` old.
pub(in crate::simulate) fn next_at(now: i64, minutes: f64) -> i64 {
    let time = now.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY + (minutes * 6e7) as i64;
    if time < now { time + MICROS_PER_DAY } else { time }
}

/// A query of an application server to its database, or of a web server to its application.
pub(in crate::simulate) fn load(world: &mut World, ctx: &mut Context<'_>, index: u32) -> bool {
    let busy = activity(world, ctx.now);
    let server = &mut world.servers[index as usize];
    let mean = match server.tier {
        Tier::Web | Tier::App => 70.0,
        _ => 400.0,
    };
    ctx.after(server.rng.exponential(mean / busy), Step::Load { server: index });
    let dest = *server.rng.pick(&server.peers);
    let port = match server.tier {
        Tier::Web => 8_443,
        Tier::File => 389,
        _ => 5_432,
    };
    // Reports are rare and large.
    let median = if server.rng.chance(0.01) { 30e6 } else { 14_000.0 };
    let (bytes_out, bytes_in) = (server.rng.bytes(3_000.0, 0.8), server.rng.bytes(median, 1.2));
    let millis = server.rng.bytes(90.0, 1.2);
    ctx.draft.flow(server.address, dest, "tcp", port).volume(bytes_out, bytes_in, millis);
    true
}

/// A build: packages from the internet, one after the other.
pub(in crate::simulate) fn build(world: &mut World, ctx: &mut Context<'_>, index: u32, left: u8) -> bool {
    let busy = activity(world, ctx.now);
    let server = &mut world.servers[index as usize];
    if left == 0 {
        let packages = 4 + server.rng.below(18) as u8;
        ctx.after(server.rng.exponential(1_500.0 / busy), Step::Build { server: index, left: packages });
        return false;
    }
    ctx.after(server.rng.exponential(3.0), Step::Build { server: index, left: left - 1 });
    let mirror = if server.rng.chance(0.85) { service::PACKAGES } else { service::POPULAR + server.rng.skewed(400) };
    let (bytes_out, bytes_in) = (server.rng.bytes(1_900.0, 0.4), server.rng.bytes(900_000.0, 1.9));
    let domain = &world.domains[mirror];
    ctx.draft.tls(server.address, domain.address, &domain.name).volume(bytes_out, bytes_in, 80 + bytes_in / 30_000);
    true
}

pub(in crate::simulate) fn backup(world: &mut World, ctx: &mut Context<'_>, index: u32, left: u8) -> bool {
    let Server { address, backup_bytes, rng, .. } = &mut world.servers[index as usize];
    if left == 0 {
        ctx.queue.push(next_at(ctx.now, 60.0 + f64::from(index % 60) * 1.5), Step::Backup { server: index, left: BACKUP_PARTS });
        return false;
    }
    ctx.after(rng.between(60.0, 130.0), Step::Backup { server: index, left: left - 1 });
    let bytes = rng.bytes(*backup_bytes / f64::from(BACKUP_PARTS), 0.12);
    ctx.draft.flow(*address, known::BACKUP, "tcp", 8_444).volume(bytes, bytes / 900, bytes / 110_000);
    true
}

/// The night's backups go on to a rented store: a huge and regular upload.
pub(in crate::simulate) fn off_site(world: &mut World, ctx: &mut Context<'_>, left: u8) -> bool {
    let rng = &mut world.crowd.upkeep;
    if left == 0 {
        ctx.queue.push(next_at(ctx.now, 210.0), Step::OffSite { left: OFF_SITE_PARTS });
        return false;
    }
    ctx.after(rng.between(100.0, 160.0), Step::OffSite { left: left - 1 });
    let bytes = rng.bytes(3.5e9, 0.15);
    let domain = &world.domains[service::SHARING];
    ctx.draft.tls(known::BACKUP, domain.address, &domain.name).volume(bytes, bytes / 700, bytes / 60_000);
    true
}

/// Customers at the public web site. `left` 0: the next one arrives.
pub(in crate::simulate) fn customer(world: &mut World, ctx: &mut Context<'_>, customer: u32, left: u8) -> bool {
    let busy = activity(world, ctx.now) * world.users.len() as f64 / 300.0;
    let rng = &mut world.crowd.customers;
    if left == 0 {
        ctx.after(rng.exponential(30.0 / busy), Step::Customer { customer: 0, left: 0 });
        let customer = rng.skewed(world.customers.len()) as u32;
        let left = 1 + rng.exponential(2.0) as u8;
        ctx.after(0.01, Step::Customer { customer, left });
        return false;
    }
    if left > 1 {
        ctx.after(rng.exponential(12.0), Step::Customer { customer, left: left - 1 });
    }
    let (bytes_out, bytes_in) = (rng.bytes(1_700.0, 0.7), rng.bytes(46_000.0, 1.4));
    let millis = rng.bytes(900.0, 1.1);
    ctx.draft.flow(world.customers[customer as usize], known::PUBLIC_WEB, "tcp", 443).volume(bytes_out, bytes_in, millis);
    ctx.draft.event_type = "tls.session";
    true
}

/// Mail from outside; the sender's address is looked up in a block list by DNS, and its domain's policy.
pub(in crate::simulate) fn mail_in(world: &mut World, ctx: &mut Context<'_>) -> bool {
    let busy = activity(world, ctx.now) * world.users.len() as f64 / 300.0;
    let rng = &mut world.crowd.mail;
    ctx.after(rng.exponential(40.0 / busy), Step::MailIn);
    let domain = service::POPULAR + rng.skewed(2_000);
    let sender = if rng.chance(0.8) { world.domains[domain].address } else { hosted(rng) };
    ctx.after(0.2, Step::Blocklist { sender });
    ctx.after(0.3, Step::SenderPolicy { domain: domain as u32 });
    let bytes = rng.bytes(38_000.0, 1.4);
    ctx.draft.flow(sender, known::PUBLIC_MAIL, "tcp", 25).volume(bytes, 900, 400 + bytes / 900);
    true
}

pub(in crate::simulate) fn blocklist(world: &World, ctx: &mut Context<'_>, sender: u32) -> bool {
    let draft = ctx.draft.dns(known::MAIL, "A", 110);
    for octet in sender.to_le_bytes() {
        for unit in [100, 10, 1] {
            if octet >= unit || unit == 1 {
                draft.resource.push(b'0' + octet / unit % 10);
            }
        }
        draft.resource.push(b'.');
    }
    draft.text(&world.domains[service::BLOCKLIST].name).failed();
    draft.bytes_out = 40 + draft.resource.len() as u64;
    true
}

pub(in crate::simulate) fn sender_policy(world: &World, ctx: &mut Context<'_>, domain: u32) -> bool {
    let draft = ctx.draft.dns(known::MAIL, "TXT", 310).text(&world.domains[domain as usize].name);
    draft.bytes_out = 40 + draft.resource.len() as u64;
    draft.duration_millis = 9 + u64::from(domain % 40);
    true
}

/// Service accounts: the same few calls day and night, some to the second.
pub(in crate::simulate) fn service_account(world: &mut World, ctx: &mut Context<'_>, index: u32) -> bool {
    const CALLS: [(&str, &str, f64); 10] = [
        ("backup-console", "read", 300.0),
        ("git", "read", 90.0),
        ("directory", "view", 60.0),
        ("erp", "update", 300.0),
        ("crm", "update", 240.0),
        ("data-lake", "read", 900.0),
        ("data-lake", "write", 180.0),
        ("vault", "read", 400.0),
        ("directory", "view", 1_800.0),
        ("directory", "view", 45.0),
    ];
    let (app, action, seconds) = CALLS[index as usize % CALLS.len()];
    let account = world.service(index as usize);
    let rng = &mut world.crowd.services[index as usize];
    let wait = if index.is_multiple_of(3) { seconds + 0.2 * rng.unit() } else { rng.exponential(seconds) };
    ctx.after(wait, Step::Service { index });
    let source = world.servers[(index as usize * 7 + 1) % world.servers.len()].address;
    let failed = rng.chance(0.002);
    let bytes = rng.bytes(5_000.0, 0.5);
    let draft = ctx.draft.deed("app.access", account, source, None).text(app);
    (draft.action, draft.bytes_in) = (action, bytes);
    if failed {
        draft.failed();
    }
    true
}

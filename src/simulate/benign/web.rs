//! What people's computers do on the network: browsing, downloads and uploads, meetings, file shares, reputation look-ups.

use super::super::known;
use super::super::queue::{Context, Step};
use super::super::world::{Role, World, service};
use super::office::pause;

pub(in crate::simulate) fn browse(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch || !user.works_at(ctx.now) {
        return false;
    }
    let seconds = pause(user, ctx.now, 50.0, 800.0, 0.5) * world.gap;
    ctx.after(seconds, Step::Browse { user: who, epoch });
    // From home only part of it goes through the company.
    if !user.shift.inside && user.rng.chance(0.4) {
        return false;
    }
    let browsable = world.domains.len() - service::POPULAR;
    let domain = match user.rng.below(100) {
        0..68 => *user.rng.pick(&user.sites) as usize,
        68..88 => service::POPULAR + user.rng.skewed(80),
        _ => service::POPULAR + user.rng.index(browsable),
    };
    let left = 1 + (user.rng.exponential(1.1) as u8).min(12);
    if who % 7 == 3 && user.rng.chance(0.2) {
        let left = 1 + user.rng.below(8) as u8;
        ctx.after(user.rng.between(0.5, 4.0), Step::Reputation { user: who, left });
    }
    ctx.after(0.03, Step::Fetch { user: who, domain: domain as u32, left });
    if !user.rng.chance(0.6) {
        return false;
    }
    let kind = match user.rng.below(100) {
        0..62 => "A",
        62..84 => "AAAA",
        84..97 => "HTTPS",
        97 => "CNAME",
        98 => "SRV",
        _ => "TXT",
    };
    let answer = 90 + u64::from(user.rng.below(200));
    let missing = user.rng.chance(0.015);
    let draft = ctx.draft.dns(user.address(), kind, answer).text(&world.domains[domain].name);
    draft.bytes_out = 40 + draft.resource.len() as u64;
    draft.duration_millis = 1 + u64::from(user.rng.below(40));
    if missing {
        draft.failed();
    }
    true
}

pub(in crate::simulate) fn fetch(world: &mut World, ctx: &mut Context<'_>, who: u32, domain: u32, left: u8) -> bool {
    let user = &mut world.users[who as usize];
    if !user.works_at(ctx.now) {
        return false;
    }
    if left > 1 {
        ctx.after(user.rng.exponential(2.5), Step::Fetch { user: who, domain, left: left - 1 });
    }
    let (mut bytes_out, mut bytes_in) = (user.rng.bytes(2_600.0, 0.9), user.rng.bytes(38_000.0, 1.7));
    let mut millis = user.rng.bytes(1_800.0, 1.4);
    let mut site = domain as usize;
    let roll = user.rng.unit();
    if roll < user.upload {
        site = service::SHARING;
        bytes_out = user.rng.bytes(14e6, 1.7);
        millis = bytes_out / 4_000;
    } else if roll < user.upload + 0.006 {
        bytes_in = user.rng.bytes(60e6, 1.3);
        millis = bytes_in / 9_000;
    } else if roll < user.upload + 0.008 {
        site = service::UPDATES;
        bytes_in = user.rng.bytes(220e6, 0.6);
        millis = bytes_in / 11_000;
    }
    let site = &world.domains[site];
    if user.rng.chance(0.07) {
        let draft = ctx.draft.flow(user.address(), site.address, "tcp", 80).text(&site.name);
        (draft.event_type, draft.action, draft.agent) = ("http.request", "GET", user.agent);
    } else if user.rng.chance(0.2) {
        // QUIC hides the name.
        ctx.draft.flow(user.address(), site.address, "udp", 443);
    } else {
        ctx.draft.tls(user.address(), site.address, &site.name);
    }
    ctx.draft.volume(bytes_out, bytes_in, millis);
    if user.rng.chance(0.008) {
        ctx.draft.volume(180, 0, 0).failed();
    }
    true
}

/// The virus scanner asks about files by their hash, as names under its maker's domain: long, random and harmless.
pub(in crate::simulate) fn reputation(world: &mut World, ctx: &mut Context<'_>, who: u32, left: u8) -> bool {
    let user = &mut world.users[who as usize];
    if left > 1 {
        ctx.after(user.rng.exponential(0.8), Step::Reputation { user: who, left: left - 1 });
    }
    let draft = ctx.draft.dns(user.address(), "A", 120);
    for _ in 0..4 {
        let bits = user.rng.bits();
        for digit in 0..8 {
            draft.resource.push(b"0123456789abcdef"[(bits >> (4 * digit) & 15) as usize]);
        }
    }
    draft.text(".").text(&world.domains[service::REPUTATION].name);
    draft.bytes_out = 40 + draft.resource.len() as u64;
    true
}

/// A video meeting: an hour of traffic both ways, logged when it ends.
pub(in crate::simulate) fn meeting(world: &mut World, ctx: &mut Context<'_>, who: u32, epoch: u32) -> bool {
    let user = &mut world.users[who as usize];
    if user.epoch != epoch || !user.works_at(ctx.now) {
        return false;
    }
    ctx.after(user.rng.between(4_000.0, 16_000.0), Step::Meeting { user: who, epoch });
    if user.role == Role::Night {
        return false;
    }
    let minutes = *user.rng.pick(&[15.0, 25.0, 30.0, 30.0, 45.0, 55.0, 60.0]) + user.rng.between(-3.0, 4.0);
    let bytes_in = user.rng.bytes(minutes * 9e6, 0.4);
    let bytes_out = user.rng.bytes(minutes * 5e6, 0.6);
    let service = &world.domains[service::MEETING];
    ctx.draft.flow(user.address(), service.address, "udp", 3_478).volume(bytes_out, bytes_in, (minutes * 60_000.0) as u64);
    true
}

/// The file server's side of a file access.
pub(in crate::simulate) fn file_flow(world: &mut World, ctx: &mut Context<'_>, who: u32, kilobytes: u32) -> bool {
    let user = &mut world.users[who as usize];
    // Shares are spread over the file servers by department.
    let dest = world.file_servers[user.department % world.file_servers.len()];
    let print = user.rng.chance(0.04);
    let bytes = u64::from(kilobytes) * 1_000 + 1_800;
    let read = user.rng.chance(0.7);
    let small = user.rng.bytes(6_000.0, 0.6);
    let (dest, port) = if print { (known::PRINTER, 9_100) } else { (dest, 445) };
    let (bytes_out, bytes_in) = if read && !print { (small, bytes) } else { (bytes, small) };
    ctx.draft.flow(user.address(), dest, "tcp", port).volume(bytes_out, bytes_in, 20 + bytes / 40_000);
    true
}

//! Hosts whose work looks like an attack: vulnerability scanners that are allowed to scan, and the patch server.

use super::super::known;
use super::super::queue::{Context, Step};
use super::super::world::World;
use super::servers::next_at;

#[rustfmt::skip]
const SCANNED: [u16; 24] = [
    21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 389, 443, 445, 993, 1_433, 1_521, 3_306, 3_389, 5_432, 5_900, 6_379, 8_080, 9_200,
];
const SCAN_AT_MINUTES: f64 = 120.0;
const LAPTOPS_AT_MINUTES: f64 = 780.0;
const PATCH_AT_MINUTES: f64 = 590.0;

pub(in crate::simulate) fn start(ctx: &mut Context<'_>) {
    ctx.queue.push(next_at(ctx.now, SCAN_AT_MINUTES), Step::AllowedScan { cursor: 0 });
    ctx.queue.push(next_at(ctx.now, LAPTOPS_AT_MINUTES), Step::LaptopScan { cursor: 0 });
    ctx.queue.push(next_at(ctx.now, PATCH_AT_MINUTES), Step::Patch { cursor: 0 });
}

/// Every server's usual ports, every night from two o'clock.
pub(in crate::simulate) fn allowed_scan(world: &mut World, ctx: &mut Context<'_>, cursor: u32) -> bool {
    let Some(server) = world.servers.get(cursor as usize / SCANNED.len()) else {
        ctx.queue.push(next_at(ctx.now, SCAN_AT_MINUTES), Step::AllowedScan { cursor: 0 });
        return false;
    };
    let rng = &mut world.crowd.upkeep;
    ctx.after(0.3 + 0.3 * rng.unit(), Step::AllowedScan { cursor: cursor + 1 });
    let port = SCANNED[cursor as usize % SCANNED.len()];
    let open = matches!(port, 22 | 443 | 445) || rng.chance(0.03);
    probe(ctx, known::SCANNER, server.address, port, open);
    true
}

/// Three ports of every computer of the offices, at lunch time.
pub(in crate::simulate) fn laptop_scan(world: &mut World, ctx: &mut Context<'_>, cursor: u32) -> bool {
    let Some(user) = world.users.get(cursor as usize / 3) else {
        ctx.queue.push(next_at(ctx.now, LAPTOPS_AT_MINUTES), Step::LaptopScan { cursor: 0 });
        return false;
    };
    ctx.after(0.5, Step::LaptopScan { cursor: cursor + 1 });
    if user.hidden {
        return false;
    }
    let port = [135, 445, 3_389][cursor as usize % 3];
    let open = user.works_at(ctx.now) && user.shift.inside && port != 3_389;
    probe(ctx, known::SCANNER_SECOND, user.lan, port, open);
    true
}

/// Looks after every computer of the offices once a day.
pub(in crate::simulate) fn patch(world: &mut World, ctx: &mut Context<'_>, cursor: u32) -> bool {
    let Some(user) = world.users.get(cursor as usize) else {
        ctx.queue.push(next_at(ctx.now, PATCH_AT_MINUTES), Step::Patch { cursor: 0 });
        return false;
    };
    let rng = &mut world.crowd.upkeep;
    ctx.after(rng.exponential(25.0), Step::Patch { cursor: cursor + 1 });
    if user.hidden {
        return false;
    }
    if user.works_at(ctx.now) && user.shift.inside {
        let bytes = rng.bytes(2_500_000.0, 1.5);
        ctx.draft.flow(known::PATCH, user.lan, "tcp", 445).volume(bytes, bytes / 60, 300 + bytes / 11_000);
    } else {
        probe(ctx, known::PATCH, user.lan, 445, false);
    }
    true
}

/// One attempt to connect: a few packets, answered or not.
pub(in crate::simulate) fn probe(ctx: &mut Context<'_>, source: u32, dest: u32, port: u16, open: bool) {
    let draft = ctx.draft.flow(source, dest, "tcp", port);
    if open {
        draft.volume(184, 132, 12);
    } else {
        (draft.bytes_out, draft.bytes_in, draft.packets) = (60, if dest.is_multiple_of(3) { 0 } else { 54 }, 1);
        draft.failed();
    }
}

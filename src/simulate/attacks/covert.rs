//! What leaves the company unseen: beacons, stolen data, DNS tunnels.

use super::super::queue::{Context, Step};
use super::Attack;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A small exchange with the command server, again and again. Stage 1: after asking for its address.
pub(super) fn beacon(attack: &mut Attack, ctx: &mut Context<'_>, index: u32, stage: u32) -> bool {
    if stage == 0 {
        attack.done += 1;
        attack.plan_next(ctx, index);
        if attack.rng.chance(0.2) {
            ctx.after(0.05, Step::Attack { index, stage: 1 });
            let draft = ctx.draft.dns(attack.host, "A", 110).text(&attack.name);
            draft.bytes_out = 40 + draft.resource.len() as u64;
            return true;
        }
    }
    // Now and then there is an order to fetch and a result to send.
    let order = attack.rng.chance(0.03);
    let bytes_out = attack.rng.bytes(if order { 42_000.0 } else { 640.0 }, 0.12);
    let bytes_in = attack.rng.bytes(if order { 9_000.0 } else { 380.0 }, 0.1);
    let millis = 60 + u64::from(attack.rng.below(120));
    ctx.draft.tls(attack.host, attack.address, &attack.name).volume(bytes_out, bytes_in, millis);
    true
}

/// Uploads to a rented server. Loud: gigabytes within the hour. Slow: some megabytes every half hour for days.
pub(super) fn exfiltrate(attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    attack.done += 1;
    attack.plan_next(ctx, index);
    let median = if attack.is_slow() { 26e6 } else { 520e6 };
    let bytes_out = attack.rng.bytes(median, 0.3);
    let rate = if attack.is_slow() { 2_000 } else { 14_000 };
    ctx.draft.tls(attack.host, attack.address, &attack.name).volume(bytes_out, bytes_out / 400, bytes_out / rate);
    true
}

/// Data in the names that are asked for. Slow: a few short ones a minute, asked for as plain addresses.
pub(super) fn tunnel(attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    attack.done += 1;
    attack.plan_next(ctx, index);
    let rng = &mut attack.rng;
    let slow = attack.variant == super::Variant::Slow;
    let (kind, labels, shortest, spread, answer) = if slow {
        (*rng.pick(&["A", "AAAA", "A", "TXT"]), 1, 18, 14, 90)
    } else {
        (*rng.pick(&["TXT", "TXT", "NULL", "CNAME"]), 2, 34, 27, 240)
    };
    let answer = answer + u64::from(rng.below(140));
    let draft = ctx.draft.dns(attack.host, kind, answer);
    for _ in 0..labels {
        for _ in 0..shortest + rng.below(spread) {
            draft.resource.push(BASE32[rng.index(32)]);
        }
        draft.resource.push(b'.');
    }
    draft.text(&attack.name);
    draft.bytes_out = 40 + draft.resource.len() as u64;
    draft.duration_millis = 20 + u64::from(rng.below(60));
    true
}

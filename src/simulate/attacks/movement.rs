//! A host looks around in the network, and moves on to others.

use super::super::benign::office::push_host;
use super::super::benign::upkeep::probe;
use super::super::queue::{Context, Step};
use super::Attack;

/// Ports that a patient attacker cares for.
const INTERESTING: [u16; 20] =
    [22, 23, 80, 135, 139, 389, 443, 445, 636, 1_433, 1_521, 3_306, 3_389, 5_432, 5_900, 5_985, 6_379, 8_080, 9_200, 27_017];
/// Ports that a loud scan tries on one host before it turns to all others.
const VERTICAL: u32 = 1_024;

/// Loud: every low port of one server, then one port of a whole network. Slow: few ports of many hosts in no order, one a minute.
pub(super) fn scan(attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    let step = attack.done;
    attack.done += 1;
    attack.plan_next(ctx, index);
    let (dest, port) = if attack.is_slow() {
        (*attack.rng.pick(&attack.targets), *attack.rng.pick(&INTERESTING))
    } else if step < VERTICAL {
        // A stride that is prime to the range: every port once, in no plain order.
        (attack.targets[0], (step * 389 % VERTICAL + 1) as u16)
    } else {
        let network = attack.targets[0] & !0xff;
        (network | ((step - VERTICAL) % 254 + 1), 445)
    };
    let open = matches!(port, 22 | 443 | 445) && attack.targets.contains(&dest) && attack.rng.chance(0.6);
    probe(ctx, attack.host, dest, port, open);
    true
}

/// Tries to get into one host after the other. Stage 0 connects; a later stage logs in to target `stage - 1`.
pub(super) fn lateral(attack: &mut Attack, ctx: &mut Context<'_>, index: u32, stage: u32) -> bool {
    if stage > 0 {
        return log_in(attack, ctx, attack.targets[stage as usize - 1]);
    }
    let dest = attack.targets[attack.done as usize];
    attack.done += 1;
    attack.plan_next(ctx, index);
    let port = *attack.rng.pick(&[445, 445, 445, 3_389, 3_389, 22, 5_985]);
    if attack.rng.chance(0.55) {
        probe(ctx, attack.host, dest, port, false);
    } else {
        let (bytes_out, bytes_in) = (attack.rng.bytes(38_000.0, 1.1), attack.rng.bytes(21_000.0, 1.0));
        let millis = attack.rng.bytes(4_000.0, 1.0);
        ctx.draft.flow(attack.host, dest, "tcp", port).volume(bytes_out, bytes_in, millis);
        ctx.after(0.6, Step::Attack { index, stage: attack.done });
    }
    true
}

fn log_in(attack: &mut Attack, ctx: &mut Context<'_>, dest: u32) -> bool {
    let refused = attack.rng.chance(0.25);
    let draft = ctx.draft.deed("admin.action", attack.user, attack.host, None);
    push_host(&mut draft.resource, dest);
    (draft.action, draft.dest, draft.session, draft.device) = ("remote_logon", dest, attack.session, attack.device);
    if refused {
        draft.failed();
    }
    true
}

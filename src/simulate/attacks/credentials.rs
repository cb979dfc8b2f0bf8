//! Guessing passwords: one account with many, or many accounts with few.

use super::super::draft::FAILURE;
use super::super::names::BROWSERS;
use super::super::queue::{Context, Step};
use super::Attack;

/// One account, one password after the other. Slow: one every few minutes, from two addresses in turn.
pub(super) fn brute_force(attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    attack.done += 1;
    let last = attack.done == attack.count;
    // Every other campaign gets in at the end.
    let failed = !(last && (attack.device >> 1).is_multiple_of(2));
    attempt(attack, ctx, attack.user, failed);
    attack.plan_next(ctx, index);
    true
}

/// Every account once a round. Slow: minutes between two attempts, from several addresses.
pub(super) fn spray(attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    let account = attack.targets[attack.done as usize % attack.targets.len()];
    attack.done += 1;
    let failed = !attack.rng.chance(0.004);
    attempt(attack, ctx, account, failed);
    attack.plan_next(ctx, index);
    true
}

fn attempt(attack: &mut Attack, ctx: &mut Context<'_>, account: u32, failed: bool) {
    let remote = attack.remotes[attack.done as usize % attack.remotes.len()];
    let draft = ctx.draft.deed("auth.login", account, remote.address, Some(remote)).text("sso");
    (draft.action, draft.device) = ("password", attack.device);
    draft.agent = BROWSERS[attack.device as usize % BROWSERS.len()];
    if failed {
        draft.outcome = FAILURE;
    } else {
        draft.session = attack.session;
    }
    ctx.after(0.04, Step::Portal { source: remote.address, account, failed, label: Some(attack.label) });
}

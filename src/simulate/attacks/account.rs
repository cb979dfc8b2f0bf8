//! Accounts in the wrong hands, or in the right ones at the wrong time.

use super::super::names::{APPS, APPS_SENSITIVE, BROWSERS, DEPARTMENTS};
use super::super::queue::{Context, Step};
use super::super::world::World;
use super::Attack;
use crate::core::types::{MICROS_PER_DAY, MICROS_PER_HOUR};

/// Steps of one night of the slow insider.
pub(super) const SLOW_NIGHT: u32 = 18;

/// A log-in from a place that its owner cannot have reached, and then a look around.
pub(super) fn travel(world: &World, attack: &mut Attack, ctx: &mut Context<'_>, index: u32) -> bool {
    let remote = attack.remotes[0];
    let first = attack.done == 0;
    attack.done += 1;
    attack.plan_next(ctx, index);
    let user = &world.users[attack.user as usize];
    let draft = if first {
        let draft = ctx.draft.deed("auth.login", attack.user, remote.address, Some(remote)).text("sso");
        draft.action = "password";
        draft
    } else {
        let draft = ctx.draft.deed("app.access", attack.user, remote.address, Some(remote));
        draft.action = "view";
        draft.bytes_in = attack.rng.bytes(16_000.0, 1.0);
        let own = super::super::names::APPS_COMMON + 2 * user.department;
        let app = if attack.rng.chance(0.6) { attack.rng.index(7) } else { own + attack.rng.index(2) };
        draft.text(APPS[app])
    };
    (draft.device, draft.session) = (attack.device, attack.session);
    draft.agent = BROWSERS[attack.device as usize % BROWSERS.len()];
    if first {
        let (source, account, label) = (remote.address, attack.user, Some(attack.label));
        ctx.after(0.04, Step::Portal { source, account, failed: false, label });
    }
    true
}

/// An employee at night, on the own computer: others' files and applications, much more than by day.
/// Stage 1 is the file server's view of the file that was just read.
pub(super) fn insider(world: &World, attack: &mut Attack, ctx: &mut Context<'_>, index: u32, stage: u32) -> bool {
    let user = &world.users[attack.user as usize];
    if stage == 1 {
        let server = world.file_servers[attack.done as usize % world.file_servers.len()];
        let bytes = attack.rng.bytes(1_600_000.0, 1.1);
        ctx.draft.flow(user.pool, server, "tcp", 445).volume(7_000, bytes, 40 + bytes / 9_000);
        return true;
    }
    let tonight = if attack.is_slow() { attack.done % SLOW_NIGHT } else { attack.done };
    attack.done += 1;
    if attack.is_slow() && tonight == SLOW_NIGHT - 1 {
        let wait = MICROS_PER_DAY - (ctx.now - attack.start).rem_euclid(MICROS_PER_DAY);
        let late = (attack.rng.unit() * 0.4 * MICROS_PER_HOUR as f64) as i64;
        ctx.queue.push(ctx.now + wait + late, Step::Attack { index, stage: 0 });
    } else {
        attack.plan_next(ctx, index);
    }
    if tonight == 0 {
        let draft = ctx.draft.deed("auth.login", attack.user, user.home.address, Some(user.home)).text("sso");
        (draft.action, draft.agent) = ("password", user.agent);
        ctx.after(0.04, Step::Portal { source: user.home.address, account: attack.user, failed: false, label: Some(attack.label) });
    } else if attack.rng.chance(0.12) {
        let app = attack.rng.index(APPS_SENSITIVE.len()) + APPS_SENSITIVE.start;
        let draft = ctx.draft.deed("app.access", attack.user, user.pool, None).text(APPS[app]);
        (draft.action, draft.agent, draft.bytes_in) = ("view", user.agent, attack.rng.bytes(40_000.0, 1.0));
    } else {
        let other = (user.department + 1 + attack.rng.index(DEPARTMENTS.len() - 1)) % DEPARTMENTS.len();
        let file = attack.rng.pick(&world.files[other]);
        let draft = ctx.draft.deed("file.access", attack.user, user.pool, None).text(file);
        (draft.action, draft.bytes_in) = ("read", attack.rng.bytes(1_500_000.0, 1.1));
        ctx.after(0.02, Step::Attack { index, stage: 1 });
    }
    (ctx.draft.device, ctx.draft.session) = (user.laptop, attack.session);
    true
}

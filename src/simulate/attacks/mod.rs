//! The attackers. What they do differs from everyone else only by what it is, never by how it is written.

mod account;
mod covert;
mod credentials;
mod movement;
mod plan;

use super::campaign::{CampaignKind, LabelId, Variant};
use super::geo::Egress;
use super::queue::{Context, Step, micros};
use super::rng::Rng;
use super::world::World;

pub(super) use plan::plan;

/// A campaign under way. Which of the fields it uses depends on its kind.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    pub(super) label: LabelId,
    kind: CampaignKind,
    variant: Variant,
    rng: Rng,
    /// No step happens outside of `start ..= end`.
    pub(super) start: i64,
    end: i64,
    /// Account that is attacked or abused.
    user: u32,
    /// Address of the host that is abused.
    host: u32,
    /// Where an outsider comes from, in turns.
    remotes: Vec<Egress>,
    /// Hosts or accounts, in the order in which they are tried.
    targets: Vec<u32>,
    /// Command server, drop or tunnel.
    name: String,
    address: u32,
    /// Main steps to take, and taken.
    count: u32,
    done: u32,
    /// Mean seconds from one main step to the next, and the deviation as a share of it.
    gap: f64,
    jitter: f64,
    /// What the outsider's device calls itself.
    device: u32,
    session: u64,
}

impl Attack {
    /// Plans the next main step, `gap` seconds on and off by up to `jitter`, while there are any left.
    fn plan_next(&mut self, ctx: &mut Context<'_>, index: u32) {
        let seconds = self.gap * (1.0 + self.jitter * self.rng.between(-1.0, 1.0));
        if self.done < self.count {
            ctx.after(seconds, Step::Attack { index, stage: 0 });
        }
    }

    fn is_slow(&self) -> bool {
        self.variant == Variant::Slow
    }
}

/// One step of an attack. Stage 0 is the main one; what the others follow up is the kind's own affair.
pub(super) fn step(world: &World, attack: &mut Attack, ctx: &mut Context<'_>, index: u32, stage: u32) -> bool {
    if ctx.now > attack.end {
        return false;
    }
    match attack.kind {
        CampaignKind::BruteForce => credentials::brute_force(attack, ctx, index),
        CampaignKind::PasswordSpraying => credentials::spray(attack, ctx, index),
        CampaignKind::PortScan => movement::scan(attack, ctx, index),
        CampaignKind::LateralMovement => movement::lateral(attack, ctx, index, stage),
        CampaignKind::Beaconing => covert::beacon(attack, ctx, index, stage),
        CampaignKind::Exfiltration => covert::exfiltrate(attack, ctx, index),
        CampaignKind::DnsTunnel => covert::tunnel(attack, ctx, index),
        CampaignKind::ImpossibleTravel => account::travel(world, attack, ctx, index),
        CampaignKind::InsiderNight => account::insider(world, attack, ctx, index, stage),
        CampaignKind::BackgroundScan => false,
    }
}

/// `seconds` after `time`.
fn later(time: i64, seconds: f64) -> i64 {
    time + micros(seconds)
}

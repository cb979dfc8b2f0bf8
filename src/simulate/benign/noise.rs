//! The internet's background noise against the addresses that face it. Findings about it are arguably true, so it is labelled.

use super::super::campaign::LabelId;
use super::super::known;
use super::super::queue::{Context, Step};
use super::super::world::World;
use super::upkeep::probe;

const PORTS: [u16; 16] = [22, 23, 80, 443, 445, 1_433, 2_222, 3_306, 3_389, 5_060, 5_900, 6_379, 7_547, 8_080, 8_443, 9_200];

/// `left` 0: the next source arrives; below 32: it probes that many more ports; above: it guesses passwords.
pub(in crate::simulate) fn noise(world: &mut World, ctx: &mut Context<'_>, source: u32, left: u8, label: LabelId) -> bool {
    const GUESSES: u8 = 32;
    let rng = &mut world.crowd.noise;
    if left == 0 {
        ctx.after(rng.exponential(world.noise_gap), Step::Noise { source: 0, left: 0 });
        let source = *rng.pick(&world.noise);
        let left = match rng.below(100) {
            0..72 => 1,
            72..88 => 2 + rng.below(9) as u8,
            _ => GUESSES + 2 + rng.below(6) as u8,
        };
        ctx.after(0.01, Step::Noise { source, left });
        return false;
    }
    if left != 1 && left != GUESSES + 1 {
        ctx.after(rng.exponential(2.0), Step::Noise { source, left: left - 1 });
    }
    let dest = known::public(*rng.pick(&[10, 11, 22, 25, 80, 81, 99, 140]));
    if left > GUESSES {
        let guess = rng.index(super::super::names::GUESSED.len());
        let account = world.guessed(guess);
        let draft = ctx.draft.flow(source, known::public(22), "tcp", 22).volume(2_100, 2_600, 1_900).failed();
        (draft.event_type, draft.user) = ("ssh.session", account);
    } else {
        let port = *rng.pick(&PORTS);
        let open = port == 443 || port == 80;
        probe(ctx, source, dest, port, open);
    }
    ctx.draft.label = Some(label);
    true
}

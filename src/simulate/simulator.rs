//! Runs a scenario: takes the next step from the calendar until one writes an event.

use std::net::Ipv4Addr;

use super::attacks::{self, Attack};
use super::benign::{noise, office, servers, upkeep, web};
use super::campaign::{Campaign, LabelId};
use super::draft::{Draft, Family, NOBODY};
use super::queue::{Context, Queue, Step};
use super::scenario::Scenario;
use super::timer;
use super::touch::Touches;
use super::world::World;
use super::writer::Writer;
use crate::core::types::EventTime;
use crate::error::Result;

/// Events come out in order of time, but for those of a branch whose sensor reports late: an event's time is never further
/// than this behind the latest one before it.
pub const DISORDER_MICROS_MAX: i64 = 2_500_000;

/// What was written: where it belongs, and what it is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emitted {
    pub time: EventTime,
    pub family: Family,
    /// The campaign that this event is part of.
    pub label: Option<LabelId>,
    pub source: Ipv4Addr,
    /// See [`Simulator::account`].
    pub account: Option<u32>,
}

/// A seeded company with its people, servers and attackers. The same scenario gives the same bytes on every machine.
pub struct Simulator {
    world: World,
    attacks: Vec<Attack>,
    campaigns: Vec<Campaign>,
    background: LabelId,
    touches: Touches,
    queue: Queue,
    draft: Draft,
    writer: Writer,
}

impl Simulator {
    /// # Errors
    /// `Kind::Config` naming every setting of the scenario that is out of range.
    pub fn new(scenario: &Scenario) -> Result<Self> {
        scenario.check()?;
        let mut world = World::new(scenario);
        let (attacks, campaigns) = attacks::plan(&world, scenario);
        let background = LabelId(attacks.len() as u32);
        let mut queue = Queue::default();
        let mut draft = Draft::new();
        let mut ctx = Context { now: world.start, draft: &mut draft, queue: &mut queue };
        office::start(&world, &mut ctx);
        servers::start(&mut world, &mut ctx);
        upkeep::start(&mut ctx);
        timer::start(&mut world, &mut ctx);
        if !world.noise.is_empty() {
            ctx.after(world.noise_gap, Step::Noise { source: 0, left: 0 });
        }
        for (index, attack) in attacks.iter().enumerate() {
            queue.push(attack.start, Step::Attack { index: index as u32, stage: 0 });
        }
        let touches = Touches::new(campaigns.len());
        Ok(Self { world, attacks, campaigns, background, touches, queue, draft, writer: Writer::new() })
    }

    /// Appends the next event to `out` as one line of JSON, without a line break. `None` at the scenario's end.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<Emitted> {
        loop {
            let task = self.queue.pop()?;
            if task.time >= self.world.end {
                return None;
            }
            if self.step(task.time, task.step) {
                return Some(self.emit(task.time, out));
            }
        }
    }

    /// Every campaign, and what the internet's noise did; complete with events and touched entities once [`Simulator::next`] has ended.
    #[must_use]
    pub fn campaigns(&self) -> &[Campaign] {
        &self.campaigns
    }

    /// The `user_id` of an account number.
    #[must_use]
    pub fn account(&self, number: u32) -> &str {
        &self.world.accounts[number as usize]
    }

    fn step(&mut self, now: i64, step: Step) -> bool {
        let world = &mut self.world;
        let ctx = &mut Context { now, draft: &mut self.draft, queue: &mut self.queue };
        match step {
            Step::Day { user, day } => office::day(world, ctx, user, day),
            Step::LogIn { user, day, second, left } => office::log_in(world, ctx, user, day, second, left),
            Step::SecondFactor { user, epoch } => office::second_factor(world, ctx, user, epoch),
            Step::Directory { user, epoch } => office::directory(world, ctx, user, epoch),
            Step::LogInAgain { user, epoch } => office::log_in_again(world, ctx, user, epoch),
            Step::Phone { user, left, stale } => office::phone(world, ctx, user, left, stale),
            Step::Work { user, epoch } => office::work(world, ctx, user, epoch),
            Step::Manage { user, dest } => office::manage(world, ctx, user, dest),
            Step::FileFlow { user, kilobytes } => web::file_flow(world, ctx, user, kilobytes),
            Step::Browse { user, epoch } => web::browse(world, ctx, user, epoch),
            Step::Fetch { user, domain, left } => web::fetch(world, ctx, user, domain, left),
            Step::Reputation { user, left } => web::reputation(world, ctx, user, left),
            Step::Meeting { user, epoch } => web::meeting(world, ctx, user, epoch),
            Step::Timer { index, epoch } => timer::fire(world, ctx, index, epoch),
            Step::Load { server } => servers::load(world, ctx, server),
            Step::Build { server, left } => servers::build(world, ctx, server, left),
            Step::Backup { server, left } => servers::backup(world, ctx, server, left),
            Step::OffSite { left } => servers::off_site(world, ctx, left),
            Step::Customer { customer, left } => servers::customer(world, ctx, customer, left),
            Step::MailIn => servers::mail_in(world, ctx),
            Step::Blocklist { sender } => servers::blocklist(world, ctx, sender),
            Step::SenderPolicy { domain } => servers::sender_policy(world, ctx, domain),
            Step::Service { index } => servers::service_account(world, ctx, index),
            Step::AllowedScan { cursor } => upkeep::allowed_scan(world, ctx, cursor),
            Step::LaptopScan { cursor } => upkeep::laptop_scan(world, ctx, cursor),
            Step::Patch { cursor } => upkeep::patch(world, ctx, cursor),
            Step::Noise { source, left } => noise::noise(world, ctx, source, left, self.background),
            Step::Portal { source, account, failed, label } => {
                let written = office::portal(ctx, source, account, failed);
                ctx.draft.label = label;
                written
            }
            Step::Attack { index, stage } => {
                let attack = &mut self.attacks[index as usize];
                let written = attacks::step(world, attack, ctx, index, stage);
                ctx.draft.label = Some(attack.label);
                written
            }
        }
    }

    fn emit(&mut self, now: i64, out: &mut Vec<u8>) -> Emitted {
        let draft = &self.draft;
        let mut time = (now - lag(now, draft.source)).max(self.world.start);
        if let Some(label) = draft.label {
            let campaign = &mut self.campaigns[label.0 as usize];
            time = time.max(campaign.start.0);
            self.touches.note(campaign, label != self.background, time, draft, &self.world.accounts);
        }
        let time = EventTime(time);
        self.writer.write(time, draft, &self.world.accounts, out);
        Emitted {
            time,
            family: draft.family,
            label: draft.label,
            source: Ipv4Addr::from(draft.source),
            account: (draft.user != NOBODY).then_some(draft.user),
        }
    }
}

/// How late an event is reported. The third office's sensor reports in batches; drawn from the event itself.
fn lag(now: i64, source: u32) -> i64 {
    const LATE: u32 = 10 << 8 | 12;
    if source >> 16 != LATE {
        return 0;
    }
    let mut state = now as u64 ^ u64::from(source) << 32;
    (super::rng::splitmix(&mut state) % DISORDER_MICROS_MAX as u64) as i64
}

//! Decides who is attacked, from where and when, before anything happens.

use std::net::Ipv4Addr;

use super::super::campaign::{Campaign, CampaignKind, LabelId, Variant};
use super::super::geo::{self, CITIES, Egress, HOSTING};
use super::super::names;
use super::super::people;
use super::super::queue::micros;
use super::super::rng::Rng;
use super::super::scenario::{Plan, Scenario};
use super::super::world::{Role, STREAM_CAMPAIGNS, Shift, Tier, User, World, hosted};
use super::account::SLOW_NIGHT;
use super::{Attack, later};
use crate::core::types::{EventTime, MICROS_PER_DAY, MICROS_PER_HOUR};

/// A campaign's label outlasts its last main step by this, for what follows from that.
const TAIL_MICROS: i64 = 1_000_000;
const HOUR: f64 = 3_600.0;
/// The slowest campaigns end after this, however long the simulation.
const SLOW_MICROS_MAX: i64 = 7 * MICROS_PER_DAY;

/// Attacks and their labels, in the order of the scenario's plans; the internet's noise is the last label.
pub(in crate::simulate) fn plan(world: &World, scenario: &Scenario) -> (Vec<Attack>, Vec<Campaign>) {
    let mut planner = Planner { world, taken: Vec::new() };
    let mut attacks = Vec::new();
    let mut campaigns = Vec::new();
    for (index, plan) in scenario.campaigns.iter().enumerate() {
        let (attack, entities, description) = planner.attack(index as u32, plan);
        let (start, end) = (EventTime(attack.start), EventTime((attack.end + TAIL_MICROS).min(world.end)));
        campaigns.push(label(attack.label, plan.kind, plan.variant, (start, end), entities, description));
        attacks.push(attack);
    }
    if !world.noise.is_empty() {
        let entities = world.noise.iter().map(|&address| ip(address)).collect();
        let description = "the internet's background noise against public addresses; findings about it are neither true nor false";
        let span = (EventTime(world.start), EventTime(world.end));
        campaigns.push(label(
            LabelId(attacks.len() as u32),
            CampaignKind::BackgroundScan,
            Variant::Slow,
            span,
            entities,
            description.into(),
        ));
    }
    (attacks, campaigns)
}

fn label(
    id: LabelId,
    kind: CampaignKind,
    variant: Variant,
    (start, end): (EventTime, EventTime),
    entities: Vec<String>,
    description: String,
) -> Campaign {
    let technique = kind.technique(variant).to_owned();
    Campaign { id, kind, variant, start, end, entities, description, technique, events: 0, touched: Vec::new() }
}

fn ip(address: u32) -> String {
    format!("ip:{}", Ipv4Addr::from(address))
}

struct Planner<'w> {
    world: &'w World,
    /// Users (by number) and servers (by address) that already belong to a campaign.
    taken: Vec<u32>,
}

type Planned = (Attack, Vec<String>, String);

impl Planner<'_> {
    fn attack(&mut self, index: u32, plan: &Plan) -> Planned {
        let world = self.world;
        let mut rng = Rng::of(world.seed, STREAM_CAMPAIGNS + u64::from(index));
        let from = world.learned + ((world.end - world.learned) as f64 * plan.begin) as i64;
        let attack = Attack {
            label: LabelId(index),
            kind: plan.kind,
            variant: plan.variant,
            start: from,
            end: (from + SLOW_MICROS_MAX).min(world.end),
            user: 0,
            host: 0,
            remotes: Vec::new(),
            targets: Vec::new(),
            name: names::site(&mut rng),
            address: hosted(&mut rng),
            count: u32::MAX,
            done: 0,
            gap: 1.0,
            jitter: 0.3,
            device: rng.bits() as u32 | 1,
            session: rng.bits(),
            rng,
        };
        match plan.kind {
            CampaignKind::BruteForce => self.brute_force(attack),
            CampaignKind::PasswordSpraying => self.spray(attack),
            CampaignKind::PortScan => self.scan(attack),
            CampaignKind::LateralMovement => self.lateral(attack),
            CampaignKind::Beaconing => self.beacon(attack),
            CampaignKind::Exfiltration => self.exfiltration(attack),
            CampaignKind::DnsTunnel => self.tunnel(attack),
            CampaignKind::ImpossibleTravel => self.travel(attack),
            CampaignKind::InsiderNight | CampaignKind::BackgroundScan => self.insider(attack),
        }
    }

    fn name(&self, user: u32) -> &str {
        &self.world.accounts[user as usize]
    }

    /// An account that no other campaign abuses, if there is one left that `suits`; else any that suits, else any.
    fn user(&mut self, rng: &mut Rng, suits: impl Fn(usize, &User) -> bool) -> u32 {
        let mut order: Vec<u32> = (0..self.world.users.len() as u32).collect();
        rng.shuffle(&mut order);
        let suits = |number: u32| {
            let user = &self.world.users[number as usize];
            user.first_day == i64::MIN && suits(number as usize, user)
        };
        let fresh = order.iter().find(|&&user| suits(user) && !self.taken.contains(&user));
        let user = *fresh.or_else(|| order.iter().find(|&&user| suits(user))).unwrap_or(&order[0]);
        self.taken.push(user);
        user
    }

    /// Someone with an office computer, and a working day there that begins after `from` and leaves time before the end.
    fn at_work(&mut self, rng: &mut Rng, from: i64, suits: impl Fn(&User) -> bool) -> (u32, Shift) {
        let world = self.world;
        let last = world.end - 4 * MICROS_PER_HOUR;
        let long = |shift: &Shift| shift.inside && shift.end - shift.start > 5 * MICROS_PER_HOUR;
        let shift_of =
            |index: usize, days: i64| people::log_in_between(world, index, from, (from + days * MICROS_PER_DAY).min(last)).filter(long);
        let basic = |user: &User| !user.hidden && matches!(user.role, Role::Office | Role::Developer) && suits(user);
        for days in [1, 2, 4, 400] {
            let user = self.user(rng, |index, user| basic(user) && shift_of(index, days).is_some());
            if let Some(shift) = shift_of(user as usize, days) {
                return (user, shift);
            }
            self.taken.pop();
        }
        // Nobody comes to the office any more: the computer was left on.
        let user = self.user(rng, |_, user| basic(user));
        let egress = world.users[user as usize].home;
        (user, Shift { start: from, end: world.end, lunch: from, typos: 0, inside: true, egress })
    }

    fn server(&mut self, rng: &mut Rng, tiers: &[Tier]) -> u32 {
        let mut suitable: Vec<u32> = self.world.servers.iter().filter(|s| tiers.contains(&s.tier)).map(|s| s.address).collect();
        rng.shuffle(&mut suitable);
        let address = *suitable.iter().find(|address| !self.taken.contains(address)).unwrap_or(&suitable[0]);
        self.taken.push(address);
        address
    }

    /// Loud campaigns of a computer take place while its owner works, slow ones on a computer that is left on.
    fn on_laptop(&mut self, attack: &mut Attack) {
        let mut rng = attack.rng.clone();
        // Whoever came a few hours ago is still there.
        let (user, shift) = self.at_work(&mut rng, attack.start - 4 * MICROS_PER_HOUR, |_| true);
        attack.rng = rng;
        attack.user = user;
        attack.host = self.world.users[user as usize].lan;
        if attack.variant == Variant::Loud {
            attack.start = attack.start.max(shift.start + micros(HOUR * attack.rng.between(0.4, 2.5)));
            attack.end = shift.end.max(attack.start + MICROS_PER_HOUR).min(self.world.end);
        }
    }

    fn brute_force(&mut self, mut attack: Attack) -> Planned {
        attack.user = self.user(&mut attack.rng, |_, user| !user.expiring);
        let turns = if attack.is_slow() { 2 } else { 1 };
        attack.remotes = (0..turns).map(|_| anywhere(&mut attack.rng)).collect();
        if attack.is_slow() {
            attack.gap = attack.rng.between(240.0, 480.0);
            attack.jitter = 0.6;
        } else {
            attack.count = 300 + attack.rng.below(400);
            attack.gap = attack.rng.between(0.4, 1.0);
            attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        }
        let mut entities = vec![format!("user:{}", self.name(attack.user))];
        entities.extend(attack.remotes.iter().map(|remote| ip(remote.address)));
        let description = format!("passwords of {} guessed every {:.1} s from outside", self.name(attack.user), attack.gap);
        (attack, entities, description)
    }

    fn spray(&mut self, mut attack: Attack) -> Planned {
        let mut targets: Vec<u32> = (0..self.world.users.len() as u32).collect();
        attack.rng.shuffle(&mut targets);
        let turns = if attack.is_slow() { 3 } else { 1 };
        attack.remotes = (0..turns).map(|_| anywhere(&mut attack.rng)).collect();
        if attack.is_slow() {
            targets.truncate((targets.len() / 2).clamp(20, 400));
            let rounds = 2.0;
            attack.gap = ((attack.end - attack.start) as f64 / 1e6 / (rounds * targets.len() as f64)).clamp(100.0, 500.0);
            attack.jitter = 0.7;
        } else {
            targets.truncate((targets.len() * 4 / 5).min(1_000));
            attack.gap = attack.rng.between(0.8, 2.5);
            attack.count = 2 * targets.len() as u32;
            attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        }
        attack.targets = targets;
        let entities = attack.remotes.iter().map(|remote| ip(remote.address)).collect();
        let description =
            format!("common passwords tried on {} accounts every {:.1} s, from {turns} addresses", attack.targets.len(), attack.gap);
        (attack, entities, description)
    }

    fn scan(&mut self, mut attack: Attack) -> Planned {
        self.on_laptop(&mut attack);
        attack.targets = self.world.servers.iter().map(|server| server.address).collect();
        let mut rng = attack.rng.clone();
        rng.shuffle(&mut attack.targets);
        if attack.is_slow() {
            attack.gap = attack.rng.between(35.0, 70.0);
            attack.jitter = 0.8;
            attack.end = (attack.start + 20 * MICROS_PER_HOUR).min(attack.end);
        } else {
            attack.count = 1_024 + 254;
            attack.gap = attack.rng.between(0.06, 0.25);
            attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        }
        let description = format!("{} scans the servers' network, a probe every {:.2} s", Ipv4Addr::from(attack.host), attack.gap);
        let entities = vec![ip(attack.host)];
        (attack, entities, description)
    }

    fn lateral(&mut self, mut attack: Attack) -> Planned {
        self.on_laptop(&mut attack);
        if attack.variant == Variant::Loud {
            attack.user = self.user(&mut attack.rng, |_, user| user.role == Role::Admin);
        }
        let host = attack.host;
        let mut targets: Vec<u32> = self.world.servers.iter().map(|server| server.address).collect();
        targets.extend(self.world.users.iter().filter(|user| !user.hidden && user.lan != host).map(|user| user.lan));
        attack.rng.shuffle(&mut targets);
        targets.truncate(40 + attack.rng.below(40) as usize);
        attack.count = targets.len() as u32;
        attack.gap = if attack.is_slow() { attack.rng.between(900.0, 1_500.0) } else { attack.rng.between(5.0, 20.0) };
        attack.jitter = 0.6;
        attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        attack.targets = targets;
        let account = format!("user:{}", self.name(attack.user));
        let description =
            format!("{} tries {} other hosts with the account of {}", Ipv4Addr::from(host), attack.count, self.name(attack.user));
        let entities = vec![ip(host), account];
        (attack, entities, description)
    }

    fn beacon(&mut self, mut attack: Attack) -> Planned {
        if attack.is_slow() {
            attack.host = self.server(&mut attack.rng, &[Tier::App, Tier::Web]);
            attack.gap = HOUR * attack.rng.between(1.0, 2.0);
            attack.jitter = attack.rng.between(0.2, 0.3);
        } else {
            self.on_laptop(&mut attack);
            attack.gap = *attack.rng.pick(&[30.0, 45.0, 60.0, 90.0, 120.0, 300.0]);
            attack.jitter = attack.rng.between(0.0, 0.08);
        }
        self.outbound(attack, "calls a command server")
    }

    fn exfiltration(&mut self, mut attack: Attack) -> Planned {
        if attack.is_slow() {
            attack.host = self.server(&mut attack.rng, &[Tier::File, Tier::Database]);
            attack.gap = HOUR * attack.rng.between(0.35, 0.7);
            attack.jitter = 0.5;
        } else {
            self.on_laptop(&mut attack);
            attack.count = 14 + attack.rng.below(16);
            attack.gap = attack.rng.between(60.0, 140.0);
            attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.3).min(attack.end);
        }
        self.outbound(attack, "uploads stolen data")
    }

    fn tunnel(&mut self, mut attack: Attack) -> Planned {
        self.on_laptop(&mut attack);
        attack.name = names::domain(&mut attack.rng);
        attack.jitter = 0.9;
        if attack.is_slow() {
            attack.gap = attack.rng.between(14.0, 30.0);
            attack.end = (attack.start + 10 * MICROS_PER_HOUR).min(attack.end);
        } else {
            attack.count = 1_800 + attack.rng.below(1_400);
            attack.gap = attack.rng.between(0.08, 0.25);
            attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        }
        self.outbound(attack, "sends data in names")
    }

    fn outbound(&self, attack: Attack, what: &str) -> Planned {
        let (host, gap) = (Ipv4Addr::from(attack.host), attack.gap);
        let description = format!("{host} {what} ({}) every {gap:.1} s +-{:.0} %", attack.name, attack.jitter * 100.0);
        let entities = vec![ip(attack.host)];
        (attack, entities, description)
    }

    fn travel(&mut self, mut attack: Attack) -> Planned {
        let mut rng = attack.rng.clone();
        let (user, shift) = self.at_work(&mut rng, attack.start, |user| user.detour.is_none() && !user.expiring);
        let speed_kmh = rng.between(1_040.0, 1_160.0);
        let near_far = if attack.is_slow() { (500.0, 2_200.0) } else { (5_000.0, f64::MAX) };
        let remote = at_distance(shift.egress, near_far, &mut rng);
        let hours = geo::distance_km(shift.egress.geo, remote.geo) / speed_kmh;
        let seconds = if attack.is_slow() { hours * HOUR } else { rng.between(200.0, 1_000.0) };
        attack.start = later(shift.start, seconds);
        attack.count = 7 + rng.below(8);
        attack.gap = rng.between(40.0, 160.0);
        attack.end = later(attack.start, f64::from(attack.count) * attack.gap * 1.4).min(self.world.end);
        (attack.user, attack.remotes, attack.rng) = (user, vec![remote], rng);
        let city = CITIES[remote.geo.city as usize].name;
        let description = format!("{} logs in from {city} {:.0} min after the office", self.name(user), seconds / 60.0);
        let entities = vec![format!("user:{}", self.name(user))];
        (attack, entities, description)
    }

    fn insider(&mut self, mut attack: Attack) -> Planned {
        let suits = |_, user: &User| user.role == Role::Office && !user.hidden && user.trips.is_empty();
        attack.user = self.user(&mut attack.rng, suits);
        let offset = self.world.users[attack.user as usize].offset_micros();
        // The next time it is between half past midnight and two there.
        let night = |time: i64| (time + offset).div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY - offset;
        let minute = attack.rng.between(30.0, 120.0);
        let mut start = night(attack.start) + micros(60.0 * minute);
        if start < attack.start {
            start += MICROS_PER_DAY;
        }
        if start > self.world.end - 2 * MICROS_PER_HOUR && start - MICROS_PER_DAY >= self.world.learned {
            start -= MICROS_PER_DAY;
        }
        attack.start = start;
        if attack.is_slow() {
            attack.gap = attack.rng.between(240.0, 480.0);
            attack.jitter = 0.5;
        } else {
            attack.count = 150 + attack.rng.below(120);
            attack.gap = attack.rng.between(12.0, 36.0);
            attack.jitter = 0.8;
            attack.end = later(start, f64::from(attack.count) * attack.gap * 1.2).min(attack.end);
        }
        let night = if attack.is_slow() { SLOW_NIGHT } else { attack.count };
        let description = format!("{} reads other departments' files, {night} a night", self.name(attack.user));
        let entities = vec![format!("user:{}", self.name(attack.user))];
        (attack, entities, description)
    }
}

/// An outsider's connection: a rented server or someone's home, anywhere.
fn anywhere(rng: &mut Rng) -> Egress {
    let city = rng.index(CITIES.len()) as u16;
    if rng.chance(0.5) { rng.pick(&HOSTING).egress(city, 0.0, rng) } else { geo::residential(city, rng) }
}

/// The same at a distance in kilometres from `origin`; the nearest to it where no city is.
fn at_distance(origin: Egress, (near, far): (f64, f64), rng: &mut Rng) -> Egress {
    let mut cities: Vec<u16> = (0..CITIES.len() as u16).collect();
    rng.shuffle(&mut cities);
    let miss = |city: &u16| {
        let distance = geo::distance_km(origin.geo, geo::centre(*city));
        (near - distance).max(distance - far).max(0.0)
    };
    let city = cities.into_iter().min_by(|a, b| miss(a).total_cmp(&miss(b))).expect("there are cities");
    if rng.chance(0.3) { rng.pick(&HOSTING).egress(city, 0.0, rng) } else { geo::residential(city, rng) }
}

//! The company: its offices, people, servers, and the internet it uses. Built from the seed, once.

use super::geo::{self, CITIES, Egress, HOMES, HOSTING, RELAY_NETWORK, SATELLITE_NETWORK, SITES, VPN_NETWORKS};
use super::known;
use super::names;
use super::rng::Rng;
use super::scenario::Scenario;
use super::timer::Timer;
use crate::core::types::MICROS_PER_DAY;

/// Streams of the seed; people, servers and campaigns add their number.
pub(super) const STREAM_WORLD: u64 = 1;
pub(super) const STREAM_USERS: u64 = 1 << 32;
pub(super) const STREAM_SERVERS: u64 = 2 << 32;
pub(super) const STREAM_TIMERS: u64 = 3 << 32;
pub(super) const STREAM_DAYS: u64 = 4 << 32;
pub(super) const STREAM_CAMPAIGNS: u64 = 5 << 32;
pub(super) const STREAM_CROWD: u64 = 6 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Office,
    Developer,
    Admin,
    /// Works through the night.
    Night,
    /// Travels.
    Roaming,
}

/// An absence from home: log-ins come from `egress` from the first to the last day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    pub(super) first_day: i64,
    pub(super) last_day: i64,
    pub(super) egress: Egress,
}

/// A stretch of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// When the log-in succeeds.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) lunch: i64,
    /// Mistyped passwords before that.
    pub(super) typos: u8,
    /// In the office; else over the company's VPN.
    pub(super) inside: bool,
    pub(super) egress: Egress,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) role: Role,
    pub(super) site: usize,
    pub(super) department: usize,
    /// Address on the office network, or of the gateway that hides it.
    pub(super) lan: u32,
    pub(super) hidden: bool,
    /// Address in the VPN's pool.
    pub(super) pool: u32,
    pub(super) laptop: u32,
    pub(super) phone: u32,
    pub(super) agent: &'static str,
    pub(super) home: Egress,
    pub(super) carrier: Egress,
    /// A VPN service, relay or secure gateway that some of the traffic leaves by.
    pub(super) detour: Option<Egress>,
    pub(super) trips: Vec<Trip>,
    /// Local minutes after midnight, and how long.
    pub(super) arrive_minutes: f64,
    pub(super) work_minutes: f64,
    pub(super) weekend: f64,
    /// Weekdays worked from home, bit 0 Monday.
    pub(super) home_days: u8,
    pub(super) typo: f64,
    /// Mean gaps are divided by it.
    pub(super) pace: f64,
    pub(super) upload: f64,
    pub(super) first_day: i64,
    pub(super) expiring: bool,
    pub(super) always_on: bool,
    pub(super) favourites: Vec<u16>,
    pub(super) sites: Vec<u32>,
    pub(super) timers: std::ops::Range<u32>,
    // What changes while time passes.
    pub(super) rng: Rng,
    pub(super) shift: Shift,
    /// Counts shifts: what was planned in an earlier one is void.
    pub(super) epoch: u32,
    pub(super) session: u64,
}

impl User {
    pub(super) fn offset_micros(&self) -> i64 {
        i64::from(CITIES[self.site].utc_offset_minutes) * 60_000_000
    }
    /// The address that network sensors see now.
    pub(super) fn address(&self) -> u32 {
        if self.shift.inside { self.lan } else { self.pool }
    }
    pub(super) fn works_at(&self, now: i64) -> bool {
        now < self.shift.end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Web,
    App,
    Database,
    File,
    Build,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) address: u32,
    pub(super) tier: Tier,
    /// Servers it talks to.
    pub(super) peers: Vec<u32>,
    /// Bytes of a night's backup.
    pub(super) backup_bytes: f64,
    pub(super) rng: Rng,
}

#[derive(Clone, Debug)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) address: u32,
}

/// Places of the well-known services among [`World::domains`].
pub(super) mod service {
    pub(in crate::simulate) const ENDPOINT: usize = 0;
    pub(in crate::simulate) const CHAT: usize = 1;
    pub(in crate::simulate) const SYNC: usize = 2;
    pub(in crate::simulate) const TELEMETRY: usize = 3;
    pub(in crate::simulate) const MEETING: usize = 4;
    pub(in crate::simulate) const REPUTATION: usize = 5;
    pub(in crate::simulate) const UPDATES: usize = 6;
    pub(in crate::simulate) const SHARING: usize = 7;
    pub(in crate::simulate) const BLOCKLIST: usize = 8;
    pub(in crate::simulate) const PACKAGES: usize = 9;
    pub(in crate::simulate) const DEVICES: usize = 10;
    /// First of those that people browse.
    pub(in crate::simulate) const POPULAR: usize = 11;
}
const POPULAR_COUNT: usize = 80;
const LONG_TAIL: usize = 6_000;
const FILES_PER_DEPARTMENT: usize = 400;
const CUSTOMERS: usize = 3_000;

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) learned: i64,
    /// 1 / the scenario's rate.
    pub(super) gap: f64,
    pub(super) expiry_day: i64,
    pub(super) users: Vec<User>,
    /// Names: of the users first, then of services, then of what noise guesses.
    pub(super) accounts: Vec<String>,
    pub(super) offices: Vec<Egress>,
    pub(super) servers: Vec<Server>,
    /// Addresses of the servers that hold shares.
    pub(super) file_servers: Vec<u32>,
    pub(super) domains: Vec<Domain>,
    pub(super) files: Vec<Vec<String>>,
    pub(super) timers: Vec<Timer>,
    pub(super) customers: Vec<u32>,
    pub(super) noise: Vec<u32>,
    /// Seconds from one probe to the next.
    pub(super) noise_gap: f64,
    pub(super) crowd: Crowd,
}

/// Streams of what is not a person or a server of ours.
pub(super) struct Crowd {
    pub(super) customers: Rng,
    pub(super) mail: Rng,
    pub(super) upkeep: Rng,
    pub(super) noise: Rng,
    pub(super) services: Vec<Rng>,
}

impl World {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut rng = Rng::of(scenario.seed, STREAM_WORLD);
        let offices = (0..SITES).map(|site| office(site, &mut rng)).collect();
        let mut world = Self {
            seed: scenario.seed,
            start: scenario.start.0,
            end: scenario.end().0,
            learned: scenario.learned().0,
            gap: 1.0 / scenario.rate,
            expiry_day: scenario.start.0.div_euclid(MICROS_PER_DAY) + i64::from(scenario.password_expiry_day),
            users: Vec::new(),
            accounts: Vec::new(),
            offices,
            servers: servers(scenario),
            file_servers: Vec::new(),
            domains: domains(&mut rng),
            files: files(&mut rng),
            timers: Vec::new(),
            customers: crowd(CUSTOMERS, &mut rng),
            noise: crowd(if scenario.background_per_hour > 0.0 { 160 } else { 0 }, &mut rng),
            noise_gap: 3_600.0 / scenario.background_per_hour.max(1e-6),
            crowd: Crowd::new(scenario.seed),
        };
        for index in 0..scenario.users as usize {
            let user = super::people::user(&world, scenario, index);
            world.users.push(user);
            world.accounts.push(names::person(index, &mut rng));
        }
        world.accounts.extend(names::SERVICES.iter().chain(&names::GUESSED).map(|name| (*name).to_owned()));
        world.file_servers = world.servers.iter().filter(|server| server.tier == Tier::File).map(|server| server.address).collect();
        super::timer::install(&mut world);
        world
    }

    /// Account number of service `index`.
    pub(super) fn service(&self, index: usize) -> u32 {
        (self.users.len() + index) as u32
    }
    /// Account number of the guessed name `index`.
    pub(super) fn guessed(&self, index: usize) -> u32 {
        (self.users.len() + names::SERVICES.len() + index) as u32
    }
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let stream = |index: u64| Rng::of(seed, STREAM_CROWD + index);
        let services = (0..names::SERVICES.len() as u64).map(|index| stream(100 + index)).collect();
        Self { customers: stream(0), mail: stream(1), upkeep: stream(2), noise: stream(3), services }
    }
}

fn office(site: usize, rng: &mut Rng) -> Egress {
    let geo = geo::Geo { asn: 64_500, ..geo::centre(site as u16) };
    Egress { address: known::public(200 + site as u8 + 4 * rng.below(2) as u8), geo }
}

/// An address of rented servers; used for services, small sites and command servers alike.
pub(super) fn hosted(rng: &mut Rng) -> u32 {
    rng.pick(&HOSTING).address(rng)
}

fn domains(rng: &mut Rng) -> Vec<Domain> {
    let shared: Vec<u32> = (0..60).map(|_| hosted(rng)).collect();
    (0..service::POPULAR + POPULAR_COUNT + LONG_TAIL)
        .map(|_| {
            let address = if rng.chance(0.3) { *rng.pick(&shared) } else { hosted(rng) };
            Domain { name: names::site(rng), address }
        })
        .collect()
}

fn files(rng: &mut Rng) -> Vec<Vec<String>> {
    (0..names::DEPARTMENTS.len())
        .map(|department| (0..FILES_PER_DEPARTMENT).map(|index| names::file(department, index, rng)).collect())
        .collect()
}

/// Addresses all over the world: homes mostly, some rented servers.
fn crowd(count: usize, rng: &mut Rng) -> Vec<u32> {
    (0..count)
        .map(|_| if rng.chance(0.25) { hosted(rng) } else { geo::residential(rng.below(CITIES.len() as u32) as u16, rng).address })
        .collect()
}

/// A VPN service's or relay's exit, often in another country than its user.
pub(super) fn detour(site: usize, rng: &mut Rng) -> Egress {
    let abroad = 17 + rng.below(20) as u16;
    let city = if rng.chance(0.4) { site as u16 } else { abroad };
    let roll = rng.unit();
    if roll < 0.72 {
        rng.pick(&VPN_NETWORKS).egress(city, 0.0, rng)
    } else if roll < 0.9 {
        RELAY_NETWORK.egress(city, 0.0, rng)
    } else {
        SATELLITE_NETWORK.egress(city, 0.0, rng)
    }
}

fn servers(scenario: &Scenario) -> Vec<Server> {
    const TIERS: [Tier; 10] =
        [Tier::Web, Tier::App, Tier::Database, Tier::File, Tier::Build, Tier::App, Tier::Web, Tier::App, Tier::Database, Tier::App];
    let tier = |index: u32| TIERS[index as usize % TIERS.len()];
    let databases: Vec<u32> = (0..scenario.servers).filter(|&i| tier(i) == Tier::Database).map(known::server).collect();
    let apps: Vec<u32> = (0..scenario.servers).filter(|&i| tier(i) == Tier::App).map(known::server).collect();
    (0..scenario.servers)
        .map(|index| {
            let mut rng = Rng::of(scenario.seed, STREAM_SERVERS + u64::from(index));
            let upstream = if tier(index) == Tier::Web { &apps } else { &databases };
            let peers = (0..1 + rng.index(3)).map(|_| *rng.pick(upstream)).collect();
            let backup_bytes = rng.log_normal(12e9, 1.0);
            Server { address: known::server(index), tier: tier(index), peers, backup_bytes, rng }
        })
        .collect()
}

/// An office's network: 10.10 + site. The gateway is `.0.1`.
pub(super) fn lan(site: usize, host: usize) -> u32 {
    10 << 24 | (10 + site as u32) << 16 | host as u32
}

/// Home cities of an office's people.
pub(super) fn home_city(site: usize, rng: &mut Rng) -> u16 {
    *rng.pick(HOMES[site])
}

//! Who works here, when, and from where. A day's plan is a pure function of the seed, the person and the day.

use super::geo::{self, HOMES};
use super::names::{BROWSERS, DEPARTMENTS};
use super::rng::Rng;
use super::scenario::Scenario;
use super::world::{Role, STREAM_DAYS, STREAM_USERS, Shift, Trip, User, World, detour, home_city, lan, service};
use crate::core::types::MICROS_PER_DAY;

const MINUTE: i64 = 60_000_000;
/// From one mistyped password to the next try.
pub(super) const RETRY_MICROS: i64 = 9_000_000;
/// The site whose people the sensors only see behind its gateway.
const SITE_HIDDEN: usize = 3;

pub(super) fn user(world: &World, scenario: &Scenario, index: usize) -> User {
    let mut rng = Rng::of(scenario.seed, STREAM_USERS + index as u64);
    let site = match rng.below(100) {
        0..42 => 0,
        42..70 => 1,
        70..88 => 2,
        _ => SITE_HIDDEN,
    };
    let department = rng.index(DEPARTMENTS.len());
    let role = role(index, department, &mut rng);
    let hidden = site == SITE_HIDDEN;
    let home = geo::residential(home_city(site, &mut rng), &mut rng);
    let arrive = if role == Role::Night { 22.0 } else { 8.7 + 0.9 * rng.normal() };
    let start_day = scenario.start.0.div_euclid(MICROS_PER_DAY);
    let new_hire = rng.chance(scenario.new_hires);
    let first_day = if new_hire { start_day + (scenario.days * rng.between(0.4, 0.8)) as i64 } else { i64::MIN };
    User {
        role,
        site,
        department,
        lan: if hidden { lan(site, 1) } else { lan(site, 256 + index) },
        hidden,
        pool: 10 << 24 | 20 << 16 | (10 + index as u32),
        laptop: rng.bits() as u32 | 1,
        phone: rng.bits() as u32 | 1,
        agent: BROWSERS[rng.index(BROWSERS.len())],
        // A carrier's gateway is as a rule in the same town, for a few people in the next one.
        carrier: geo::mobile(if rng.chance(0.93) { site as u16 } else { *HOMES[site].last().expect("every site has homes") }, &mut rng),
        home,
        detour: rng.chance(0.18).then(|| detour(site, &mut rng)),
        trips: if role == Role::Roaming { trips(scenario, site, &mut rng) } else { Vec::new() },
        arrive_minutes: arrive * 60.0,
        work_minutes: 60.0 * (8.6 + 0.6 * rng.normal()),
        weekend: if rng.chance(0.15) { 0.3 } else { 0.03 },
        home_days: (0..5).fold(0, |days, day| days | u8::from(rng.chance(0.22)) << day),
        typo: 0.02 + 0.1 * rng.unit() * rng.unit(),
        pace: rng.log_normal(1.0, 0.3),
        upload: if rng.chance(0.06) { 0.04 } else { 0.002 },
        first_day,
        expiring: rng.chance(0.18),
        always_on: rng.chance(0.1),
        favourites: (0..10 + rng.index(14)).map(|_| rng.skewed(world.files[department].len()) as u16).collect(),
        sites: sites(world, &mut rng),
        timers: 0..0,
        shift: Shift { start: 0, end: i64::MIN, lunch: 0, typos: 0, inside: true, egress: home },
        epoch: 0,
        session: 0,
        rng,
    }
}

/// The first people fill every role, so that a small company has them all.
fn role(index: usize, department: usize, rng: &mut Rng) -> Role {
    let roll = match index {
        0..4 => return [Role::Admin, Role::Night, Role::Roaming, Role::Admin][index],
        _ => rng.unit(),
    };
    match department {
        5 if roll < 0.25 => Role::Admin,
        4 if roll < 0.25 => Role::Night,
        1 if roll < 0.45 => Role::Roaming,
        2 => Role::Developer,
        _ => Role::Office,
    }
}

fn sites(world: &World, rng: &mut Rng) -> Vec<u32> {
    let browsable = world.domains.len() - service::POPULAR;
    let favourite = |rng: &mut Rng| if rng.chance(0.5) { rng.skewed(80) } else { rng.index(browsable) };
    (0..18 + rng.index(24)).map(|_| (service::POPULAR + favourite(rng)) as u32).collect()
}

/// Business trips: to the other side of the world or another office, a few days long and a few days apart.
fn trips(scenario: &Scenario, site: usize, rng: &mut Rng) -> Vec<Trip> {
    let start_day = scenario.start.0.div_euclid(MICROS_PER_DAY);
    let mut trips = Vec::new();
    let mut day = start_day + i64::from(rng.below(3));
    while (day - start_day) < scenario.days as i64 + 1 {
        let city = (geo::SITES + rng.index(geo::CITIES.len() - geo::SITES)) as u16;
        let last_day = day + 2 + i64::from(rng.below(3));
        let egress = geo::residential(if rng.chance(0.3) { ((site + 1) % 3) as u16 } else { city }, rng);
        trips.push(Trip { first_day: day, last_day, egress });
        day = last_day + 3 + i64::from(rng.below(9));
    }
    trips
}

/// A day's work, in order; at most a stretch before and one after a flight.
pub(super) type Day = [Option<Shift>; 2];

/// What user `index` does on local day `day` (days since 1970 in the site's time).
pub(super) fn plan(world: &World, index: usize, day: i64) -> Day {
    let user = &world.users[index];
    let mut rng = Rng::of(world.seed ^ (day as u64).wrapping_mul(0xa076_1d64_78bd_642f), STREAM_DAYS + index as u64);
    let weekday = (day + 3).rem_euclid(7);
    let appears = if weekday >= 5 { user.weekend } else { 0.94 };
    if day < user.first_day || !rng.chance(appears) {
        return [None, None];
    }
    let midnight = day * MICROS_PER_DAY - user.offset_micros();
    let minutes = user.arrive_minutes + 22.0 * rng.normal();
    let start = midnight + (minutes * MINUTE as f64) as i64;
    let mut length = user.work_minutes + 35.0 * rng.normal();
    if weekday >= 5 {
        length *= 0.35;
    }
    let typos = typos(world, user, day, &mut rng);
    let inside = weekday < 5 && user.home_days >> weekday & 1 == 0;
    let egress = if inside { world.offices[user.site] } else { user.home };
    let lunch = start + (rng.between(200.0, 260.0) * MINUTE as f64) as i64;
    let usual = Shift { start, end: start + (length.max(60.0) * MINUTE as f64) as i64, lunch, typos, inside, egress };
    // The day after a trip is for getting home and sleeping.
    match user.trips.iter().find(|trip| (trip.first_day..=trip.last_day + 1).contains(&day)) {
        Some(trip) if day > trip.last_day => [None, None],
        Some(trip) => travelling(usual, trip, user, day, &mut rng),
        None => [Some(usual), None],
    }
}

/// Passwords mistyped at the day's first log-in.
fn typos(world: &World, user: &User, day: i64, rng: &mut Rng) -> u8 {
    let mut typos = 0;
    while typos < 3 && rng.chance(user.typo) {
        typos += 1;
    }
    // Whose password has expired tries the old one, and then gets the new one wrong.
    if day == world.expiry_day && user.expiring { typos + 3 + rng.below(4) as u8 } else { typos }
}

/// On the first and the last day half the work is at home and half at the destination, with a flight of 800 km/h and the ways to
/// and from the airport between; in between all of it is there, in that city's day. Whoever has flown far sleeps in after it.
fn travelling(usual: Shift, trip: &Trip, user: &User, day: i64, rng: &mut Rng) -> Day {
    let away = |shift: Shift| Shift { inside: false, egress: trip.egress, ..shift };
    let offset = i64::from(geo::CITIES[trip.egress.geo.city as usize].utc_offset_minutes) * MINUTE;
    let kilometres = geo::distance_km(user.home.geo, trip.egress.geo);
    let late = if day == trip.first_day + 1 && kilometres > 2_000.0 { 600 * MINUTE } else { 0 };
    let shifted = user.offset_micros() - offset + late;
    let there = Shift { start: usual.start + shifted, end: usual.end + shifted, lunch: usual.lunch + shifted, ..away(usual) };
    let flight_hours = kilometres / 800.0 + 3.0 + rng.unit();
    let morning = 150 * MINUTE;
    let gap = morning + (flight_hours * 60.0 * MINUTE as f64) as i64;
    let evening = |from: Shift, to: Shift| {
        let start = from.start + gap;
        let second = Shift { start, end: start + 100 * MINUTE, lunch: start + MICROS_PER_DAY, typos: 0, ..to };
        [Some(Shift { end: from.start + morning, ..from }), Some(second)]
    };
    match (day == trip.first_day, day == trip.last_day) {
        (true, _) => evening(usual, away(usual)),
        (false, true) => evening(there, Shift { inside: false, egress: user.home, ..usual }),
        (false, false) => [Some(there), None],
    }
}

/// The first stretch of work of `index` that is planned to begin within `[from, to)`.
pub(super) fn log_in_between(world: &World, index: usize, from: i64, to: i64) -> Option<Shift> {
    let user = &world.users[index];
    let local_day = |time: i64| (time + user.offset_micros()).div_euclid(MICROS_PER_DAY);
    (local_day(from) - 1..=local_day(to)).flat_map(|day| plan(world, index, day)).flatten().find(|shift| (from..to).contains(&shift.start))
}

//! What an entity has done before: destinations, ports, resources, devices, countries, kinds of action.

use super::facts::Facts;
use super::persist::persist_fields;
use super::sketch::Bloom;
use super::windows::ADMIN_PORTS;
use crate::core::features::row::{Signal, Signals};
use crate::core::numeric::{ln, mix};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Novelty {
    /// Destinations and resources together: an entity has many of the one or of the other.
    things: Bloom<96>,
    ports: Bloom<16>,
    devices: Bloom<8>,
    countries: Bloom<8>,
    /// Share of new ones among the last 32 or so.
    new_destinations: f32,
    new_resources: f32,
    /// New resources, and new internal hosts on administration ports, decayed.
    resources_1h: f32,
    resources_24h: f32,
    odd_resources_24h: f32,
    admin_hosts_24h: f32,
    ports_seen: Mix<16>,
    actions_seen: Mix<16>,
}
persist_fields!(Novelty {
    things,
    ports,
    devices,
    countries,
    new_destinations,
    new_resources,
    resources_1h,
    resources_24h,
    odd_resources_24h,
    admin_hosts_24h,
    ports_seen,
    actions_seen
});

/// Events an entity must have before anything is called new for it.
const HISTORY_EVENTS_MIN: u32 = 10;
const RECENT: f32 = 1.0 / 32.0;

impl Novelty {
    /// `odd_hour` is the surprise of the hour. Also says whether the destination is a new one.
    pub fn observe(&mut self, facts: &Facts, events: u32, odd_hour: f32, signals: &mut impl Signals) -> (Rarity, bool) {
        let known = events >= HISTORY_EVENTS_MIN;
        let mut flag = |which: Signal, hash: u64, new: bool| {
            let new = new && known && hash != 0;
            signals.set(which, || f32::from(u8::from(new)));
            new
        };
        let destination = facts.destination != 0 && self.things.insert_is_new(facts.destination);
        let destination = flag(Signal::NewDestination, facts.destination, destination);
        let port_hash = if facts.port == 0 { 0 } else { mix(u64::from(facts.port)) };
        let port = port_hash != 0 && self.ports.insert_is_new(port_hash);
        flag(Signal::NewPort, port_hash, port);
        let resource = facts.resource != 0 && self.things.insert_is_new(facts.resource);
        let resource = flag(Signal::NewResource, facts.resource, resource);
        let device = facts.device != 0 && self.devices.insert_is_new(facts.device);
        flag(Signal::NewDevice, facts.device, device);
        let country = facts.country != 0 && self.countries.insert_is_new(facts.country);
        flag(Signal::NewCountry, facts.country, country);
        self.resources_1h = self.resources_1h * facts.fade_1h + f32::from(u8::from(resource));
        self.resources_24h = self.resources_24h * facts.fade_24h + f32::from(u8::from(resource));
        let odd = if resource { odd_hour } else { 0.0 };
        self.odd_resources_24h = self.odd_resources_24h * facts.fade_24h + odd;
        signals.set(Signal::OddResources24h, || self.odd_resources_24h);
        let admin = facts.destination != 0 && !facts.external && ADMIN_PORTS.contains(&facts.port);
        self.admin_hosts_24h = self.admin_hosts_24h * facts.fade_24h + f32::from(u8::from(admin && destination));
        signals.set(Signal::User, || f32::from(u8::from(facts.user)));
        signals.set(Signal::AdminPort, || f32::from(u8::from(admin)));
        signals.set(Signal::NewResources1h, || self.resources_1h);
        signals.set(Signal::NewResources24h, || self.resources_24h);
        signals.set(Signal::NewAdminHosts24h, || self.admin_hosts_24h);
        self.new_destinations += (f32::from(u8::from(destination)) - self.new_destinations) * RECENT;
        self.new_resources += (f32::from(u8::from(resource)) - self.new_resources) * RECENT;
        let rarity = Rarity { port: self.ports_seen.count(port_hash), action: self.actions_seen.count(facts.action ^ facts.protocol) };
        (rarity, destination)
    }

    /// Whether there are too many destinations and resources to call any of them new.
    #[must_use]
    pub fn is_forgetful(&self) -> bool {
        self.things.is_full()
    }
    #[must_use]
    pub fn new_destination_ratio(&self) -> f32 {
        self.new_destinations
    }
    #[must_use]
    pub fn new_resource_ratio(&self) -> f32 {
        self.new_resources
    }
}

/// How usual this event's port and kind of action were under the entity's own mix before it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rarity {
    pub port: Share,
    pub action: Share,
}

/// How often a category occurred, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    count: u8,
    total: u16,
}

impl Share {
    /// -ln of the smoothed share, nats.
    #[must_use]
    pub fn surprise(self) -> f32 {
        ln((f32::from(self.total) + 2.0) / (f32::from(self.count) + 1.0))
    }
}

/// Counts of hashed categories that fade by halving.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mix<const N: usize> {
    counts: [u8; N],
}

impl<const N: usize> Default for Mix<N> {
    fn default() -> Self {
        Self { counts: [0; N] }
    }
}

impl<const N: usize> super::persist::Persist for Mix<N> {
    fn write(&self, out: &mut Vec<u8>) {
        self.counts.write(out);
        self.total().write(out);
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.counts.read(input)?;
        0_u16.read(input)
    }
}

impl<const N: usize> Mix<N> {
    /// The share of the category so far; then counts it.
    fn count(&mut self, hash: u64) -> Share {
        let slot = (hash >> 40) as usize % N;
        let share = Share { count: self.counts[slot], total: self.total() };
        if self.counts[slot] == u8::MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
        self.counts[slot] += 1;
        share
    }

    fn total(&self) -> u16 {
        self.counts.iter().map(|count| u16::from(*count)).sum()
    }
}

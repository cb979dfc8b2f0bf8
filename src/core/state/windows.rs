//! Distinct values in sliding event-time windows: fan-out of every kind.
//!
//! Which windows are open follows from the entity's newest event, so it is not kept.

use super::facts::Facts;
use super::persist::Persist;
use super::sketch::{WindowClock, Windowed};
use crate::core::features::row::{Signal, Signals};
use crate::core::types::{MICROS_PER_HOUR, MICROS_PER_SECOND};

const SHORT_MICROS: i64 = 300 * MICROS_PER_SECOND;
const LONG_MICROS: i64 = MICROS_PER_HOUR;
const DAY_MICROS: i64 = 24 * MICROS_PER_HOUR;
/// Ports through which hosts are administered: SSH, Telnet, RPC, NetBIOS, SMB, RDP, WinRM.
pub(super) const ADMIN_PORTS: [u16; 8] = [22, 23, 135, 139, 445, 3389, 5985, 5986];

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Windows {
    hosts: Windowed<20>,
    ports: Windowed<20>,
    failed_parties: Windowed<8>,
    failed_parties_day: Windowed<16>,
    admin_hosts: Windowed<8>,
    resources: Windowed<16>,
}

/// Which windows are open.
struct Clocks {
    short: WindowClock,
    long: WindowClock,
    day: WindowClock,
}

impl Clocks {
    fn at(micros: i64) -> Self {
        let [short, long, day] = [SHORT_MICROS, LONG_MICROS, DAY_MICROS].map(|length| WindowClock::at(micros, length));
        Self { short, long, day }
    }
}

impl Windows {
    pub fn observe(&mut self, facts: &Facts, signals: &mut impl Signals) {
        let mut clocks = Clocks::at(facts.before_micros);
        self.advance(&mut clocks, facts.micros);
        let [hosts, ports, failed_parties, failed_parties_day, admin_hosts, resources] = self.insert(facts);
        let short = clocks.short.left(facts.micros, SHORT_MICROS);
        let long = clocks.long.left(facts.micros, LONG_MICROS);
        signals.set(Signal::Hosts, || self.hosts.value(hosts, short));
        signals.set(Signal::HostsMean, || self.hosts.mean());
        signals.set(Signal::Ports, || self.ports.value(ports, short));
        signals.set(Signal::PortsMean, || self.ports.mean());
        signals.set(Signal::FailedUsers, || self.failed_parties.value(failed_parties, long));
        signals.set(Signal::FailedUsersMean, || self.failed_parties.mean());
        let day = clocks.day.left(facts.micros, DAY_MICROS);
        signals.set(Signal::FailedUsersDay, || self.failed_parties_day.value(failed_parties_day, day));
        signals.set(Signal::FailedUsersDayMean, || self.failed_parties_day.mean());
        signals.set(Signal::AdminHosts, || self.admin_hosts.value(admin_hosts, long));
        signals.set(Signal::AdminHostsMean, || self.admin_hosts.mean());
        signals.set(Signal::Resources, || self.resources.value(resources, long));
        signals.set(Signal::ResourcesMean, || self.resources.mean());
    }

    /// The stored form, whose clocks are those of the newest event.
    pub fn write(&self, newest_micros: i64, out: &mut Vec<u8>) {
        let Clocks { short, long, day } = Clocks::at(newest_micros);
        [short, long, day].iter().for_each(|clock| clock.write(out));
        let Self { hosts, ports, failed_parties, failed_parties_day, admin_hosts, resources } = self;
        hosts.write(out);
        ports.write(out);
        failed_parties.write(out);
        failed_parties_day.write(out);
        admin_hosts.write(out);
        resources.write(out);
    }
    pub fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        [WindowClock::default(); 3].read(input)?;
        let Self { hosts, ports, failed_parties, failed_parties_day, admin_hosts, resources } = self;
        hosts.read(input)?;
        ports.read(input)?;
        failed_parties.read(input)?;
        failed_parties_day.read(input)?;
        admin_hosts.read(input)?;
        resources.read(input)
    }

    fn advance(&mut self, clocks: &mut Clocks, micros: i64) {
        if let Some(adjacent) = clocks.short.advance(micros, SHORT_MICROS) {
            self.hosts.roll(adjacent);
            self.ports.roll(adjacent);
        }
        if let Some(adjacent) = clocks.long.advance(micros, LONG_MICROS) {
            self.failed_parties.roll(adjacent);
            self.admin_hosts.roll(adjacent);
            self.resources.roll(adjacent);
        }
        if let Some(adjacent) = clocks.day.advance(micros, DAY_MICROS) {
            self.failed_parties_day.roll(adjacent);
        }
    }

    /// In the order of the fields, how much is counted in each.
    #[inline]
    fn insert(&mut self, facts: &Facts) -> [u16; 6] {
        let some = |hash: u64| (hash != 0).then_some(hash);
        let host = some(facts.destination);
        let port = host.filter(|_| facts.port != 0).map(|_| crate::core::numeric::mix(u64::from(facts.port)));
        let admin_host = host.filter(|_| !facts.external && ADMIN_PORTS.contains(&facts.port));
        [
            self.hosts.insert(host),
            self.ports.insert(port),
            self.failed_parties.insert(some(facts.failed_party)),
            self.failed_parties_day.insert(some(facts.failed_party)),
            self.admin_hosts.insert(admin_host),
            self.resources.insert(some(facts.resource)),
        ]
    }
}

//! Fan-out: one entity reaches far more ports or hosts than it is used to. Vertical and horizontal scans in 5 minutes, and
//! administration services of many inside hosts in an hour (lateral movement). A scan too slow for that shows by nearly all of the
//! entity's connections failing while it goes on to new places. Sees counts, never the hosts themselves.

use super::surprise::{count_excess, ramp, share, strongest};
use super::{Detector, Explanation, FAN_OUT, Figures, each_row, threat_type, words};
use crate::core::features::row::{FeatureRows, RowView, Signal, SignalRow, signal};

/// What an entity may reach that is not known to reach anything, beside its own average.
const ALLOWED_PORTS: f32 = 5.0;
const ALLOWED_HOSTS: f32 = 10.0;
const ALLOWED_ADMIN_HOSTS: f32 = 1.5;
/// Hosts that are administered for the first time within a day, whoever does it; and more by those who administer many an hour.
const ALLOWED_NEW_ADMIN_HOSTS: f32 = 2.0;
const NEW_PER_ADMINISTERED: f32 = 2.5;
/// To an entity of this age in hours every host is new, and from this age on it knows its own.
const NEW_FROM_HOURS: (f32, f32) = (4.0, 24.0);
/// A page view or a start-up of a computer reaches many hosts at once: geometric.
const SHAPE: f32 = 1.0;
/// People administer one host after the other, so these counts vary less.
const ADMIN_SHAPE: f32 = 8.0;
/// The three counts see the same connections in part.
const RELATED: f32 = 0.5;
/// Most connections of a scan fail, those of a busy client do not: all failing adds this share.
const FAILING_BONUS: f32 = 0.5;
/// Administration services alone, and mostly with success: hosts and ports may show at most this share of their surprise, and at
/// most this share of attempts may fail, or it is a scan.
const LATERAL_SHARE: f32 = 0.5;
const LATERAL_FAILURES: f32 = 0.5;
/// Nats of a connection to a port or host never tried before, by an entity nearly all of whose connections failed so far: from
/// and to which share of failures, and how many events. File sharing fails often, but not nearly always.
const SLOW_NATS: f32 = 8.0;
const SLOW_FAILURES: (f32, f32) = (0.6, 1.0);
const SLOW_EVENTS: (f32, f32) = (10.0, 50.0);

#[derive(Clone, Copy, Debug, Default)]
pub struct FanOut;

/// What the score is made of, nats.
struct Parts {
    ports: f32,
    hosts: f32,
    admin: f32,
    /// Administration services of hosts never reached before, within a day.
    new_admin: f32,
    slow: f32,
    /// 1..=1 + FAILING_BONUS
    failing: f32,
}

impl Parts {
    #[inline]
    fn total(&self) -> f32 {
        strongest([self.ports, self.hosts, self.admin, self.new_admin], RELATED) * self.failing + self.slow
    }
}

#[inline]
fn usual(row: &SignalRow, mean: Signal, allowed: f32) -> f32 {
    allowed + signal(row, mean).max(0.0)
}

#[inline]
fn parts(row: &SignalRow) -> Parts {
    let (ports, hosts) = (signal(row, Signal::Ports), signal(row, Signal::Hosts));
    let failing = ramp(signal(row, Signal::Failures5m), 0.0, ports.max(hosts).max(1.0)).max(share(signal(row, Signal::FailureShare)));
    // What is reached otherwise meanwhile is no part of it.
    let at_admin = share(signal(row, Signal::AdminPort));
    Parts {
        ports: count_excess(ports, usual(row, Signal::PortsMean, ALLOWED_PORTS), SHAPE),
        hosts: count_excess(hosts, usual(row, Signal::HostsMean, ALLOWED_HOSTS), SHAPE),
        admin: at_admin
            * count_excess(signal(row, Signal::AdminHosts), usual(row, Signal::AdminHostsMean, ALLOWED_ADMIN_HOSTS), ADMIN_SHAPE),
        new_admin: at_admin
            * ramp(signal(row, Signal::AgeHours), NEW_FROM_HOURS.0, NEW_FROM_HOURS.1)
            * count_excess(signal(row, Signal::NewAdminHosts24h), usual_new_admin(row), ADMIN_SHAPE),
        slow: slow(row),
        failing: 1.0 + FAILING_BONUS * failing,
    }
}

#[inline]
fn usual_new_admin(row: &SignalRow) -> f32 {
    ALLOWED_NEW_ADMIN_HOSTS + NEW_PER_ADMINISTERED * (signal(row, Signal::AdminHostsMean) - 1.0).max(0.0)
}

#[inline]
fn slow(row: &SignalRow) -> f32 {
    let new = share(signal(row, Signal::NewPort).max(signal(row, Signal::NewDestination)));
    let failing = ramp(signal(row, Signal::FailureShare), SLOW_FAILURES.0, SLOW_FAILURES.1);
    SLOW_NATS * new * failing * ramp(signal(row, Signal::Events), SLOW_EVENTS.0, SLOW_EVENTS.1)
}

fn is_lateral(parts: &Parts, row: &SignalRow) -> bool {
    let scan = parts.ports.max(parts.hosts).max(parts.slow);
    scan < LATERAL_SHARE * parts.admin.max(parts.new_admin) && signal(row, Signal::FailureShare) <= LATERAL_FAILURES
}

impl Detector for FanOut {
    fn name(&self) -> &'static str {
        super::NAMES[FAN_OUT]
    }
    fn version(&self) -> &str {
        super::RULES_VERSION
    }
    fn score(&self, rows: FeatureRows<'_>, out: &mut [f32]) {
        each_row(rows, FAN_OUT, out, |row| parts(row).total());
    }
    fn explain(&self, row: RowView<'_>, out: &mut Explanation) {
        let row = row.signals;
        let parts = parts(row);
        let lateral = is_lateral(&parts, row);
        out.threat_type = if lateral { threat_type::LATERAL_MOVEMENT } else { threat_type::PORT_SCAN };
        let figures =
            |count, mean, allowed, surprise| Figures { observed: signal(row, count), expected: usual(row, mean, allowed), surprise };
        let ports = figures(Signal::Ports, Signal::PortsMean, ALLOWED_PORTS, parts.ports);
        out.add("vertical_scan", "distinct_ports", ports, || {
            format!(
                "Reached {} within 5 minutes; {} would be ordinary.",
                words::plural(ports.observed, "port", "ports"),
                words::count(ports.expected)
            )
        });
        let hosts = figures(Signal::Hosts, Signal::HostsMean, ALLOWED_HOSTS, parts.hosts);
        out.add("horizontal_scan", "distinct_destinations", hosts, || {
            format!(
                "Reached {} within 5 minutes; {} would be ordinary.",
                words::plural(hosts.observed, "host", "hosts"),
                words::count(hosts.expected)
            )
        });
        let admin = figures(Signal::AdminHosts, Signal::AdminHostsMean, ALLOWED_ADMIN_HOSTS, parts.admin);
        out.add(if lateral { "lateral_movement" } else { "administration_scan" }, "admin_hosts", admin, || {
            format!(
                "Reached administration services of {} inside within an hour; {} would be ordinary.",
                words::plural(admin.observed, "host", "hosts"),
                words::count(admin.expected)
            )
        });
        let (new, usual) = (signal(row, Signal::NewAdminHosts24h), usual_new_admin(row));
        out.add(
            "new_administered_hosts",
            "new_admin_hosts_24h",
            Figures { observed: new, expected: usual, surprise: parts.new_admin },
            || format!("Administration services of {} reached for the first time within a day.", words::plural(new, "host", "hosts")),
        );
        let failures = signal(row, Signal::FailureShare);
        out.add("slow_scan", "new_port_or_destination", Figures { observed: 1.0, expected: 0.0, surprise: parts.slow }, || {
            format!("Tried a port or host for the first time, after {} of its attempts had failed.", words::percent(failures))
        });
        let surprise = (parts.total() - parts.slow) * (1.0 - 1.0 / parts.failing);
        out.support("failure_ratio", Figures { observed: failures, expected: 0.0, surprise });
    }
}

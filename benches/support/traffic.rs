//! Made-up network traffic as the raw JSON of product.md 1.1: flows, web requests, DNS queries and log-ins of many sources.
//!
//! Deterministic by seed and number. Each source has its own habits: a user, a device, a handful of destinations and ports, sizes
//! around its own. Must never be used to tell how well something detects: it has no attacks in it.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use threatguard::core::event::Record;
use threatguard::core::numeric::mix;
use threatguard::core::types::{EventTime, Offset, Partition, Position};

/// A Monday morning.
const START_MICROS: i64 = 1_772_438_400_000_000;
/// Mean time between two events of one source: so long that every event finds a state that left the caches, and a short window
/// that has passed.
const MEAN_GAP_MICROS: i64 = 600_000_000;
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const CITIES: [(&str, &str, f32, f32); 4] =
    [("DE", "Berlin", 52.52, 13.405), ("FR", "Paris", 48.857, 2.352), ("US", "Boston", 42.36, -71.058), ("JP", "Osaka", 34.694, 135.502)];

/// How events choose their source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Each as likely as any other: no cache helps.
    Uniform,
    /// The k-th as likely as 1/k.
    Zipf,
}

impl Keys {
    pub fn of(name: &str) -> Result<Self, String> {
        match name {
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => Err(format!("--keys is uniform or zipf, not '{name}'")),
        }
    }
}

/// Records one behind the other in one buffer, as a poll brings them.
#[derive(Default)]
pub struct Payloads {
    text: String,
    /// Number of each event and where its text ends.
    ends: Vec<(u64, usize)>,
}

impl Payloads {
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
    pub fn records(&self) -> Vec<Record<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let record = |(start, (number, end)): (usize, &(u64, usize))| Record {
            at: Position { partition: Partition(0), offset: Offset(*number) },
            payload: &self.text.as_bytes()[start..*end],
            time: None,
        };
        starts.zip(&self.ends).map(record).collect()
    }
    /// Appends the event with this number, which is its offset too, of `source`.
    pub fn push(&mut self, seed: u64, source: u64, number: u64, micros: i64) {
        event(&mut self.text, seed, source, number, micros).expect("a String takes everything");
        self.ends.push((number, self.text.len()));
    }
}

/// An endless log of `sources` that take turns by `keys`.
pub struct Traffic {
    pub seed: u64,
    pub sources: u64,
    pub keys: Keys,
    next: u64,
}

impl Traffic {
    pub fn new(seed: u64, sources: u64, keys: Keys) -> Self {
        Self { seed, sources, keys, next: 0 }
    }

    /// The next `count` events of the log; the first rounds go through all sources, so that everybody is known.
    pub fn fill(&mut self, count: usize, out: &mut Payloads) {
        out.clear();
        for _ in 0..count {
            let number = self.next;
            let source = if number < self.sources { number } else { self.choose(mix(self.seed ^ mix(number))) };
            out.push(self.seed, source, number, self.micros(number));
            self.next += 1;
        }
    }

    /// Event time of the event with this number.
    pub fn micros(&self, number: u64) -> i64 {
        START_MICROS + number as i64 * (MEAN_GAP_MICROS / self.sources as i64).max(1)
    }

    fn choose(&self, bits: u64) -> u64 {
        let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
        match self.keys {
            Keys::Uniform => (unit * self.sources as f64) as u64,
            // The inverse of the distribution function of a density 1/x on 1..n.
            Keys::Zipf => ((self.sources as f64).powf(unit) as u64 - 1).min(self.sources - 1),
        }
    }
}

/// The address of a source, inside 10.0.0.0/8 up to 2^24 of them and outside beyond.
pub fn address(source: u64) -> Ipv4Addr {
    let bits = if source < 1 << 24 { 0x0a00_0000 + source } else { 0x2000_0000 + source };
    Ipv4Addr::from_bits(bits as u32)
}

struct Flow {
    kind: &'static str,
    protocol: &'static str,
    port: u16,
}

fn event(out: &mut String, seed: u64, source: u64, number: u64, micros: i64) -> std::fmt::Result {
    let habits = mix(seed ^ mix(source ^ 0x5555));
    let chance = mix(number ^ seed.rotate_left(20));
    let flow = flow(chance, habits);
    // Mostly one of six destinations of its own habit, of which half are places that many go to.
    let usual = mix(habits ^ ((chance >> 40) % 6));
    let pick = match (chance >> 40 & 15, usual & 1) {
        (0, _) => chance >> 44,
        (_, 0) => usual % 4_096,
        _ => usual,
    };
    let outside = Ipv4Addr::from_bits(0x5000_0000 | (pick as u32 & 0x0fff_ffff));
    let sent = 200 + ((habits & 0x3ff) << (chance >> 16 & 3)) + (chance >> 18 & 0x1ff);
    let received = sent * (2 + (chance >> 27 & 7));
    let packets = 4 + (sent + received) / 900;
    write!(
        out,
        r#"{{"timestamp":"{}","source_ip":"{}","dest_ip":"{outside}","protocol":"{}","port":{},"bytes_transferred":{},"bytes_out":{sent},"bytes_in":{received},"packets":{packets},"duration":{}.{:03},"event_type":"{}","user_id":"user{:05}","device_id":"laptop-{:05}""#,
        EventTime(micros + (chance & 0x3ff) as i64),
        address(source),
        flow.protocol,
        flow.port,
        sent + received,
        chance >> 30 & 7,
        chance >> 33 & 511,
        flow.kind,
        source,
        source
    )?;
    match flow.kind {
        "http.request" => {
            write!(out, r#","user_agent":"{BROWSER}","resource":"/app/{}/view","action":"GET","outcome":"success"}}"#, pick % 40)
        }
        "dns.query" => write!(out, r#","resource":"host{}.cdn{}.example.net","action":"query","outcome":"success"}}"#, pick % 97, pick % 9),
        "auth.login" => {
            let (country, city, lat, lon) = CITIES[(habits % 4) as usize];
            let outcome = if chance >> 50 & 31 == 0 { "failure" } else { "success" };
            write!(
                out,
                r#","action":"login","outcome":"{outcome}","session_id":"{:016x}","geo":{{"lat":{lat},"lon":{lon},"country":"{country}","city":"{city}","asn":64500}}}}"#,
                chance
            )
        }
        _ => write!(out, r#","action":"allow","outcome":"success","session_id":"{chance:016x}"}}"#),
    }
}

/// 60 % flows, 20 % web requests, 12 % DNS queries, 8 % log-ins.
fn flow(chance: u64, habits: u64) -> Flow {
    match chance % 100 {
        0..60 => Flow {
            kind: "connection",
            protocol: "tcp",
            port: [443, 443, 8443, 993, 5222, 22][(((habits >> 8) ^ (chance >> 60)) % 6) as usize],
        },
        60..80 => Flow { kind: "http.request", protocol: "tcp", port: 80 },
        80..92 => Flow { kind: "dns.query", protocol: "udp", port: 53 },
        _ => Flow { kind: "auth.login", protocol: "tcp", port: 443 },
    }
}

//! Made-up events of about 300 bytes for the log: many sources with habits of their own, and a few that guess passwords.
//!
//! Deterministic by seed and number. Must never be used to tell how well something detects.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use threatguard::core::numeric::mix;
use threatguard::core::types::EventTime;

/// A Monday morning.
const START_MICROS: i64 = 1_772_438_400_000_000;
/// Mean time between two events of one source.
const MEAN_GAP_MICROS: i64 = 120_000_000;
/// One event in so many is one of an attacker's.
const ATTACK_EVERY: u64 = 250;
const ATTACKERS: u64 = 40;

/// A log of events of `sources`, in the order of their times.
#[derive(Clone, Copy)]
pub struct Traffic {
    pub seed: u64,
    pub sources: u64,
    pub attacks: bool,
}

impl Traffic {
    /// Writes event `number` and its source, which is its key.
    pub fn event(&self, number: u64, payload: &mut String, key: &mut String) {
        payload.clear();
        key.clear();
        let micros = START_MICROS + number as i64 * (MEAN_GAP_MICROS / self.sources as i64).max(1);
        let attack = self.attacks && number % ATTACK_EVERY == ATTACK_EVERY - 1;
        let chance = mix(self.seed ^ mix(number));
        let written = if attack { attack_event(payload, key, chance, micros) } else { self.ordinary(payload, key, chance, micros) };
        written.expect("a String takes everything");
    }

    fn ordinary(&self, out: &mut String, key: &mut String, chance: u64, micros: i64) -> std::fmt::Result {
        let source = ((u128::from(chance) * u128::from(self.sources)) >> 64) as u64;
        let habits = mix(source ^ 0x5555);
        let chance = mix(chance);
        // Mostly one of six destinations of its own.
        let pick = if chance >> 40 & 31 == 0 { chance >> 44 } else { mix(habits ^ ((chance >> 40) % 6)) };
        let dest = Ipv4Addr::from_bits(0x5000_0000 | (pick as u32 & 0x0fff_ffff));
        let port = [443, 443, 443, 8443, 993, 5222][((habits >> 8) % 6) as usize];
        let sent = 200 + ((habits & 0x3ff) << (chance >> 16 & 3)) + (chance >> 18 & 0x1ff);
        let received = sent * (2 + (chance >> 27 & 7));
        write!(key, "{}", Ipv4Addr::from_bits(0x0a00_0000 + source as u32))?;
        write!(
            out,
            r#"{{"timestamp":"{}","source_ip":"{key}","dest_ip":"{dest}","protocol":"tcp","port":{port},"bytes_transferred":{},"bytes_out":{sent},"bytes_in":{received},"packets":{},"event_type":"connection","user_id":"user{source:06}","action":"allow","outcome":"success","session_id":"{chance:016x}"}}"#,
            EventTime(micros),
            sent + received,
            4 + (sent + received) / 900,
        )
    }
}

fn attack_event(out: &mut String, key: &mut String, chance: u64, micros: i64) -> std::fmt::Result {
    write!(key, "203.0.113.{}", 1 + chance % ATTACKERS)?;
    write!(
        out,
        r#"{{"timestamp":"{}","source_ip":"{key}","dest_ip":"80.0.0.{}","protocol":"tcp","port":22,"bytes_transferred":1800,"bytes_out":900,"bytes_in":900,"packets":12,"event_type":"auth.login","user_id":"root","action":"login","outcome":"failure","session_id":"{chance:016x}"}}"#,
        EventTime(micros),
        1 + chance % 3,
    )
}

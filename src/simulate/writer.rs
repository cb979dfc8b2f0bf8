//! Writes a draft as one line of JSON, in the fields of product.md 1.1. No escapes are needed: every text is the simulator's own.

use super::draft::{Draft, NOBODY};
use super::geo::{CITIES, Egress};
use crate::core::types::{EventTime, MICROS_PER_DAY, civil_from_days};

/// Keeps the text of the current day, which nearly every event shares with the one before.
#[derive(Debug)]
pub(super) struct Writer {
    day: i64,
    date: String,
    octets: Vec<u8>,
    octet_ends: [u16; 257],
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut octets = Vec::new();
        let mut octet_ends = [0; 257];
        for value in 0..256 {
            octets.extend_from_slice(value.to_string().as_bytes());
            octet_ends[value + 1] = octets.len() as u16;
        }
        Self { day: i64::MIN, date: String::new(), octets, octet_ends }
    }

    /// Appends the event to `out`, without a line break.
    pub(super) fn write(&mut self, time: EventTime, draft: &Draft, accounts: &[String], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        self.time(time, out);
        out.extend_from_slice(b"\",\"event_type\":\"");
        out.extend_from_slice(draft.event_type.as_bytes());
        out.extend_from_slice(b"\",\"source_ip\":\"");
        self.address(draft.source, out);
        if draft.dest != 0 {
            out.extend_from_slice(b"\",\"dest_ip\":\"");
            self.address(draft.dest, out);
        }
        out.push(b'"');
        if !draft.protocol.is_empty() {
            text(b",\"protocol\":\"", draft.protocol.as_bytes(), out);
            number(b",\"port\":", u64::from(draft.port), out);
        }
        volume(draft, out);
        text(b",\"resource\":\"", &draft.resource, out);
        text(b",\"action\":\"", draft.action.as_bytes(), out);
        text(b",\"outcome\":\"", draft.outcome.as_bytes(), out);
        text(b",\"user_agent\":\"", draft.agent.as_bytes(), out);
        if draft.user != NOBODY {
            text(b",\"user_id\":\"", accounts[draft.user as usize].as_bytes(), out);
        }
        if draft.device != 0 {
            out.extend_from_slice(b",\"device_id\":\"dev-");
            hex(u64::from(draft.device), 8, out);
            out.push(b'"');
        }
        if draft.session != 0 {
            out.extend_from_slice(b",\"session_id\":\"");
            hex(draft.session, 16, out);
            out.push(b'"');
        }
        if let Some(place) = draft.place {
            geo(place, out);
        }
        out.push(b'}');
    }

    fn time(&mut self, time: EventTime, out: &mut Vec<u8>) {
        let day = time.0.div_euclid(MICROS_PER_DAY);
        if day != self.day {
            let (year, month, date) = civil_from_days(day);
            self.day = day;
            self.date = format!("{year:04}-{month:02}-{date:02}T");
        }
        out.extend_from_slice(self.date.as_bytes());
        let micros = time.0.rem_euclid(MICROS_PER_DAY) as u64;
        let seconds = micros / 1_000_000;
        for (value, end) in [(seconds / 3_600, b':'), (seconds / 60 % 60, b':'), (seconds % 60, b'.')] {
            pair(value, out);
            out.push(end);
        }
        let micros = micros % 1_000_000;
        pair(micros / 10_000, out);
        pair(micros / 100 % 100, out);
        pair(micros % 100, out);
        out.push(b'Z');
    }

    fn address(&self, address: u32, out: &mut Vec<u8>) {
        for (index, octet) in address.to_be_bytes().into_iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            let (from, to) = (self.octet_ends[octet as usize], self.octet_ends[octet as usize + 1]);
            out.extend_from_slice(&self.octets[from as usize..to as usize]);
        }
    }
}

fn volume(draft: &Draft, out: &mut Vec<u8>) {
    if draft.bytes_out + draft.bytes_in == 0 {
        return;
    }
    number(b",\"bytes_transferred\":", draft.bytes_out + draft.bytes_in, out);
    if draft.packets > 0 {
        number(b",\"bytes_out\":", draft.bytes_out, out);
        number(b",\"bytes_in\":", draft.bytes_in, out);
        number(b",\"packets\":", draft.packets, out);
    }
    if draft.duration_millis > 0 {
        number(b",\"duration\":", draft.duration_millis / 1_000, out);
        fraction(draft.duration_millis % 1_000, 100, out);
    }
}

fn geo(place: Egress, out: &mut Vec<u8>) {
    let city = &CITIES[place.geo.city as usize];
    out.extend_from_slice(b",\"geo\":{\"lat\":");
    degrees(place.geo.lat_e4, out);
    out.extend_from_slice(b",\"lon\":");
    degrees(place.geo.lon_e4, out);
    text(b",\"country\":\"", city.country.as_bytes(), out);
    text(b",\"city\":\"", city.name.as_bytes(), out);
    number(b",\"asn\":", u64::from(place.geo.asn), out);
    out.push(b'}');
}

/// A field of text with its name before it; nothing where the text is empty.
fn text(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    debug_assert!(value.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\'));
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'"');
}

fn number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    digits(value, out);
}

fn degrees(e4: i32, out: &mut Vec<u8>) {
    if e4 < 0 {
        out.push(b'-');
    }
    let e4 = u64::from(e4.unsigned_abs());
    digits(e4 / 10_000, out);
    fraction(e4 % 10_000, 1_000, out);
}

/// `.` and every digit of `value` down from the place of `unit`.
fn fraction(value: u64, mut unit: u64, out: &mut Vec<u8>) {
    out.push(b'.');
    while unit > 0 {
        out.push(b'0' + (value / unit % 10) as u8);
        unit /= 10;
    }
}

fn digits(mut value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

fn pair(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

fn hex(value: u64, count: u32, out: &mut Vec<u8>) {
    for digit in (0..count).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::geo::Geo;
    use super::*;

    fn check(draft: &Draft, expected: &str) {
        let mut out = Vec::new();
        Writer::new().write(EventTime(1_772_496_012_345_678), draft, &["a.b".to_owned()], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lines_are_written_to_the_letter() {
        let mut draft = Draft::new();
        draft.tls(u32::from_be_bytes([10, 0, 0, 255]), u32::from_be_bytes([51, 68, 1, 2]), "a.example").volume(100, 2_000, 1_050);
        check(
            &draft,
            r#"{"timestamp":"2026-03-03T00:00:12.345678Z","event_type":"tls.session","source_ip":"10.0.0.255","dest_ip":"51.68.1.2","protocol":"tcp","port":443,"bytes_transferred":2100,"bytes_out":100,"bytes_in":2000,"packets":3,"duration":1.050,"resource":"a.example","outcome":"success"}"#,
        );
        let geo = Geo { city: 37, lat_e4: -235_505, lon_e4: -9, asn: 28_573 };
        draft.deed("auth.login", 0, 1, Some(Egress { address: 1, geo })).failed();
        (draft.device, draft.session) = (0xab, 7);
        check(
            &draft,
            r#"{"timestamp":"2026-03-03T00:00:12.345678Z","event_type":"auth.login","source_ip":"0.0.0.1","outcome":"failure","user_id":"a.b","device_id":"dev-000000ab","session_id":"0000000000000007","geo":{"lat":-23.5505,"lon":-0.0009,"country":"BR","city":"Sao Paulo","asn":28573}}"#,
        );
    }
}

//! Geo databases: MaxMind's format (City, Country, ASN, and the flat layout of ip-location-db) and tables of address ranges as
//! CSV. Read into memory once; a look-up never touches a file and never fails.

use std::io::Read;
use std::net::IpAddr;

use maxminddb::Reader;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::core::event::Geo;
use crate::core::intel::geo::GeoLookup;
use crate::edge::file::open_input;
use crate::error::{Error, Result};

/// Unpacked size of one database; GeoIP2 City has about 120 MB.
const DATABASE_BYTES_MAX: u64 = 1 << 30;
/// Records looked at to see whether a database has anything that we understand.
const RECORDS_TRIED: usize = 1_000;
/// What stands before the metadata at the end of every MaxMind database.
const MAXMIND_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Databases that complete each other: each part of an answer comes from the first one that knows it.
pub struct GeoDatabases {
    sources: Vec<Source>,
}

enum Source {
    MaxMind(Reader<Vec<u8>>),
    Ranges(Ranges),
}

impl GeoDatabases {
    /// Opens the files, plain, gzip or zstd.
    ///
    /// # Errors
    /// `Config`, naming the file: it cannot be read, is no such database, or has no place or network in it.
    pub fn open<P: AsRef<str>>(paths: &[P]) -> Result<Self> {
        let sources = paths.iter().map(|path| Source::open(path.as_ref())).collect::<Result<_>>()?;
        Ok(Self { sources })
    }
}

impl GeoLookup for GeoDatabases {
    fn locate(&self, address: IpAddr) -> Geo<'_> {
        let address = address.to_canonical();
        let mut answer = Geo::default();
        for source in &self.sources {
            let known = source.locate(address);
            answer.coordinates = answer.coordinates.or(known.coordinates);
            for (place, text) in [(&mut answer.country, known.country), (&mut answer.city, known.city)] {
                if place.is_empty() {
                    *place = text;
                }
            }
            if answer.asn == 0 {
                answer.asn = known.asn;
            }
        }
        answer
    }
}

impl Source {
    fn open(path: &str) -> Result<Self> {
        let bytes = read(path)?;
        let tail = &bytes[bytes.len().saturating_sub(128 * 1024)..];
        if memchr::memmem::rfind(tail, MAXMIND_MARKER).is_none() {
            return Ranges::parse(path, &bytes).map(Self::Ranges);
        }
        let reader =
            Reader::from_source(bytes).map_err(|error| Error::config(format!("{path} is not a whole MaxMind database")).because(error))?;
        let records = reader.networks(maxminddb::WithinOptions::default());
        let records = records.map_err(|error| Error::config(format!("cannot read the geo database {path}")).because(error))?;
        let known = records.take(RECORDS_TRIED).flatten().any(|record| record.decode().ok().flatten().is_some_and(Row::has_any));
        if !known {
            return Err(Error::config(format!(
                "the geo database {path} ({}) has neither places nor autonomous systems; give a City, Country or ASN database",
                reader.metadata().database_type
            )));
        }
        Ok(Self::MaxMind(reader))
    }

    fn locate(&self, address: IpAddr) -> Geo<'_> {
        match self {
            Self::Ranges(ranges) => ranges.locate(address),
            // A record that cannot be decoded is an unknown address.
            Self::MaxMind(reader) => {
                reader.lookup(address).and_then(|found| found.decode::<Row<'_>>()).ok().flatten().unwrap_or_default().geo()
            }
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    let cannot = |error: std::io::Error| Error::config(format!("cannot read the geo database {path}")).because(error);
    let mut bytes = Vec::new();
    let mut input = open_input(path)?;
    while let Some(file) = input.next_file()? {
        file.reader.take(DATABASE_BYTES_MAX + 1 - bytes.len() as u64).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if bytes.len() as u64 > DATABASE_BYTES_MAX {
        return Err(Error::config(format!("the geo database {path} is larger than {} MiB", DATABASE_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

/// The fields of all layouts; those of no use to us are skipped without being decoded.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row<'d> {
    #[serde(borrow)]
    country: Scalar<'d>,
    country_code: Scalar<'d>,
    registered_country: Scalar<'d>,
    city: Scalar<'d>,
    location: Location<'d>,
    latitude: Scalar<'d>,
    longitude: Scalar<'d>,
    autonomous_system_number: Scalar<'d>,
    asn: Scalar<'d>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'d> {
    #[serde(borrow)]
    latitude: Scalar<'d>,
    longitude: Scalar<'d>,
}

impl<'d> Row<'d> {
    fn has_any(self) -> bool {
        self.geo() != Geo::default()
    }
    fn geo(self) -> Geo<'d> {
        let latitude = self.location.latitude.number().or(self.latitude.number());
        let longitude = self.location.longitude.number().or(self.longitude.number());
        let on_earth = |(latitude, longitude): &(f64, f64)| (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude);
        let asn = self.autonomous_system_number.number().or(self.asn.number()).filter(|asn| (1.0..=f64::from(u32::MAX)).contains(asn));
        let countries = [self.country, self.country_code, self.registered_country];
        Geo {
            coordinates: latitude.zip(longitude).filter(on_earth).map(|(latitude, longitude)| (latitude as f32, longitude as f32)),
            country: countries.iter().map(Scalar::text).find(|code| code.len() == 2).unwrap_or_default(),
            city: self.city.text(),
            asn: asn.map_or(0, |asn| asn as u32),
        }
    }
}

/// A text or a number; of a map, its `iso_code` or English name; nothing for anything else.
#[derive(Clone, Copy, Default)]
enum Scalar<'d> {
    #[default]
    Nothing,
    Text(&'d str),
    Number(f64),
}

impl<'d> Scalar<'d> {
    fn text(&self) -> &'d str {
        if let Self::Text(text) = self { text } else { "" }
    }
    /// A number as such or as text, `AS13335` included.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim_start_matches("AS").parse().ok(),
            Self::Nothing => None,
        }
    }
}

impl<'de: 'd, 'd> Deserialize<'de> for Scalar<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Text(text))
    }
    fn visit_f64<E>(self, number: f64) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }
    fn visit_f32<E>(self, number: f32) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Number(f64::from(number)))
    }
    fn visit_u64<E>(self, number: u64) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }
    fn visit_u128<E>(self, _: u128) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }
    fn visit_i64<E>(self, number: i64) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Number(number as f64))
    }
    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }
    fn visit_borrowed_bytes<E>(self, _: &'de [u8]) -> std::result::Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = Scalar::Nothing;
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "iso_code" | "en" => found = map.next_value()?,
                "names" => {
                    let names: Scalar<'de> = map.next_value()?;
                    // The code of a country says more than its name.
                    if matches!(found, Scalar::Nothing) {
                        found = names;
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// `first,last,value[,...]` lines: the value is a number of an autonomous system or a country's two letters.
struct Ranges {
    /// Where each value begins, sorted; it holds until the next one begins. IPv4 as IPv4-mapped IPv6.
    firsts: Vec<u128>,
    /// `None` between the ranges.
    values: Vec<Option<RangeValue>>,
}

#[derive(Clone, Copy)]
enum RangeValue {
    Asn(u32),
    Country([u8; 2]),
}

impl Ranges {
    fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
            match parse_range(line) {
                Some(row) => rows.push(row),
                // The first line may name the columns.
                None if index == 0 => {}
                None => {
                    return Err(Error::config(format!(
                        "{path} is no geo database: it has no MaxMind metadata, and line {} is not first,last,number or first,last,country",
                        index + 1
                    )));
                }
            }
        }
        if rows.is_empty() {
            return Err(Error::config(format!("the geo database {path} is empty")));
        }
        let (firsts, values) = flatten(rows).into_iter().unzip();
        Ok(Self { firsts, values })
    }

    fn locate(&self, address: IpAddr) -> Geo<'_> {
        let address = mapped(address);
        let after = self.firsts.partition_point(|first| *first <= address);
        match after.checked_sub(1).and_then(|place| self.values[place].as_ref()) {
            None => Geo::default(),
            Some(RangeValue::Asn(asn)) => Geo { asn: *asn, ..Geo::default() },
            Some(RangeValue::Country(code)) => Geo { country: std::str::from_utf8(code).unwrap_or_default(), ..Geo::default() },
        }
    }
}

/// Where ranges overlap, as they do in published files, the one that begins last counts, and of two that begin together the
/// narrower one; of equal ones the first.
fn flatten(mut rows: Vec<(u128, u128, RangeValue)>) -> Vec<(u128, Option<RangeValue>)> {
    rows.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
    rows.dedup_by_key(|(first, last, _)| (*first, *last));
    let mut begins: Vec<(u128, Option<RangeValue>)> = Vec::with_capacity(rows.len() * 2);
    let mut emit = |first: u128, value: Option<RangeValue>| {
        begins.pop_if(|last| last.0 == first);
        begins.push((first, value));
    };
    let mut open: Vec<(u128, RangeValue)> = Vec::new();
    for (first, last, value) in rows {
        close(&mut open, Some(first), &mut emit);
        emit(first, Some(value));
        open.push((last, value));
    }
    close(&mut open, None, &mut emit);
    begins
}

/// Ends what ends before `until`; what lies under it goes on.
fn close(open: &mut Vec<(u128, RangeValue)>, until: Option<u128>, emit: &mut impl FnMut(u128, Option<RangeValue>)) {
    while let Some((last, _)) = open.pop_if(|(last, _)| until.is_none_or(|until| *last < until)) {
        let Some(after) = last.checked_add(1) else { continue };
        while open.pop_if(|(outer, _)| *outer < after).is_some() {}
        emit(after, open.last().map(|(_, value)| *value));
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn parse_range(line: &str) -> Option<(u128, u128, RangeValue)> {
    let mut columns = line.trim_end().split(',');
    let first: IpAddr = columns.next()?.trim().parse().ok()?;
    let last: IpAddr = columns.next()?.trim().parse().ok()?;
    let value = columns.next()?.trim().trim_matches('"');
    let value = match value.as_bytes() {
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => RangeValue::Country([*a, *b]),
        _ => RangeValue::Asn(value.parse().ok()?),
    };
    (first.is_ipv4() == last.is_ipv4() && first <= last).then(|| (mapped(first), mapped(last), value))
}

#[cfg(test)]
mod tests;

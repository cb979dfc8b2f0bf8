//! Geo databases: each layout, what is no database, and the real ones where they are at hand.

use std::io::Write;

use super::*;

/// A small MaxMind database: an IPv4 search tree over `networks` (address bits, length, record), written as the format's
/// specification 2.0 says.
fn maxmind(networks: &[(u32, u32, &[u8])]) -> Vec<u8> {
    const RECORD_BITS_EMPTY: u32 = u32::MAX;
    let mut nodes = vec![[RECORD_BITS_EMPTY; 2]];
    let mut data = Vec::new();
    let mut leaves = Vec::new();
    for (address, length, record) in networks {
        let mut node = 0;
        for depth in 0..*length {
            let side = (address >> (31 - depth) & 1) as usize;
            if depth + 1 == *length {
                leaves.push((node, side, data.len()));
            } else {
                if nodes[node][side] == RECORD_BITS_EMPTY {
                    nodes[node][side] = nodes.len() as u32;
                    nodes.push([RECORD_BITS_EMPTY; 2]);
                }
                node = nodes[node][side] as usize;
            }
        }
        data.extend_from_slice(record);
    }
    let count = nodes.len() as u32;
    for (node, side, at) in leaves {
        nodes[node][side] = count + 16 + at as u32;
    }
    let mut bytes = Vec::new();
    for record in nodes.into_iter().flatten() {
        let record = if record == RECORD_BITS_EMPTY { count } else { record };
        bytes.extend_from_slice(&record.to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(MAXMIND_MARKER);
    bytes.extend(map(&[
        ("node_count", unsigned(count)),
        ("record_size", short(32)),
        ("ip_version", short(4)),
        ("database_type", text("Test")),
        ("languages", vec![0x00, 0x04]),
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", vec![0x01, 0x02, 1]),
        ("description", map(&[])),
    ]));
    bytes
}

fn text(value: &str) -> Vec<u8> {
    match value.len() as u8 {
        length @ 0..29 => [&[0x40 | length], value.as_bytes()].concat(),
        length => [&[0x40 | 29, length - 29], value.as_bytes()].concat(),
    }
}

fn short(value: u8) -> Vec<u8> {
    vec![0xa1, value]
}

fn unsigned(value: u32) -> Vec<u8> {
    [&[0xc4], &value.to_be_bytes()[..]].concat()
}

fn double(value: f64) -> Vec<u8> {
    [&[0x68], &value.to_be_bytes()[..]].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0xe0 | entries.len() as u8];
    for (key, value) in entries {
        bytes.extend(text(key));
        bytes.extend_from_slice(value);
    }
    bytes
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn locate<'d>(geo: &'d GeoDatabases, address: &str) -> Geo<'d> {
    geo.locate(address.parse().unwrap())
}

#[test]
fn every_layout_of_a_maxmind_database_is_understood() {
    let city = map(&[
        ("city", map(&[("geoname_id", unsigned(1)), ("names", map(&[("de", text("Koeln")), ("en", text("Cologne"))]))])),
        ("country", map(&[("names", map(&[("en", text("Germany"))])), ("iso_code", text("DE"))])),
        ("location", map(&[("latitude", double(50.9)), ("longitude", double(6.9)), ("time_zone", text("Europe/Berlin"))])),
        ("subdivisions", vec![0x00, 0x04]),
    ]);
    let flat = map(&[("country_code", text("SG")), ("latitude", text("1.3")), ("longitude", text("103.8")), ("city", text("Singapore"))]);
    let asn = map(&[("autonomous_system_number", unsigned(13_335)), ("autonomous_system_organization", text("X"))]);
    let other =
        map(&[("asn", text("AS64512")), ("latitude", double(91.0)), ("longitude", double(0.0)), ("country", text("much too long"))]);
    let folder = Folder::new();
    let bytes = maxmind(&[(0x0100_0000, 8, &city), (0x0200_0000, 8, &flat), (0x0300_0000, 8, &asn), (0x0400_0000, 8, &other)]);
    let geo = GeoDatabases::open(&[folder.file("test.mmdb", &bytes)]).unwrap();
    assert_eq!(locate(&geo, "1.2.3.4"), Geo { coordinates: Some((50.9, 6.9)), country: "DE", city: "Cologne", asn: 0 });
    assert_eq!(locate(&geo, "::ffff:2.0.0.1"), Geo { coordinates: Some((1.3, 103.8)), country: "SG", city: "Singapore", asn: 0 });
    assert_eq!(locate(&geo, "3.0.0.1"), Geo { asn: 13_335, ..Geo::default() });
    assert_eq!(locate(&geo, "4.0.0.1"), Geo { asn: 64_512, ..Geo::default() }, "what cannot be is left out");
    for unknown in ["5.0.0.1", "0.0.0.0", "2001:db8::1", "::"] {
        assert_eq!(locate(&geo, unknown), Geo::default(), "{unknown}");
    }
}

#[test]
fn databases_complete_each_other_and_the_first_answer_counts() {
    let folder = Folder::new();
    let country = maxmind(&[(0x0100_0000, 8, &map(&[("country_code", text("AU"))]))]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"start,end,asn,name\n1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n2001:db8::,2001:db8::ff,7,x\n").unwrap();
    let paths = [
        folder.file("a.mmdb", &country),
        folder.file("asn.csv.gz", &packed.finish().unwrap()),
        folder.file("country.csv", b"1.0.0.0,1.255.255.255,NZ\n9.0.0.0,9.0.0.0,\"US\"\n"),
    ];
    let geo = GeoDatabases::open(&paths).unwrap();
    assert_eq!(locate(&geo, "1.0.0.255"), Geo { country: "AU", asn: 13_335, ..Geo::default() });
    assert_eq!(locate(&geo, "1.0.1.0"), Geo { country: "AU", ..Geo::default() });
    assert_eq!(locate(&geo, "9.0.0.0"), Geo { country: "US", ..Geo::default() });
    assert_eq!(locate(&geo, "9.0.0.1"), Geo::default());
    assert_eq!(locate(&geo, "2001:db8::ff").asn, 7);
    assert_eq!(locate(&GeoDatabases::open::<&str>(&[]).unwrap(), "1.0.0.1"), Geo::default());
}

#[test]
fn where_ranges_overlap_the_later_and_narrower_one_counts() {
    let folder = Folder::new();
    let csv = b"1.0.0.0,1.0.0.99,1\n1.0.0.0,1.0.0.99,2\n1.0.0.10,1.0.0.19,3\n1.0.0.10,1.0.0.11,4\n1.0.0.90,1.0.0.120,5\n255.255.255.0,255.255.255.255,6\nffff::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,7\n";
    let geo = GeoDatabases::open(&[folder.file("overlaps.csv", csv)]).unwrap();
    for (address, asn) in [
        ("0.255.255.255", 0),
        ("1.0.0.0", 1),
        ("1.0.0.9", 1),
        ("1.0.0.10", 4),
        ("1.0.0.12", 3),
        ("1.0.0.20", 1),
        ("1.0.0.89", 1),
        ("1.0.0.90", 5),
        ("1.0.0.120", 5),
        ("1.0.0.121", 0),
        ("255.255.255.255", 6),
        ("::1:0:0:0", 0),
        ("ffff::1", 7),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7),
    ] {
        assert_eq!(locate(&geo, address).asn, asn, "{address}");
    }
}

#[test]
fn what_is_no_database_is_refused_by_name() {
    let folder = Folder::new();
    let useless = maxmind(&[(0x0100_0000, 8, &map(&[("is_anycast", unsigned(1))]))]);
    for (name, bytes, says) in [
        ("useless.mmdb", useless, "neither places nor"),
        ("cut.mmdb", MAXMIND_MARKER.to_vec(), "not a whole"),
        ("empty", vec![], "empty"),
        ("binary", vec![0xff; 3000], "line 1"),
        ("words.csv", b"a,b,c\n1.0.0.0,1.0.0.1,Australia\n".to_vec(), "line 2"),
        ("backward.csv", b"\n1.0.0.9,1.0.0.1,5\n".to_vec(), "line 2"),
    ] {
        let path = folder.file(name, &bytes);
        let Err(error) = GeoDatabases::open(&[&path]) else { panic!("{name} was taken") };
        assert_eq!(error.kind, crate::error::Kind::Config);
        let message = error.to_string();
        assert!(message.contains(says) || (name == "binary" && message.contains("empty")), "{name}: {message}");
        assert!(message.contains(name), "{message}");
    }
    assert!(GeoDatabases::open(&["/no/such/file.mmdb"]).is_err());
}

#[test]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn the_real_databases_know_well_known_addresses() {
    #[allow(clippy::disallowed_methods, reason = "the one setting of the tests: where the real data are")]
    let folder = std::env::var("THREATGUARD_DATA").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").to_owned());
    let paths = [format!("{folder}/geoip/geo-whois-asn-country-ipv4.mmdb.gz"), format!("{folder}/geoip/asn-ipv4.csv.gz")];
    if !std::path::Path::new(&paths[0]).exists() {
        println!("skipped: no {}", paths[0]);
        return;
    }
    let geo = GeoDatabases::open(&paths).unwrap();
    for (address, country, asn) in [("8.8.8.8", "US", 15_169), ("1.1.1.1", "AU", 13_335), ("193.0.6.139", "NL", 3_333), ("10.0.0.1", "", 0)]
    {
        let found = locate(&geo, address);
        assert_eq!((found.country, found.asn), (country, asn), "{address}");
    }
}

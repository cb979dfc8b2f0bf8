//! Intelligence: formats as data, tables against a naive search, and the real lists where they are at hand.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn list(text: &str) -> ParsedList {
    parse_list("test", ListKind::Auto, text)
}

fn set(threats: &str, exempt: &str) -> IntelSet {
    let mut builder = IntelBuilder::new();
    builder.add(list(threats), Purpose::Threat, 0.8).unwrap();
    builder.add(list(exempt), Purpose::Exempt, 1.0).unwrap();
    builder.build()
}

/// Indicators as text: networks with their length, domains, `#` for a hash; confidence in percent after `@`.
fn shown(entry: &Entry) -> String {
    let confidence = entry.confidence.map_or(String::new(), |c| format!("@{:.0}", c * 100.0));
    match &entry.indicator {
        Indicator::Network(n) => format!("{}/{}{confidence}", n.address, n.length),
        Indicator::Domain(name) => format!("{name}{confidence}"),
        Indicator::Hash(_) => format!("#{confidence}"),
    }
}

#[test]
fn formats() {
    let check = |kind: ListKind, text: &str, expected: &[&str], rejected: usize| {
        let parsed = parse_list("list", kind, text);
        assert_eq!(parsed.entries.iter().map(shown).collect::<Vec<_>>(), expected, "{text:?}");
        assert_eq!(parsed.rejected, rejected, "{text:?}: {:?}", parsed.examples);
        assert_eq!(parsed.examples.len(), rejected.min(5));
    };
    use ListKind::{Address, Auto, Domain, Hash};
    check(Auto, "", &[], 0);
    check(Auto, "# IPsum\n#\n77.90.185.20\t10\n1.2.3.4\t1\r\n\n", &["77.90.185.20/32@100", "1.2.3.4/32@50"], 0);
    check(Auto, "; DROP\n1.10.16.0/20 ; SBL256894\n2.56.10.36/32\n", &["1.10.16.0/20", "2.56.10.36/32"], 0);
    check(Auto, "2001:db8::1\n2001:DB8::/33\n::ffff:9.9.9.9\n", &["2001:db8::1/128", "2001:db8::/33", "9.9.9.9/32"], 0);
    check(Auto, "1.2.3.77/24\n::ffff:1.2.3.4/120\n0.0.0.0/0\n", &["1.2.3.0/24", "1.2.3.0/24", "0.0.0.0/0"], 0);
    check(Auto, "ip,first_seen\n\"8.8.8.8\",2024-01-01\n", &["8.8.8.8/32"], 1);
    check(Auto, "1.2.3.4:443\n[2001:db8::2]:80\n8.8.4.4#4#2#Malicious Host\n", &["1.2.3.4/32", "2001:db8::2/128", "8.8.4.4/32"], 0);
    check(Auto, "127.0.0.1 localhost\n0.0.0.0 Bad.Example # ads\n0.0.0.0\n", &["127.0.0.1/32", "bad.example", "0.0.0.0/32"], 0);
    check(Auto, "Bad.COM.\n*.a.bad.org\n.dyn.net\n||ads.example^\n! comment\n", &["bad.com", "a.bad.org", "dyn.net", "ads.example"], 0);
    check(Auto, "010.8.8.8\n0x7f.1\n1.2.3.4/33\n1.2.3.4/+8\n1.2.3\n256.1.1.1\n2130706433\n", &[], 7);
    check(Auto, "http://bad.example/x\nb\u{fc}ro.example\nnodot\na..b\n-\u{1b}[2J\n", &[], 5);
    check(Auto, "d41d8cd98f00b204e9800998ecf8427e\nDA39A3EE5E6B4B0D3255BFEF95601890AFD80709\n", &["#", "#"], 0);
    check(Hash, "d41d8cd98f00b204e9800998ecf8427\nbad.com\n", &[], 2);
    check(Address, "bad.com\n1.1.1.1\n", &["1.1.1.1/32"], 1);
    check(Domain, "1.1.1.1\nbad.com,x\n", &["bad.com"], 1);
    check(
        Auto,
        "\u{feff}{\"name\":\"n\",\"type\":\"cidr\",\"list\":[\"10.0.0.0/8\",\".google.com\",\"?\"]}",
        &["10.0.0.0/8", "google.com"],
        1,
    );
    check(Auto, "[\"1.1.1.1\"]\n", &["1.1.1.1/32"], 0);
    check(Auto, "{\"list\": 3}", &[], 1);
    let hostile = parse_list("h", Auto, "-\u{1b}]0;pwn\u{7}");
    assert_eq!(hostile.examples[0].text, "-\\u{1b}]0;pwn\\u{7}");
}

#[test]
fn addresses() {
    let intel = set(
        "5.5.5.5\n5.5.0.0/16\n5.5.5.0/24\n2a00::/32\n2a00::9\n10.0.0.1\n0.0.0.0/0\n::/3\n77.7.7.7\n88.0.0.0/24\n",
        "77.7.0.0/16\n10.9.0.0/16\n",
    );
    let check =
        |address: &str, expected: Option<Matched>| assert_eq!(intel.lookup_ip(ip(address)).map(|hit| hit.matched), expected, "{address}");
    check("5.5.5.5", Some(Matched::Address));
    check("::ffff:5.5.5.5", Some(Matched::Address));
    check("5.5.5.6", Some(Matched::Network));
    check("5.5.255.255", Some(Matched::Network));
    check("5.6.0.0", None);
    check("5.4.255.255", None);
    check("2a00::9", Some(Matched::Address));
    check("2a00:0:ffff::1", Some(Matched::Network));
    check("2a00:1::", None);
    check("77.7.7.7", None);
    check("88.0.0.255", Some(Matched::Network));
    check("88.0.1.0", None);
    check("255.255.255.255", None);
    for special in [
        "0.0.0.0",
        "10.0.0.1",
        "127.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "224.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
    ] {
        assert!(is_special(ip(special)), "{special}");
        check(special, None);
    }
    assert!(!is_special(ip("203.0.113.9")), "documentation networks play attackers in tests");
    let info = &intel.lists()[0];
    assert_eq!((info.entries, info.special, info.too_wide), (7, 2 + 1, 0), "10.0.0.1, 0.0.0.0/0 and ::/3 are out");
    assert!(intel.exempt_ip(ip("10.9.1.1")).is_some(), "allow-lists may hold private addresses");
    assert_eq!(intel.list_name(intel.lookup_ip(ip("5.5.5.5")).unwrap().list), "test");
}

#[test]
fn wide_networks_and_too_many_lists_are_refused() {
    let mut builder = IntelBuilder::new();
    builder.add(list("64.0.0.0/2\n2000::/3\n8.0.0.0/8\n"), Purpose::Threat, 0.5).unwrap();
    assert_eq!((builder.lists[0].too_wide, builder.lists[0].entries), (2, 1));
    for _ in 1..INTEL_LISTS_MAX {
        builder.add(ParsedList::default(), Purpose::Context, 1.0).unwrap();
    }
    assert_eq!(builder.add(ParsedList::default(), Purpose::Threat, 1.0).unwrap_err().kind, crate::error::Kind::Config);
}

#[test]
fn domains() {
    let intel = set("bad.com\nvery.bad.com\nworse.example.org\n", "good.bad.com\n");
    let check = |name: &str, expected: Option<Matched>| assert_eq!(intel.lookup_domain(name).map(|hit| hit.matched), expected, "{name}");
    check("bad.com", Some(Matched::Domain));
    check("BAD.com.", Some(Matched::Domain));
    check("a.b.bad.com", Some(Matched::ParentDomain));
    check("very.bad.com", Some(Matched::Domain));
    check("notbad.com", None);
    check("com", None);
    check("", None);
    check(".", None);
    check("bad.com.evil.net", None);
    check("good.bad.com", None);
    check("x.good.bad.com", None);
    check("example.org", None);
    check(&format!("{}.bad.com", "a.".repeat(200)), None);
    check(&"a.".repeat(126), None);
}

#[test]
fn hashes_of_all_lengths_in_any_case() {
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let intel = set(&format!("{md5}\n{sha256}\n"), "");
    assert_eq!(intel.lookup_hash(&md5.to_uppercase()).unwrap().matched, Matched::Hash);
    assert!(intel.lookup_hash(sha256).is_some());
    assert!(intel.lookup_hash(&sha256[..32]).is_none() && intel.lookup_hash(&sha256[..40]).is_none(), "a beginning is another hash");
    assert!(intel.lookup_hash("zz").is_none() && intel.lookup_hash("").is_none());
}

#[test]
fn the_most_confident_list_answers_and_the_first_of_equals() {
    let mut builder = IntelBuilder::new();
    for (name, text, confidence) in
        [("a", "9.9.9.9\nx.com\n7.0.0.0/9\n", 0.3), ("b", "9.9.9.9\nx.com\n7.0.0.0/9\n", 0.9), ("c", "9.9.9.9\nx.com\n7.0.0.0/9\n", 0.9)]
    {
        builder.add(parse_list(name, ListKind::Auto, text), Purpose::Threat, confidence).unwrap();
    }
    let intel = builder.build();
    for hit in [intel.lookup_ip(ip("9.9.9.9")), intel.lookup_domain("x.com"), intel.lookup_ip(ip("7.1.1.1"))] {
        let hit = hit.unwrap();
        assert_eq!(intel.list_name(hit.list), "b");
        assert!((hit.confidence - 0.9).abs() < 1e-6);
    }
}

/// Addresses near each other, so that networks nest and hits are common.
fn some_network() -> impl Strategy<Value = (Network, u8)> {
    let v4 = (0u32..4096, 18u8..=32).prop_map(|(low, length)| (IpAddr::from((0x0505_0000 | low).to_be_bytes()), length));
    let v6 = (0u128..4096, 114u8..=128).prop_map(|(low, length)| (IpAddr::from(((0x2a00u128 << 112) | low).to_be_bytes()), length));
    (prop_oneof![v4, v6], 0u8..=100).prop_map(|((address, length), percent)| (Network::new(address, length).unwrap(), percent))
}

proptest! {
    #[test]
    fn tables_answer_as_a_naive_search_does(networks in prop::collection::vec(some_network(), 0..60), probes in prop::collection::vec(some_network(), 40)) {
        let entries: Vec<Entry> = networks.iter().map(|(network, percent)| Entry { indicator: Indicator::Network(*network), confidence: Some(f32::from(*percent) / 100.0) }).collect();
        let mut builder = IntelBuilder::new();
        builder.add(ParsedList { entries, ..ParsedList::default() }, Purpose::Threat, 0.0).unwrap();
        let intel = builder.build();
        for address in probes.iter().map(|(probe, _)| probe.address).chain(networks.iter().map(|(network, _)| network.address)) {
            let naive = networks.iter().filter(|(network, _)| network.contains(address)).max_by_key(|(network, percent)| (network.length, *percent));
            let found = intel.lookup_ip(address).map(|hit| (hit.matched == Matched::Address, (hit.confidence * 100.0).round() as u8));
            prop_assert_eq!(found, naive.map(|(network, percent)| (*network == Network::host(network.address), *percent)), "{}", address);
        }
    }

    #[test]
    fn domains_answer_as_a_naive_search_does(listed in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){1,3}", 0..40), asked in "[abAB]{1,2}(\\.[abAB]{1,2}){0,4}\\.?") {
        let intel = set(&listed.join("\n"), "");
        let name = asked.trim_end_matches('.').to_lowercase();
        let naive = listed.iter().filter(|entry| name == **entry || name.ends_with(&format!(".{entry}"))).max_by_key(|entry| entry.len());
        prop_assert_eq!(intel.lookup_domain(&asked).map(|hit| hit.matched == Matched::Domain), naive.map(|entry| *entry == name));
    }

    #[test]
    fn any_text_is_parsed_or_counted(text in "(\\PC|[\\t\\n ,;#./:0-9a-f]){0,200}") {
        let parsed = parse_list("any", ListKind::Auto, &text);
        prop_assert!(parsed.entries.len() + parsed.rejected <= text.lines().count().max(1));
    }
}

/// The text of a compressed file of the data folder, or nothing, said plainly, where there is no such folder.
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn real(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the one setting of the tests: where the real data are")]
    let folder = std::env::var("THREATGUARD_DATA").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").to_owned());
    let path = std::path::Path::new(&folder).join("threat-intel").join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    Some(text)
}

#[test]
fn real_lists_parse_whole_and_answer_for_each_of_their_entries() {
    for (name, entries_min, rejected_max) in [
        ("ipsum.txt.gz", 120_000, 0),
        ("c2-tracker_all.txt.gz", 2_300, 0),
        ("torexit_ipv4.txt.gz", 800, 0),
        ("vpn_ipv4.txt.gz", 10_800, 0),
        ("datacenter_ipv4.txt.gz", 42_000, 0),
        ("misp-warninglist_amazon-aws.json.gz", 3_800, 0),
        ("misp-warninglist_cloudflare.json.gz", 20, 0),
        ("misp-warninglist_common-ioc-false-positive.json.gz", 60, 10),
        ("misp-warninglist_disposable-email.json.gz", 8_000, 0),
        ("misp-warninglist_dynamic-dns.json.gz", 35_000, 20),
        ("misp-warninglist_google.json.gz", 600, 0),
        ("misp-warninglist_microsoft.json.gz", 185, 5),
        ("misp-warninglist_public-dns-v4.json.gz", 62_000, 0),
        ("misp-warninglist_rfc5735.json.gz", 15, 0),
        ("misp-warninglist_second-level-tlds.json.gz", 8_700, 1_500),
        ("misp-warninglist_ti-falsepositives.json.gz", 24_000, 0),
        ("misp-warninglist_tranco10k.json.gz", 9_900, 0),
        ("misp-warninglist_vpn-ipv4.json.gz", 42_000, 0),
    ] {
        let Some(text) = real(name) else { return };
        let parsed = parse_list(name, ListKind::Auto, &text);
        assert!(
            parsed.entries.len() >= entries_min && parsed.rejected <= rejected_max,
            "{name}: {} taken, {} rejected: {:?}",
            parsed.entries.len(),
            parsed.rejected,
            parsed.examples
        );
        let mut builder = IntelBuilder::new();
        builder.add(parsed.clone(), Purpose::Context, 0.5).unwrap();
        let intel = builder.build();
        for entry in &parsed.entries {
            let found = match &entry.indicator {
                Indicator::Network(network) => intel.context_ip(network.address),
                Indicator::Domain(domain) => intel.context_domain(domain),
                Indicator::Hash(hash) => intel.context.hash(*hash),
            };
            assert!(found.is_some(), "{name}: {entry:?}");
        }
    }
}

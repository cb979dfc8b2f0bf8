//! The codecs over sample records of each format, and over bytes of every kind: always an event or a reject, never a panic.

use std::collections::BTreeMap;

use bumpalo::Bump;
use proptest::prelude::*;

use super::auto::{NAMES, by_name, detect};
use super::mapping::{MappingSettings, PathOrPaths};
use super::*;
use crate::core::decode::{Decoded, decode_batch};
use crate::core::event::{Event, FieldId, Outcome, Record};
use crate::core::sanitize::Sanitizer;
use crate::core::types::Position;
use crate::limits::{EVENT_TYPE_CHARS_MAX, PROTOCOL_CHARS_MAX, STRING_CHARS_MAX, USER_AGENT_CHARS_MAX, USER_ID_CHARS_MAX};

fn mapping() -> MappingSettings {
    let one = |path: &str| PathOrPaths::One(path.to_owned());
    let fields = [
        ("timestamp", PathOrPaths::FirstOf(vec!["@timestamp".to_owned(), "event.created".to_owned()])),
        ("source_ip", one("client.ip")),
        ("user_id", PathOrPaths::FirstOf(vec!["user.name".to_owned(), "user.id".to_owned()])),
        ("resource", one("targets.1.name")),
        ("geo.country", one("client.geo.country")),
    ];
    let constants = BTreeMap::from([("event_type".to_owned(), "vpn.session".to_owned()), ("user_id".to_owned(), "nobody".to_owned())]);
    MappingSettings { fields: fields.into_iter().map(|(name, paths)| (name.to_owned(), paths)).collect(), constants }
}

fn codec(name: &str) -> Box<dyn Codec> {
    by_name(name, Some(&mapping())).expect("a known codec")
}

/// Decodes one record and shows its event, or gives the reject's reason.
fn decode<T>(name: &str, payload: &[u8], show: impl FnOnce(&Event<'_>) -> T) -> Result<T, &'static str> {
    let arena = Bump::new();
    let record = Record { at: Position::default(), payload, time: None };
    let mut decoded = Decoded::default();
    decode_batch(codec(name).as_ref(), &Sanitizer::default(), &[record], &arena, &mut decoded);
    match (decoded.events.as_slice(), decoded.rejects.as_slice()) {
        ([event], []) => Ok(show(event)),
        ([], [reject]) => Err(reject.reason.as_str()),
        _ => panic!("one record, one result"),
    }
}

/// `type user source -> dest:port protocol bytes resource action outcome`, and the names of the unknown fields.
fn line(event: &Event<'_>) -> String {
    let Event { event_type, user_id, source_ip, dest_ip, port, protocol, bytes, resource, action, outcome, .. } = event;
    let extra: Vec<&str> = event.extra.iter().map(|(name, _)| *name).collect();
    format!("{event_type} {user_id}|{source_ip}>{dest_ip}:{port} {protocol} {bytes} {resource}|{action} {outcome:?} +{}", extra.join(","))
}

const THREATGUARD: &str = r#"{"timestamp":"2026-01-02T03:04:05Z","source_ip":"10.0.0.1","dest_ip":"::ffff:10.0.0.2","protocol":"TCP","port":443,"bytes_transferred":1200,"event_type":"login","user_agent":"curl/8","user_id":"al\u0069ce","geo":{"lat":52.5,"lon":13.4,"country":"DE","city":"Berlin","asn":"AS64500"},"resource":"/x","action":"GET","outcome":"ok","device_id":"d1","session_id":"s1","rule":{"id":[1]},"tag":"x"}"#;
const CONN: &str = r#"{"_path":"conn","ts":1655071198.444458,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":5,"id.resp_h":"10.0.0.2","id.resp_p":443,"proto":"tcp","service":"ssl","duration":1.5,"orig_bytes":100,"resp_bytes":200,"conn_state":"SF","orig_pkts":3,"resp_pkts":4,"label":"Benign"}"#;
const EVE: &str = r#"{"timestamp":"2021-06-06T15:59:46.457984+0200","flow_id":13,"event_type":"alert","src_ip":"1.2.3.4","src_port":5,"dest_ip":"10.0.0.1","dest_port":445,"proto":"TCP","alert":{"action":"blocked","signature":"x","severity":2},"flow":{"pkts_toserver":1,"pkts_toclient":2,"bytes_toserver":60,"bytes_toclient":40,"state":"established","age":3}}"#;
const TRAIL: &str = r#"{"eventTime":"2024-08-02T08:23:23Z","eventName":"GetObject","eventSource":"s3.amazonaws.com","eventType":"AwsApiCall","sourceIPAddress":"18.236.253.47","userAgent":"aws-cli","errorCode":"AccessDenied","userIdentity":{"type":"IAMUser","userName":"bob","arn":"arn:aws:iam::1:user/bob","accessKeyId":"AK"},"requestParameters":{"bucketName":"b"},"resources":[{"ARN":"arn:aws:s3:::b"}]}"#;
const SSHD: &str = "Dec 10 06:55:46 LabSZ sshd[24200]: Failed password for root from 1.2.3.4 port 5 ssh2";
const VPN: &str = r#"{"@timestamp":null,"event":{"created":"2026-01-02T03:04:05Z"},"client.ip":"10.0.0.1","client":{"geo":{"country":"DE"}},"user":{"id":7},"targets":[{"name":"a"},{"name":"b"}],"other":1}"#;

#[test]
fn sample_records() {
    let check = |name: &str, payload: &str, expected: &str| {
        assert_eq!(decode(name, payload.as_bytes(), line).as_deref(), Ok(expected), "{payload}")
    };
    check("threatguard", THREATGUARD, "login alice|10.0.0.1>10.0.0.2:443 tcp 1200 /x|GET Success +rule,tag");
    let conn = "network.connection |10.0.0.1>10.0.0.2:443 tcp 300 |ssl Success +_path,id.orig_p,service,duration,orig_bytes,resp_bytes,conn_state,orig_pkts,resp_pkts,label";
    check("zeek", CONN, conn);
    check("suricata", EVE, "suricata.alert |1.2.3.4>10.0.0.1:445 tcp 100 |blocked Failure +src_port,alert,flow");
    let trail = "cloud.api_call bob|18.236.253.47>0.0.0.0:0  0 arn:aws:s3:::b|GetObject Failure +eventSource,eventType,errorCode,userIdentity,requestParameters,resources";
    check("cloudtrail", TRAIL, trail);
    check("syslog", SSHD, "auth.login root|1.2.3.4>0.0.0.0:0 ssh 0 sshd|password Failure +app,pid,message,source_port");
    check("mapping", VPN, "vpn.session 7|10.0.0.1>0.0.0.0:0  0 b| Unknown +event,client,user,targets,other");
    check(
        "zeek",
        r#"{"ts":1,"id":{"orig_h":"10.0.0.1","resp_p":53},"query":"a.b","qtype_name":"A","rcode":3}"#,
        "dns.query |10.0.0.1>0.0.0.0:53  0 a.b|A Failure +id,query,qtype_name,rcode",
    );
    check(
        "zeek",
        r#"{"_path":"http","host":"h","uri":"/u","method":"GET","status_code":404,"user_agent":"c","response_body_len":9}"#,
        "http.request |0.0.0.0>0.0.0.0:0  9 h/u|GET Failure +_path,host,uri,method,status_code,response_body_len",
    );
    check(
        "zeek",
        r#"{"@stream":"ssh","id_orig_h":"10.0.0.1","user":"bob","auth_success":true}"#,
        "ssh.session bob|10.0.0.1>0.0.0.0:0  0 | Success +@stream,user,auth_success",
    );
    check(
        "zeek",
        r#"{"_path":"files","tx_hosts":["10.0.0.1"],"rx_hosts":["10.0.0.2"],"seen_bytes":5,"filename":"f","md5":"ab"}"#,
        "zeek.files |10.0.0.1>10.0.0.2:0  5 f| Unknown +_path,tx_hosts,rx_hosts,seen_bytes,filename,md5",
    );
    check("zeek", "{}", "zeek.unknown |0.0.0.0>0.0.0.0:0  0 | Unknown +");
    check(
        "suricata",
        r#"{"event_type":"dns","src_ip":"10.0.0.1","dns":{"version":3,"queries":[{"rrname":"a.b","rrtype":"A"}],"rcode":"NXDOMAIN"}}"#,
        "dns.query |10.0.0.1>0.0.0.0:0  0 a.b|A Failure +dns",
    );
    check(
        "suricata",
        r#"{"http":{"hostname":"h","url":"/u","http_method":"GET","status":200,"length":7},"event_type":"http"}"#,
        "http.request |0.0.0.0>0.0.0.0:0  7 h/u|GET Success +http",
    );
    check(
        "cloudtrail",
        r#"{"Records":[{"eventName":"ConsoleLogin","sourceIPAddress":"AWS Internal","responseElements":{"ConsoleLogin":"Failure"},"userIdentity":{"type":"Root"}}]}"#,
        "auth.login root|0.0.0.0>0.0.0.0:0  0 |ConsoleLogin Failure +sourceIPAddress,responseElements,userIdentity",
    );
    check(
        "cloudtrail",
        r#"{"event":{"eventName":"x","eventSource":"s","userIdentity":{"type":"AssumedRole","sessionContext":{"sessionIssuer":{"userName":"role"}}}},"technique":"t"}"#,
        "cloud.api_call role|0.0.0.0>0.0.0.0:0  0 s|x Success +technique,eventSource,userIdentity",
    );
    check("threatguard", r#"{"geo":"DE"}"#, " |0.0.0.0>0.0.0.0:0  0 | Unknown +geo");
}

#[test]
fn flow_figures_geo_and_repeats() {
    let flow = decode("zeek", CONN.as_bytes(), |event| {
        (event.flow.bytes_out, event.flow.bytes_in, event.flow.packets, event.flow.duration.to_bits())
    });
    assert_eq!(flow, Ok((100, 200, 7, 1.5_f32.to_bits())));
    let geo = decode("threatguard", THREATGUARD.as_bytes(), |event| (event.geo.coordinates, event.geo.country.to_owned(), event.geo.asn));
    assert_eq!(geo, Ok((Some((52.5, 13.4)), "DE".to_owned(), 64_500)));
    let extra =
        decode("threatguard", THREATGUARD.as_bytes(), |event| event.extra.iter().map(|(_, json)| (*json).to_owned()).collect::<Vec<_>>());
    assert_eq!(extra, Ok(vec![r#"{"id":[1]}"#.to_owned(), r#""x""#.to_owned()]), "kept as written");
}

#[test]
fn a_security_field_given_twice_refuses_the_record() {
    for (name, payload) in [
        ("threatguard", r#"{"source_ip":"10.0.0.1","source_ip":"6.6.6.6"}"#),
        ("threatguard", r#"{"\u0073ource_ip":"a","source_ip":"b"}"#),
        ("threatguard", r#"{"user_id":null,"user_id":"b"}"#),
        ("threatguard", r#"{"geo":{"lat":1,"lat":2}}"#),
        ("threatguard", r#"{"geo":{},"geo":null}"#),
        ("zeek", r#"{"id.orig_h":"a","id_orig_h":"b"}"#),
        ("zeek", r#"{"id.orig_h":"a","id":{"orig_h":"b"}}"#),
        ("suricata", r#"{"src_ip":"a","src_ip":"b"}"#),
        ("suricata", r#"{"alert":{},"alert":{}}"#),
        ("cloudtrail", r#"{"eventName":"a","eventName":"b"}"#),
        ("cloudtrail", r#"{"event":{"eventName":"a"},"event":{"eventName":"b"}}"#),
        ("cloudtrail", r#"{"eventName":"a","userIdentity":{"userName":"a","userName":"b"}}"#),
        ("mapping", r#"{"client.ip":"a","client.ip":"b"}"#),
    ] {
        assert_eq!(decode(name, payload.as_bytes(), line), Err("duplicate_key"), "{name} {payload}");
    }
    // Unknown fields may repeat: nobody acts on them.
    assert!(decode("threatguard", br#"{"tag":1,"tag":2}"#, line).is_ok());
}

#[test]
fn unknown_fields_are_bounded_and_hide_nothing() {
    let unknown: String = (0..2_000).map(|number| format!("\"x{number}\":{number},")).collect();
    let payload = format!("{{{unknown}\"source_ip\":\"10.0.0.1\"}}");
    let shown = decode("threatguard", payload.as_bytes(), |event| {
        (event.extra.len(), event.repairs.has(Repair::FieldLimit), event.source_ip.to_string())
    });
    assert_eq!(shown, Ok((JSON_FIELDS_MAX, true, "10.0.0.1".to_owned())));
}

#[test]
fn the_codec_is_found_by_name_or_by_the_first_lines() {
    for name in NAMES {
        assert_eq!(codec(name).name(), name);
    }
    let error = |name: &str| by_name(name, None).err().expect("not a codec").to_string();
    assert!(error("zeke").contains("did you mean `zeek`?"), "{}", error("zeke"));
    assert!(error("cloud-trail").contains("did you mean `cloudtrail`?"));
    assert!(error("parquet").contains("threatguard, zeek") && !error("parquet").contains("did you mean"));
    assert!(error("mapping").contains("needs a `mapping` section"));
    let check = |input: &str, expected: &str| {
        let lines: Vec<&[u8]> = input.split('\n').map(str::as_bytes).collect();
        assert_eq!(detect(&lines).map(|choice| choice.name).ok(), Some(expected), "{input}");
    };
    for (input, expected) in [(THREATGUARD, "threatguard"), (CONN, "zeek"), (EVE, "suricata"), (TRAIL, "cloudtrail"), (SSHD, "syslog")] {
        check(input, expected);
        check(&format!("\n# comment\n{input}\n{input}\n"), expected);
    }
    check("#separator \\x09\n#fields\tts\tuid\n#types\ttime\tstring\n1\tx\n", "zeek");
    check(&format!("{{\"Records\":[{TRAIL}]}}"), "cloudtrail");
    check(&format!("[\n{EVE},\n{EVE}\n]"), "suricata");
    let choice = detect(&[SSHD.as_bytes(), b"junk", SSHD.as_bytes()]).unwrap();
    assert_eq!(choice.why, "2 of the first 3 records begin with a syslog priority or timestamp");
    for unknown in ["", "{\"a\":1}", "free text"] {
        assert!(detect(&[unknown.as_bytes()]).unwrap_err().to_string().contains("--codec"), "{unknown}");
    }
}

#[test]
fn a_wrong_mapping_is_refused_with_the_nearest_name() {
    let refused = |fields: &[(&str, &str)], constants: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, path)| ((*name).to_owned(), PathOrPaths::One((*path).to_owned()))).collect();
        let constants = constants.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        by_name("mapping", Some(&MappingSettings { fields, constants })).err().expect("refused").to_string()
    };
    assert!(refused(&[("source_pi", "a")], &[]).contains("did you mean `source_ip`?"));
    assert!(refused(&[("user_id", "a")], &[("outcom", "ok")]).contains("did you mean `outcome`?"));
    assert!(refused(&[("user_id", "")], &[]).contains("empty path"));
    assert!(refused(&[], &[]).contains("names no path"));
    let parsed: MappingSettings = serde_json::from_str(r#"{"fields":{"user_id":"a.b","port":["p","q"]}}"#).unwrap();
    assert_eq!(parsed.fields["port"], PathOrPaths::FirstOf(vec!["p".to_owned(), "q".to_owned()]));
    assert!(serde_json::from_str::<MappingSettings>(r#"{"fields":{},"field":{}}"#).is_err());
}

/// What holds for the event of any record at all.
fn assert_bounded(name: &str, payload: &[u8]) {
    let result = decode(name, payload, |event| {
        let texts = [
            (event.protocol, PROTOCOL_CHARS_MAX),
            (event.event_type, EVENT_TYPE_CHARS_MAX),
            (event.user_agent, USER_AGENT_CHARS_MAX),
            (event.user_id, USER_ID_CHARS_MAX),
            (event.resource, STRING_CHARS_MAX),
            (event.action, STRING_CHARS_MAX),
            (event.outcome_text, STRING_CHARS_MAX),
            (event.device_id, STRING_CHARS_MAX),
            (event.session_id, STRING_CHARS_MAX),
            (event.file_hash, STRING_CHARS_MAX),
            (event.geo.country, STRING_CHARS_MAX),
            (event.geo.city, STRING_CHARS_MAX),
        ];
        for (text, chars_max) in texts {
            assert!(text.chars().count() <= chars_max && !text.chars().any(char::is_control), "{text:?}");
        }
        assert!(event.flow.duration.is_finite() && !event.entity.name.is_empty() && event.extra.len() <= JSON_FIELDS_MAX);
        for (field, json) in event.extra {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok(), "{field} is not JSON: {json}");
        }
    });
    assert_ne!(result, Err("panicked"), "{name}: {:?}", String::from_utf8_lossy(payload));
}

const SAMPLES: [&str; 8] = [
    THREATGUARD,
    CONN,
    EVE,
    TRAIL,
    SSHD,
    VPN,
    "<165>1 2003-10-11T22:14:15.003Z host app 12 ID47 [a b=\"c\"] Accepted publickey for u from 1.2.3.4 port 5 ssh2",
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; logname= uid=0 ruser= rhost=218.188.2.4  user=root",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_become_an_event_or_a_reject(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        NAMES.iter().for_each(|name| assert_bounded(name, &bytes));
    }

    #[test]
    fn mutated_records_become_an_event_or_a_reject(
        sample in prop::sample::select(SAMPLES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let mut bytes = sample.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte & 0x7f),
                2 if bytes.len() > 1 => { bytes.remove(at); }
                _ => bytes.truncate(at + 1),
            }
        }
        NAMES.iter().for_each(|name| assert_bounded(name, &bytes));
    }

    #[test]
    fn hostile_values_in_every_field_are_cleaned(id in 0..FieldId::COUNT, text in "(<|>|b|\\x00|\\n| |\u{202e}|%|-|9|e|:|\\.|\\PC){0,30}") {
        let (name, value) = (FieldId::NAMES[id], serde_json::Value::String(text));
        let payload = match name.strip_prefix("geo.") {
            Some(part) => format!("{{\"geo\":{{\"{part}\":{value}}}}}"),
            None => format!("{{\"{name}\":{value}}}"),
        };
        prop_assert!(decode("threatguard", payload.as_bytes(), |event| event.outcome == Outcome::Unknown || name == "outcome").is_ok());
        assert_bounded("threatguard", payload.as_bytes());
    }
}

//! What a pipeline file's types cannot say: ranges, names, orders and files that have to exist. Reports everything it finds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cases::{CASE_RECORDS_MAX, Case, Given, Vary, parse_time};
use super::pipeline::{CODECS, PipelineFile};
use super::problem::{Path, Problem, suggestion};
use crate::core::detect::NAMES as DETECTORS;
use crate::core::event::FieldId;
use crate::core::settings::{ExemptSettings, Span};

/// Topic names that Kafka accepts are this long at most.
const TOPIC_CHARS_MAX: usize = 249;
const NAME_CHARS_MAX: usize = 40;

/// All problems of a pipeline whose paths are resolved.
#[must_use]
pub(super) fn problems(pipeline: &PipelineFile) -> Vec<Problem> {
    let mut found = Found { root: Path::default(), list: vec![] };
    name_and_key(pipeline, &mut found);
    source(pipeline, &mut found);
    topics(pipeline, &mut found);
    state(pipeline, &mut found);
    detectors(pipeline, &mut found);
    thresholds(pipeline, &mut found);
    correlation(pipeline, &mut found);
    files(pipeline, &mut found);
    let bars = found.at("backtest.bars");
    for (bar, message) in pipeline.backtest.bars.problems() {
        found.add(bars.key(bar), message);
    }
    for (index, exempt) in pipeline.exempt.iter().enumerate() {
        exemption(exempt, &found.at("exempt").index(index), &mut found);
    }
    tests(pipeline, &mut found);
    found.list
}

struct Found {
    root: Path,
    list: Vec<Problem>,
}

impl Found {
    /// The path of dotted `keys`.
    fn at(&self, keys: &str) -> Path {
        keys.split('.').fold(self.root.clone(), |path, key| path.key(key))
    }
    fn add(&mut self, path: Path, message: impl Into<String>) {
        self.list.push(Problem::new(path, message));
    }
    /// Adds `message` unless `fine`.
    fn require(&mut self, fine: bool, keys: &str, message: impl Into<String>) {
        if !fine {
            let path = self.at(keys);
            self.add(path, message);
        }
    }
    fn span(&mut self, keys: &str, span: Span, least: &str, most: &str) {
        let bound = |text: &str| text.parse::<Span>().expect("bounds are written as spans");
        self.require((bound(least)..=bound(most)).contains(&span), keys, format!("{span} is out of range: {least} to {most}"));
    }
}

fn name_and_key(pipeline: &PipelineFile, found: &mut Found) {
    let name = &pipeline.name;
    let fine = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    found.require(fine, "name", format!("write 1 to {NAME_CHARS_MAX} lower-case letters, digits and '-', such as 'network'"));
    found.require(!pipeline.key.is_empty(), "key", "name at least one of source, destination, user, device");
    let repeated = pipeline.key.iter().enumerate().any(|(index, part)| pipeline.key[..index].contains(part));
    found.require(!repeated, "key", "names a part twice");
}

fn source(pipeline: &PipelineFile, found: &mut Found) {
    let source = &pipeline.source;
    let codec = source.codec.as_str();
    found.require(
        CODECS.contains(&codec),
        "source.codec",
        format!("unknown codec '{}', {}", codec.escape_debug(), suggestion(codec, &CODECS)),
    );
    found.require(
        (codec == "mapping") == source.mapping.is_some(),
        "source.mapping",
        "'mapping' goes with 'codec: mapping' and only with it",
    );
    let Some(mapping) = &source.mapping else { return };
    found.require(!mapping.fields.is_empty(), "source.mapping.fields", "maps no field");
    let base = found.at("source.mapping");
    for (field, paths) in &mapping.fields {
        let path = base.key("fields").key(field);
        field_name(field, &path, found);
        if paths.paths().is_empty() || paths.paths().iter().any(|path| path.split('.').any(str::is_empty)) {
            found.add(path, "write a path such as 'client.address', or a list of them");
        }
    }
    for field in mapping.constants.keys() {
        let path = base.key("constants").key(field);
        field_name(field, &path, found);
        if mapping.fields.contains_key(field) {
            found.add(path, "is both in fields and in constants");
        }
    }
}

fn field_name(field: &str, path: &Path, found: &mut Found) {
    if !FieldId::NAMES.contains(&field) {
        found.add(path.clone(), format!("unknown field '{}', {}", field.escape_debug(), suggestion(field, &FieldId::NAMES)));
    }
}

fn topics(pipeline: &PipelineFile, found: &mut Found) {
    let routes = &pipeline.routes;
    let mut named = vec![
        ("source.topic", &pipeline.source.topic),
        ("routes.threats", &routes.threats),
        ("routes.alerts", &routes.alerts),
        ("routes.analytics", &routes.analytics),
        ("routes.verdicts", &routes.verdicts),
        ("routes.dead_letters", &routes.dead_letters),
    ];
    named.extend(pipeline.source.rekey.as_ref().map(|topic| ("source.rekey", topic)));
    let mut seen = BTreeSet::new();
    for (keys, topic) in named {
        let letters = topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let fine = letters && (1..=TOPIC_CHARS_MAX).contains(&topic.len()) && topic != "." && topic != "..";
        found.require(fine, keys, "not a Kafka topic name: 1 to 249 letters, digits, '.', '_' and '-'");
        found.require(seen.insert(topic), keys, format!("topic '{}' has another use in this pipeline", topic.escape_debug()));
    }
}

fn state(pipeline: &PipelineFile, found: &mut Found) {
    found.span("windows.allowed_lateness", pipeline.windows.allowed_lateness, "0s", "30d");
    found.span("windows.analytics", pipeline.windows.analytics, "1s", "1d");
    found.span("state.expire_after", pipeline.state.expire_after, "1h", "3660d");
    found.require(pipeline.state.max_entities >= 1, "state.max_entities", "write at least 1");
    let drift = &pipeline.drift;
    found.require((1_000..=1_000_000).contains(&drift.rows), "drift.rows", "write 1000 to 1000000");
    for (key, bound) in [("drift.psi", drift.psi), ("drift.ks", drift.ks)] {
        found.require(bound > 0.0 && bound.is_finite(), key, "write a number above 0");
    }
    found.require(drift.calibration > 1.0 && drift.calibration.is_finite(), "drift.calibration", "write a number above 1");
    let again = &pipeline.recalibration;
    found.require((1_000..=200_000).contains(&again.rows), "recalibration.rows", "write 1000 to 200000");
    found.span("recalibration.span", again.span, "1m", "366d");
    found.span("recalibration.interval", again.interval, "1m", "366d");
    let is_share = again.p_value_min > 0.0 && again.p_value_min <= 0.05;
    found.require(is_share, "recalibration.p_value_min", "write a number above 0, at most 0.05");
    found.require(again.bound > 1.0 && again.bound <= 2.0, "recalibration.bound", "write a number above 1, at most 2");
    let is_before = again.alarm > 1.0 && again.alarm <= again.bound;
    found.require(is_before, "recalibration.alarm", "write a number above 1, at most recalibration.bound");
    let forest = &pipeline.detectors.isolation_forest;
    if forest.enabled {
        found.require((1..=1_000).contains(&forest.trees), "detectors.isolation_forest.trees", "write 1 to 1000");
        found.require((2..=256).contains(&forest.sample), "detectors.isolation_forest.sample", "write 2 to 256");
        let enough = pipeline.learning.events >= forest.sample as u64;
        found.require(enough, "learning.events", format!("the isolation forest learns from at least {} events", forest.sample));
    }
}

fn detectors(pipeline: &PipelineFile, found: &mut Found) {
    let set = &pipeline.detectors;
    let all = [
        ("isolation_forest", set.isolation_forest.enabled, set.isolation_forest.weight),
        ("behavior", set.behavior.enabled, set.behavior.weight),
        ("beaconing", set.beaconing.enabled, set.beaconing.weight),
        ("brute_force", set.brute_force.enabled, set.brute_force.weight),
        ("fan_out", set.fan_out.enabled, set.fan_out.weight),
        ("dns_tunnel", set.dns_tunnel.enabled, set.dns_tunnel.weight),
        ("threat_intel", set.threat_intel.enabled, 1.0),
        ("lstm_autoencoder", set.lstm_autoencoder.enabled, set.lstm_autoencoder.weight),
        ("boosted_trees", set.boosted_trees.enabled, set.boosted_trees.weight),
    ];
    found.require(all.iter().any(|(_, enabled, _)| *enabled), "detectors", "every detector is switched off");
    for (name, enabled, weight) in all {
        let fine = !enabled || (weight.is_finite() && weight > 0.0 && weight <= 100.0);
        found.require(fine, &format!("detectors.{name}.weight"), "write a number above 0, at most 100; 'enabled: false' switches it off");
    }
    let behavior = &set.behavior;
    let fine = behavior.travel_kmh_max.is_finite() && behavior.travel_kmh_max >= 100.0;
    found.require(fine, "detectors.behavior.travel_kmh_max", "write at least 100 (km/h)");
    let base = found.at("detectors.behavior.travel_exempt_networks");
    for (index, network) in behavior.travel_exempt_networks.iter().enumerate() {
        if let Err(message) = network_form(network) {
            found.add(base.index(index), message);
        }
    }
    let base = found.at("detectors.threat_intel.lists");
    let mut names = BTreeSet::new();
    for (index, list) in set.threat_intel.lists.iter().enumerate() {
        if list.name.is_empty() || !names.insert(&list.name) {
            found.add(base.index(index).key("name"), "give every list a name of its own");
        }
        if !(list.confidence > 0.0 && list.confidence <= 1.0) {
            found.add(base.index(index).key("confidence"), "write a number above 0, at most 1");
        }
    }
}

fn thresholds(pipeline: &PipelineFile, found: &mut Found) {
    let set = &pipeline.thresholds;
    let steps =
        [("low", set.low, 1.0), ("medium", set.medium, set.low), ("high", set.high, set.medium), ("critical", set.critical, set.high)];
    for (name, value, above) in steps {
        let message = format!("p-values fall from low to critical: {value:e} is not between 0 and {above:e}");
        found.require(value > 0.0 && value < above, &format!("thresholds.{name}"), message);
    }
}

fn correlation(pipeline: &PipelineFile, found: &mut Found) {
    let base = found.at("correlation");
    for problem in pipeline.correlation.problems() {
        // Every problem begins with the setting's name.
        let (setting, message) = problem.split_once(' ').unwrap_or(("", &problem));
        found.add(base.key(setting), message);
    }
}

fn files(pipeline: &PipelineFile, found: &mut Found) {
    let intel = &pipeline.detectors.threat_intel;
    let lists = found.at("detectors.threat_intel.lists");
    let allow = found.at("detectors.threat_intel.allow");
    let mut named: Vec<(Path, &String)> = vec![];
    named.extend(intel.lists.iter().enumerate().map(|(index, list)| (lists.index(index).key("path"), &list.path)));
    named.extend(intel.allow.iter().enumerate().map(|(index, path)| (allow.index(index), path)));
    named.extend(pipeline.geo.city.iter().map(|path| (found.at("geo.city"), path)));
    named.extend(pipeline.geo.asn.iter().map(|path| (found.at("geo.asn"), path)));
    for (path, file) in named {
        if !std::path::Path::new(file).is_file() {
            found.add(path, format!("there is no file {}", file.escape_debug()));
        }
    }
}

fn exemption(exempt: &ExemptSettings, path: &Path, found: &mut Found) {
    if let Err(message) = entity_form(&exempt.entity) {
        found.add(path.key("entity"), message);
    }
    for (index, detector) in exempt.detectors.iter().enumerate() {
        if !DETECTORS.contains(&detector.as_str()) {
            let message = format!("unknown detector '{}', {}", detector.escape_debug(), suggestion(detector, &DETECTORS));
            found.add(path.key("detectors").index(index), message);
        }
    }
    if exempt.reason.trim().is_empty() {
        found.add(path.key("reason"), "say why this entity is exempt");
    }
}

/// `ip:10.0.0.0/24`, `ip:10.0.0.5`, `user:backup`, `host:scanner-1`.
fn entity_form(entity: &str) -> Result<(), String> {
    match entity.split_once(':') {
        Some(("ip", network)) => network_form(network),
        Some(("user" | "host", name)) if !name.trim().is_empty() => Ok(()),
        _ => Err(format!("'{}' names no entity: write ip:10.0.0.5, ip:10.0.0.0/24, user:backup or host:scanner-1", entity.escape_debug())),
    }
}

fn network_form(network: &str) -> Result<(), String> {
    let wrong = || format!("'{}' is no network: write 10.0.0.5, 10.0.0.0/24 or 2001:db8::/32", network.escape_debug());
    let (address, length) = network.split_once('/').map_or((network, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length.map(str::parse::<u8>) {
        None => Ok(()),
        Some(Ok(length)) if length <= most => Ok(()),
        Some(_) => Err(wrong()),
    }
}

fn tests(pipeline: &PipelineFile, found: &mut Found) {
    found.require(!pipeline.tests.is_empty(), "tests", "a pipeline needs at least one test");
    let mut names = BTreeSet::new();
    for (index, case) in pipeline.tests.iter().enumerate() {
        let path = found.at("tests").index(index);
        if case.name.trim().is_empty() || !names.insert(&case.name) {
            found.add(path.key("name"), "give every test a name of its own");
        }
        one_test(case, pipeline, &path, found);
    }
}

fn one_test(case: &Case, pipeline: &PipelineFile, path: &Path, found: &mut Found) {
    if let Err(message) = parse_time(&case.start) {
        found.add(path.key("start"), message);
    }
    let records = case.given.iter().fold(0_u64, |sum, given| sum.saturating_add(given.repeat.saturating_mul(given.days)));
    if records == 0 || records > CASE_RECORDS_MAX {
        found.add(path.key("given"), format!("gives {records} records; write 1 to {CASE_RECORDS_MAX}"));
    }
    for (index, given) in case.given.iter().enumerate() {
        one_block(given, pipeline, &path.key("given").index(index), found);
    }
    let expect = &case.expect;
    let below = path.key("expect");
    if expect.threats.is_empty() && !expect.no_threats && expect.dead_letters.is_none() && expect.late.is_none() {
        found.add(below.clone(), "expects nothing: write threats, no_threats, dead_letters or late");
    }
    if expect.no_threats && !expect.threats.is_empty() {
        found.add(below.key("no_threats"), "contradicts 'threats'");
    }
    for (index, threat) in expect.threats.iter().enumerate() {
        let below = below.key("threats").index(index);
        if threat.kind.is_none() && threat.anomaly.is_none() && threat.entity.is_none() && threat.severity.is_none() {
            found.add(below.clone(), "says nothing: write type, anomaly, entity or severity");
        }
        if let Some(Err(message)) = threat.entity.as_deref().map(entity_form) {
            found.add(below.key("entity"), message);
        }
        if threat.at_least.zip(threat.at_most).is_some_and(|(least, most)| least > most) {
            found.add(below.key("at_most"), "is below at_least");
        }
    }
}

fn one_block(given: &Given, pipeline: &PipelineFile, path: &Path, found: &mut Found) {
    if given.event.is_some() == given.line.is_some() {
        found.add(path.clone(), "write either 'event' or 'line'");
    }
    if given.event.is_some() && pipeline.source.codec != "threatguard" && pipeline.source.codec != "auto" {
        found
            .add(path.key("event"), format!("is for the codec threatguard; write a 'line' for '{}'", pipeline.source.codec.escape_debug()));
    }
    if !(0.0..1.0).contains(&given.jitter) {
        found.add(path.key("jitter"), "write at least 0 and less than 1");
    }
    if given.line.is_some() && !given.vary.is_empty() {
        found.add(path.key("vary"), "changes fields of 'event', not of 'line'");
    }
    for (field, vary) in &given.vary {
        let fine = match vary {
            Vary::List(values) => !values.is_empty(),
            Vary::Range(range) => range.from <= range.to && range.to.abs_diff(range.from) <= CASE_RECORDS_MAX,
        };
        if !fine {
            found.add(path.key("vary").key(field), format!("gives no value, or more than {CASE_RECORDS_MAX}"));
        }
    }
}

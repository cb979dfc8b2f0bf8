//! A replay leaves every state and every memory as scoring did, to the bit, and what follows scores the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::core::detect::lstm::kernel::HIDDEN;
use crate::core::detect::lstm::{Layers, Network, RowWeights, Shape};
use crate::core::detect::{self, NAMES};
use crate::core::engine::{Parts, Scorer};
use crate::core::ensemble::{Column, Ensemble, SeverityThresholds};
use crate::core::event::{Geo, Outcome};
use crate::core::features::row::MODEL_WIDTH;
use crate::core::intel::IntelBuilder;
use crate::core::samples::event;
use crate::core::settings::CoreSettings;
use crate::core::state::EntityState;
use crate::core::types::EntityKey;
use crate::models::random::Random;

const P: Partition = Partition(0);
const DOMAINS: [&str; 5] =
    ["", "www.example.com", "mail.example.com", "a1b2c3d4e5f6a7b8c9d0.t.example.net", "ffeeddccbbaa99887766.t.example.net"];
const USERS: [&str; 4] = ["", "alice", "bob", "carol"];
const TYPES: [&str; 4] = ["network.connection", "auth.login", "dns.query", "file.read"];

/// Traffic in which every part of a state moves: names, log-ins from places, failures, hours and days that end, some of it too late.
fn events(count: u64) -> Vec<Event<'static>> {
    let mut random = Random::new(5);
    let mut second = 0;
    let mut one = |offset: u64| {
        let mut pick = |of: usize| (random.unit() * of as f64) as usize;
        second += [1, 7, 40, 300, 4_000][pick(5)];
        let late = if pick(20) == 0 { 90_000 } else { 0 };
        let mut event = event(offset, pick(12) as u8, second - late);
        event.dest_ip = IpAddr::V4(Ipv4Addr::new(if pick(2) == 0 { 10 } else { 203 }, 0, pick(3) as u8, pick(40) as u8));
        (event.port, event.bytes) = ([443, 22, 3389, 53, 8_080][pick(5)], 1 << pick(24));
        (event.event_type, event.resource, event.user_id) = (TYPES[pick(4)], DOMAINS[pick(5)], USERS[pick(4)]);
        event.device_id = USERS[pick(4)];
        event.outcome = [Outcome::Success, Outcome::Failure, Outcome::Unknown][pick(3)];
        if pick(3) == 0 {
            event.geo = Geo { coordinates: Some(([52.5, 40.7, -33.9][pick(3)], [13.4, -74.0, 18.4][pick(3)])), ..Geo::default() };
        }
        event
    };
    (0..count).map(&mut one).collect()
}

fn network() -> Arc<Network> {
    let shape = Shape { inputs: MODEL_WIDTH, hidden: HIDDEN, code: 0 };
    let mut random = Random::new(9);
    let mut list =
        |count: usize, from: f64, to: f64| -> Vec<f32> { (0..count).map(|_| (from + (to - from) * random.unit()) as f32).collect() };
    let weights = RowWeights {
        layers: Layers { shape, parameters: list(shape.parameters(), -0.4, 0.4) },
        center: list(MODEL_WIDTH, -1.0, 1.0),
        inverse_spread: list(MODEL_WIDTH, 0.1, 0.5),
        inverse_error: list(MODEL_WIDTH, 0.5, 2.0),
    };
    Arc::new(Network::new(weights).unwrap())
}

fn engine(network: Option<Arc<Network>>) -> Engine {
    let settings = CoreSettings::default();
    let columns: Vec<Column> = NAMES.iter().map(|name| Column { name: (*name).to_owned(), weight: 1.0, evidence: false }).collect();
    let ensemble = Ensemble::declared(&columns, &BTreeMap::new(), None);
    let thresholds = SeverityThresholds::new(&settings.thresholds);
    let scorer = Scorer::new(detect::rules(&settings.detectors), ensemble, thresholds, true).with_network(network);
    let parts = Parts { intel: Arc::new(IntelBuilder::new().build()), scorer: Arc::new(scorer), stored: true, table_seed: 3 };
    let mut engine = Engine::new(&settings, parts).unwrap();
    engine.assign(P, Offset(0), &[]).unwrap();
    engine
}

/// Everything that would be stored, in the order of keys.
fn stored(engine: &mut Engine) -> (BTreeMap<EntityKey, Vec<u8>>, Vec<u8>, Option<Offset>) {
    let (mut values, mut scratch, mut whole) = (BTreeMap::new(), vec![], vec![]);
    engine.take_dirty(P, usize::MAX, |key, state, memory| {
        let mut value = vec![];
        state.encode(memory, &mut scratch, &mut value);
        values.insert(key, value);
    });
    engine.partition_value(P, &mut whole);
    (values, whole, engine.checkpoint(P))
}

fn check(network: Option<Arc<Network>>) {
    let events = events(6_000);
    let (mut scored, mut replayed) = (engine(network.clone()), engine(network));
    let (before, after) = events.split_at(5_000);
    // The log is cut differently the second time, and has records between that were refused.
    let rejects =
        |events: &[Event<'_>]| -> Vec<Offset> { events.iter().map(|event| event.at.offset).filter(|at| at.0 % 97 == 0).collect() };
    let kept =
        |events: &[Event<'static>]| -> Vec<Event<'static>> { events.iter().filter(|event| event.at.offset.0 % 97 != 0).cloned().collect() };
    let mut late = 0;
    for batch in before.chunks(512) {
        late += scored.apply(P, &kept(batch), &rejects(batch)).counts.late;
    }
    for batch in before.chunks(333) {
        let counts = replayed.replay(P, &kept(batch), &rejects(batch));
        assert_eq!(counts, Counts { replayed: batch.len() as u64, ..Counts::default() });
    }
    assert!(late > 0, "some came too late");
    let expected = stored(&mut scored);
    assert_eq!(expected.0.len(), 12);
    assert!(stored(&mut replayed) == expected, "the same states");
    let shown = |engine: &mut Engine| {
        let verdicts = engine.apply(P, &kept(after), &rejects(after)).verdicts.clone();
        (verdicts, engine.rows().model.clone(), engine.rows().sequence.clone(), engine.effects().counts)
    };
    assert!(shown(&mut scored) == shown(&mut replayed), "what follows scores the same");
    assert!(stored(&mut scored) == stored(&mut replayed));
}

#[test]
fn a_replay_makes_the_same_states() {
    check(None);
}

#[test]
fn a_replay_makes_the_same_memories() {
    check(Some(network()));
}

#[test]
fn a_late_event_leaves_the_memory_and_an_expired_state_takes_it_along() {
    let memory_after = |events: &[Event<'static>]| {
        let mut engine = engine(Some(network()));
        for event in events {
            engine.apply(P, std::slice::from_ref(event), &[]);
        }
        let values = stored(&mut engine).0;
        EntityState::decode(values.values().next().unwrap(), &mut vec![]).unwrap().1.unwrap()
    };
    let (first, late, much_later) = (event(0, 1, 0), event(1, 1, -90_000), event(2, 1, 400 * 86_400));
    let memory = memory_after(std::slice::from_ref(&first));
    assert_eq!(memory_after(&[first, late]), memory);
    assert_eq!(memory_after(&[first, much_later]), memory_after(std::slice::from_ref(&much_later)));
}

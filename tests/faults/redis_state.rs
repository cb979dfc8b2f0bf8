//! What a Redis holds of a pipeline's partitions, to be compared with what another one holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Commands, Connection};

use crate::deployment::pause;
use crate::support::redis_server::RedisServer;

/// Of a partition's meta: who wrote it, in which life of the state and in how many pieces is different each time; the count of its
/// values is compared with them instead.
const OF_ITS_LIFE: [&str; 4] = ["own", "gen", "seq", "n"];

/// Every key of the partitions of `topic` and what is stored under it.
pub type State = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

pub fn connect(server: &RedisServer) -> Connection {
    redis::Client::open(server.settings().url.expose()).unwrap().get_connection().unwrap()
}

pub fn dump(server: &RedisServer, topic: &str) -> State {
    let mut connection = connect(server);
    let keys: Vec<String> = connection.keys(format!("tg:{{network.{topic}.[0-9]*")).unwrap();
    let mut state = State::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
        let fields = match kind.as_str() {
            "string" => BTreeMap::from([(String::new(), connection.get::<_, Vec<u8>>(&key).unwrap())]),
            "hash" => connection.hgetall::<_, BTreeMap<String, Vec<u8>>>(&key).unwrap(),
            other => panic!("{key} is a {other}"),
        };
        state.insert(key, fields.into_iter().filter(|(name, _)| !OF_ITS_LIFE.contains(&name.as_str())).collect());
    }
    state
}

/// How many values the metas do not count.
///
/// # Panics
/// When one counts more than there are, or not at all.
pub fn uncounted(server: &RedisServer, topic: &str) -> usize {
    let mut connection = connect(server);
    let state = dump(server, topic);
    let prefixes = state.keys().filter_map(|key| key.strip_suffix(":meta"));
    let of = |prefix: &str| {
        let counted: Option<usize> = connection.hget(format!("{prefix}:meta"), "n").unwrap();
        let values = state.keys().filter(|key| key.starts_with(&format!("{prefix}:e:"))).count();
        let missing = counted.and_then(|counted| values.checked_sub(counted));
        missing.unwrap_or_else(|| panic!("{prefix}: {values} values where {counted:?} are counted"))
    };
    prefixes.map(of).sum()
}

/// Waits until the stored checkpoints of all partitions together have come as far as `events`.
///
/// # Panics
/// When they have not after `wait`.
pub fn await_checkpoints(server: &RedisServer, topic: &str, events: u64, wait: Duration) {
    let until = Instant::now() + wait;
    loop {
        let state = dump(server, topic);
        let of = |fields: &BTreeMap<String, Vec<u8>>| String::from_utf8_lossy(fields.get("R")?).parse::<u64>().ok();
        let stored: u64 = state.iter().filter(|(key, _)| key.ends_with(":meta")).filter_map(|(_, fields)| of(fields)).sum();
        if stored >= events {
            return;
        }
        assert!(Instant::now() < until, "{topic}: checkpoints have stopped at {stored} of {events} events");
        pause(Duration::from_millis(200));
    }
}

/// In how many keys they differ, and the first of them.
pub fn differences(whole: &State, found: &State) -> (usize, String) {
    let keys: std::collections::BTreeSet<&String> = whole.keys().chain(found.keys()).collect();
    let differing: Vec<_> = keys.into_iter().filter(|key| whole.get(*key) != found.get(*key)).collect();
    let first = differing.first().map_or_else(String::new, |key| {
        let of = |state: &State| state.get(*key).map_or_else(|| "nothing".to_owned(), shown);
        let absent = |state: &State| differing.iter().filter(|key| !state.contains_key(**key)).count();
        let count = format!("{} of {} keys are missing, {} too many", absent(found), whole.len(), absent(whole));
        format!("{count}; {key}: {} where undisturbed, {} here", of(whole), of(found))
    });
    (differing.len(), first)
}

fn shown(fields: &BTreeMap<String, Vec<u8>>) -> String {
    let field = |(name, value): (&String, &Vec<u8>)| {
        format!("{name}={}", value.iter().take(600).map(|byte| *byte as char).collect::<String>().escape_default())
    };
    fields.iter().map(field).collect::<Vec<_>>().join(" ")
}

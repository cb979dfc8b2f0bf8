//! Scenario: owners of a partition store, load, hand over and fail.
//! Guarantees: what was stored comes back; an older owner, an older checkpoint and another state generation are refused and change
//! nothing; a failed server is an error that a repeated call survives.

use threatguard::core::types::{EntityKey, Offset, Partition};
use threatguard::edge::memory::MemoryStore;
use threatguard::edge::redis::{RedisSettings, RedisStore};
use threatguard::edge::{Checkpoint, Claim, Owner, PartitionMeta, StateGeneration, StateStore};
use threatguard::error::{Kind, Result};
use threatguard::limits::{CHECKPOINT_CHUNK_ENTITIES_MAX, STATE_VALUE_BYTES_MAX};

use crate::support;
use crate::support::redis_server::RedisServer;

const P: Partition = Partition(3);

fn claim(owner: u64, state: u64) -> Claim {
    Claim { owner: Owner(owner), state: StateGeneration(state) }
}

fn store(store: &mut dyn StateStore, by: Claim, number: u64, next: u64, entries: &[(u128, &[u8])]) -> Result<()> {
    let entries: Vec<_> = entries.iter().map(|(key, value)| (EntityKey(*key), *value)).collect();
    store.store_many(P, by, Checkpoint { number, entries: &entries, next: Offset(next), value: b"meta" })
}

fn load(store: &mut dyn StateStore, by: Claim, number: u64, keys: &[u128]) -> Vec<Option<Vec<u8>>> {
    let keys: Vec<_> = keys.iter().copied().map(EntityKey).collect();
    store.load_many(P, by, number, &keys).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T>, said: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, Kind::Fenced);
    assert!(error.to_string().contains(said), "{error}");
}

/// Two handles on the same, empty data.
fn contract(mut old: Box<dyn StateStore>, mut new: Box<dyn StateStore>) {
    let (old, new) = (old.as_mut(), new.as_mut());
    let (first, second) = (claim(5, 7), claim(6, 7));
    // Nothing there, and nothing to be had or written without a claim.
    assert_eq!(old.load_meta(P).unwrap(), None);
    refused(old.load_many(P, first, 0, &[EntityKey(1)]), "gone");
    refused(store(old, first, 1, 10, &[(1, b"unclaimed")]), "gone");
    assert_eq!(old.claim(P, Owner(5)).unwrap(), None);
    assert_eq!(load(old, first, 0, &[]), vec![]);
    assert_eq!(load(old, first, 0, &[1, 2]), vec![None, None]);
    assert_eq!(new.load_meta(P).unwrap(), None, "a claim alone stores nothing");

    // Round trip, repetition, removal, and other partitions left alone.
    let binary: Vec<u8> = (0..=255).collect();
    store(old, first, 1, 10, &[(1, b"one"), (2, &binary), (u128::MAX, b"max")]).unwrap();
    store(old, first, 1, 10, &[(1, b"one"), (2, &binary)]).unwrap();
    let expected = vec![Some(binary), None, Some(b"one".to_vec()), Some(b"max".to_vec())];
    assert_eq!(load(new, first, 1, &[2, 9, 1, u128::MAX]), expected);
    store(old, first, 2, 12, &[(2, b"")]).unwrap();
    assert_eq!(load(new, first, 2, &[2]), vec![None]);
    assert_eq!(new.load_meta(Partition(4)).unwrap(), None);
    let meta = PartitionMeta { owner: Owner(5), state: StateGeneration(7), checkpoint: Offset(12), value: b"meta".to_vec() };
    assert_eq!(new.load_meta(P).unwrap(), Some(meta.clone()));

    // A checkpoint that goes back, another life of the state, and one that does not follow the last.
    refused(store(old, first, 3, 11, &[(1, b"back")]), "past 11");
    refused(store(old, claim(5, 8), 3, 13, &[(1, b"other life")]), "generation 7, not 8");
    refused(store(old, first, 4, 13, &[(1, b"after a lost one")]), "gone");
    refused(old.load_many(P, first, 3, &[EntityKey(1)]), "gone");

    // A new owner takes over; the old one can neither store nor load nor claim.
    assert_eq!(new.claim(P, Owner(6)).unwrap(), Some(PartitionMeta { owner: Owner(6), ..meta }));
    refused(store(old, first, 3, 20, &[(1, b"zombie")]), "newer than 5");
    refused(old.load_many(P, first, 2, &[EntityKey(1)]), "newer than 5");
    refused(old.claim(P, Owner(5)), "newer than 5");
    assert_eq!(load(new, second, 0, &[1]), vec![Some(b"one".to_vec())], "nothing refused was written");
    store(new, second, 1, 14, &[(1, b"two")]).unwrap();
    assert_eq!(load(old, second, 1, &[1]), vec![Some(b"two".to_vec())]);
    limits(new, second);
}

/// As many values as a checkpoint may have, one more, and one that is too large.
fn limits(new: &mut dyn StateStore, by: Claim) {
    let keys: Vec<u128> = (100..=100 + CHECKPOINT_CHUNK_ENTITIES_MAX as u128).collect();
    let values: Vec<_> = keys.iter().map(|key| key.to_be_bytes()).collect();
    let many: Vec<_> = keys.iter().zip(&values).map(|(key, value)| (*key, value.as_slice())).collect();
    store(new, by, 2, 30, &many[1..]).unwrap();
    assert_eq!(load(new, by, 2, &keys[1..]), values[1..].iter().map(|value| Some(value.to_vec())).collect::<Vec<_>>());
    assert_eq!(store(new, by, 3, 31, &many).unwrap_err().kind, Kind::Bug);
    let large = vec![0; STATE_VALUE_BYTES_MAX + 1];
    assert_eq!(store(new, by, 3, 31, &[(1, b"x"), (2, &large)]).unwrap_err().kind, Kind::Bug);
    assert_eq!(load(new, by, 2, &[1]), vec![Some(b"two".to_vec())]);
    assert_eq!(new.load_meta(P).unwrap().map(|meta| meta.checkpoint), Some(Offset(30)));
}

#[test]
fn memory_keeps_the_contract() {
    let store = MemoryStore::default();
    contract(Box::new(store.clone()), Box::new(store));
}

#[test]
fn redis_keeps_the_contract() {
    let Some(url) = support::redis_url("redis_keeps_the_contract") else { return };
    let settings = RedisSettings { url, ..RedisSettings::default() };
    let pipeline = support::fresh("contract");
    let open = || Box::new(RedisStore::open(&settings, &pipeline, "events").unwrap());
    contract(open(), open());
}

#[test]
fn redis_keys_share_a_slot_and_show_no_names() {
    let Some(server) = RedisServer::start("redis_keys", &[]) else { return };
    let mut redis = RedisStore::open(&server.settings(), "network", "security.events.raw").unwrap();
    redis.claim(P, Owner(1)).unwrap();
    store(&mut redis, claim(1, 1), 1, 1, &[(0xabc, b"v")]).unwrap();
    let mut keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"]).unwrap()).unwrap();
    keys.sort();
    let tag = "tg:{network.security.events.raw.3}";
    assert_eq!(keys, [format!("{tag}:e:00000000000000000000000000000abc"), format!("{tag}:meta")]);
    assert_eq!(RedisStore::open(&server.settings(), "a{b", "t").err().map(|error| error.kind), Some(Kind::Config));
}

#[test]
fn a_redis_that_does_not_fit_is_refused_at_start() {
    let check = |arguments: &[&str], change: fn(&mut RedisSettings), kind: Kind, said: &str| {
        let Some(server) = RedisServer::start("a_redis_that_does_not_fit", arguments) else { return };
        let mut settings = server.settings();
        change(&mut settings);
        let error = RedisStore::open(&settings, "p", "t").err().unwrap_or_else(|| panic!("{arguments:?} was accepted"));
        let text = error.to_string();
        assert!(error.kind == kind && text.contains(said) && !text.contains("hunter2"), "{text}");
    };
    check(&["--maxmemory-policy", "allkeys-lru"], |_| (), Kind::Config, "set `maxmemory-policy noeviction`");
    check(&["--replicaof", "127.0.0.1 1"], |_| (), Kind::Config, "read-only slave");
    check(&["--requirepass", "hunter2"], |_| (), Kind::Config, "wants a user and password");
    let wrong = |settings: &mut RedisSettings| settings.url = with_password(settings, "hunter2-wrong");
    check(&["--requirepass", "hunter2"], wrong, Kind::Config, "refuses the user or password");
    check(&[], |settings| settings.ca = Some("/nowhere/ca.pem".into()), Kind::Config, "cannot read the Redis CA file /nowhere/ca.pem");

    let Some(server) = RedisServer::start("a_redis_with_a_password", &["--requirepass", "hunter2"]) else { return };
    let settings = RedisSettings { url: with_password(&server.settings(), "hunter2"), ..server.settings() };
    RedisStore::open(&settings, "p", "t").unwrap().ping().unwrap();
}

fn with_password(settings: &RedisSettings, password: &str) -> threatguard::edge::secret::Secret {
    threatguard::edge::secret::Secret::new(settings.url.expose().replace("redis://", &format!("redis://:{password}@")))
}

#[test]
fn an_absent_redis_is_named_and_a_killed_one_comes_back() {
    let Some(mut server) = RedisServer::start("an_absent_redis", &[]) else { return };
    let mut redis = RedisStore::open(&server.settings(), "p", "t").unwrap();
    redis.claim(P, Owner(1)).unwrap();
    store(&mut redis, claim(1, 1), 1, 5, &[(1, b"v")]).unwrap();
    server.kill();
    let transient = |error: threatguard::error::Error| {
        assert!(error.kind == Kind::Transient && error.to_string().contains(&server.port().to_string()), "{error}");
    };
    transient(store(&mut redis, claim(1, 1), 2, 6, &[(1, b"w")]).unwrap_err());
    transient(redis.load_many(P, claim(1, 1), 1, &[EntityKey(1)]).unwrap_err());
    transient(redis.claim(P, Owner(1)).unwrap_err());
    transient(RedisStore::open(&server.settings(), "p", "t").err().unwrap());
    // Without persistence it comes back empty and without our scripts: found out, and the same handle goes on after a new claim.
    server.start_again();
    refused(store(&mut redis, claim(1, 1), 2, 6, &[(1, b"w")]), "gone");
    refused(redis.load_many(P, claim(1, 1), 1, &[EntityKey(1)]), "gone");
    assert_eq!(redis.claim(P, Owner(1)).unwrap(), None);
    store(&mut redis, claim(1, 2), 1, 6, &[(1, b"w")]).unwrap();
    assert_eq!(load(&mut redis, claim(1, 2), 1, &[1]), vec![Some(b"w".to_vec())]);
    // The scripts are forgotten while the connection stays.
    server.command(&["SCRIPT", "FLUSH"]).unwrap();
    store(&mut redis, claim(1, 2), 2, 7, &[(1, b"x")]).unwrap();
    assert_eq!(load(&mut redis, claim(1, 2), 2, &[1]), vec![Some(b"x".to_vec())]);
}

#[test]
fn a_full_or_read_only_redis_is_transient_and_loses_nothing() {
    let Some(server) = RedisServer::start("a_full_redis", &[]) else { return };
    let mut redis = RedisStore::open(&server.settings(), "p", "t").unwrap();
    redis.claim(P, Owner(1)).unwrap();
    store(&mut redis, claim(1, 1), 1, 5, &[(1, b"v")]).unwrap();
    let check = |redis: &mut RedisStore, said: &str| {
        let error = store(redis, claim(1, 1), 2, 6, &[(1, b"w")]).unwrap_err();
        assert!(error.kind == Kind::Transient && error.to_string().contains(said), "{error}");
        assert_eq!(load(redis, claim(1, 1), 1, &[1]), vec![Some(b"v".to_vec())]);
        assert_eq!(redis.load_meta(P).unwrap().map(|meta| meta.checkpoint), Some(Offset(5)));
    };
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    check(&mut redis, "out of memory");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).unwrap();
    check(&mut redis, "refuses writes for now");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    check(&mut redis, "read-only replica");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    store(&mut redis, claim(1, 1), 2, 6, &[(1, b"w")]).unwrap();
    assert_eq!(load(&mut redis, claim(1, 1), 2, &[1]), vec![Some(b"w".to_vec())]);
}

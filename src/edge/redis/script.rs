//! The scripts that write state. Each checks before it writes and begins with its meta, so that a full memory (`OOM`) refuses the
//! whole script; nothing is rolled back inside one. How far a checkpoint goes (`R`) is written last and in one command with all that
//! belongs to it: Redis may execute the beginning of a script alone, where its append-only file was cut there and it started twice.

use std::sync::LazyLock;

use ::redis::{Script, Value};

use crate::error::{Error, Result};

pub(super) const META_FIELDS: [&str; 4] = ["own", "gen", "R", "value"];

/// KEYS: meta. ARGV: owner. Answers the meta's fields.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local m = redis.call('HMGET', KEYS[1], 'own', 'gen', 'R', 'value')
if m[1] and tonumber(m[1]) > tonumber(ARGV[1]) then return {'OWNER', m[1]} end
redis.call('HSET', KEYS[1], 'own', ARGV[1], 'seq', 0)
return {'OK', ARGV[1], m[2], m[3], m[4]}
",
    )
});

/// KEYS: meta, then entities. ARGV: owner, state generation, next offset, number, the partition's value, then one value an entity;
/// an empty one removes it.
///
/// Checkpoints of a claim are numbered: where the one before is missing, the server has lost what it had acknowledged (a restart
/// with an older file, a failover to a replica that was behind), and so perhaps values that are no longer going to be written.
///
/// `n` counts the partition's values, so that one that vanishes behind our back is found. It is begun with the state: one that an
/// older version has begun goes on without it. The keys of a checkpoint differ, so one look at all of them says how many are new.
/// All values are set by one command: a command for each took most of the server's time.
pub(super) static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local m = redis.call('HMGET', KEYS[1], 'own', 'gen', 'R', 'seq', 'n')
if m[1] and tonumber(m[1]) > tonumber(ARGV[1]) then return {'OWNER', m[1]} end
local seq, number = tonumber(m[4] or -1), tonumber(ARGV[4])
if m[1] ~= ARGV[1] or (seq ~= number and seq + 1 ~= number) then return {'GONE'} end
if m[2] and m[2] ~= ARGV[2] then return {'STATE', m[2]} end
if m[3] and tonumber(m[3]) > tonumber(ARGV[3]) then return {'BEHIND', m[3]} end
redis.call('HSET', KEYS[1], 'gen', ARGV[2])
local change = 0
if #KEYS > 1 then change = -redis.call('EXISTS', unpack(KEYS, 2)) end
local set, del = {}, {}
for i = 2, #KEYS do
  local value = ARGV[i + 4]
  if value == '' then del[#del + 1] = KEYS[i] else set[#set + 1] = KEYS[i]; set[#set + 1] = value end
end
if #set > 0 then redis.call('MSET', unpack(set)) end
if #del > 0 then redis.call('DEL', unpack(del)) end
change = change + #set / 2
local meta = {'seq', ARGV[4], 'R', ARGV[3], 'value', ARGV[5]}
if m[5] or not m[3] then meta[7], meta[8] = 'n', string.format('%d', tonumber(m[5] or 0) + change) end
redis.call('HSET', KEYS[1], unpack(meta))
return {'OK'}
",
    )
});

/// KEYS: entities of one partition that hold nothing yet or may be overwritten. ARGV: a value for each. Answers how many are new.
pub(super) static FILL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local before = redis.call('EXISTS', unpack(KEYS))
local set = {}
for i = 1, #KEYS do set[2 * i - 1], set[2 * i] = KEYS[i], ARGV[i] end
redis.call('MSET', unpack(set))
return {'OK', #KEYS - before}
",
    )
});

/// What a script answered.
#[derive(Debug)]
pub(super) enum Reply {
    Done(Vec<Value>),
    Owner(u64),
    State(u64),
    Behind(u64),
    Gone,
}

impl Reply {
    pub(super) fn of(mut fields: Vec<Value>) -> Result<Self> {
        let unreadable = || Error::bug("a script's answer is unreadable");
        if fields.is_empty() {
            return Err(unreadable());
        }
        let verb: String = ::redis::from_redis_value(fields.remove(0)).map_err(|_| unreadable())?;
        let stored = || fields.first().and_then(|value| ::redis::from_redis_value_ref::<u64>(value).ok()).ok_or_else(unreadable);
        match verb.as_str() {
            "OK" => Ok(Self::Done(fields)),
            "OWNER" => Ok(Self::Owner(stored()?)),
            "STATE" => Ok(Self::State(stored()?)),
            "GONE" => Ok(Self::Gone),
            "BEHIND" => Ok(Self::Behind(stored()?)),
            _ => Err(unreadable()),
        }
    }
}

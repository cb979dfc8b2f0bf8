//! What `threatguard state` says, as records: the same for people and for `--json`.

use serde::Serialize;

use super::survey::Found;
use super::{Desk, Standing};
use crate::core::state::{EntityState, StateSummary};
use crate::core::types::{EntityKey, EntityKind, Offset, Partition};
use crate::error::{Error, Result};

/// One partition, as `state inspect` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionReport {
    pub partition: u32,
    /// `R`: every event before it is stored.
    pub checkpoint: Option<u64>,
    /// `C`: outputs of every event before it are published.
    pub committed: Option<u64>,
    /// `C - R`: what a restart replays.
    pub replay: Option<i64>,
    /// By the note beside the committed offset, and by the store.
    pub owner: Option<u64>,
    pub stored_owner: Option<u64>,
    pub generation: Option<u64>,
    pub stored_generation: Option<u64>,
    /// Where this state began with nothing.
    pub base: Option<u64>,
    pub entities: u64,
    /// By the store's own count; states of older versions have none.
    pub counted: Option<u64>,
    pub unreadable: u64,
    pub bytes: u64,
    pub log_start: u64,
    pub log_end: u64,
    /// What is not read yet.
    pub lag: u64,
}

impl PartitionReport {
    pub(super) fn new(partition: Partition, standing: &Standing, found: &Found) -> Self {
        let (committed, checkpoint) = (standing.next(), found.checkpoint());
        let signed = |offset: Offset| i64::try_from(offset.0).unwrap_or(i64::MAX);
        let ends = standing.ends;
        Self {
            partition: partition.0,
            checkpoint: checkpoint.map(|offset| offset.0),
            committed: committed.map(|offset| offset.0),
            replay: committed.zip(checkpoint).map(|(committed, checkpoint)| signed(committed) - signed(checkpoint)),
            owner: standing.note.as_ref().map(|note| note.owner.0),
            stored_owner: found.before.as_ref().and_then(|meta| meta.owner).map(|owner| owner.0),
            generation: standing.note.as_ref().map(|note| note.state.0),
            stored_generation: found.before.as_ref().and_then(|meta| meta.state).map(|state| state.0),
            base: standing.note.as_ref().map(|note| note.base.0),
            entities: found.entities(),
            counted: found.after.as_ref().and_then(|meta| meta.entities),
            unreadable: found.unreadable,
            bytes: found.bytes(),
            log_start: ends.start.0,
            log_end: ends.end.0,
            lag: ends.end.0.saturating_sub(committed.map_or(ends.start.0, |next| next.0)),
        }
    }
}

/// `state inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    pub pipeline: String,
    pub topic: String,
    pub topic_id: Option<String>,
    pub group: String,
    pub group_state: String,
    pub members: usize,
    pub partitions: Vec<PartitionReport>,
}

/// What is stored of one entity in one partition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityReport {
    pub entity: String,
    pub key: String,
    pub partition: u32,
    pub bytes: usize,
    pub state: StateSummary,
}

impl Desk {
    /// # Errors
    /// Of brokers or store.
    pub fn inspect(&mut self) -> Result<Inspection> {
        let found = self.survey(|_, _| Ok(()))?;
        let (standing, group) = (self.standing()?, self.outside.state()?);
        let partitions = self.each_partition().zip(standing.iter().zip(&found));
        Ok(Inspection {
            pipeline: self.target.name.clone(),
            topic: self.target.topic.clone(),
            topic_id: self.topic_id.map(|id| format!("{:032x}", id.0)),
            group: self.target.group.clone(),
            group_state: group.state,
            members: group.members,
            partitions: partitions.map(|(partition, (standing, found))| PartitionReport::new(partition, standing, found)).collect(),
        })
    }

    /// The stored states of an entity: an address, `user:NAME`, `host:NAME`, or a name alone for both.
    ///
    /// # Errors
    /// `Permanent`: what is stored cannot be read. `Transient`: no answer.
    pub fn entity(&mut self, name: &str) -> Result<Vec<EntityReport>> {
        let mut found = vec![];
        let mut scratch = vec![];
        for (shown, key) in keys_of(name) {
            for partition in self.each_partition() {
                let Some(value) = self.store.peek(partition, &[key])?.pop().flatten() else { continue };
                let (state, _) = EntityState::decode(&value, &mut scratch)
                    .map_err(|why| Error::permanent(format!("{shown} in partition {}: {why}", partition.0)))?;
                found.push(EntityReport {
                    entity: shown.clone(),
                    key: format!("{:032x}", key.0),
                    partition: partition.0,
                    bytes: value.len(),
                    state: state.summary(),
                });
            }
        }
        Ok(found)
    }
}

/// What a name may stand for. Names are compared in lower case, as the pipeline does it.
fn keys_of(name: &str) -> Vec<(String, EntityKey)> {
    let (kind, rest) = name.split_once(':').map_or(("", name), |(kind, rest)| (kind, rest));
    let address = if kind == "ip" { rest } else { name };
    if let Ok(address) = address.parse::<std::net::IpAddr>() {
        return vec![(format!("ip:{}", address.to_canonical()), EntityKey::of_address(address))];
    }
    let of = |kind: EntityKind, name: &str| {
        let name = name.to_lowercase();
        (format!("{}:{name}", kind.as_str()), EntityKey::of_name(kind, &name))
    };
    match kind {
        "user" => vec![of(EntityKind::User, rest)],
        "host" => vec![of(EntityKind::Host, rest)],
        "unknown" => vec![of(EntityKind::Unknown, rest)],
        _ if name == "unknown" => vec![of(EntityKind::Unknown, name), of(EntityKind::User, name), of(EntityKind::Host, name)],
        _ => vec![of(EntityKind::User, name), of(EntityKind::Host, name)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_keys_that_the_pipeline_uses() {
        let check = |name: &str, said: &[&str]| {
            let shown: Vec<String> = keys_of(name).into_iter().map(|(shown, _)| shown).collect();
            assert_eq!(shown, said, "{name}");
        };
        check("10.0.0.1", &["ip:10.0.0.1"]);
        check("ip:10.0.0.1", &["ip:10.0.0.1"]);
        check("2001:DB8::1", &["ip:2001:db8::1"]);
        check("user:Alice", &["user:alice"]);
        check("web-3", &["user:web-3", "host:web-3"]);
        assert_eq!(keys_of("Alice")[0].1, EntityKey::of_name(EntityKind::User, "alice"));
    }
}

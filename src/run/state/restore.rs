//! `threatguard state restore`: makes the store what a snapshot says, under a new generation that the group's offsets name as well.
//!
//! By default the offsets stay where they are: the next start replays `[R, C)` into the states without publishing anything, and goes
//! on. With [`ToOffsets::Snapshot`] they go back to the snapshot's `as_of`: everything from there on is scored and published again,
//! with the same ids.

use serde::Serialize;

use super::{Desk, Standing};
use crate::core::state::{FORMAT, FORMAT_MIN};
use crate::core::types::{Offset, Partition};
use crate::edge::redis::Stored;
use crate::edge::snapshot::{Item, Manifest, Part, PartReader, Place, Stage};
use crate::edge::{Committed, Owner};
use crate::error::{Error, Result};
use crate::run::stream::note::Note;

/// Where the group goes on after a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToOffsets {
    Keep,
    Snapshot,
}

/// Values written by one call.
const PAGE_VALUES: usize = 2_000;

/// What a restored partition is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    pub partition: u32,
    pub entities: u64,
    /// `R`.
    pub checkpoint: u64,
    /// Outputs come from here on.
    pub publishes_from: u64,
}

/// A partition's part and what will be committed with it.
struct Order<'m> {
    part: &'m Part,
    partition: Partition,
    live: Offset,
    note: Note,
}

impl Desk {
    /// The newest snapshot of a place that `fits`.
    ///
    /// # Errors
    /// `Config`: there is none.
    pub fn newest(&self, place: &Place, fits: impl Fn(&Manifest) -> bool) -> Result<Manifest> {
        let all = place.list(&self.target.folder())?;
        let (count, shown) = (all.len(), place.shown());
        all.into_iter().rev().find(fits).ok_or_else(|| {
            let state = &self.target.folder();
            Error::config(match count {
                0 => format!("{shown} has no snapshot of {state}"),
                _ => format!("none of the {count} snapshots of {state} in {shown} can be used for this"),
            })
        })
    }

    /// Restores all partitions of a snapshot. What was stored of them before is gone afterwards.
    ///
    /// # Errors
    /// `Config`: the group has members, or the snapshot does not fit it. `Permanent`: it is damaged. In both cases nothing was changed.
    pub fn restore(&mut self, place: &Place, manifest: &Manifest, to: ToOffsets) -> Result<Vec<Restored>> {
        self.outside.must_be_idle()?;
        self.check_manifest(manifest)?;
        let standing = self.standing()?;
        let live = |part: &Part, standing: &Standing| match to {
            ToOffsets::Snapshot => Some(Offset(part.as_of)),
            ToOffsets::Keep => standing.next(),
        };
        let targets: Vec<Option<Offset>> =
            manifest.parts.iter().map(|part| standing.get(part.partition as usize).and_then(|standing| live(part, standing))).collect();
        self.restore_at(place, manifest, &standing, &targets)
    }

    /// As [`Self::restore`], publishing from these offsets on, one for each part.
    pub(super) fn restore_at(
        &mut self,
        place: &Place,
        manifest: &Manifest,
        standing: &[Standing],
        live: &[Option<Offset>],
    ) -> Result<Vec<Restored>> {
        let mut orders = vec![];
        for (part, live) in manifest.parts.iter().zip(live) {
            orders.push(self.order(part, &standing[part.partition as usize], *live)?);
        }
        // All of it is here and whole before anything is changed.
        let stage = place.fetch(&self.target.folder(), manifest)?;
        let partitions: Vec<Partition> = orders.iter().map(|order| order.partition).collect();
        self.store.wipe(&partitions)?;
        let mut restored = vec![];
        for order in &orders {
            restored.push(self.fill(order, &stage)?);
        }
        // Last: until the group's note names the new generation, a start is refused and says what to do.
        let commits = orders.iter().map(|order| (order.partition, Committed { next: order.live, note: order.note.to_text() }));
        self.outside.set(&commits.collect::<Vec<_>>())?;
        Ok(restored)
    }

    pub(super) fn check_manifest(&self, manifest: &Manifest) -> Result<()> {
        let target = &self.target;
        let (was, is) = (format!("{} on {}", manifest.pipeline, manifest.topic), format!("{} on {}", target.name, target.topic));
        let topic_id = self.topic_id.map(|id| format!("{:032x}", id.0));
        let partitions = self.outside.partitions();
        let problem = if was != is {
            format!("it is of pipeline {was}, not of {is}")
        } else if manifest.state_format > FORMAT {
            let (theirs, ours) = (manifest.state_format, FORMAT);
            format!("its states have format {theirs}, this version reads {ours}: use the version that made it, or a later one")
        } else if manifest.state_format < FORMAT_MIN {
            let (theirs, ours) = (manifest.state_format, FORMAT_MIN);
            format!(
                "its states have format {theirs}, which nobody can carry over to {ours}: start from a point in time (`threatguard run --from TIME`)"
            )
        } else if manifest.partitions != partitions {
            format!("the topic had {} partitions then and has {partitions} now: entities have moved", manifest.partitions)
        } else if manifest.topic_id.is_some() && topic_id.is_some() && manifest.topic_id != topic_id {
            "the topic was deleted and made anew since: its offsets mean other records now".to_owned()
        } else if let Some(part) = manifest.parts.iter().find(|part| part.partition >= partitions || part.as_of < part.checkpoint) {
            format!("its manifest contradicts itself at partition {}", part.partition)
        } else {
            return Ok(());
        };
        Err(Error::config(format!("snapshot {} cannot be used: {problem}. Nothing was changed", manifest.name)))
    }

    fn order<'m>(&mut self, part: &'m Part, standing: &Standing, live: Option<Offset>) -> Result<Order<'m>> {
        let partition = Partition(part.partition);
        let refuse = |what: String| Err(Error::config(format!("partition {}: {what}. Nothing was changed", partition.0)));
        let Some(live) = live else {
            return refuse(
                "the group has committed no offset; set its offsets to the snapshot's as well (`--to-offsets snapshot`)".to_owned(),
            );
        };
        let ends = standing.ends;
        if live.0 < part.as_of {
            return refuse(format!(
                "the snapshot contains events up to offset {}, past the group's {}; use an older snapshot, or set the offsets to the \
                 snapshot's (`--to-offsets snapshot`)",
                part.as_of, live.0
            ));
        }
        if part.checkpoint < ends.start.0 && live.0 > part.checkpoint {
            return refuse(format!(
                "the log begins at {}, past the snapshot's checkpoint {}: what is between is lost to it; use a newer snapshot, or start \
                 from a point in time (`threatguard run --from TIME`)",
                ends.start.0, part.checkpoint
            ));
        }
        if live > ends.end {
            return refuse(format!("the log ends at {}, before offset {}: it is not the log of the snapshot", ends.end.0, live.0));
        }
        let stored = self.store.stored(partition)?.and_then(|meta| meta.owner).max(Some(Owner(part.owner)));
        let then = part.note.as_deref().and_then(Note::parse);
        let base = then.as_ref().map(|note| note.base).unwrap_or_default();
        let note = self.note(standing.note.as_ref(), stored, base);
        // The time that passed at the end of the log belongs to the offset that it was noted with.
        let noted = [standing.next().zip(standing.note.clone()), part.committed.map(Offset).zip(then)];
        let ticked = noted.into_iter().flatten().find(|(next, _)| *next == live).and_then(|(_, note)| note.ticked);
        Ok(Order { part, partition, live, note: Note { ticked, ..note } })
    }

    fn fill(&mut self, order: &Order<'_>, stage: &Stage) -> Result<Restored> {
        let Order { part, partition, live, note } = order;
        let mut reader = PartReader::open(&stage.path(&part.file))?;
        let (mut page, mut entities, mut value) = (vec![], 0, vec![]);
        while let Some(item) = reader.next_item()? {
            match item {
                Item::Entity(key, bytes) => page.push((key, bytes)),
                Item::Value(bytes) => value = bytes,
            }
            if page.len() >= PAGE_VALUES {
                entities += self.store.fill(*partition, &page)?;
                page.clear();
            }
        }
        entities += self.store.fill(*partition, &page)?;
        if entities != part.entities {
            let (found, said) = (entities, part.entities);
            return Err(Error::permanent(format!("partition {}: {found} entities where the manifest says {said}", partition.0)));
        }
        let stored = Stored {
            owner: Some(note.owner),
            state: Some(note.state),
            checkpoint: Some(Offset(part.checkpoint)),
            entities: Some(entities),
            value,
            unreadable: None,
        };
        self.store.seal(*partition, &stored)?;
        Ok(Restored { partition: partition.0, entities, checkpoint: part.checkpoint, publishes_from: live.0 })
    }
}

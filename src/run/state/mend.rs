//! `threatguard state drop` and `threatguard state adopt`: what the messages of a refused start name as ways out.

use serde::Serialize;

use super::{Desk, Standing};
use crate::core::types::{Offset, Partition};
use crate::edge::Committed;
use crate::edge::redis::Stored;
use crate::error::{Error, Result};
use crate::run::stream::note::Note;

/// What was removed, and what the next start does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    pub keys: u64,
    /// Of each partition with a note: where its state is made anew from, and whether the log still begins there.
    pub rebuilds: Vec<Rebuild>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    pub partition: u32,
    pub from: u64,
    pub possible: bool,
}

/// A partition that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    pub partition: u32,
    pub checkpoint: u64,
    pub committed: u64,
    pub owner: u64,
}

impl Desk {
    /// Removes everything that is stored, of partitions too that the topic does not have.
    ///
    /// # Errors
    /// `Config`: the group has members.
    pub fn drop_states(&mut self) -> Result<Dropped> {
        self.outside.must_be_idle()?;
        let standing = self.standing()?;
        let partitions = self.store.partitions()?;
        let keys = self.store.wipe(&partitions)?;
        let rebuild = |(number, standing): (usize, &Standing)| {
            let base = standing.note.as_ref()?.base;
            let possible = base >= standing.ends.start || standing.next() == Some(base);
            Some(Rebuild { partition: number as u32, from: base.0, possible })
        };
        Ok(Dropped { keys, rebuilds: standing.iter().enumerate().filter_map(rebuild).collect() })
    }

    /// Makes the group the owner of what is stored: commits its offsets again with a note that names the stored state.
    ///
    /// # Errors
    /// `Config`: the group has members, or a state and its offset do not belong together; nothing was changed then.
    pub fn adopt(&mut self) -> Result<Vec<Adopted>> {
        self.outside.must_be_idle()?;
        let found = self.survey(|_, _| Ok(()))?;
        let standing = self.standing()?;
        let mut adopted = vec![];
        let mut commits = vec![];
        for (partition, (standing, found)) in self.each_partition().zip(standing.iter().zip(&found)) {
            let (Some(meta), Some(as_of)) = (&found.before, found.as_of()) else { continue };
            let (next, note) = self.takeover(partition, standing, meta, as_of)?;
            let checkpoint = meta.checkpoint.unwrap_or_default().0;
            adopted.push(Adopted { partition: partition.0, checkpoint, committed: next.0, owner: note.owner.0 });
            commits.push((partition, Committed { next, note: note.to_text() }));
        }
        if adopted.is_empty() {
            return Err(Error::config("nothing is stored of this pipeline: there is nothing to take over"));
        }
        self.outside.set(&commits)?;
        Ok(adopted)
    }

    /// Where the group goes on with a state that is stored, and under which note.
    fn takeover(&self, partition: Partition, standing: &Standing, meta: &Stored, as_of: Offset) -> Result<(Offset, Note)> {
        let refuse = |what: String| {
            let way_out = super::verify::AWAY;
            Err(Error::config(format!("partition {}: {what}. Nothing was changed; {way_out}", partition.0)))
        };
        // A group that has committed nothing begins where the state ends.
        let next = standing.next().unwrap_or(as_of);
        if as_of > next {
            return refuse(format!("the state has seen events up to offset {}, past the group's {}", as_of.0, next.0));
        }
        let checkpoint = meta.checkpoint.unwrap_or_default();
        let ends = standing.ends;
        if checkpoint < ends.start && checkpoint != next {
            return refuse(format!("the log begins at {}, past the state's checkpoint {}", ends.start.0, checkpoint.0));
        }
        if next > ends.end {
            return refuse(format!("the log ends at {}, before offset {}: is the state of another topic?", ends.end.0, next.0));
        }
        let Some(state) = meta.state else { return refuse("the stored state has no generation".to_owned()) };
        let same = standing.note.as_ref().filter(|note| note.state == state);
        let base = same.map(|note| note.base).unwrap_or_default();
        let note = self.note(standing.note.as_ref(), meta.owner, base);
        let ticked = same.and_then(|note| note.ticked);
        Ok((next, Note { state, ticked, ..note }))
    }
}

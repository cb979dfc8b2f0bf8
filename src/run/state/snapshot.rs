//! `threatguard state snapshot`: every value and meta of a pipeline, beside a running one or not.
//!
//! Sound by the order of reading that [`Desk::survey`] explains: `R` before the values, `C` after them. A value may be ahead of `R`,
//! so a snapshot names two offsets: the log from `R` to `as_of` makes every state whole, and outputs may begin at `as_of` and no
//! sooner, because a value that has seen an event gives no output for it any more.

use std::collections::BTreeMap;

use super::survey::Found;
use super::{Desk, Standing};
use crate::core::state::FORMAT;
use crate::core::types::Partition;
use crate::edge::clock;
use crate::edge::snapshot::{Manifest, Part, PartWriter, Place, SNAPSHOT_FORMAT};
use crate::error::{Error, Result};

impl Desk {
    /// Makes one; returns it and where it is.
    ///
    /// # Errors
    /// `Permanent`: a state is missing or cannot be read, or the place takes no more. Nothing is left behind then.
    pub fn snapshot(&mut self, place: &Place) -> Result<(Manifest, String)> {
        let folder = self.target.folder();
        let stage = place.begin(&folder, clock::wall())?;
        let mut writers: BTreeMap<Partition, PartWriter> = BTreeMap::new();
        for partition in self.each_partition() {
            writers.insert(partition, PartWriter::create(&stage.path(&file_name(partition)))?);
        }
        let found = self.survey(|partition, values| {
            let Some(writer) = writers.get_mut(&partition) else { return Ok(()) };
            values.iter().try_for_each(|(key, value)| writer.entity(*key, value))
        })?;
        let standing = self.standing()?;
        let mut parts = vec![];
        for (partition, writer) in writers {
            let (standing, found) = (&standing[partition.0 as usize], &found[partition.0 as usize]);
            // The partition's own value and `R` were read as one.
            let written = writer.finish(found.before.as_ref().map_or(&[], |meta| meta.value.as_slice()))?;
            let Some(part) = part(partition, standing, found)? else { continue };
            parts.push(Part { blake3: written.blake3, bytes: written.bytes, ..part });
        }
        let manifest = Manifest {
            format: SNAPSHOT_FORMAT,
            name: stage.name().to_owned(),
            pipeline: self.target.name.clone(),
            topic: self.target.topic.clone(),
            topic_id: self.topic_id.map(|id| format!("{:032x}", id.0)),
            group: self.target.group.clone(),
            partitions: self.outside.partitions(),
            state_format: FORMAT,
            parts,
        };
        let shown = place.publish(&folder, stage, &manifest)?;
        Ok((manifest, shown))
    }
}

fn file_name(partition: Partition) -> String {
    format!("partition-{:05}.tgs", partition.0)
}

/// What a manifest says of a partition; nothing where it never had a state.
fn part(partition: Partition, standing: &Standing, found: &Found) -> Result<Option<Part>> {
    let refuse = |what: &str| {
        let what = format!("partition {}: {what}", partition.0);
        Err(Error::permanent(format!("{what}. There is nothing sound to keep; `threatguard state verify` says more")))
    };
    if found.unreadable > 0 {
        return refuse("some values cannot be read");
    }
    let (Some(checkpoint), Some(as_of)) = (found.checkpoint(), found.as_of()) else {
        let base = standing.note.as_ref().map(|note| note.base);
        if found.entities() > 0 || (base.is_some() && standing.next() > base) {
            return refuse("it has committed offsets or values, but no checkpoint is stored");
        }
        return Ok(None);
    };
    let meta = found.before.clone().unwrap_or_default();
    if standing.note.as_ref().is_some_and(|note| Some(note.state) != meta.state) {
        return refuse("the stored state is not the group's");
    }
    Ok(Some(Part {
        partition: partition.0,
        file: file_name(partition),
        blake3: String::new(),
        bytes: 0,
        entities: found.entities(),
        checkpoint: checkpoint.0,
        as_of: as_of.0,
        committed: standing.next().map(|next| next.0),
        note: standing.committed.as_ref().map(|committed| committed.note.clone()),
        generation: meta.state.unwrap_or_default().0,
        owner: meta.owner.unwrap_or_default().0,
        log_start: standing.ends.start.0,
        log_end: standing.ends.end.0,
    }))
}

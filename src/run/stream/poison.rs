//! Records that make the work panic. One such record must not keep its partition from going on, and not even the log be lost that
//! comes after it: it becomes a dead letter, the same after every restart.
//!
//! What a panic leaves behind is not to be trusted, so the partition's state is dropped and taken over anew. Then the batch that
//! panicked is gone through record by record, until the one is known that does it.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::types::{Offset, Partition};
use crate::edge::{RecordRef, Records};
use crate::error::{Error, Result};

/// More of them in one partition are a defect of ours and no longer one of the records.
const POISON_MAX: usize = 16;

/// What a lane knows about records that panic.
#[derive(Debug, Default)]
pub(super) struct Poison {
    known: BTreeMap<Partition, BTreeSet<Offset>>,
    /// Up to here records are taken one by one.
    careful: BTreeMap<Partition, Offset>,
}

impl Poison {
    /// Records that are refused unseen.
    pub fn known(&self, partition: Partition) -> Option<&BTreeSet<Offset>> {
        self.known.get(&partition)
    }

    /// The batch in the pieces that it has to be taken in.
    pub fn pieces(&self, partition: Partition, records: Records) -> Vec<Records> {
        let is_careful = |record: RecordRef<'_>| self.careful.get(&partition).is_some_and(|upto| record.offset < *upto);
        if !records.iter().next().is_some_and(is_careful) {
            return vec![records];
        }
        let alone = |record: RecordRef<'_>| {
            let mut piece = Records::default();
            piece.push_of(record.offset, record.time, record.key, record.payload, record.whole_len);
            piece
        };
        records.iter().map(alone).collect()
    }

    /// Learns from a panic over these records.
    ///
    /// # Errors
    /// `Bug`: there have been too many.
    pub fn learn(&mut self, partition: Partition, records: &Records) -> Result<()> {
        let (Some(first), Some(last)) = (records.get(0), records.last()) else { return Err(Error::bug("a panic over no record")) };
        if first.offset != last.offset {
            let upto = self.careful.entry(partition).or_default();
            *upto = last.offset.next().max(*upto);
            return Ok(());
        }
        tracing::error!(partition = partition.0, offset = first.offset.0, "this record makes the work panic; it becomes a dead letter");
        let known = self.known.entry(partition).or_default();
        known.insert(first.offset);
        if known.len() > POISON_MAX {
            let what =
                format!("{} records of partition {} made the work panic, the last at offset {}", known.len(), partition.0, first.offset.0);
            return Err(Error::bug(format!("{what}; nothing after it is committed")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(2);

    fn records(offsets: std::ops::Range<u64>) -> Records {
        let mut records = Records::default();
        offsets.for_each(|offset| records.push(Offset(offset), None, Some(b"k"), b"v"));
        records
    }

    #[test]
    fn a_panic_narrows_down_to_its_record() {
        let mut poison = Poison::default();
        assert_eq!(poison.pieces(P, records(0..5)).len(), 1);
        poison.learn(P, &records(0..5)).unwrap();
        let pieces = poison.pieces(P, records(0..5));
        assert_eq!(
            pieces.iter().map(|piece| (piece.len(), piece.get(0).unwrap().offset.0)).collect::<Vec<_>>(),
            (0..5).map(|n| (1, n)).collect::<Vec<_>>()
        );
        assert_eq!(pieces[3].get(0).map(|record| (record.key, record.payload)), Some((Some(&b"k"[..]), &b"v"[..])));
        assert_eq!((poison.pieces(P, records(5..9)).len(), poison.pieces(Partition(0), records(0..5)).len()), (1, 1));
        assert_eq!(poison.known(P), None);
        poison.learn(P, &pieces[3]).unwrap();
        assert_eq!(poison.known(P), Some(&BTreeSet::from([Offset(3)])));
        for offset in 10..10 + POISON_MAX as u64 - 1 {
            poison.learn(P, &records(offset..offset + 1)).unwrap();
        }
        assert!(poison.learn(P, &records(99..100)).unwrap_err().to_string().contains("offset 99"));
    }
}

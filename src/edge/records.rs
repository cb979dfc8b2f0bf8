//! Records of one batch in one contiguous buffer that the batch owns. Payloads are cut at `RECORD_KEPT_BYTES`, never dropped.

use crate::codec::frame::OVERSIZE_KEPT_BYTES as RECORD_KEPT_BYTES;
use crate::core::event::Record;
use crate::core::types::{EventTime, Offset, Partition, Position};

/// Payloads, keys, offsets and timestamps, in the order they were read.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    /// Microseconds, [`NO_TIME`] where the record has none.
    time: i64,
    /// Where the key starts in `bytes`; the payload follows it.
    start: usize,
    /// [`NO_KEY`] where the record has none.
    key_len: u32,
    payload_len: u32,
    whole_len: u64,
}

const NO_KEY: u32 = u32::MAX;
const NO_TIME: i64 = i64::MIN;
const _: () = assert!(RECORD_KEPT_BYTES < NO_KEY as usize);

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'r> {
    pub offset: Offset,
    pub time: Option<EventTime>,
    pub key: Option<&'r [u8]>,
    /// At most [`RECORD_KEPT_BYTES`] bytes.
    pub payload: &'r [u8],
    /// Length before it was cut; larger than the payload's only then.
    pub whole_len: u64,
}

impl<'r> RecordRef<'r> {
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.whole_len > self.payload.len() as u64
    }
    /// The record as the core sees it.
    #[must_use]
    pub fn as_record(&self, partition: Partition) -> Record<'r> {
        Record { at: Position { partition, offset: self.offset }, payload: self.payload, time: self.time }
    }
}

impl Records {
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Bytes of keys and payloads together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Appends one record, copying it. What exceeds [`RECORD_KEPT_BYTES`] of the key or the payload is left out.
    pub fn push(&mut self, offset: Offset, time: Option<EventTime>, key: Option<&[u8]>, payload: &[u8]) {
        self.push_of(offset, time, key, payload, payload.len() as u64);
    }

    /// As [`Records::push`], for a reader that already cut a payload of `whole_len` bytes.
    pub fn push_of(&mut self, offset: Offset, time: Option<EventTime>, key: Option<&[u8]>, payload: &[u8], whole_len: u64) {
        let (key, payload) = (key.map(cut), cut(payload));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(payload);
        self.entries.push(Entry {
            offset: offset.0,
            time: time.map_or(NO_TIME, |time| time.0),
            start,
            key_len: key.map_or(NO_KEY, |key| key.len() as u32),
            payload_len: payload.len() as u32,
            whole_len,
        });
    }

    /// The record at `offset`; offsets ascend.
    #[must_use]
    pub fn find(&self, offset: Offset) -> Option<RecordRef<'_>> {
        let index = self.entries.binary_search_by_key(&offset.0, |entry| entry.offset).ok()?;
        self.get(index)
    }
    /// How many records lie at or past `offset`.
    #[must_use]
    pub fn count_from(&self, offset: Offset) -> u64 {
        (self.entries.len() - self.entries.partition_point(|entry| entry.offset < offset.0)) as u64
    }
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        self.entries.get(index).map(|entry| self.view(entry))
    }
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> + '_ {
        self.entries.iter().map(|entry| self.view(entry))
    }
    #[must_use]
    pub fn last(&self) -> Option<RecordRef<'_>> {
        self.entries.last().map(|entry| self.view(entry))
    }

    fn view(&self, entry: &Entry) -> RecordRef<'_> {
        let key_len = if entry.key_len == NO_KEY { 0 } else { entry.key_len as usize };
        let payload = entry.start + key_len;
        RecordRef {
            offset: Offset(entry.offset),
            time: (entry.time != NO_TIME).then_some(EventTime(entry.time)),
            key: (entry.key_len != NO_KEY).then(|| &self.bytes[entry.start..payload]),
            payload: &self.bytes[payload..payload + entry.payload_len as usize],
            whole_len: entry.whole_len,
        }
    }
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(RECORD_KEPT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_and_large_ones_are_cut() {
        let mut records = Records::default();
        let large = vec![b'x'; RECORD_KEPT_BYTES + 7];
        records.push(Offset(5), Some(EventTime(9)), Some(b"key"), b"value");
        records.push(Offset(6), None, None, b"");
        records.push(Offset(8), None, Some(b""), &large);
        let first = records.get(0).unwrap();
        assert_eq!((first.offset, first.time, first.key, first.payload), (Offset(5), Some(EventTime(9)), Some(&b"key"[..]), &b"value"[..]));
        assert!(!first.is_cut());
        let second = records.get(1).unwrap();
        assert_eq!((second.time, second.key, second.payload), (None, None, &b""[..]));
        let third = records.last().unwrap();
        assert_eq!((third.key, third.payload.len(), third.whole_len), (Some(&b""[..]), RECORD_KEPT_BYTES, RECORD_KEPT_BYTES as u64 + 7));
        assert!(third.is_cut());
        assert_eq!(records.iter().len(), 3);
        records.clear();
        assert!(records.is_empty() && records.get(0).is_none());
    }
}

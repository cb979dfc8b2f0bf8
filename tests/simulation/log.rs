//! One partition of a topic: records and control records by offset, open and aborted transactions, a low watermark.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Not a producer's number: records outside of transactions.
pub const PLAIN: u64 = 0;

#[derive(Clone, Debug)]
pub struct Record {
    pub producer: u64,
    pub key: Option<Vec<u8>>,
    pub payload: Arc<[u8]>,
    pub time: i64,
}

#[derive(Clone, Debug)]
enum Entry {
    Data(Record),
    /// The end of a transaction takes an offset too.
    Control,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    pub low: u64,
    /// First offset of each transaction that has not ended.
    open: BTreeMap<u64, u64>,
    /// Producer, first offset and end of each aborted transaction.
    aborted: Vec<(u64, u64, u64)>,
}

impl Log {
    pub fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// No further than this may a reader of what is committed look.
    pub fn stable(&self) -> u64 {
        self.open.values().copied().min().unwrap_or_else(|| self.end())
    }

    pub fn append(&mut self, record: Record) {
        if record.producer != PLAIN {
            let end = self.end();
            self.open.entry(record.producer).or_insert(end);
        }
        self.entries.push(Entry::Data(record));
    }

    /// Ends a producer's transaction, which may have nothing in this log.
    pub fn mark(&mut self, producer: u64, committed: bool) {
        let marker = self.end();
        if let Some(first) = self.open.remove(&producer).filter(|_| !committed) {
            self.aborted.push((producer, first, marker));
        }
        self.entries.push(Entry::Control);
    }

    /// Committed records from an offset on, `limit` offsets at most are looked at; also where to go on.
    pub fn read(&self, from: u64, limit: u64) -> (Vec<(u64, &Record)>, u64) {
        let upto = self.stable().min(from.saturating_add(limit));
        let visible = |offset: u64| match &self.entries[offset as usize] {
            Entry::Data(record) if !self.is_aborted(record.producer, offset) => Some((offset, record)),
            _ => None,
        };
        ((from..upto).filter_map(visible).collect(), upto.max(from))
    }

    fn is_aborted(&self, producer: u64, offset: u64) -> bool {
        self.aborted.iter().any(|(aborted, first, marker)| *aborted == producer && (*first..*marker).contains(&offset))
    }
}

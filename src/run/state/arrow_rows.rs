//! Verdicts packed as Arrow, as a check reads them: positions, and what each of them says. Records may come from anybody: one that is
//! not written as ours are is refused before anything is unpacked.

use std::panic::catch_unwind;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use arrow::record_batch::RecordBatch;

use crate::core::numeric::{hash_bytes, mix};
use crate::core::types::{EventTime, Partition};

/// Before each message of a stream, and its end.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// One verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub partition: Partition,
    pub offset: u64,
    pub time: EventTime,
    /// Of what it says, so that one that comes again is told from another one of the same position.
    pub content: u64,
}

/// All verdicts of a record; none when it is no stream of ours.
pub(super) fn rows(payload: &[u8]) -> Option<Vec<Row>> {
    if !is_plain(payload) {
        return None;
    }
    // The reader checks what it reads; should it miss something, the record is one more that is not ours.
    catch_unwind(|| {
        let mut found = vec![];
        for batch in StreamReader::try_new(payload, None).ok()? {
            take(&batch.ok()?, &mut found)?;
        }
        Some(found)
    })
    .ok()?
}

/// Whether nothing in it is packed: what is unpacked has no bound but what the record claims.
fn is_plain(mut stream: &[u8]) -> bool {
    let mut messages = 0;
    while let Some(rest) = stream.strip_prefix(&CONTINUATION) {
        let Some((length, rest)) = rest.split_first_chunk() else { return false };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return messages > 0;
        }
        let Some((head, rest)) = rest.split_at_checked(length) else { return false };
        let Ok(message) = root_as_message(head) else { return false };
        if message.header_as_dictionary_batch().is_some()
            || message.header_as_record_batch().is_some_and(|batch| batch.compression().is_some())
        {
            return false;
        }
        let Some(body) = usize::try_from(message.bodyLength()).ok().and_then(|length| rest.split_at_checked(length)) else { return false };
        stream = body.1;
        messages += 1;
    }
    messages > 0 && stream.is_empty()
}

fn take(batch: &RecordBatch, found: &mut Vec<Row>) -> Option<()> {
    let column = |name: &str| batch.column_by_name(name);
    let partitions = column("partition")?.as_primitive_opt::<UInt32Type>()?;
    let offsets = column("offset")?.as_primitive_opt::<UInt64Type>()?;
    let times = column("timestamp")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let entities = column("entity")?.as_string_opt::<i32>()?;
    let surprises = column("surprise_nats")?.as_primitive_opt::<Float32Type>()?;
    let models = column("models")?.as_primitive_opt::<UInt64Type>()?;
    if [partitions.null_count(), offsets.null_count(), entities.null_count()] != [0; 3] {
        return None;
    }
    found.extend((0..batch.num_rows()).map(|row| {
        let parts = [
            times.value(row).unsigned_abs(),
            hash_bytes(entities.value(row).as_bytes()),
            u64::from(surprises.value(row).to_bits()),
            models.value(row),
        ];
        let content = parts.into_iter().fold(0, |hash, part| mix(hash ^ part));
        Row { partition: Partition(partitions.value(row)), offset: offsets.value(row), time: EventTime(times.value(row)), content }
    }));
    Some(())
}

//! Verdicts as Arrow record batches: one IPC stream of one batch in each record of `security.verdicts`.
//!
//! The schema is the same for every pipeline, so training, archive and any tool that reads Arrow can take them as they are.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array, StringBuilder, TimestampMicrosecondArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;

use crate::core::detect::NAMES;
use crate::core::engine::{Engine, PARTS, Verdict};
use crate::core::ensemble::threat_score;
use crate::core::event::Event;
use crate::core::features::row::MODEL_WIDTH;
use crate::core::output::ModelsVersion;
use crate::error::{Error, Result};

/// Verdicts packed into one record.
pub const VERDICTS_PER_RECORD_MAX: usize = 2_048;

/// Writes verdicts as Arrow.
pub struct ArrowVerdicts {
    schema: SchemaRef,
    options: IpcWriteOptions,
}

impl ArrowVerdicts {
    /// # Errors
    /// `Bug`: the options do not fit together.
    pub fn new() -> Result<Self> {
        let options = IpcWriteOptions::try_new(8, false, arrow::ipc::MetadataVersion::V5).map_err(arrow_bug)?;
        Ok(Self { schema: schema(), options })
    }

    /// Appends one IPC stream with a batch of these verdicts.
    ///
    /// # Errors
    /// `Bug`: columns do not fit the schema.
    pub fn write(&self, engine: &Engine, events: &[Event<'_>], verdicts: &[Verdict], out: &mut Vec<u8>) -> Result<()> {
        let batch = self.batch(engine, events, verdicts)?;
        let mut writer = StreamWriter::try_new_with_options(out, &self.schema, self.options.clone()).map_err(arrow_bug)?;
        writer.write(&batch).map_err(arrow_bug)?;
        writer.finish().map_err(arrow_bug)
    }

    fn batch(&self, engine: &Engine, events: &[Event<'_>], verdicts: &[Verdict]) -> Result<RecordBatch> {
        let event = |verdict: &Verdict| &events[verdict.event as usize];
        let mut entities = StringBuilder::with_capacity(verdicts.len(), verdicts.len() * 16);
        for verdict in verdicts {
            let entity = &event(verdict).entity;
            // A builder takes pieces through `fmt::Write` and ends a value by an empty append: no string is made for each entity.
            let written = std::fmt::Write::write_fmt(&mut entities, format_args!("{}:{}", entity.kind.as_str(), entity.name));
            written.map_err(|error| Error::bug("an entity's name does not fit a column").because(error))?;
            entities.append_value("");
        }
        let models = version_number(engine.scorer().models());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from_iter_values(verdicts.iter().map(|v| event(v).at.partition.0))),
            Arc::new(UInt64Array::from_iter_values(verdicts.iter().map(|v| event(v).at.offset.0))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(verdicts.iter().map(|v| event(v).time.0)).with_timezone("UTC")),
            Arc::new(entities.finish()),
            Arc::new(Float32Array::from_iter_values(verdicts.iter().map(|v| threat_score(v.surprise)))),
            Arc::new(Float32Array::from_iter_values(verdicts.iter().map(|v| v.surprise))),
            Arc::new(verdicts.iter().map(|v| Some(v.severity.is_some())).collect::<BooleanArray>()),
            Arc::new(verdicts.iter().map(|_| Some(engine.scorer().is_learning())).collect::<BooleanArray>()),
            Arc::new(UInt64Array::from_value(models, verdicts.len())),
            Arc::new(Int64Array::from_iter_values(verdicts.iter().map(|v| i64::from(event(v).repairs.0)))),
        ];
        let parts: Vec<[f32; PARTS]> = verdicts.iter().map(|v| engine.scores().raw(v.row as usize)).collect();
        for detector in 0..PARTS {
            columns.push(Arc::new(Float32Array::from_iter_values(parts.iter().map(|parts| parts[detector]))));
        }
        columns.push(Arc::new(features(engine, verdicts)?));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(arrow_bug)
    }
}

fn version_number(version: Option<ModelsVersion>) -> u64 {
    let digits = version.unwrap_or_default();
    std::str::from_utf8(&digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

fn features(engine: &Engine, verdicts: &[Verdict]) -> Result<FixedSizeListArray> {
    let mut values: Vec<f32> = Vec::with_capacity(verdicts.len() * MODEL_WIDTH);
    verdicts.iter().for_each(|v| values.extend_from_slice(&engine.rows().model[v.row as usize]));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    FixedSizeListArray::try_new(item, MODEL_WIDTH as i32, Arc::new(Float32Array::from(values)), None).map_err(arrow_bug)
}

fn schema() -> SchemaRef {
    let plain = |name: &str, kind: DataType| Field::new(name, kind, false);
    let mut fields = vec![
        plain("partition", DataType::UInt32),
        plain("offset", DataType::UInt64),
        plain("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        plain("entity", DataType::Utf8),
        plain("threat_score", DataType::Float32),
        plain("surprise_nats", DataType::Float32),
        plain("threat", DataType::Boolean),
        plain("learning", DataType::Boolean),
        // The version of the models, its hexadecimal digits as a number; 0 where there were none yet.
        plain("models", DataType::UInt64),
        plain("repairs", DataType::Int64),
    ];
    fields.extend(NAMES.iter().map(|name| plain(name, DataType::Float32)));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    fields.push(plain("features", DataType::FixedSizeList(item, MODEL_WIDTH as i32)));
    Arc::new(ArrowSchema::new(fields))
}

fn arrow_bug(error: arrow::error::ArrowError) -> Error {
    Error::bug("verdicts do not fit their Arrow schema").because(error)
}

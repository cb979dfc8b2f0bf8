//! Parquet: numbers, times and truth values as numbers, text as words, a list of numbers or text as its text. Must never flatten any
//! other nested column by guess.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::builder::Builder;
use super::{Expected, distinct};
use crate::error::{Error, Result};
use crate::models::table::frame::{Cells, Column, Frame};

pub(super) const MAGIC: &[u8] = b"PAR1";

enum Part {
    Numbers(Vec<f64>),
    Words(Builder),
}

pub(super) fn read(bytes: Vec<u8>, expected: Expected<'_>) -> Result<Frame> {
    let bad = |error: parquet::errors::ParquetError| {
        Error::config("it is damaged Parquet, or written with a codec that is not known").because(error)
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).map_err(bad)?;
    let fields: Vec<(String, DataType)> =
        builder.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let mut parts = fields.iter().map(|(name, kind)| part(name, kind)).collect::<Result<Vec<Part>>>()?;
    for batch in builder.build().map_err(bad)? {
        let batch = batch.map_err(|error| Error::config("it is damaged Parquet").because(error))?;
        for (part, array) in parts.iter_mut().zip(batch.columns()) {
            append(part, array)?;
        }
    }
    let names = distinct(fields.into_iter().map(|(name, _)| name));
    let columns = names.into_iter().zip(parts).map(|(name, part)| match part {
        Part::Numbers(values) => Column { name, cells: Cells::Numbers(values) },
        Part::Words(builder) => {
            let words = expected(&name).unwrap_or(true);
            builder.finish(&name, Some(words))
        }
    });
    Frame::new(columns.collect())
}

fn part(name: &str, kind: &DataType) -> Result<Part> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(Part::Words(Builder::default())),
        DataType::Dictionary(_, value) => part(name, value),
        DataType::Boolean | DataType::Null | DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Ok(Part::Numbers(Vec::new())),
        kind if kind.is_numeric() => Ok(Part::Numbers(Vec::new())),
        DataType::List(member) | DataType::LargeList(member) if is_plain(member.data_type()) => Ok(Part::Words(Builder::default())),
        kind => Err(Error::config(format!("column '{name}' holds {kind}; flatten it to numbers or text, or write the file without it"))),
    }
}

/// What a list's text is made of without a doubt.
fn is_plain(kind: &DataType) -> bool {
    kind.is_numeric() || matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn append(part: &mut Part, array: &dyn Array) -> Result<()> {
    let failed = |error: arrow::error::ArrowError| Error::config("a column cannot be read").because(error);
    match part {
        Part::Numbers(values) => {
            // Times go by their number of units.
            let whole = matches!(array.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
            let array = if whole { cast(array, &DataType::Int64).map_err(failed)? } else { array.slice(0, array.len()) };
            let numbers = cast(&array, &DataType::Float64).map_err(failed)?;
            values.extend(numbers.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        Part::Words(builder) => {
            let text = cast(array, &DataType::Utf8).map_err(failed)?;
            for cell in text.as_string::<i32>() {
                match cell {
                    Some(cell) => builder.push(cell),
                    None => builder.push_missing(),
                }
            }
        }
    }
    Ok(())
}

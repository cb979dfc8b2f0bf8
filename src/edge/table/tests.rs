//! Tables in every form, and files that are none.

use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::models::table::frame::{Cells, MISSING};

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn table(bytes: &[u8]) -> Result<Frame> {
    let folder = tempfile::tempdir().unwrap();
    read(&file(&folder, "t", bytes), None, &|_| None)
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let error = table(bytes).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

const CSV: &[u8] = b"\xef\xbb\xbfa, service ,note,a\r\n1,http,\"x, \"\"y\"\"\nz\",007\r\n\r\n2.5e3,NA,,08\n";

#[test]
fn csv_with_quotes_missing_cells_and_repeated_names() {
    let frame = table(CSV).unwrap();
    let names: Vec<&str> = frame.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!((names, frame.rows()), (vec!["a", "service", "note", "a.1"], 2));
    assert_eq!(frame.columns()[0].cells, Cells::Numbers(vec![1.0, 2500.0]));
    assert_eq!(frame.columns()[1].cells, Cells::Words { codes: vec![0, MISSING], words: vec!["http".into()] });
    assert_eq!(frame.columns()[2].cells.text(0).unwrap(), "x, \"y\"\nz");
    assert_eq!(frame.columns()[3].cells, Cells::Numbers(vec![7.0, 8.0]));
    let folder = tempfile::tempdir().unwrap();
    let words = read(&file(&folder, "t", CSV), None, &|name| (name == "a.1").then_some(true)).unwrap();
    assert_eq!(words.columns()[3].cells.text(0).unwrap(), "007", "as it was in training");
}

#[test]
fn a_header_line_that_comes_again_is_no_row_and_numbers_may_be_hexadecimal() {
    let frame = table(b" port, label \n80,x\nport,label\n0x1F,y\n").unwrap();
    assert_eq!(frame.columns()[0].cells, Cells::Numbers(vec![80.0, 31.0]));
    assert_eq!(table(b"a,b\n0xg,1\n").unwrap().columns()[0].cells.text(0).unwrap(), "0xg");
}

#[test]
fn blank_lines_of_delimiters_are_no_rows_and_latin_text_keeps_its_words_apart() {
    let frame = table(b"a,b,label\n1,2,XSS\n,,\n , ,\n3,,XSS\n").unwrap();
    assert_eq!((frame.rows(), frame.columns()[1].cells.text(1)), (2, None));
    assert_eq!(table(b"a\n1\n2\n").unwrap().rows(), 2);
    let frame = table(b"a,label\n1,Web Attack \x96 XSS\n2,Web Attack \x97 XSS\n").unwrap();
    let words: Vec<String> = (0..2).filter_map(|row| frame.columns()[1].cells.text(row)).collect();
    assert_eq!(words, ["Web Attack \u{96} XSS", "Web Attack \u{97} XSS"]);
}

#[test]
fn delimiters_are_found_out_and_names_may_be_given() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = format!("a{delimiter}b\n1{delimiter}x y\n2{delimiter}\"p,q;r|s\"\n");
        assert_eq!(table(text.as_bytes()).unwrap().columns()[1].cells.text(0).unwrap(), "x y", "{delimiter:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "t", b"1,x\n2,y");
    assert_eq!(read(&path, Some(&["n".into(), "w".into()]), &|_| None).unwrap().rows(), 2);
    let error = read(&path, Some(&["n".into()]), &|_| None).unwrap_err().to_string();
    assert!(error.contains("line 1 has 2 cells, --columns names 1"), "{error}");
    assert_eq!(names("a, b,c").unwrap(), ["a", "b", "c"]);
    let lines = file(&folder, "names", b"duration,continuous\nprotocol,symbolic\n");
    assert_eq!(names(lines.to_str().unwrap()).unwrap(), ["duration", "protocol"]);
    assert!(names("a,,b").is_err());
}

#[test]
fn json_lines_with_inner_objects_and_members_that_come_and_go() {
    let frame = table(b"{\"a\": 1, \"in\": {\"b\": \"x\"}}\n\n{\"a\": null, \"late\": true}\n").unwrap();
    let names: Vec<&str> = frame.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "in.b", "late"]);
    assert_eq!((frame.columns()[1].cells.text(1), frame.columns()[2].cells.text(0)), (None, None));
    assert!(matches!(&frame.columns()[0].cells, Cells::Numbers(values) if values[1].is_nan()));
    refused(b"{\"a\": 1}\n[2]\n", "line 2 is not a JSON object");
    refused(b"{\"a\": 1}\n{\"a\": }\n", "line 2");
    refused(b"{\"a.b\": 1, \"a\": {\"b\": 2}}\n", "'a.b'");
}

#[test]
fn gzip_and_zstd_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let plain = table(CSV).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(CSV).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(read(&file(&folder, "g", &gzip), None, &|_| None).unwrap(), plain);
    let zstd = zstd::encode_all(CSV, 1).unwrap();
    assert_eq!(read(&file(&folder, "z", &zstd), None, &|_| None).unwrap(), plain);
    let error = read(&file(&folder, "cut", &gzip[..gzip.len() - 12]), None, &|_| None).unwrap_err().to_string();
    assert!(error.contains("cut off"), "{error}");
}

#[test]
fn parquet_is_read_by_its_types() {
    use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("f", Arc::new(Float32Array::from(vec![0.5, 1.5]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("w", Arc::new(StringArray::from(vec![Some("7"), Some("x")]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet_writer(&mut bytes, &batch);
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let frame = table(&bytes).unwrap();
    assert!(matches!(&frame.columns()[0].cells, Cells::Numbers(values) if values[0] > 0.9 && values[1].is_nan()));
    assert_eq!(frame.columns()[2].cells, Cells::Numbers(vec![1.0, 0.0]));
    assert_eq!(frame.columns()[3].cells.text(0).unwrap(), "7");
    refused(&bytes[..bytes.len() / 2], "damaged Parquet");
}

#[test]
fn lists_are_their_text_in_parquet_and_in_json_lines() {
    use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    use std::sync::Arc;
    let list = |kind: DataType, members: ArrayRef, lengths: &[usize]| -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(Arc::new(Field::new("item", kind, true)), offsets, members, None))
    };
    let numbers = list(DataType::Int64, Arc::new(Int64Array::from(vec![6, 63, 6])), &[3, 0]);
    let names = list(DataType::Utf8, Arc::new(StringArray::from(vec!["open", "read", "open"])), &[2, 1]);
    let written = |columns: Vec<(&str, ArrayRef)>| {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = parquet_writer(&mut bytes, &batch);
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    };
    let frame = table(&written(vec![("calls", numbers), ("names", names)])).unwrap();
    let texts = |frame: &Frame, column: usize| (0..2).map(|row| frame.columns()[column].cells.text(row).unwrap()).collect::<Vec<_>>();
    assert_eq!(
        (texts(&frame, 0), texts(&frame, 1)),
        (vec!["[6, 63, 6]".into(), "[]".into()], vec!["[open, read]".into(), "[open]".into()])
    );
    let frame = table(b"{\"calls\": [6, 63, 6]}\n{\"calls\": [\"a b\"]}\n").unwrap();
    assert_eq!(texts(&frame, 0), ["[6,63,6]", "[\"a b\"]"]);
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let pairs = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), inner)]);
    let kind = pairs.data_type().clone();
    refused(&written(vec![("pairs", list(kind, Arc::new(pairs), &[1, 1]))]), "column 'pairs' holds");
}

fn parquet_writer<'a>(out: &'a mut Vec<u8>, batch: &arrow::array::RecordBatch) -> ::parquet::arrow::ArrowWriter<&'a mut Vec<u8>> {
    ::parquet::arrow::ArrowWriter::try_new(out, batch.schema(), None).unwrap()
}

#[test]
fn what_is_no_table_is_refused_by_name() {
    refused(b"", "it is empty");
    refused(b"a,b\n", "it has no rows");
    refused(b"a,b\n1,2\n3\n", "line 3 has 1 cells, the first line has 2");
    refused(b"a,b\n1,\"x\n", "never ends");
    refused(b"a,b\n1,\"x\"y\n", "closing quote");
    refused(b"\xff\xfe\x00", "neither text nor Parquet");
    assert!(read(Path::new("/nowhere/t.csv"), None, &|_| None).unwrap_err().to_string().contains("does not exist"));
    assert!(read(Path::new("/"), None, &|_| None).unwrap_err().to_string().contains("folder"));
}

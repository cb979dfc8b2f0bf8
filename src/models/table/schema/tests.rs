//! Every rule of the encoding.

use super::*;

fn words(name: &str, cells: &[&str]) -> Column {
    let mut words: Vec<String> = Vec::new();
    let mut code = |cell: &&str| {
        if cell.is_empty() {
            return MISSING;
        }
        words.iter().position(|word| word == cell).unwrap_or_else(|| {
            words.push((*cell).to_owned());
            words.len() - 1
        }) as u32
    };
    let codes = cells.iter().map(&mut code).collect();
    Column { name: name.into(), cells: Cells::Words { codes, words } }
}
fn numbers(name: &str, values: &[f64]) -> Column {
    Column { name: name.into(), cells: Cells::Numbers(values.to_vec()) }
}
fn frame(columns: Vec<Column>) -> Frame {
    Frame::new(columns).unwrap()
}

#[test]
fn words_numbers_missing_and_unseen_cells_are_encoded_by_stated_rules() {
    let training = frame(vec![
        numbers("bytes", &[1.0, f64::NAN, 3.0, f64::INFINITY]),
        numbers("huge", &[1.0, 1e300, 3.0, -1e300]),
        words("service", &["http", "http", "", "dns"]),
        numbers("one", &[7.0; 4]),
    ]);
    let schema = TableSchema::learn(&training).unwrap();
    assert_eq!(schema.names(), ["bytes", "bytes?", "huge", "service=http", "service=", "service=dns"]);
    assert!(schema.left_out["one"].contains("one value"));
    let rows = schema.encode(&training).unwrap();
    assert_eq!(rows.row(0), [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    for row in [1, 3] {
        assert!(rows.row(row)[0].is_nan() && rows.row(row)[1] > 0.5, "infinite is missing");
    }
    assert!(rows.row(1)[2] > 9e29 && rows.row(3)[2] < -9e29 && rows.row(2)[4] > 0.5);
    // Another order of columns, one more, and a word never seen.
    let other = frame(vec![words("x", &["a"]), words("service", &["ftp"]), words("bytes", &["0x1f"]), numbers("huge", &[0.0])]);
    let row = schema.encode(&other).unwrap();
    assert_eq!(row.row(0), [31.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn rare_words_are_told_by_their_frequency() {
    let text: Vec<String> = (0..400).map(|i| if i < 200 { "usual".to_owned() } else { format!("w{}", i % 100) }).collect();
    let text: Vec<&str> = text.iter().map(String::as_str).collect();
    let schema = TableSchema::learn(&frame(vec![words("service", &text)])).unwrap();
    assert_eq!(schema.width(), WORDS_OWN + 1);
    let row = |word: &str| schema.encode(&frame(vec![words("service", &[word])])).unwrap().row(0).to_vec();
    assert!((row("usual")[WORDS_OWN] - libm::logf(0.5)).abs() < 1e-6 && row("usual")[0] > 0.5);
    assert!((row("new")[WORDS_OWN] - libm::logf(0.5 / 400.0)).abs() < 1e-6);
    assert!((row("w99")[WORDS_OWN] - libm::logf(2.0 / 400.0)).abs() < 1e-6, "seen, without a column of its own");
}

#[test]
fn a_column_absent_or_of_another_type_is_an_error_that_names_it() {
    let schema = TableSchema::learn(&frame(vec![numbers("bytes", &[1.0, 2.0]), words("flag", &["a", "b"])])).unwrap();
    let absent = schema.encode(&frame(vec![numbers("byte", &[1.0])])).unwrap_err().to_string();
    assert!(absent.contains("'bytes'") && absent.contains("'byte'"), "{absent}");
    let typed = schema.encode(&frame(vec![words("bytes", &["", "x"]), words("flag", &["a", "b"])])).unwrap_err().to_string();
    assert!(typed.contains("'bytes' holds 'x' in row 2"), "{typed}");
    let digits = schema.encode(&frame(vec![numbers("bytes", &[1.0]), numbers("flag", &[1.0])])).unwrap();
    assert!(digits.row(0)[1].abs() < 1e-9 && digits.row(0)[2].abs() < 1e-9, "numbers where words were are words never seen");
}

#[test]
fn nothing_to_learn_from_is_an_error_and_identifiers_are_left_out() {
    assert!(TableSchema::learn(&Frame::default()).unwrap_err().to_string().contains("no rows"));
    assert!(TableSchema::learn(&frame(vec![numbers("a", &[1.0, 1.0])])).unwrap_err().to_string().contains("more than one value"));
    let ids: Vec<String> = (0..300).map(|i| format!("id{i}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let values: Vec<f64> = (0..300).map(|i| f64::from(i * i)).collect();
    let places: Vec<f64> = (0..300).map(|i| f64::from(i * 7 % 300 + 4_000)).collect();
    let columns = vec![words("id", &ids), numbers("v", &values), numbers("place", &places), numbers("w", &places[..150].repeat(2))];
    let schema = TableSchema::learn(&frame(columns)).unwrap();
    assert!(schema.left_out["id"].contains("identifier") && schema.left_out["place"].contains("numbers the rows"));
    assert_eq!(schema.names(), ["v", "w"]);
}

#[test]
fn text_is_described_by_its_shape() {
    let queries: Vec<String> = (0..300).map(|i| format!("/p.php?a={i}&b=%{i};")).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let schema = TableSchema::learn(&frame(vec![words("query", &queries)])).unwrap();
    assert_eq!((schema.width(), schema.is_words("query")), (text::WIDTH, Some(true)));
    let rows = schema.encode(&frame(vec![words("query", &["<a>", ""])])).unwrap();
    assert!((rows.row(0)[0] - 3.0).abs() < 1e-6 && rows.row(1)[0].is_nan());
    let often: Vec<&str> = queries.iter().copied().chain(queries.iter().copied()).chain(queries[..50].iter().copied()).collect();
    let both = TableSchema::learn(&frame(vec![words("query", &often)])).unwrap();
    assert_eq!(both.width(), WORDS_OWN + 1 + text::WIDTH, "words that repeat stay words too");
}

//! What a label column says: which rows are attacks and of which class. Must never guess a missing label.

use super::frame::{Cells, Column};
use super::report::Truth;
use crate::error::{Error, Result};

/// What benign rows are called where nothing else is said, in any case, with or without a full stop, and of any traffic.
pub const BENIGN: [&str; 17] = [
    "normal",
    "benign",
    "0",
    "false",
    "legitimate",
    "background",
    "clean",
    "good",
    "no",
    "legit",
    "safe",
    "ham",
    "goodware",
    "harmless",
    "nonmalicious",
    "nonattack",
    "noattack",
];
/// Ends that say nothing of what a row is.
const ENDS: [&str; 3] = ["traffic", "flow", "activity"];
/// Values named in an error.
const SHOWN: usize = 8;

/// Reads a label column. `benign` is the value of benign rows; without one it is found out, if just one value can be meant.
///
/// # Errors
/// `Config`: a row has no label, or it is not clear which value is benign.
pub fn read(column: &Column, benign: Option<&str>) -> Result<(Truth, String)> {
    let (class, classes) = classes(column)?;
    let found = benign.is_none();
    let benign = match benign {
        Some(value) => value.to_owned(),
        None => found_out(&column.name, &classes)?,
    };
    // What was found out may be written in several ways, as where files were put together.
    let spelt = |class: &String| is_usual(class) && simplified(class) == simplified(&benign);
    let is_benign: Vec<bool> = classes.iter().map(|class| same(class, &benign) || (found && spelt(class))).collect();
    let attack = class.iter().map(|class| !is_benign[*class as usize]).collect();
    Ok((Truth { attack, class, classes }, benign))
}

/// The benign value's rows and the others, as an error where one of them is missing.
///
/// # Errors
/// `Config`: all rows are of one class.
pub fn both_classes(truth: &Truth, benign: &str) -> Result<()> {
    let attacks = truth.attack.iter().filter(|attack| **attack).count();
    if attacks == 0 {
        return Err(Error::config(format!("every row's label is '{benign}': without attacks there is nothing to measure")));
    }
    if attacks == truth.attack.len() {
        return Err(no_benign(truth, benign));
    }
    Ok(())
}

/// No row has the benign label.
#[must_use]
pub fn no_benign(truth: &Truth, benign: &str) -> Error {
    Error::config(format!("no row's label is '{benign}'; the labels are {}; name the benign one with --benign", shown(&truth.classes)))
}

fn classes(column: &Column) -> Result<(Vec<u32>, Vec<String>)> {
    let missing = |row: usize| Error::config(format!("row {} has no label in column '{}'; mend the file", row + 1, column.name));
    match &column.cells {
        Cells::Words { codes, words } => {
            let without = codes.iter().position(|code| *code as usize >= words.len());
            without.map_or_else(|| Ok((codes.clone(), words.clone())), |row| Err(missing(row)))
        }
        Cells::Numbers(values) => {
            let mut distinct = values.clone();
            distinct.sort_unstable_by(f64::total_cmp);
            distinct.dedup_by(|a, b| a.to_bits() == b.to_bits());
            if let Some(row) = values.iter().position(|value| value.is_nan()) {
                return Err(missing(row));
            }
            let class = values.iter().map(|value| distinct.partition_point(|d| d.total_cmp(value).is_lt()) as u32).collect();
            Ok((class, distinct.iter().map(f64::to_string).collect()))
        }
    }
}

fn same(class: &str, benign: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('.').to_owned();
    let numbers = class.trim().parse::<f64>().ok().zip(benign.trim().parse::<f64>().ok());
    plain(class) == plain(benign) || numbers.is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

/// A label without case, spaces, signs between words and what says nothing.
fn simplified(class: &str) -> String {
    let plain: String = class.trim().trim_end_matches('.').to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
    let end = ENDS.iter().find_map(|end| plain.strip_suffix(end)).filter(|rest| !rest.is_empty());
    end.map_or_else(|| plain.clone(), str::to_owned)
}

fn is_usual(class: &str) -> bool {
    let plain = simplified(class);
    BENIGN.iter().any(|benign| plain == *benign || same(class, benign))
}

fn found_out(name: &str, classes: &[String]) -> Result<String> {
    let mut candidates: Vec<&String> = classes.iter().filter(|class| is_usual(class)).collect();
    candidates.sort_by_key(|class| simplified(class));
    candidates.dedup_by_key(|class| simplified(class));
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        _ => Err(Error::config(format!("which label of column '{name}' is benign? It has {}; name it with --benign", shown(classes)))),
    }
}

fn shown(classes: &[String]) -> String {
    let mut list = classes.iter().take(SHOWN).map(|class| format!("'{class}'")).collect::<Vec<_>>().join(", ");
    if classes.len() > SHOWN {
        list.push_str(&format!(" and {} more", classes.len() - SHOWN));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::table::frame::MISSING;

    fn words(codes: &[u32], words: &[&str]) -> Column {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Column { name: "label".into(), cells: Cells::Words { codes: codes.to_vec(), words } }
    }

    #[test]
    fn the_benign_value_is_found_out_or_asked_for() {
        let (truth, benign) = read(&words(&[0, 1, 0, 2], &["normal.", "smurf.", "pod."]), None).unwrap();
        assert!(benign == "normal." && truth.attack == [false, true, false, true] && truth.classes.len() == 3);
        let asked = read(&words(&[0, 1], &["a", "b"]), None).unwrap_err().to_string();
        assert!(asked.contains("--benign") && asked.contains("'a', 'b'"), "{asked}");
        assert!(read(&words(&[0, 1], &["normal", "benign"]), None).is_err(), "two could be meant");
        assert_eq!(read(&words(&[0, 1], &["a", "b"]), Some("b")).unwrap().0.attack, [true, false]);
        let numbers = Column { name: "l".into(), cells: Cells::Numbers(vec![1.0, 0.0, 1.0]) };
        assert_eq!(read(&numbers, Some("0.0")).unwrap().0.attack, [true, false, true]);
        assert_eq!(read(&numbers, None).unwrap().1, "0");
    }

    #[test]
    fn benign_rows_have_many_names() {
        for name in ["BENIGN", " Normal", "Benign Traffic", "BenignTraffic", "benign_traffic", "0.0", "Legit", "Non-Malicious", "normal."] {
            let (truth, benign) = read(&words(&[0, 1], &[name, "DDoS"]), None).unwrap();
            assert!(benign == name && truth.attack == [false, true], "{name}");
        }
        let (truth, _) = read(&words(&[0, 1, 2], &["Benign", "BENIGN", "Bot"]), None).unwrap();
        assert_eq!(truth.attack, [false, false, true], "written in two ways");
        let (truth, _) = read(&words(&[0, 1], &["Benign", "BENIGN"]), Some("Benign")).unwrap();
        assert_eq!(truth.attack, [false, true], "what is named is taken to the letter");
        assert!(read(&words(&[0, 1], &["1", "-1"]), None).is_err() && read(&words(&[0, 1], &["traffic", "flow"]), None).is_err());
    }

    #[test]
    fn missing_labels_and_one_class_are_errors() {
        assert!(read(&words(&[0, MISSING], &["normal"]), None).unwrap_err().to_string().contains("row 2"));
        let numbers = Column { name: "l".into(), cells: Cells::Numbers(vec![f64::NAN]) };
        assert!(read(&numbers, Some("0")).unwrap_err().to_string().contains("row 1"));
        let (truth, benign) = read(&words(&[0, 0], &["normal", "dos"]), None).unwrap();
        assert!(both_classes(&truth, &benign).unwrap_err().to_string().contains("nothing to measure"));
        let (truth, _) = read(&words(&[1, 1], &["normal", "dos"]), None).unwrap();
        assert!(both_classes(&truth, "normal").unwrap_err().to_string().contains("no row's label is 'normal'"));
    }
}

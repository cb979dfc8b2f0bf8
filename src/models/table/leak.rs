//! Columns that give the label away by themselves, which a column known only afterwards does, such as the attack's category. A warning
//! for people: must never change a model.

use std::collections::BTreeMap;

use super::frame::{Cells, Column, Frame, MISSING};

/// The share of each class that a column must tell by itself.
const SHARE_MIN: f64 = 0.998;
/// Numbers are compared by so many bins of equally many rows where they have more values.
const BINS: usize = 256;

/// Names of columns by whose cells alone nearly every row is told right, with the share of the class that is told worse.
#[must_use]
pub fn columns(frame: &Frame, attack: &[bool]) -> Vec<(String, f64)> {
    let told = frame.columns().iter().map(|column| (column.name.clone(), share(column, attack)));
    told.filter(|(_, share)| *share >= SHARE_MIN).collect()
}

/// Each row is told by the other rows with the same cell; one that has none is told wrong.
fn share(column: &Column, attack: &[bool]) -> f64 {
    let groups = groups(&column.cells);
    let mut counts: BTreeMap<u64, [i64; 2]> = BTreeMap::new();
    for (group, attack) in groups.iter().zip(attack) {
        counts.entry(*group).or_default()[usize::from(*attack)] += 1;
    }
    let (mut right, mut all) = ([0_i64; 2], [0_i64; 2]);
    for [benign, attacks] in counts.into_values() {
        all[0] += benign;
        all[1] += attacks;
        if benign - 1 > attacks {
            right[0] += benign;
        } else if attacks - 1 > benign {
            right[1] += attacks;
        }
    }
    right.into_iter().zip(all).map(|(right, all)| right as f64 / all.max(1) as f64).fold(1.0, f64::min)
}

/// A number for each row's cell.
fn groups(cells: &Cells) -> Vec<u64> {
    match cells {
        Cells::Words { codes, .. } => codes.iter().map(|code| u64::from(*code)).collect(),
        Cells::Numbers(values) => {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let mut cuts = sorted.clone();
            cuts.dedup_by(|a, b| a.total_cmp(b).is_eq());
            if cuts.len() > BINS {
                cuts = (0..BINS).map(|bin| sorted[bin * sorted.len() / BINS]).collect();
            }
            let bin = |value: f64| cuts.partition_point(|cut| *cut <= value) as u64;
            values.iter().map(|value| if value.is_nan() { u64::from(MISSING) } else { bin(*value) }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gives_the_label_away_is_named_and_what_is_different_in_each_row_is_not() {
        let attack: Vec<bool> = (0..1_000).map(|i| i % 4 == 0).collect();
        let words = |name: &str, of: &dyn Fn(usize) -> u32| Column {
            name: name.into(),
            cells: Cells::Words { codes: (0..1_000).map(of).collect(), words: (0..1_000).map(|w| w.to_string()).collect() },
        };
        let numbers =
            |name: &str, of: &dyn Fn(usize) -> f64| Column { name: name.into(), cells: Cells::Numbers((0..1_000).map(of).collect()) };
        let frame = Frame::new(vec![
            words("attack_cat", &|i| if i % 4 == 0 { 1 + (i % 3) as u32 } else { 0 }),
            words("id", &|i| i as u32),
            words("protocol", &|i| (i % 8 / 3) as u32),
            numbers("score", &|i| if i % 4 == 0 { 5.0 + i as f64 } else { -(i as f64) }),
            numbers("noise", &|i| (i * 7_919 % 1_000) as f64),
            numbers("missing", &|i| if i % 4 == 0 { f64::NAN } else { 1.0 }),
        ]);
        let names: Vec<String> = columns(&frame.unwrap(), &attack).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["attack_cat", "score", "missing"]);
    }
}

//! A whole small table of sequences: fitted, scored, kept and read again.

use super::*;
use crate::models::random::Random;
use crate::models::table::frame::{Cells, Column, Frame, MISSING};
use crate::models::table::model::{LabelRule, TableModel};
use crate::models::table::plan::{Options, Plan};
use crate::models::table::report::{Truth, measure};

/// A program that opens, reads and writes so many times, and closes; there are three of them.
fn program(which: u64, random: &mut Random) -> String {
    let first = 10 + 10 * which;
    let mut trace = vec!["open".to_owned(), "2".into(), "3".into(), "2".into(), "3".into()];
    for _ in 0..20 + random.below(60) {
        trace.extend((first..first + 3).map(|symbol| symbol.to_string()));
        if random.below(4) == 0 {
            trace.push((first + 3).to_string());
        }
    }
    trace.push("close".into());
    trace.join(" ")
}

fn ordinary(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..count).map(|i| program(i as u64 % 3, &mut random)).collect()
}

/// Calls of all programs in no order, some of none.
fn attacks(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..count).map(|_| (0..150).map(|_| ["12", "21", "32", "40", "41"][random.below(5) as usize]).collect::<Vec<_>>().join(",")).collect()
}

fn column(name: &str, cells: &[String]) -> Column {
    let codes = cells.iter().enumerate().map(|(i, cell)| if cell.is_empty() { MISSING } else { i as u32 }).collect();
    Column { name: name.into(), cells: Cells::Words { codes, words: cells.to_vec() } }
}

fn frame(cells: &[String]) -> Frame {
    Frame::new(vec![column("calls", cells)]).unwrap()
}

/// The first rows are benign.
fn truth(rows: usize, benign: usize) -> Truth {
    let attack: Vec<bool> = (0..rows).map(|row| row >= benign).collect();
    Truth { class: attack.iter().map(|attack| u32::from(*attack)).collect(), attack, classes: vec!["normal".into(), "odd".into()] }
}

fn fit(frame: &Frame, truth: Option<&Truth>, seed: u64) -> Result<TableModel> {
    let plan = Plan::of_sequence(frame, "calls", truth, None, Options { seed, nominal: 0.008 })?;
    let mut steps = 0;
    let done = (0..plan.jobs()).rev().map(|job| plan.run(job, &mut || steps += 1)).collect::<Result<_>>()?;
    assert_eq!(steps, plan.steps());
    plan.finish(done)
}

#[track_caller]
fn refused(frame: &Frame, truth: Option<&Truth>, why: &str) {
    let error = fit(frame, truth, 1).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[test]
fn what_is_odd_in_every_respect_is_found_and_nominal_rates_hold() {
    let model = fit(&frame(&ordinary(300, 1)), None, 7).unwrap();
    assert_eq!(model.names(), ["order", "unlike", "lacking", "disorder"]);
    let rows = [ordinary(300, 2), attacks(40, 3)].concat();
    let scored = model.score(&frame(&rows)).unwrap();
    let measures = measure(&scored.scores, &truth(rows.len(), 300), model.threshold);
    assert!(measures.roc_auc > 0.97 && measures.deployed.fpr < 0.03 && measures.deployed.tpr > 0.9, "{measures:?}");
    assert!(scored.parts.len() == 4 && scored.parts.iter().flatten().all(|nats| *nats >= 0.0));
    for level in [0.05, 0.2, 0.5, 0.8] {
        let share = scored.p_values[..300].iter().filter(|value| **value <= level).count() as f64 / 300.0;
        assert!((share - level).abs() < 0.08, "{share} of ordinary sequences at most {level}");
    }
}

#[test]
fn no_member_decides_alone() {
    let model = fit(&frame(&ordinary(300, 1)), None, 7).unwrap();
    let usual = ordinary(1, 9).pop().unwrap();
    // Symbols that nothing else has, at the end of what is ordinary: as unlike as can be, and nothing else.
    let grown = format!("{usual} {}", "90 91 92 93 94 95 96 97 98 99");
    let scored = model.score(&frame(&[usual, grown])).unwrap();
    let unlike = &scored.raw[1];
    assert!(unlike[1] > unlike[0] + 0.05 && scored.scores[1] > scored.scores[0], "{scored:?}");
    assert!(scored.scores[1] < model.threshold, "{scored:?}, threshold {}", model.threshold);
}

#[test]
fn labelled_attacks_and_rows_without_symbols_teach_nothing() {
    let benign = ordinary(120, 1);
    let alone = fit(&frame(&benign), None, 7).unwrap();
    let blanks = vec![String::new(), "[]".into()];
    let rows = [benign.clone(), blanks, attacks(30, 2)].concat();
    let labelled = fit(&frame(&rows), Some(&truth(rows.len(), 122)), 7).unwrap();
    let others = frame(&[ordinary(9, 5), attacks(9, 6)].concat());
    assert_eq!(alone.score(&others).unwrap(), labelled.score(&others).unwrap());
    assert_eq!((labelled.facts.rows, labelled.facts.attacks, labelled.facts.distinct_rows), (152, 0, 120));
}

#[test]
fn empty_unknown_short_and_long_sequences_get_finite_scores() {
    let model = fit(&frame(&ordinary(120, 1)), None, 7).unwrap();
    let rows = [String::new(), "[]".into(), "open".into(), "x y z".into(), "2 3 ".repeat(100_000)];
    let scored = model.score(&frame(&rows)).unwrap();
    assert!(scored.scores.iter().chain(scored.parts.iter().flatten()).all(|value| value.is_finite()), "{scored:?}");
    assert!(scored.p_values.iter().all(|p| (0.0..=1.0).contains(p)));
    assert_eq!(scored.scores[0].to_bits(), scored.scores[1].to_bits(), "missing and empty are the same");
    assert!(scored.scores[0] < model.threshold, "and no alert");
    let long = frame(&["2 3".into(), "7 ".repeat(crate::limits::SEQUENCE_SYMBOLS_MAX + 1)]);
    assert!(model.score(&long).unwrap_err().to_string().contains("row 2 of column 'calls' has 1000001 symbols"));
}

#[test]
fn what_is_kept_scores_the_same_to_the_bit_and_damage_is_refused() {
    let rows = frame(&ordinary(60, 1));
    let model = fit(&rows, None, 7).unwrap();
    let files = |model: &TableModel| model.to_files(LabelRule::default()).1;
    assert_eq!(files(&model), files(&fit(&rows, None, 7).unwrap()));
    assert_ne!(files(&model), files(&fit(&rows, None, 8).unwrap()));
    let kept = files(&model);
    let read = |files: &[(&'static str, Vec<u8>)], name: &str| -> Result<Vec<u8>> {
        files.iter().find(|file| file.0 == name).map(|file| file.1.clone()).ok_or_else(|| Error::config("absent"))
    };
    let (again, manifest) = TableModel::from_files(|name| read(&kept, name)).unwrap();
    assert_eq!((manifest.format, manifest.members.len()), (4, 4));
    let others = frame(&[ordinary(9, 5), attacks(9, 6)].concat());
    assert_eq!(again.score(&others).unwrap(), model.score(&others).unwrap());
    assert_eq!(files(&again), kept);
    for part in 0..kept.len() {
        let mut changed = kept.clone();
        let middle = changed[part].1.len() / 2;
        changed[part].1[middle] ^= 1;
        assert!(TableModel::from_files(|name| read(&changed, name)).is_err(), "{}", kept[part].0);
    }
    assert!(again.contributions(&others, 0, 3).is_none());
}

#[test]
fn tables_that_cannot_be_learned_from_say_why() {
    let plain = ordinary(40, 1);
    let other = Column { name: "pid".into(), cells: Cells::Numbers(vec![1.0; 40]) };
    let two = Frame::new(vec![other.clone(), column("calls", &plain)]).unwrap();
    refused(&two, None, "leave the others out by --drop 'pid'");
    refused(&Frame::new(vec![other]).unwrap(), None, "there is no column 'calls'");
    refused(&frame(&ordinary(19, 1)), None, "only 19 different rows are benign");
    refused(&frame(&vec!["open".into(); 40]), None, "holds no sequences");
    refused(&frame(&plain), Some(&truth(40, 5)), "only 5 different rows");
    let model = fit(&frame(&plain), None, 1).unwrap();
    let renamed = Frame::new(vec![column("call", &plain)]).unwrap();
    assert!(model.score(&renamed).unwrap_err().to_string().contains("there is no column 'calls'; the nearest is 'call'"));
    let numbers = Frame::new(vec![Column { name: "calls".into(), cells: Cells::Numbers(vec![1.0]) }]).unwrap();
    assert!(model.score(&numbers).unwrap_err().to_string().contains("holds numbers"));
    // Others do not matter once it is known which one is looked at.
    assert_eq!(model.score(&two).unwrap(), model.score(&frame(&plain)).unwrap());
}

#[test]
fn rows_of_the_other_kind_are_a_bug() {
    let model = fit(&frame(&ordinary(40, 1)), None, 1).unwrap();
    let numbers = Rows::Numbers(crate::models::matrix::Matrix::new(1));
    assert!(model.scorers.scores(numbers, false).unwrap_err().to_string().contains("mixed up"));
}

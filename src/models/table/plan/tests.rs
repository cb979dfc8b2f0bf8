//! A whole small table: fitted, scored, kept and read again.

use super::*;
use crate::models::table::frame::Cells;
use crate::models::table::model::LabelRule;
use crate::models::table::report::measure;

/// Benign rows around a line, attacks beside it, with a word column and some missing cells.
pub(crate) fn table(rows: usize, seed: u64) -> (Frame, Truth) {
    let mut random = Random::new(seed);
    let (mut a, mut b, mut codes, mut attack) = (vec![], vec![], vec![], vec![]);
    for i in 0..rows {
        let is_attack = i % 5 == 0;
        let x = random.unit() * 10.0;
        a.push(if i % 97 == 3 { f64::NAN } else { x });
        b.push(if is_attack { x + 4.0 + random.unit() } else { x + random.unit() });
        codes.push(if is_attack && i % 2 == 0 { 2 } else { (i % 2) as u32 });
        attack.push(is_attack);
    }
    let words = ["tcp", "udp", "icmp"].map(str::to_owned).to_vec();
    let column = |name: &str, cells| Column { name: name.into(), cells };
    let frame =
        Frame::new(vec![column("a", Cells::Numbers(a)), column("b", Cells::Numbers(b)), column("protocol", Cells::Words { codes, words })])
            .unwrap();
    let class = attack.iter().map(|attack| u32::from(*attack)).collect();
    (frame, Truth { attack, class, classes: vec!["normal".into(), "odd".into()] })
}

fn fit(frame: &Frame, truth: Option<&Truth>, group: Option<&Column>, seed: u64) -> TableModel {
    let plan = Plan::new(frame, truth, group, Options { seed, nominal: 0.008 }).unwrap();
    let mut steps = 0;
    // The order of jobs must not matter.
    let done = (0..plan.jobs()).rev().map(|job| plan.run(job, &mut || steps += 1).unwrap()).collect();
    assert_eq!(steps, plan.steps());
    plan.finish(done).unwrap()
}

#[test]
fn a_labelled_table_is_learned_and_the_same_seed_gives_the_same_bytes() {
    let (frame, truth) = table(3_000, 1);
    let model = fit(&frame, Some(&truth), None, 7);
    let (other, hidden) = table(2_000, 2);
    let scored = model.score(&other).unwrap();
    let measures = measure(&scored.scores, &hidden, model.threshold);
    assert!(measures.roc_auc > 0.98 && measures.deployed.fpr < 0.02 && measures.deployed.tpr > 0.9, "{measures:?}");
    assert!(scored.p_values.iter().all(|p| (0.0..=1.0).contains(p)));
    let files = |model: &TableModel| model.to_files(LabelRule::default()).1;
    assert_eq!(files(&model), files(&fit(&frame, Some(&truth), None, 7)));
    assert_ne!(files(&model), files(&fit(&frame, Some(&truth), None, 8)));
}

#[test]
fn without_labels_the_anomaly_members_learn_from_all_rows() {
    let (frame, truth) = table(3_000, 1);
    let benign: Vec<usize> = (0..3_000).filter(|row| !truth.attack[*row]).collect();
    let model = fit(&frame.select(&benign), None, None, 7);
    assert_eq!(model.names(), ["isolation_forest", "density", "dependence"]);
    let scored = model.score(&frame).unwrap();
    let auc = measure(&scored.scores, &truth, model.threshold).roc_auc;
    assert!(auc > 0.8, "{auc}");
}

#[test]
fn what_is_kept_scores_the_same_and_damage_is_refused() {
    let (frame, truth) = table(400, 1);
    let model = fit(&frame, Some(&truth), None, 7);
    let (_, files) = model.to_files(LabelRule { column: Some("label".into()), benign: Some("normal".into()) });
    let read = |files: &[(&'static str, Vec<u8>)], name: &str| -> Result<Vec<u8>> {
        files.iter().find(|file| file.0 == name).map(|file| file.1.clone()).ok_or_else(|| Error::config("absent"))
    };
    let (again, manifest) = TableModel::from_files(|name| read(&files, name)).unwrap();
    assert_eq!(again.score(&frame).unwrap(), model.score(&frame).unwrap());
    assert_eq!(manifest.label.benign.as_deref(), Some("normal"));
    for part in 0..files.len() {
        let mut changed = files.clone();
        let middle = changed[part].1.len() / 2;
        changed[part].1[middle] ^= 1;
        assert!(TableModel::from_files(|name| read(&changed, name)).is_err(), "{}", files[part].0);
    }
    // Chunks change nothing.
    let thrice: Vec<usize> = (0..400).chain(0..400).chain(0..400).collect();
    assert_eq!(&again.score(&frame.select(&thrice)).unwrap().scores[800..], model.score(&frame).unwrap().scores);
    let mut empty = frame.select(&[]);
    assert!(again.score(&empty).unwrap().scores.is_empty());
    empty.take("b").unwrap();
    assert!(again.score(&empty).is_err(), "an empty table needs its columns too");
}

#[test]
fn groups_stay_together_and_equal_rows_count_once() {
    let (frame, truth) = table(400, 3);
    let group = Column { name: "day".into(), cells: Cells::Numbers((0..400).map(|i| f64::from(i / 10)).collect()) };
    let plan = Plan::new(&frame, Some(&truth), Some(&group), Options::default()).unwrap();
    assert!(plan.fold.chunks(10).all(|day| day.iter().all(|fold| *fold == day[0])));
    let twice: Vec<usize> = (0..400).chain(0..400).collect();
    let doubled = Truth { attack: twice.iter().map(|row| truth.attack[*row]).collect(), class: vec![0; 800], classes: vec!["x".into()] };
    let plan = Plan::new(&frame.select(&twice), Some(&doubled), None, Options::default()).unwrap();
    assert_eq!((plan.rows.len(), plan.table_rows), (400, 800));
    let one = Column { name: "day".into(), cells: Cells::Numbers(vec![1.0; 400]) };
    let plan = Plan::new(&frame, Some(&truth), Some(&one), Options::default()).unwrap();
    let failed = (0..plan.folds).filter_map(|job| plan.run(job, &mut || ()).err()).next().unwrap();
    assert!(failed.to_string().contains("--group"));
}

#[test]
fn copies_of_a_sequence_count_and_stay_in_one_fold() {
    let words: Vec<String> = (0..40).map(|i| format!("{} {} 1 2 3", i % 7, i)).collect();
    let codes: Vec<u32> = (0..120).map(|row| row % 40).collect();
    let frame = Frame::new(vec![Column { name: "calls".into(), cells: Cells::Words { codes: codes.clone(), words } }]).unwrap();
    let plan = Plan::of_sequence(&frame, "calls", None, None, Options::default()).unwrap();
    assert_eq!((plan.rows(), plan.folds), (120, FOLDS_OF_FEW));
    for (fold, code) in plan.fold.iter().zip(&codes) {
        assert_eq!(*fold, plan.fold[*code as usize], "{code}");
    }
    assert!((0..FOLDS_OF_FEW).all(|fold| plan.fold.iter().filter(|other| usize::from(**other) == fold).count() == 12));
    let group = Column { name: "host".into(), cells: Cells::Numbers((0..120).map(|row| f64::from(row / 6)).collect()) };
    let plan = Plan::of_sequence(&frame, "calls", None, Some(&group), Options::default()).unwrap();
    assert!(plan.fold.chunks(6).all(|host| host.iter().all(|fold| *fold == host[0])));
}

#[test]
fn too_few_rows_are_an_error() {
    let (frame, truth) = table(20, 1);
    assert!(Plan::new(&frame, Some(&truth), None, Options::default()).unwrap_err().to_string().contains("benign"));
    let (frame, mut truth) = table(100, 1);
    truth.attack.iter_mut().enumerate().for_each(|(row, attack)| *attack = row == 3);
    assert!(Plan::new(&frame, Some(&truth), None, Options::default()).unwrap_err().to_string().contains("at least 8"));
}

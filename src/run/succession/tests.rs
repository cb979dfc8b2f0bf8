//! Roles are followed, and recalibrations keep to their rules, whoever makes them.

use super::*;
use crate::config::pipeline::PipelineFile;
use crate::core::detect::NAMES;
use crate::core::engine::PARTS;
use crate::core::settings::Span;
use crate::core::types::EntityKind;
use crate::models::bundle::tests::{bundle, changed};
use crate::models::feedback::{Finding, Whose, tests::feedback};
use crate::models::random::Random;
use crate::models::registry::Action;
use crate::run::recalibration::Offered;

#[test]
fn roles_are_followed_and_what_is_damaged_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(folder.path(), "network").unwrap();
    let (first, second) = (bundle(), changed());
    let [a, b] = [&first, &second].map(|bundle| bundle.manifest.version.clone());
    shelf.add(&first).unwrap();
    shelf.add(&second).unwrap();
    shelf.change(|roles| Ok(roles.promote(&a, "now"))).unwrap();
    let pipeline = Arc::new(Pipeline::open(PipelineFile::plain(), None).unwrap());
    let learning = Arc::new(Learning::new(&pipeline, Some(&first), None).unwrap());
    let metrics = Arc::new(Metrics::new());
    let mut follower = Follower::new(Some(shelf.clone()), &pipeline, &learning, &metrics, "host/1");
    follower.look();
    assert_eq!((learning.offered(), learning.shadows(), learning.bundle()), (0, 0, Some(a.clone())), "nothing to do");

    shelf.change(|roles| roles.set_shadow(Some(&b), "now")).unwrap();
    follower.look();
    follower.look();
    assert_eq!((learning.shadows(), learning.shadow().map(|shadow| shadow.version().to_owned())), (1, Some(b.clone())));
    let text = metrics.to_text().unwrap();
    assert!(text.contains(&format!("threatguard_model_info{{role=\"champion\",version=\"{a}\"}} 1")), "{text}");
    assert!(text.contains(&format!("threatguard_model_info{{role=\"shadow\",version=\"{b}\"}} 1")), "{text}");

    shelf.change(|roles| Ok(roles.promote(&b, "now"))).unwrap();
    follower.look();
    assert_eq!((learning.offered(), learning.bundle(), learning.shadow().is_none()), (1, Some(b.clone()), true));
    let text = metrics.to_text().unwrap();
    assert!(text.contains(&format!("role=\"champion\",version=\"{b}\"}} 1")) && !text.contains(&a), "{text}");

    std::fs::write(shelf.folder().join(&a).join("forest.bin"), "x").unwrap();
    shelf.change(|roles| Ok(roles.promote(&a, "now"))).unwrap();
    follower.look();
    assert_eq!((learning.offered(), learning.bundle()), (1, Some(b)), "as it was");
    assert!(follower.told.contains("forest.bin"), "{}", follower.told);
}

fn row(micros: i64, raw: [f32; PARTS], is_threat: bool) -> Offered {
    let reached = EventTime(micros);
    Offered { reached, raw, whose: Whose::of(EntityKind::User, "bob", reached), is_threat }
}

/// A process that scores with the champion and follows it.
struct Process {
    learning: Arc<Learning>,
    metrics: Arc<Metrics>,
    follower: Follower,
    random: Random,
    /// Event time of the last row.
    now: i64,
}

const HOUR: i64 = 3_600_000_000;

impl Process {
    fn start(shelf: &Shelf, name: &str, seed: u64) -> Self {
        let mut file = PipelineFile::plain();
        file.recalibration.enabled = true;
        file.recalibration.interval = Span { micros: 6 * HOUR };
        let pipeline = Arc::new(Pipeline::open(file, None).unwrap());
        let champion = shelf.load(&shelf.roles().unwrap().champion.unwrap()).unwrap();
        let learning = Arc::new(Learning::new(&pipeline, Some(&champion), None).unwrap());
        let metrics = Arc::new(Metrics::new());
        let mut follower = Follower::new(Some(shelf.clone()), &pipeline, &learning, &metrics, name);
        follower.look();
        Self { learning, metrics, follower, random: Random::new(seed), now: 0 }
    }

    /// Two days of ordinary rows, the behaviour's scores `times` as large as those that were learned from.
    fn live(&mut self, times: f32) {
        let behavior = NAMES.iter().position(|name| *name == "behavior").unwrap();
        let rows: Vec<_> = (0..20_000)
            .map(|_| {
                let mut raw = [f32::NAN; PARTS];
                raw[behavior] = -times * libm::log(self.random.unit().max(1e-12)) as f32;
                self.now += 48 * HOUR / 20_000;
                row(self.now, raw, false)
            })
            .collect();
        self.learning.rolling().unwrap().offer(rows.into_iter());
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.to_text().unwrap().lines().any(|shown| shown.starts_with(line))
    }
}

fn shelf_with_champion(folder: &tempfile::TempDir) -> Shelf {
    let shelf = Shelf::new(folder.path(), "network").unwrap();
    for bundle in [bundle(), changed()] {
        shelf.add(&bundle).unwrap();
    }
    shelf.change(|roles| Ok(roles.promote(&bundle().manifest.version, "now"))).unwrap();
    shelf
}

#[test]
fn of_two_processes_the_first_recalibrates_and_the_other_follows() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf_with_champion(&folder);
    let trained = bundle().manifest.version;
    let champion = || shelf.roles().unwrap().champion.unwrap();
    let (mut one, mut other) = (Process::start(&shelf, "one", 1), Process::start(&shelf, "other", 2));
    one.live(1.0);
    one.follower.recalibrate();
    assert_eq!((champion(), one.learning.offered()), (trained.clone(), 0), "nothing has moved");
    for process in [&mut one, &mut other] {
        (0..3).for_each(|_| process.live(1.15));
    }
    one.follower.recalibrate();
    let made = champion();
    assert_eq!((one.learning.bundle(), one.learning.offered()), (Some(made.clone()), 1), "it takes over at a barrier");
    let manifest = shelf.manifest(&made).unwrap().recalibrated.unwrap();
    assert!(manifest.parent == trained && manifest.upto_micros == one.now, "{manifest:?}");
    other.follower.recalibrate();
    assert_eq!((champion(), other.learning.offered()), (made.clone(), 0), "its own comes too late");
    other.follower.look();
    assert_eq!((other.learning.bundle(), other.learning.offered()), (Some(made.clone()), 1));
    (0..3).for_each(|_| other.live(1.15));
    other.follower.recalibrate();
    assert_eq!(champion(), made, "what has been followed is not followed again");
    assert!(other.shows("threatguard_recalibration_alarm 0") && one.shows("threatguard_recalibration_timestamp_seconds 6"), "metrics");
    let history: Vec<Action> = shelf.roles().unwrap().history.iter().map(|change| change.action).collect();
    assert_eq!(history, [Action::Promote, Action::Recalibrate]);
}

#[test]
fn versions_keep_their_interval_and_what_was_rolled_back_or_replaced_is_not_recalibrated() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf_with_champion(&folder);
    let champion = || shelf.roles().unwrap().champion.unwrap();
    let mut process = Process::start(&shelf, "one", 1);
    (0..3).for_each(|_| process.live(1.15));
    process.follower.recalibrate();
    let made = champion();
    assert_ne!(made, bundle().manifest.version);
    process.now -= 140 * HOUR;
    (0..2).for_each(|_| process.live(0.9));
    process.follower.recalibrate();
    assert_eq!(champion(), made, "not yet");
    let rolled_back = shelf.change(|roles| roles.roll_back("now").map(|_| true)).unwrap().champion.unwrap();
    process.follower.look();
    assert_eq!((rolled_back.clone(), process.learning.bundle()), (bundle().manifest.version, Some(rolled_back.clone())));
    (0..6).for_each(|_| process.live(1.15));
    process.follower.recalibrate();
    assert_eq!(champion(), rolled_back, "somebody did not want it");
    let other = changed().manifest.version;
    shelf.change(|roles| Ok(roles.promote(&other, "now"))).unwrap();
    (0..6).for_each(|_| process.live(1.2));
    process.follower.recalibrate();
    assert_eq!(champion(), other, "what it was made from is the champion no more");
    process.follower.look();
    (0..6).for_each(|_| process.live(1.2));
    process.follower.recalibrate();
    assert_eq!(shelf.manifest(&champion()).unwrap().recalibrated.unwrap().parent, other, "from its own rows, made anew");
}

#[test]
fn scores_that_have_moved_too_far_raise_an_alarm_and_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf_with_champion(&folder);
    let trained = bundle().manifest.version;
    let mut process = Process::start(&shelf, "host/1", 1);
    (0..4).for_each(|_| process.live(1.9));
    process.follower.recalibrate();
    assert_eq!(shelf.roles().unwrap().champion, Some(trained.clone()));
    assert!(
        process.shows("threatguard_recalibration_alarm 1") && process.shows("threatguard_recalibration_factor{detector=\"behavior\"} 1.")
    );
    let found = judgements(&shelf, &trained);
    assert_eq!((found.len(), found[0].alarm_since_micros, found[0].version.clone()), (1, Some(process.now), trained.clone()));
    assert!(found[0].shifts.iter().all(|shift| shift.is_refused), "{found:?}");
    (0..8).for_each(|_| process.live(1.0));
    process.follower.recalibrate();
    assert_eq!(judgements(&shelf, &trained)[0].alarm_since_micros, None, "it is over");
}

#[test]
fn what_analysts_say_goes_into_the_window_and_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf_with_champion(&folder);
    let file = folder.path().join("feedback.jsonl");
    let say = |finding, micros: i64| {
        let line = feedback(&micros.to_string(), finding, "user:bob", &EventTime(micros).to_string()).to_line();
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, before + &line).unwrap();
    };
    let mut process = Process::start(&shelf, "one", 1);
    process.follower.hear_from(Some(file.clone()));
    let rolling = process.learning.rolling().unwrap();
    let rows = || rolling.rows();
    rolling.offer((0..100).map(|hour| row(hour * HOUR, [0.5; PARTS], hour % 50 == 7)));
    process.follower.recalibrate();
    assert_eq!(rows(), 98, "two were threats, and there is no file yet");
    say(Finding::Benign, 7 * HOUR);
    process.follower.recalibrate();
    assert_eq!(rows(), 99, "one of them was nothing");
    say(Finding::True, 57 * HOUR);
    process.follower.recalibrate();
    assert_eq!(rows(), 99 - 48, "a day before and after an attack nothing is learned of its entity");
    rolling.offer([row(60 * HOUR, [0.5; PARTS], false), row(100 * HOUR, [0.5; PARTS], false)].into_iter());
    assert_eq!(rows(), 99 - 48 + 1);
    std::fs::write(&file, "no verdict").unwrap();
    process.follower.recalibrate();
    assert!(process.follower.told_of_verdicts.contains("line 1"), "{}", process.follower.told_of_verdicts);
    assert_eq!(rows(), 99 - 48 + 1, "as it was");
}

#[test]
fn a_window_outlives_its_process_but_not_a_repeatable_run() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf_with_champion(&folder);
    let file = shelf.folder().join(format!("{}.window.host_1.bin", bundle().manifest.version));
    let mut first = Process::start(&shelf, "host/1", 1);
    assert!(first.learning.rolling().unwrap().rows() == 0 && !file.exists());
    first.live(1.9);
    let threat = |micros: i64| row(micros, [0.5; PARTS], true);
    first.learning.rolling().unwrap().offer((0..5).map(|hour| threat(hour * HOUR)));
    first.follower.recalibrate();
    let (rows, found) = (first.learning.rolling().unwrap().rows(), judgements(&shelf, &bundle().manifest.version));
    first.follower.keep_window();

    let mut second = Process::start(&shelf, "host/1", 2);
    let rolling = second.learning.rolling().unwrap();
    assert_eq!(rolling.rows(), rows);
    assert!(rolling.judge("host").is_none(), "none of it is new");
    let verdicts = folder.path().join("feedback.jsonl");
    std::fs::write(&verdicts, feedback("1", Finding::Benign, "user:bob", &EventTime(3 * HOUR).to_string()).to_line()).unwrap();
    second.follower.hear_from(Some(verdicts));
    second.follower.recalibrate();
    assert_eq!(rolling.rows(), rows.min(19_999) + 1, "the threats that were kept aside are there too");
    (second.now, second.random) = (first.now, first.random.clone());
    for process in [&mut first, &mut second] {
        process.live(1.9);
        process.follower.recalibrate();
    }
    let both = judgements(&shelf, &bundle().manifest.version);
    assert_eq!((both.len(), both[0].alarm_since_micros), (1, found[0].alarm_since_micros), "the alarm goes on");

    assert_eq!(Process::start(&shelf, "host/2", 1).learning.rolling().unwrap().rows(), 0, "another's");
    let pipeline = Arc::clone(&second.follower.pipeline);
    let learning = Arc::new(Learning::new(&pipeline, Some(&bundle()), None).unwrap());
    let repeatable = Follower::new(Some(shelf.clone()), &pipeline, &learning, &second.metrics, "host/1");
    repeatable.told_when().look();
    assert_eq!(learning.rolling().unwrap().rows(), 0);
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..9], &[], &[&whole[..], b"x"].concat()] {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(Process::start(&shelf, "host/1", 1).learning.rolling().unwrap().rows(), 0);
    }
}

//! Retraining on simulated traffic: what is promoted, what is not, and what the record says in either case.

use std::cell::Cell;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::pipeline::PipelineFile;
use crate::edge::file::open_input;
use crate::models::retrain::better::Criterion;
use crate::models::retrain::job::Status;
use crate::models::retrain::job::tests::job;
use crate::run::framed::FramedInput;
use crate::run::pipeline::Pipeline;

/// Six sources that talk to a server at their own pace; `attacks` are large transfers to others, labelled.
fn events(path: &Path, from: u64, count: u64, bytes: u64, attacks: bool) {
    let mut text = String::new();
    for number in from..from + count {
        let time = crate::core::types::EventTime(1_772_438_400_000_000 + number as i64 * 2_000_000);
        let (source, noise) = (number % 40, number * 7_919 % 101);
        let attack = attacks && number % 50 == 7;
        let (size, port) = if attack { (90_000_000 + noise * 1_000, 4_444) } else { (bytes + noise * bytes / 100, 443) };
        let label = if attack { "exfiltration" } else { "benign" };
        writeln!(
            text,
            r#"{{"timestamp":"{time}","source_ip":"10.0.0.{source}","dest_ip":"10.9.9.{}","port":{port},"bytes_transferred":{size},"event_type":"flow","protocol":"tcp","label":"{label}"}}"#,
            number % 3
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}

fn file() -> PipelineFile {
    let mut file = PipelineFile::plain();
    "network".clone_into(&mut file.name);
    // The network takes long to fit and is not what is asked about.
    file.detectors.lstm_autoencoder.enabled = false;
    file
}

fn request(label: Option<&str>) -> Request {
    let mut configuration = job(crate::core::types::EventTime(0)).configuration;
    configuration.label = label.map(str::to_owned);
    Request { configuration, trigger: "test".to_owned(), benign: None, judgements: Arc::default() }
}

/// Ends a job at a stage.
#[derive(Default)]
struct Heard {
    stages: Vec<Stage>,
    end_at: Option<Stage>,
    notices: String,
}

impl Watch for Heard {
    fn reached(&mut self, stage: Stage, share: f64) -> Result<()> {
        assert!((0.0..=1.0).contains(&share), "{share}");
        if self.stages.last() != Some(&stage) {
            self.stages.push(stage);
        }
        if self.end_at == Some(stage) { Err(Error::permanent("the disk is full")) } else { Ok(()) }
    }
    fn notice(&mut self, text: &str) {
        self.notices.push_str(text);
    }
}

struct Site {
    folder: tempfile::TempDir,
    shelf: Shelf,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(&folder.path().join("registry"), "network").unwrap();
        Self { folder, shelf }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn retrain(&self, input: &Path, request: Request, heard: &mut Heard) -> Result<Job> {
        let opened = Cell::new(0);
        let open = |file| {
            opened.set(opened.get() + 1);
            let pipeline = Arc::new(Pipeline::open(file, Some("threatguard"))?);
            Ok((pipeline, FramedInput::new(open_input(input.to_str().unwrap())?)))
        };
        let done = retrain(&self.shelf, &Source::whole(file(), &open, false), request, heard);
        assert!(opened.get() > 0 || done.is_err());
        done
    }
    fn champion(&self) -> Option<String> {
        self.shelf.roles().unwrap().champion
    }
}

#[test]
fn a_candidate_is_promoted_only_where_it_is_better_and_the_record_says_why() {
    let site = Site::new();
    let old = site.path("old.jsonl");
    events(&old, 0, 12_000, 500, false);
    let mut heard = Heard::default();
    let first = site.retrain(&old, request(None), &mut heard).unwrap();
    let results = first.results.as_ref().unwrap();
    assert!(results.better && results.promoted && results.criterion == Criterion::NoChampion, "{first:?}");
    assert_eq!((first.status, first.progress.to_bits(), results.rows), (Status::Completed, 1.0_f64.to_bits(), 3_000));
    assert_eq!(heard.stages, [Stage::Counting, Stage::Calibrating, Stage::MeasuringCandidate, Stage::Deciding]);
    assert_eq!(site.champion().as_ref(), Some(&results.version));
    assert_eq!(site.shelf.job(&first.job_id, clock::wall()).unwrap(), first, "others read what this process knows");

    // The same again teaches nothing.
    let again = site.retrain(&old, request(None), &mut Heard::default()).unwrap().results.unwrap();
    assert!(!again.better && !again.promoted && again.reason.contains("taught nothing new"), "{again:?}");

    // Labelled events with attacks that the first, which never saw any, finds worse than trees do.
    let labelled = site.path("labelled.jsonl");
    events(&labelled, 0, 12_000, 500, true);
    let mut quiet = request(Some("label"));
    quiet.configuration.promote = false;
    let only_added = site.retrain(&labelled, quiet, &mut Heard::default()).unwrap().results.unwrap();
    assert_eq!(only_added.criterion, Criterion::TprAtFpr008, "{only_added:?}");
    assert!(!only_added.promoted && site.champion().as_ref() == Some(&results.version));
    assert_eq!(site.shelf.load(&only_added.version).unwrap().manifest.version, only_added.version, "it is there without a role");
    assert!(only_added.new_accuracy.is_some() && only_added.improvement_percentage.is_some());
    assert_eq!(only_added.attacks + only_added.benign, 3_000);
    assert!(only_added.better && only_added.reason.contains("instead of 0.0 %"), "it alone finds threats: {only_added:?}");

    // New entities with attacks among them: the champion ranks those no higher than what it does not know.
    let mut whole = request(Some("label"));
    BY_ENTITIES.clone_into(&mut whole.configuration.hold_out);
    let taken = site.retrain(&labelled, whole, &mut Heard::default()).unwrap().results.unwrap();
    assert!(taken.promoted && taken.gain_interval95.unwrap()[0] > 0.0, "{taken:?}");
    assert_eq!((site.champion(), site.shelf.roles().unwrap().before()), (Some(taken.version), Some(results.version.as_str())));
}

#[test]
fn a_job_that_fails_says_so_and_leaves_the_registry_as_it_was() {
    let site = Site::new();
    let input = site.path("events.jsonl");
    events(&input, 0, 4_000, 500, false);
    for stage in [Stage::Calibrating, Stage::MeasuringCandidate, Stage::Deciding] {
        let error = site.retrain(&input, request(None), &mut Heard { end_at: Some(stage), ..Heard::default() }).unwrap_err();
        assert!(error.to_string().contains("disk is full"));
        let job = site.shelf.jobs(clock::wall()).unwrap().pop().unwrap();
        assert_eq!((job.status, job.stage, job.error_message.as_deref()), (Status::Failed, stage, Some("the disk is full")));
        assert!(job.progress < 1.0 && job.results.is_none() && job.finished_at.is_some());
        assert!(site.shelf.versions().unwrap().is_empty() && site.champion().is_none());
    }
    let one_entity = site.path("one.jsonl");
    let text = std::fs::read_to_string(&input).unwrap();
    let own: Vec<&str> = text.lines().filter(|line| line.contains("\"10.0.0.1\"")).collect();
    std::fs::write(&one_entity, own.join("\n")).unwrap();
    for (share, is_held_out) in [(0.05, false), (0.9, true)] {
        let mut whole = request(None);
        (whole.configuration.hold_out, whole.configuration.validation_split) = (BY_ENTITIES.to_owned(), share);
        let done = site.retrain(&one_entity, whole, &mut Heard::default());
        let text = done.map_or_else(|error| error.to_string(), |job| job.results.unwrap().reason);
        let expected = if is_held_out { "every event is held out" } else { "only 0 held-out rows" };
        assert!(text.contains(expected), "{share}: {text}");
    }
    let mut late = request(None);
    late.configuration.max_training_seconds = Some(0);
    let error = site.retrain(&input, late, &mut Heard::default()).unwrap_err().to_string();
    assert!(error.contains("allow more"), "{error}");
    let mut all = request(None);
    all.configuration.validation_split = 1.0;
    assert!(site.retrain(&input, all, &mut Heard::default()).unwrap_err().to_string().contains("such as 0.25"));
    assert_eq!(site.shelf.jobs(clock::wall()).unwrap().len(), 6, "what was wrong from the start made no record");
}

#[test]
fn jobs_of_a_pipeline_wait_for_each_other_and_not_for_the_dead() {
    let site = Site::new();
    let now = clock::wall();
    let mut dead = job(crate::core::types::EventTime(now.0 - 600_000_000));
    dead.reached(Stage::Fitting, 0.1);
    site.shelf.keep_job(&dead).unwrap();
    let mut alive = job(now);
    alive.reached(Stage::Fitting, 0.1);
    site.shelf.keep_job(&alive).unwrap();
    let waiting = Keeper::begin(site.shelf.clone(), job(crate::core::types::EventTime(now.0 + 1))).unwrap();
    let shelf = site.shelf.clone();
    let ended = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        alive.fail("over".to_owned(), clock::wall());
        shelf.keep_job(&alive).unwrap();
    });
    waiting.wait_for_turn().unwrap();
    assert!(ended.is_finished(), "it has waited for the one that is alive");
    ended.join().unwrap();
    let jobs = site.shelf.jobs(clock::wall()).unwrap();
    assert_eq!(jobs.iter().map(|job| job.status).collect::<Vec<_>>(), [Status::Failed, Status::Failed, Status::Queued]);
    waiting.end(Err(Error::config("no"))).map(drop).unwrap_err();
}

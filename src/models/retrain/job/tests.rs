//! Records of jobs: silence, progress, names.

use super::*;

pub fn job(now: EventTime) -> Job {
    let configuration = Configuration {
        data_source: "events.jsonl".to_owned(),
        validation_split: 0.25,
        hold_out: "time".to_owned(),
        max_training_seconds: None,
        label: None,
        feedback: None,
        promote: true,
        seed: 1,
    };
    Job::new(Job::name(now, 255), "network", "manual", configuration, now)
}

#[test]
fn a_job_that_falls_silent_has_failed_and_one_that_is_over_has_not() {
    let begun = EventTime(1_772_438_400_000_000);
    let mut running = job(begun);
    assert_eq!((running.job_id.as_str(), running.status), ("20260302t080000000000z-ff", Status::Queued));
    running.reached(Stage::Calibrating, 0.5);
    let at = |micros: i64| running.clone().as_of(EventTime(begun.0 + micros));
    assert_eq!(at(SILENCE_MICROS_MAX), running, "it may still be heard of");
    let silent = at(SILENCE_MICROS_MAX + 1);
    assert_eq!((silent.status, silent.progress.to_bits()), (Status::Failed, running.progress.to_bits()));
    assert!(silent.error_message.unwrap().contains("ended at 'calibrating'"));
    running.fail("no".to_owned(), begun);
    assert_eq!(running.clone().as_of(EventTime(i64::MAX)).error_message.as_deref(), Some("no"));
}

#[test]
fn progress_goes_from_0_to_1_through_the_stages_and_never_back() {
    assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u32>(), 100);
    let (mut job, mut before) = (job(EventTime(0)), 0.0);
    for (stage, _) in SHARES {
        for share in [0.0, 0.4, 1.0, 7.0] {
            job.reached(stage, share);
            assert!(job.progress >= before && job.progress <= 1.0, "{stage:?} {share}");
            before = job.progress;
        }
    }
    assert!(before >= 1.0);
    job.reached(Stage::Counting, 0.0);
    assert!(job.progress >= 1.0);
    assert!((Stage::Fitting.progress(0.5) - 0.40).abs() < 1e-9);
}

#[test]
fn records_are_read_as_written_and_names_lead_nowhere() {
    let job = job(EventTime(7));
    assert_eq!(Job::parse(&job.to_bytes()).unwrap(), job);
    assert!(Job::parse(b"{}").unwrap_err().to_string().contains("no record of a job"));
    assert!(Job::parse(br#"{"format": 9}"#).unwrap_err().to_string().contains("upgrade"));
    assert!(Job::is_name(&job.job_id));
    for name in ["", "../roles", "a/b", "A", ".x"] {
        assert!(!Job::is_name(name), "{name}");
    }
}

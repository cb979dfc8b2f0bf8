//! Real log files through the pipeline. The data folder is not part of the project: `THREATGUARD_DATA`, default `../shared/data`.

#![allow(dead_code, reason = "the tests and the bench each use a part of it")]

use std::io::Read;
use std::path::{Path, PathBuf};

use bumpalo::Bump;
use threatguard::codec::auto::by_name;
use threatguard::codec::frame::{Framed, Framer, Stamper};
use threatguard::core::detect::LSTM_AUTOENCODER;
use threatguard::core::event::Record;
use threatguard::core::features::row::ModelRow;
use threatguard::core::sanitize::Sanitizer;
use threatguard::core::types::{EventTime, Offset, Partition, Position};
use threatguard::run::labels::Labels;
use threatguard::run::learning::Learning;

use super::harness::{Alerts, Found, Lane, correlation, network};

const BATCH: usize = 1_024;

/// Where the data lies, if it is there.
#[allow(clippy::disallowed_methods, reason = "where the data lies is the environment's to say")]
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    let named = std::env::var("THREATGUARD_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    folder.is_dir().then_some(folder)
}

/// A file's bytes, unpacked.
#[must_use]
pub fn unpacked(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = vec![];
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A log as self-contained records with their record times.
#[must_use]
pub fn framed(codec: &str, bytes: &[u8]) -> Vec<(Vec<u8>, Option<EventTime>)> {
    let (codec, mut framer, mut payloads) = (by_name(codec, None).unwrap(), Framer::new(), vec![]);
    framer.feed(bytes, &mut |framed| payloads.push(framed.payload.to_vec()));
    framer.finish(&mut |framed| payloads.push(framed.payload.to_vec()));
    let (mut stamper, sanitizer, mut arena) = (Stamper::default(), Sanitizer::default(), Bump::new());
    let mut stamped = vec![];
    let mut take = |framed: Framed<'_>, time: Option<EventTime>| stamped.push((framed.payload.to_vec(), time));
    for payload in payloads {
        arena.reset();
        let framed = Framed { payload: &payload, full_bytes: payload.len() as u64 };
        stamper.push(codec.as_ref(), &sanitizer, framed, &arena, &mut take);
    }
    stamper.finish(&mut take);
    stamped
}

/// What the network pipeline says of a log when it learns from its first `learn` events: threats after that, and its alerts.
#[must_use]
pub fn threats(codec: &str, bytes: &[u8], learn: u64) -> (Vec<Found>, usize) {
    let log = framed(codec, bytes);
    let (mut lane, mut correlation, mut arena) = (Lane::new(network(), codec), Alerts::new(correlation()), Bump::new());
    let (mut all, mut alerts) = (vec![], 0);
    for (number, part) in log.chunks(BATCH.min(learn as usize)).enumerate() {
        arena.reset();
        let first = number * BATCH.min(learn as usize);
        if lane.is_learning() && lane.seen() >= learn {
            lane.finish_learning();
        }
        lane.process(&records(part, first), &arena, true, |_| {});
        if !lane.is_learning() {
            alerts += correlation.take(&lane.found, lane.watermark()).len();
            all.append(&mut lane.found);
        }
    }
    (all, alerts)
}

fn records<'b>(part: &'b [(Vec<u8>, Option<EventTime>)], first: usize) -> Vec<Record<'b>> {
    let at = |index: usize| Position { partition: Partition(0), offset: Offset((first + index) as u64) };
    part.iter().enumerate().map(|(index, (payload, time))| Record { at: at(index), payload, time: *time }).collect()
}

/// One scored flow of the labelled days.
pub struct Flow {
    pub row: ModelRow,
    /// Of the LSTM autoencoder.
    pub error: f32,
    /// Combined, nats.
    pub surprise: f32,
    pub malicious: bool,
    /// Among the benign ones that were learned from.
    pub learned: bool,
}

/// Share of the benign flows, in order of time, that is learned from.
const LEARNED_SHARE: f64 = 0.7;

/// Both labelled days in order of time, learned from the first benign flows and scored from the beginning; `None` without data.
///
/// Background flows are dropped. What only tells the direction (`local_orig`, `local_resp`) and the labels are unknown fields, which
/// no feature reads.
#[must_use]
pub fn labelled_days() -> Option<Vec<Flow>> {
    let folder = data_folder()?.join("stratosphere-zeek");
    let mut log = vec![];
    for day in ["008-zeek-mixed", "010-zeek-mixed"] {
        log.extend(framed("zeek", &unpacked(&folder.join(day).join("conn.log.labeled.gz"))));
    }
    log.retain(|(payload, _)| label(payload) != Some("Background"));
    log.sort_by_key(|(_, time)| *time);
    let benign = log.iter().filter(|(payload, _)| label(payload) == Some("Benign")).count();
    let learned = (benign as f64 * LEARNED_SHARE) as usize;
    let mut sampled = Lane::that(network(), "zeek", |pipeline| Learning::sampling(pipeline, Labels::default()).unwrap());
    days(&mut sampled, &log, learned);
    let models = sampled.fitted();
    let mut lane = Lane::that(network(), "zeek", |pipeline| Learning::with_models(pipeline, models, Labels::default()).unwrap());
    days(&mut lane, &log, learned);
    lane.finish_learning();
    let mut second = Lane::new(network(), "zeek");
    second.use_bundle(&*lane.bundle.take()?);
    Some(days(&mut second, &log, learned))
}

fn days(lane: &mut Lane, log: &[(Vec<u8>, Option<EventTime>)], learned: usize) -> Vec<Flow> {
    // Event by event: the number of the benign ones so far says which are learned from.
    let (mut benign, mut flows, mut arena) = (0, vec![], Bump::new());
    for (number, part) in log.chunks(1).enumerate() {
        arena.reset();
        let malicious = label(&part[0].0) != Some("Benign");
        benign += usize::from(!malicious);
        let learn = !malicious && benign <= learned;
        lane.process(&records(part, number), &arena, learn, |scored| {
            let error = scored.raw[LSTM_AUTOENCODER];
            flows.push(Flow { row: *scored.model, error, surprise: scored.surprise, malicious, learned: learn });
        });
    }
    flows
}

/// The label of a row, as the framer wrote it.
fn label(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let after = text.split("\"label\":\"").nth(1)?;
    after.split('"').next()
}

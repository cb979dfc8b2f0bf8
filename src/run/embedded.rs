//! The embedded run: files, standard input or the simulator in, a folder of JSON Lines out, state in this process.
//!
//! Several pipelines may run side by side on one input; their threats meet in one correlator. Everything happens in one thread
//! and in the order of the input, so a run is repeatable to the byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::service::Verdicts;
use crate::core::correlate::{Correlated, Correlator, ThreatSignal};
use crate::core::engine::Counts;
use crate::core::output::{Envelope, ThreatRecord};
use crate::core::types::{EventTime, Offset, Partition, Position};
use crate::edge::clock;
use crate::edge::{Publisher, RecordRef, Records, TopicRole};
use crate::error::Result;
use crate::run::learning::{Learning, ScoredPart};
use crate::run::outbox::Outbox;
use crate::run::pipeline::Pipeline;
use crate::run::render::Origin;
use crate::run::summary::{Latencies, Summary};
use crate::run::telemetry::{Delta, Held, Metrics};
use crate::run::worker::{Listener, Out, Worker};

/// Embedded input is one partition.
const PARTITION: Partition = Partition(0);
/// Name of the topic that embedded input stands for, in ids and evidence.
pub const INPUT_TOPIC: &str = "input";

/// Between two looks at models where a run says itself when.
const LOOK_RECORDS: u64 = 4_096;

/// How long outputs may take to leave this process.
const FLUSH: Duration = Duration::from_secs(10);

/// One pipeline at work.
struct Lane {
    worker: Worker,
    records: Records,
    pipeline: Arc<Pipeline>,
    learning: Arc<Learning>,
}

/// Several pipelines on one input.
pub struct Embedded {
    lanes: Vec<Lane>,
    correlator: Correlator,
    /// Position of the next threat among those that were detected.
    next_threat: Offset,
    sink: Arc<dyn Publisher>,
    outbox: Outbox,
    started: Instant,
    counts: Counts,
    alerts: u64,
    latencies: Latencies,
    delta: Delta,
    metrics: Arc<Metrics>,
    /// Called between certain records of the input, however it is cut.
    between: Option<Box<dyn FnMut() + Send>>,
}

/// Hears what happens, for a live view and for evaluation.
pub trait Observer {
    /// Every event that was scored.
    fn scored(&mut self, _part: ScoredPart<'_>) {}
    fn threat(&mut self, _threat: &ThreatRecord) {}
    fn correlated(&mut self, _output: &Correlated) {}
}

/// Hears nothing.
pub struct Quiet;
impl Observer for Quiet {}

impl Embedded {
    /// `pipelines` with what each learns from; the first one's correlation settings hold for all.
    ///
    /// # Errors
    /// A setting that cannot be understood.
    pub fn new(
        pipelines: Vec<(Arc<Pipeline>, Arc<Learning>)>,
        verdicts: Verdicts,
        sink: Arc<dyn Publisher>,
        correlator: Correlator,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let mut lanes = vec![];
        for (pipeline, learning) in pipelines {
            let origin = Origin { pipeline: pipeline.file.name.clone(), topic: INPUT_TOPIC.to_owned() };
            let mut worker = Worker::new(Arc::clone(&pipeline), Arc::clone(&learning), origin, verdicts, false, 0)?;
            worker.engine().assign(PARTITION, Offset(0), &[])?;
            lanes.push(Lane { worker, records: Records::default(), pipeline, learning });
        }
        Ok(Self {
            lanes,
            correlator,
            next_threat: Offset(0),
            sink,
            outbox: Outbox::default(),
            started: clock::now(),
            counts: Counts::default(),
            alerts: 0,
            latencies: Latencies::default(),
            delta: Delta::default(),
            metrics,
            between: None,
        })
    }

    /// Calls `look` after every 4,096 records of the input, whatever the batches: models that it offers score from there on.
    #[must_use]
    pub fn looking(self, look: Option<Box<dyn FnMut() + Send>>) -> Self {
        Self { between: look, ..self }
    }

    /// The buffer that the input of pipeline `lane` is put into before [`Embedded::step`].
    pub fn records(&mut self, lane: usize) -> &mut Records {
        &mut self.lanes[lane].records
    }
    #[must_use]
    pub fn pipeline(&self, lane: usize) -> &Pipeline {
        &self.lanes[lane].pipeline
    }
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.alerts
    }
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
    #[must_use]
    pub fn top_risks(&self, now: EventTime, count: usize) -> Vec<(String, f64)> {
        self.correlator.top_risks(now, count)
    }
    /// Share of learning done, of the slowest pipeline; `None` once all have models.
    #[must_use]
    pub fn learning(&self) -> Option<f64> {
        self.lanes.iter().filter_map(|lane| lane.learning.progress()).reduce(f64::min)
    }
    /// Entities in memory over all pipelines, and how many left it.
    #[must_use]
    pub fn entities(&mut self) -> (usize, u64) {
        let all = self.lanes.iter_mut().map(|lane| lane.worker.engine().entities());
        all.fold((0, 0), |(resident, evicted), (r, e)| (resident + r, evicted + e))
    }

    /// Works through what was put into the lanes' buffers, which are empty afterwards.
    ///
    /// # Errors
    /// Outputs cannot be written, or a `Bug`.
    pub fn step(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let begun = clock::now();
        let mut scored = 0;
        for lane in 0..self.lanes.len() {
            scored += self.step_lane(lane, observer)?;
        }
        // Whoever follows a live input sees what was found before the next record comes.
        self.sink.flush(FLUSH)?;
        let took = begun.elapsed();
        self.latencies.add(took.as_micros() as u64, scored);
        self.delta.latency.add(took.as_micros() as u64, scored);
        self.metrics.add(&self.delta);
        self.delta.clear();
        let (resident, evicted) = self.entities();
        self.metrics.set_held(0, Held { partitions: 1, entities: resident as u64, evicted });
        self.metrics.set_learning(self.learning().unwrap_or(1.0));
        Ok(())
    }

    fn step_lane(&mut self, lane: usize, observer: &mut dyn Observer) -> Result<u64> {
        if self.between.is_none() {
            return self.piece(lane, observer);
        }
        let (mut whole, mut scored) = (std::mem::take(&mut self.lanes[lane].records), 0);
        for record in whole.iter() {
            let RecordRef { offset, time, key, payload, whole_len } = record;
            self.lanes[lane].records.push_of(offset, time, key, payload, whole_len);
            if (offset.0 + 1).is_multiple_of(LOOK_RECORDS) {
                scored += self.piece(lane, observer)?;
                self.between.iter_mut().for_each(|look| look());
            }
        }
        scored += self.piece(lane, observer)?;
        whole.clear();
        self.lanes[lane].records = whole;
        Ok(scored)
    }

    fn piece(&mut self, lane: usize, observer: &mut dyn Observer) -> Result<u64> {
        self.outbox.clear();
        let Lane { worker, records, .. } = &mut self.lanes[lane];
        if worker.wants_models() {
            worker.take_models();
        }
        let mut hearing = Hearing { observer: &mut *observer, input: records, next: &mut self.next_threat, signals: vec![] };
        let mut out = Out { outbox: &mut self.outbox, listener: &mut hearing, delta: &mut self.delta };
        let counts = worker.process(PARTITION, records, Offset(0), None, |_, _| Ok(()), &mut out)?;
        let signals = hearing.signals;
        records.clear();
        self.outbox.publish(self.sink.as_ref(), || false)?;
        self.correlate(&signals, observer)?;
        self.counts.add(counts);
        Ok(counts.scored)
    }

    /// Time goes on with the threats themselves, so that alerts do not depend on how the input was cut; and no further than their
    /// records prove, because an event may lie a day ahead of its record.
    fn correlate(&mut self, signals: &[(ThreatSignal, EventTime)], observer: &mut dyn Observer) -> Result<()> {
        let mut out = vec![];
        for (signal, proven) in signals {
            self.correlator.apply(signal, &mut out);
            self.correlator.tick(*proven, &mut out);
        }
        self.publish_correlated(out, observer)
    }

    fn publish_correlated(&mut self, out: Vec<Correlated>, observer: &mut dyn Observer) -> Result<()> {
        self.outbox.clear();
        for output in out {
            observer.correlated(&output);
            let alert = matches!(output, Correlated::Alert(_));
            self.alerts += u64::from(alert);
            self.delta.alerts += u64::from(alert);
            self.delta.resolved += u64::from(!alert);
            publish(output, &mut self.outbox);
        }
        self.outbox.publish(self.sink.as_ref(), || false).map(|_| ())
    }

    /// Ends the run: closes windows, learns from what there was, has the outputs out of this process.
    ///
    /// # Errors
    /// Outputs or the learned bundle cannot be written.
    pub fn finish(mut self) -> Result<Summary> {
        self.outbox.clear();
        for lane in &mut self.lanes {
            lane.worker.finish(PARTITION, &mut self.outbox);
            lane.learning.finish_early(&lane.pipeline)?;
        }
        self.outbox.publish(self.sink.as_ref(), || false)?;
        let watermark = self.lanes.iter_mut().filter_map(|lane| lane.worker.engine().watermark(PARTITION)).max();
        let mut resolved = vec![];
        if let Some(watermark) = watermark {
            self.correlator.tick(watermark, &mut resolved);
        }
        self.publish_correlated(resolved, &mut Quiet)?;
        self.sink.flush(FLUSH)?;
        self.counts.assert_conserved();
        let elapsed = self.started.elapsed();
        Ok(Summary::new(self.counts, self.alerts, elapsed, &self.latencies))
    }
}

/// Passes on what a batch leads to, and keeps its threats for the correlator, each with the time that its record proves.
struct Hearing<'h> {
    observer: &'h mut dyn Observer,
    input: &'h Records,
    next: &'h mut Offset,
    signals: Vec<(ThreatSignal, EventTime)>,
}

impl Listener for Hearing<'_> {
    fn scored(&mut self, part: ScoredPart<'_>) {
        self.observer.scored(part);
    }
    fn threat(&mut self, threat: &ThreatRecord) {
        self.observer.threat(threat);
        let position = Position { partition: PARTITION, offset: *self.next };
        *self.next = self.next.next();
        let record = self.input.find(Offset(threat.evidence.offset));
        let proven = record.and_then(|record| record.time).map_or(threat.timestamp, |time| time.min(threat.timestamp));
        self.signals.push((ThreatSignal::new(position, threat.clone()), proven));
    }
}

/// Alerts and resolved threats; the latter are records of the threats log themselves.
fn publish(output: Correlated, outbox: &mut Outbox) {
    let key = output.entity().to_owned();
    let role = match &output {
        Correlated::Alert(_) => TopicRole::Alerts,
        // Takes no position: when it is reported depends on how the input is cut, and the ids of alerts must not.
        Correlated::Resolved(_) => TopicRole::Threats,
    };
    let envelope: Envelope = output.into_envelope();
    outbox.push(role, key.as_bytes(), |out| envelope.write_json(out));
}

//! `threatguard replay`: a file to Kafka at a chosen rate.

use super::args::ReplayArgs;
use super::progress::Progress;
use super::{Outcome, input, output, stop};
use crate::config::clients;
use crate::config::pipeline::PipelineFile;
use crate::edge::kafka::{KafkaPublisher, ProducerSettings, TimestampType, TopicNames, TopicSpec, ensure_topics};
use crate::error::{Error, Result};
use crate::run::logs::start_logs;
use crate::run::replay::replay;

pub(super) fn run(args: &ReplayArgs) -> Result<Outcome> {
    let settings = args.service.resolve()?.settings;
    start_logs(&settings.log)?;
    if settings.brokers.0.is_empty() {
        return Err(Error::config("nowhere to send to: give --brokers LIST"));
    }
    let file =
        args.pipeline.as_ref().map_or_else(|| Ok(PipelineFile::plain()), |file| Ok::<_, Error>(crate::config::pipeline::load(file)?))?;
    let stop = stop::stop_flag()?;
    let (pipeline, input) = input::open_for(file, &args.input, Some(&args.codec), &stop)?;
    let kafka = clients::connection(&settings);
    // Records carry the times of their events, so the topic must keep them.
    let topic = TopicSpec {
        partitions: settings.kafka.partitions,
        replication: settings.kafka.replication,
        timestamp: Some(TimestampType::CreateTime),
        ..TopicSpec::named(args.topic.clone())
    };
    for finding in ensure_topics(&kafka, &[topic])? {
        output::notice(&finding.text);
    }
    let topics = TopicNames { rekeyed: args.topic.clone(), ..TopicNames::default() };
    let publisher = KafkaPublisher::open(&kafka, &ProducerSettings { topics, ..clients::producer(&settings, &pipeline.file) })?;
    let mut progress = Progress::new("replaying", "bytes", input.progress().bytes_total);
    let done = replay(&pipeline, input, &publisher, args.rate, args.limit, &stop, |_, input| progress.set(input.progress().bytes_read))?;
    progress.finish();
    output::print(&format!("{} records sent to {}, {} of them unreadable\n", done.records, args.topic, done.unreadable))?;
    Ok(Outcome::Clean)
}

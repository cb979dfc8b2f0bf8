//! The oracle: what a disturbed deployment has published and stored, against one worker that nobody disturbed over the same log.

use std::collections::BTreeSet;
use std::time::Duration;

use threatguard::edge::clock;

use crate::deployment::Deployment;
use crate::differences::{self, Differences};
use crate::follower::Follower;
use crate::log::{self, Entry, Isolation, Topic};
use crate::redis_state;
use crate::workbench::ROLES;

/// A transaction that nobody ends holds readers back; its timeout and the broker's look at it have to end that.
const UNENDED: Duration = Duration::from_secs(60);

/// How the outputs differ from those of the undisturbed run. All zero is the aim; see [`Judgement::check`].
#[derive(Debug, Default)]
pub struct Judgement {
    pub events: i64,
    /// Records of the undisturbed run that are not there.
    pub missing: u64,
    /// Records more often than there.
    pub twice: u64,
    /// Records that the undisturbed run does not have.
    pub foreign: u64,
    /// Entities whose records come in another order.
    pub disordered: u64,
    /// Records of aborted transactions in the log, which no reader of committed records may see.
    pub aborted: u64,
    /// Records that the follower was shown and that are not committed, or the other way round.
    pub phantom: u64,
    /// Keys of Redis with another content.
    pub state: usize,
    /// Values of Redis that the partitions' metas do not count.
    pub uncounted: usize,
    /// Examples, for whoever has to find the cause.
    pub shown: Vec<String>,
}

impl Judgement {
    /// Nothing lost, nothing twice, nothing else.
    #[track_caller]
    pub fn check(&self, test: &str) {
        self.check_apart_from_repetitions(test);
        assert_eq!(self.twice, 0, "{test}: {:#?}", self.shown);
    }

    /// Where a file that Redis appends to was cut inside a transaction: Redis ignores the beginning of it at the first start, leaves it
    /// in the file and executes it at the second. So values are back that were stored again meanwhile: the right ones, not counted.
    pub fn forgive_uncounted(self, test: &str) -> Self {
        println!("{test}: values that Redis brought back uncounted: {}", self.uncounted);
        Self { uncounted: 0, ..self }
    }

    #[track_caller]
    pub fn check_apart_from_repetitions(&self, test: &str) {
        let Self { events, missing, twice, foreign, disordered, aborted, phantom, state, uncounted, shown } = self;
        println!(
            "{test}: {events} events, aborted records {aborted}, of them seen {phantom}, missing {missing}, extra {} \
             (twice {twice}, foreign {foreign}), entities out of order {disordered}, keys of state that differ {state}",
            twice + foreign
        );
        assert_eq!((*missing, *foreign, *disordered, *phantom), (0, 0, 0, 0), "{test}: {shown:#?}");
        assert_eq!((*state, *uncounted), (0, 0), "{test}: {shown:#?}");
    }
}

/// To be called when every worker has ended well, so that everything is committed and stored.
#[track_caller]
pub fn judge(deployment: &Deployment, follower: Follower) -> Judgement {
    let Deployment { brokers, partitions, raw, .. } = deployment;
    let mut judgement = Judgement { events: deployment.input_ends().iter().sum(), ..Judgement::default() };
    let (whole, whole_redis) = deployment.undisturbed();
    let mut follower = Some(follower);
    for role in ROLES {
        let topic = Published { deployment, role, topic: deployment.topic(role) };
        await_ended_transactions(brokers, &topic.topic, *partitions);
        let found = log::read(brokers, &topic.topic, *partitions, Isolation::Committed);
        let all = log::read(brokers, &topic.topic, *partitions, Isolation::Uncommitted);
        judgement.aborted += count(&all) - count(&found);
        if role == "alerts" {
            // Alerts follow the threats log, whose order over partitions is free; that none comes twice is certain.
            judgement.repeated(&topic, found.iter().flatten());
            continue;
        }
        let whole = Published { deployment, role, topic: format!("{whole}.{role}") };
        let reference = log::read(brokers, &whole.topic, *partitions, Isolation::Committed);
        judgement.compare(&whole, &reference, &topic, &found);
        judgement.repeated(&topic, found.iter().flatten().filter(|entry| entry.is_resolution));
        if role == "verdicts" {
            judgement.compare_embedded(deployment, &reference);
            let seen = follower.take().map(|follower| follower.finish(&found)).unwrap_or_default();
            judgement.compare_seen(&found, &seen);
        }
    }
    let (state, first) = redis_state::differences(&redis_state::dump(&whole_redis, raw), &redis_state::dump(&deployment.redis, raw));
    (judgement.state, judgement.uncounted) = (state, redis_state::uncounted(&deployment.redis, raw));
    judgement.shown.extend((state > 0).then_some(first));
    judgement
}

/// A topic whose records can be shown.
struct Published<'d> {
    deployment: &'d Deployment,
    role: &'static str,
    topic: String,
}

impl Published<'_> {
    fn show(&self, what: &str, records: &Topic, value: u128) -> String {
        let place = records
            .iter()
            .enumerate()
            .find_map(|(partition, entries)| entries.iter().find(|entry| entry.value == value).map(|entry| (partition, entry.offset)));
        let text = place.map(|(partition, offset)| log::text(&self.deployment.brokers, &self.topic, partition, offset));
        format!("{} {what} at {place:?}: {}", self.role, text.unwrap_or_default())
    }
}

impl Judgement {
    fn compare(&mut self, whole: &Published<'_>, reference: &Topic, topic: &Published<'_>, found: &Topic) {
        let Differences { missing, twice, foreign, disordered, examples } = differences::between(reference, found);
        self.missing += missing;
        self.twice += twice;
        self.foreign += foreign;
        self.disordered += disordered;
        self.shown.extend(examples.missing.map(|value| whole.show("missing", reference, value)));
        self.shown.extend(examples.twice.map(|value| topic.show("twice", found, value)));
        self.shown.extend(examples.foreign.map(|value| topic.show("foreign", found, value)));
        self.shown.extend(examples.disordered.map(|value| topic.show("first of an entity in another order", found, value)));
    }

    /// The undisturbed run itself, against the engine on the file, without Kafka and Redis.
    fn compare_embedded(&mut self, deployment: &Deployment, reference: &Topic) {
        let Some(mut embedded) = deployment.embedded_verdicts() else { return };
        let mut streamed: Vec<u128> = reference.iter().flatten().map(|entry| entry.body).collect();
        embedded.sort_unstable();
        streamed.sort_unstable();
        let (whole, ends) = (embedded.len(), deployment.input_ends());
        assert!(embedded == streamed, "{whole} verdicts embedded, {} streamed of {ends:?}, not the same", streamed.len());
    }

    fn repeated<'e>(&mut self, topic: &Published<'_>, entries: impl Iterator<Item = &'e Entry>) {
        let mut known = BTreeSet::new();
        for entry in entries.filter(|entry| !known.insert(entry.value)) {
            self.twice += 1;
            self.shown.push(format!("{} twice, again at offset {}", topic.role, entry.offset));
        }
    }

    fn compare_seen(&mut self, found: &Topic, seen: &Topic) {
        for (partition, (found, seen)) in found.iter().zip(seen).enumerate() {
            let of = |entries: &[Entry]| entries.iter().map(|entry| (entry.offset, entry.value)).collect::<BTreeSet<_>>();
            let (found, seen) = (of(found), of(seen));
            self.phantom += found.symmetric_difference(&seen).count() as u64;
            let first = found.symmetric_difference(&seen).next();
            self.shown.extend(first.map(|(offset, _)| format!("partition {partition}: offset {offset} is not what was followed")));
        }
    }
}

fn count(topic: &Topic) -> u64 {
    topic.iter().map(|entries| entries.len() as u64).sum()
}

/// Waits until readers of committed records are no longer held back.
#[track_caller]
fn await_ended_transactions(brokers: &str, topic: &str, partitions: u32) {
    let begun = clock::now();
    loop {
        let committed = log::ends(brokers, topic, partitions, Isolation::Committed);
        let all = log::ends(brokers, topic, partitions, Isolation::Uncommitted);
        if committed == all {
            break;
        }
        assert!(begun.elapsed() < UNENDED, "{topic}: a transaction was left open: {committed:?} of {all:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    if begun.elapsed() > Duration::from_secs(5) {
        println!("{topic}: readers were held back by an open transaction for {:.0} s", begun.elapsed().as_secs_f64());
    }
}

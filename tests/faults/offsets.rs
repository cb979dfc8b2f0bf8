//! Scenario: while no worker runs, somebody sets the group's offsets back or forward, or deletes records that were not read yet, with
//! Kafka's own tools.
//! Guarantees: a worker does not start on them and names the way out, and changes nothing; with the right offsets it goes on as if
//! nothing had happened.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::deployment::{Deployment, Plan};
use crate::fleet::{Fleet, Recoveries, now};
use crate::follower::Follower;
use crate::judge::judge;
use crate::log::{self, Isolation};
use crate::process::finish;
use crate::redis_state::{State, dump};

/// As `kafka-consumer-groups --reset-offsets` would.
fn set_offsets(deployment: &Deployment, offsets: &[i64]) {
    let consumer = log::client(&deployment.brokers, Isolation::Committed, &format!("{}.network", deployment.raw));
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets.iter().enumerate() {
        list.add_partition_offset(&deployment.raw, partition as i32, Offset::Offset(*offset)).unwrap();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
    assert_eq!(deployment.committed(), offsets);
}

/// A deployment whose worker was stopped well before the end of its input, what reads its verdicts, and its state.
fn stopped_midway(test: &str) -> Option<(Deployment, Follower, State)> {
    let deployment = Deployment::new(test, &Plan { partitions: 2, events: 20_000, ..Plan::default() })?;
    let follower = deployment.follow();
    let feed = deployment.feed(2_000);
    let mut fleet = Fleet::start(&deployment, &["a"]);
    Recoveries::default().measure(&mut fleet, &follower, now());
    fleet.stop();
    let state = dump(&deployment.redis, &deployment.raw);
    feed.finish(Duration::from_secs(60));
    Some((deployment, follower, state))
}

#[test]
fn offsets_that_were_set_by_somebody_else_are_refused() {
    let test = "offsets";
    let Some((deployment, follower, state)) = stopped_midway(test) else { return };
    let right = deployment.committed();
    for off in [-50, 50] {
        let wrong: Vec<i64> = right.iter().map(|offset| offset + off).collect();
        set_offsets(&deployment, &wrong);
        let said = "threatguard state restore";
        finish(&mut deployment.command("a", &[]), b"").fails(2, &["the group's offset was set", said, "threatguard run --from"]);
        assert_eq!(deployment.committed(), wrong, "nothing was changed");
        assert!(dump(&deployment.redis, &deployment.raw) == state, "nothing was changed");
    }
    set_offsets(&deployment, &right);
    let mut fleet = Fleet::start(&deployment, &["a"]);
    fleet.consume_all();
    fleet.stop();
    judge(&deployment, follower).check(test);
}

/// As `kafka-delete-records` would.
fn delete_records(deployment: &Deployment, before: &[i64]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", &deployment.brokers).create().unwrap();
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before.iter().enumerate() {
        list.add_partition_offset(&deployment.raw, partition as i32, Offset::Offset(*offset)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

#[test]
fn records_that_were_deleted_unread_are_not_passed_over() {
    let Some((deployment, _, state)) = stopped_midway("deleted-records") else { return };
    let committed = deployment.committed();
    let kept: Vec<i64> = committed.iter().zip(deployment.input_ends()).map(|(next, end)| (next + end) / 2).collect();
    delete_records(&deployment, &kept);
    let said = ["no longer has offset", "records were removed before they were read", "threatguard run --from"];
    finish(&mut deployment.command("a", &[]), b"").fails(3, &said);
    assert_eq!(deployment.committed(), committed, "nothing was skipped");
    assert!(dump(&deployment.redis, &deployment.raw) == state, "nothing was changed");
}

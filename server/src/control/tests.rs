//! The control plane as its users see it: asked through the client, over real directories.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use super::{ControlConfig, ControlHandle, ControllerClient, start};
use crate::metadata::error::ErrorCode;
use crate::metadata::image::{ConfigResource, Endpoint, MetadataImage};
use crate::metadata::request::{AlterConfigSpec, ConfigOp, CreatePartitionsSpec, CreateTopicSpec, TopicRef};
use futures::StreamExt;
use std::path::Path;
use std::sync::Arc;

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn config(directory: &Path) -> ControlConfig {
    ControlConfig {
        log_dirs: vec![directory.to_path_buf()],
        node_id: 1,
        rack: None,
        listeners: vec![Endpoint {
            name: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port: 9092,
            security_protocol: 0,
        }],
        cluster_id: None,
        num_partitions: 3,
        default_replication_factor: 1,
        snapshot_log_bytes: 64 << 10,
    }
}

/// A running control plane with a shard that acknowledges everything and keeps what it was told.
struct Running {
    handle: ControlHandle,
    shard: Option<std::thread::JoinHandle<Vec<(usize, usize)>>>,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let mut handle = start(config(directory)).unwrap();
        let mut updates = handle.take_updates();
        let shard = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Some(update) = block_on(updates.next()) {
                seen.push((update.changes.created.len(), update.changes.deleted.len()));
                update.ack.send(()).unwrap();
            }
            seen
        });
        Self { handle, shard: Some(shard) }
    }

    fn client(&self) -> ControllerClient {
        self.handle.controller.clone()
    }

    fn image(&self) -> Arc<MetadataImage> {
        self.handle.store.image()
    }

    fn stop(mut self) -> Vec<(usize, usize)> {
        self.handle.stop();
        self.shard.take().unwrap().join().unwrap()
    }
}

fn topic(name: &str, partitions: i32) -> CreateTopicSpec {
    CreateTopicSpec {
        name: name.to_string(),
        partition_count: partitions,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

/// Topics with their partitions' epochs left out: those grow with each start.
fn topics(image: &MetadataImage) -> Vec<(String, [u8; 16], usize)> {
    image.topics().map(|topic| (topic.name.to_string(), topic.id.0, topic.partitions.len())).collect()
}

#[test]
fn a_created_topic_is_in_the_image_when_the_answer_comes_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let made = block_on(running.client().create_topics(vec![topic("a", 2), topic("b", -1)], false));
    let image = running.image();
    assert_eq!(made[0].as_ref().unwrap().topic_id, image.topic_by_name("a").unwrap().id);
    assert_eq!(made[1].as_ref().unwrap().partition_count, 3);
    let partition = &image.topic_by_name("a").unwrap().partitions[1];
    assert_eq!((partition.leader, partition.leader_epoch, &partition.isr[..]), (1, 0, &[1][..]));
    assert_eq!(partition.directories, image.brokers[&1].log_dirs);
    assert!(image.brokers[&1].is_active());
    assert_eq!(running.stop(), [(5, 0)]);

    let again = Running::start(directory.path());
    assert_eq!(topics(&again.image()), topics(&image));
    assert_eq!(again.image().cluster_id, image.cluster_id);
    assert_eq!((image.kraft_version, again.image().kraft_version), (1, 1));
    assert_eq!(again.image().epoch, image.epoch + 1);
    let image = again.image();
    let partition = &image.topic_by_name("a").unwrap().partitions[1];
    assert_eq!((partition.leader, partition.leader_epoch), (1, 1), "a new process is a new leader");
    again.stop();
}

#[test]
fn what_cannot_be_is_refused_with_kafkas_codes() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let client = running.client();
    let code = |spec| block_on(client.create_topics(vec![spec], false))[0].clone().map_err(|e| e.code).err();
    assert_eq!(code(topic("a.b", 1)), None);
    assert_eq!(code(topic("a.b", 1)), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(code(topic("a_b", 1)), Some(ErrorCode::InvalidTopicException));
    for name in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
        assert_eq!(code(topic(name, 1)), Some(ErrorCode::InvalidTopicException), "{name}");
    }
    assert_eq!(code(topic("c", 0)), Some(ErrorCode::InvalidPartitions));
    assert_eq!(code(topic("c", -2)), Some(ErrorCode::InvalidPartitions));
    assert_eq!(code(topic("c", 10_001)), Some(ErrorCode::PolicyViolation));
    let factor = |factor| CreateTopicSpec { replication_factor: factor, ..topic("c", 1) };
    assert_eq!(code(factor(0)), Some(ErrorCode::InvalidReplicationFactor));
    assert_eq!(code(factor(2)), Some(ErrorCode::InvalidReplicationFactor));
    let assigned = |assignments| CreateTopicSpec { assignments, ..topic("c", -1) };
    assert_eq!(code(assigned(vec![(0, vec![7])])), Some(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(code(assigned(vec![(1, vec![1])])), Some(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(code(assigned(vec![(0, vec![1, 1])])), Some(ErrorCode::InvalidReplicaAssignment));
    let both = CreateTopicSpec { assignments: vec![(0, vec![1])], ..topic("c", 1) };
    assert_eq!(code(both), Some(ErrorCode::InvalidRequest));
    assert_eq!(code(assigned(vec![(1, vec![1]), (0, vec![1])])), None);
    running.stop();
}

#[test]
fn topics_partitions_configs_and_producer_ids_change_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let client = running.client();
    block_on(async {
        let mut spec = topic("t", 1);
        spec.configs.push(("cleanup.policy".into(), "delete".into()));
        client.create_topics(vec![spec], false).await[0].as_ref().unwrap();
        let checked = client.create_topics(vec![topic("only-checked", 2)], true).await;
        assert_eq!(checked[0].as_ref().unwrap().partition_count, 2);
        assert!(running.image().topic_by_name("only-checked").is_none());

        let more = |count| {
            vec![CreatePartitionsSpec { name: "t".into(), partition_count: count, assignments: None }]
        };
        assert_eq!(client.create_partitions(more(4), false).await, [Ok(())]);
        let refused = client.create_partitions(more(4), false).await;
        assert_eq!(refused[0].as_ref().unwrap_err().code, ErrorCode::InvalidPartitions);
        assert_eq!(running.image().topic_by_name("t").unwrap().partitions.len(), 4);

        let append = ConfigOp::Append { value: "compact".into(), base: "delete".into() };
        let change = AlterConfigSpec {
            resource: ConfigResource::topic("t"),
            ops: vec![("cleanup.policy".into(), append), ("retention.ms".into(), ConfigOp::Set("5".into()))],
            replace: false,
        };
        assert_eq!(client.alter_configs(vec![change], false).await, [Ok(())]);
        let image = running.image();
        let set = image.topic_config("t").unwrap();
        assert_eq!((&*set["cleanup.policy"], &*set["retention.ms"]), ("delete,compact", "5"));

        assert_eq!(client.allocate_producer_ids().await.unwrap().first, 0);
        assert_eq!(client.allocate_producer_ids().await.unwrap().first, 1000);

        let gone = vec![TopicRef::Name("t".into()), TopicRef::Name("nope".into())];
        let deleted = client.delete_topics(gone).await;
        assert!(deleted[0].is_ok());
        assert_eq!(deleted[1].as_ref().unwrap_err().code, ErrorCode::UnknownTopicOrPartition);
        assert!(running.image().topic_config("t").is_none());
    });
    running.stop();
    let again = Running::start(directory.path());
    assert_eq!(block_on(again.client().allocate_producer_ids()).unwrap().first, 2000);
    assert_eq!(again.image().topic_count(), 0);
    again.stop();
}

#[test]
fn a_snapshot_and_the_log_after_it_give_the_same_image() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let client = running.client();
    // Enough topics that snapshots become due more than once, so that old segments go too.
    for round in 0..7 {
        let specs = (0..10).map(|at| topic(&format!("t-{round}-{at}"), 100)).collect();
        assert!(block_on(client.create_topics(specs, false)).iter().all(Result::is_ok));
    }
    let image = running.image();
    running.stop();
    let names = crate::metadata::files::list(&directory.path().join("__cluster_metadata-0")).unwrap();
    let snapshots = names.iter().filter(|name| name.ends_with(".checkpoint")).count();
    assert_eq!(snapshots, 2, "{names:?}");
    let again = Running::start(directory.path());
    assert_eq!(topics(&again.image()), topics(&image));
    again.stop();
}

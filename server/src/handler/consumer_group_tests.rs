//! Groups of KIP-848 through whole frames, and what is left after a coordinator is loaded anew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use ringmain_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ringmain_protocol::messages::consumer_group_describe_response::DescribedGroup;
use ringmain_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ringmain_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ringmain_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ringmain_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ringmain_protocol::messages::list_groups_request::ListGroupsRequest;
use ringmain_protocol::wire::Str;
use ringmain_storage::io::Io as _;

use super::test_kit::{Kit, with_broker};

impl Kit {
    async fn consumer(
        &self,
        member: &'static str,
        epoch: i32,
        topics: &[&'static str],
    ) -> ConsumerGroupHeartbeatResponse {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: member.into(),
            member_epoch: epoch,
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(topics.iter().map(|name| (*name).into()).collect()),
            topic_partitions: Some(Vec::<TopicPartitions>::new()),
            ..Default::default()
        };
        self.ask(1, &request).await
    }

    async fn consumers(&self) -> DescribedGroup {
        let request =
            ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], include_authorized_operations: true };
        self.ask(1, &request).await.groups.remove(0)
    }

    /// The groups that a filter takes, as `name type state`.
    async fn listed(&self, kind: &'static str) -> Vec<String> {
        let request = ListGroupsRequest { types_filter: vec![kind.into()], ..Default::default() };
        let groups = self.ask(5, &request).await.groups.into_iter();
        groups.map(|it| format!("{} {} {}", it.group_id, it.group_type, it.group_state)).collect()
    }
}

#[test]
fn a_group_of_the_new_protocol_is_told_as_it_is_and_known_after_a_start() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 2, &[]).await;
        let joined = kit.consumer("m", 0, &["t"]).await;
        assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 2, 5000));
        assert_eq!(joined.assignment.unwrap().topic_partitions[0].partitions, [0, 1]);
        let refused = kit.consumer("m", 7, &["t"]).await;
        assert!(refused.error_code == 110 && refused.error_message.is_some());
        for _ in 0..2 {
            let group = kit.consumers().await;
            assert_eq!((&*group.group_state, group.group_epoch, group.assignment_epoch), ("Stable", 2, 2));
            assert_eq!((&*group.assignor_name, group.authorized_operations), ("uniform", 0b1101_0100_1000));
            let member = &group.members[0];
            assert_eq!((&*member.member_id, member.member_type, member.member_epoch), ("m", 1, 2));
            let topics = &member.assignment.topic_partitions;
            assert_eq!((&*topics[0].topic_name, &topics[0].partitions), ("t", &vec![0, 1]));
            assert_eq!(kit.listed("Consumer").await, ["g consumer Stable"]);
            assert!(kit.listed("classic").await.is_empty());
            let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
            assert_eq!(kit.ask(6, &request).await.groups[0].error_code, 69);
            kit.forget_groups();
        }
        assert_eq!(kit.consumer("m", 2, &["t"]).await.error_code, 0);
        kit.broker.io().sleep(Duration::from_secs(46)).await;
        assert_eq!(&*kit.consumers().await.group_state, "Empty");
        assert_eq!(kit.consumer("m", 2, &["t"]).await.error_code, 25);
    });
}

#[test]
fn a_group_has_times_of_its_own_when_somebody_sets_them() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 2, &[]).await;
        let set = |value: &'static str| IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 32,
                resource_name: "g".into(),
                configs: vec![AlterableConfig {
                    name: "consumer.heartbeat.interval.ms".into(),
                    config_operation: 0,
                    value: Some(Str::from_static(value)),
                }],
            }],
            validate_only: false,
        };
        assert_eq!(kit.ask(1, &set("7000")).await.responses[0].error_code, 0);
        assert_eq!(kit.consumer("m", 0, &["t"]).await.heartbeat_interval_ms, 7000);
        assert_eq!(kit.ask(1, &set("4999")).await.responses[0].error_code, 40);
    });
}

#[test]
fn a_log_of_a_group_of_the_new_protocol_that_is_mostly_dead_is_written_anew() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 2, &[]).await;
        let key = kit.broker.group_partition("g").unwrap();
        let log = kit.broker.partition(key).unwrap().log().clone();
        let mut epoch = 0;
        for turn in 0..500 {
            let topics: &[&'static str] = if turn % 2 == 0 { &["t"] } else { &["u"] };
            let beaten = kit.consumer("m", epoch, topics).await;
            assert_eq!(beaten.error_code, 0);
            epoch = beaten.member_epoch;
        }
        let offsets = log.offsets();
        assert!(offsets.log_start_offset.0 > 0, "the log was written anew");
        let before = kit.consumers().await;
        kit.forget_groups();
        assert_eq!(kit.consumers().await, before);
        assert_eq!(kit.consumer("m", epoch, &["u"]).await.error_code, 0);
    });
}

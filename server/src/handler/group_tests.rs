//! Groups through whole frames: every version of every request, and what is left after a coordinator is loaded anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join;
use ringmain_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ringmain_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ringmain_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ringmain_protocol::messages::heartbeat_request::HeartbeatRequest;
use ringmain_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ringmain_protocol::messages::join_group_response::JoinGroupResponse;
use ringmain_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ringmain_protocol::messages::list_groups_request::ListGroupsRequest;
use ringmain_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringmain_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ringmain_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ringmain_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ringmain_protocol::wire::{Str, Uuid};
use ringmain_storage::io::Io as _;

use super::test_kit::{Kit, with_broker};
use super::topics;

fn text(text: &str) -> Str {
    Str::from(text)
}

/// A subscription to topic `t`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

impl Kit {
    /// Looks for a coordinator: the error, the node and its port.
    pub(super) async fn find(&self, version: i16, kind: i8, group: &str) -> (i16, i32, i32) {
        let request = if version < 4 {
            FindCoordinatorRequest { key: text(group), key_type: kind, coordinator_keys: Vec::new() }
        } else {
            let coordinator_keys = vec![text(group), text("other")];
            FindCoordinatorRequest { key: Str::default(), key_type: kind, coordinator_keys }
        };
        let answer = self.ask(version, &request).await;
        if version < 4 {
            return (answer.error_code, answer.node_id, answer.port);
        }
        assert_eq!((&*answer.coordinators[0].key, &*answer.coordinators[1].key), (group, "other"));
        let found = &answer.coordinators[0];
        (found.error_code, found.node_id, found.port)
    }

    async fn join(&self, version: i16, group: &str, member: &str) -> JoinGroupResponse {
        let request = JoinGroupRequest {
            group_id: text(group),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: if version == 0 { -1 } else { 20_000 },
            member_id: text(member),
            protocol_type: text("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: text("range"),
                metadata: Bytes::from_static(SUBSCRIPTION),
            }],
            ..JoinGroupRequest::default()
        };
        self.ask(version, &request).await
    }

    /// A stable group with one member, whose id it gives.
    async fn settle(&self, version: i16, group: &str) -> Str {
        let mut joined = self.join(version, group, "").await;
        if version >= 4 {
            assert_eq!(joined.error_code, 79);
            joined = self.join(version, group, &joined.member_id).await;
        }
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1));
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(&*joined.members[0].metadata, SUBSCRIPTION);
        let assignments = vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"given"),
        }];
        let request = SyncGroupRequest {
            group_id: text(group),
            generation_id: 1,
            member_id: joined.member_id.clone(),
            protocol_type: (version >= 5).then(|| text("consumer")),
            protocol_name: (version >= 5).then(|| text("range")),
            assignments,
            ..SyncGroupRequest::default()
        };
        let synced = self.ask(version.min(5), &request).await;
        assert_eq!((synced.error_code, &*synced.assignment), (0, &b"given"[..]));
        joined.member_id
    }

    async fn beat(&self, version: i16, group: &str, member: &Str) -> i16 {
        let (group_id, member_id) = (text(group), member.clone());
        let request =
            HeartbeatRequest { group_id, generation_id: 1, member_id, ..HeartbeatRequest::default() };
        self.ask(version, &request).await.error_code
    }

    async fn commit(&self, version: i16, group: &str, offset: i64) -> Vec<i16> {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            committed_leader_epoch: if version >= 6 { 4 } else { -1 },
            committed_metadata: Some(text("beside")),
        };
        let topic = |name: &str| OffsetCommitRequestTopic {
            name: text(name),
            topic_id: self
                .broker
                .image()
                .topic_by_name(name)
                .map_or(Uuid::from_bytes([9; 16]), |it| topics::uuid(it.id)),
            partitions: vec![partition(0), partition(1)],
        };
        let request = OffsetCommitRequest {
            group_id: text(group),
            topics: vec![topic("t"), topic("nope")],
            ..OffsetCommitRequest::default()
        };
        let answer = self.ask(version, &request).await;
        answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.error_code)
            .collect()
    }

    /// Offset, leader epoch, text and error of partition 0 of `t` and of one that is not there.
    async fn fetch(&self, version: i16, group: &str) -> Vec<(i64, i32, String, i16)> {
        let topic_id = topics::uuid(self.broker.image().topic_by_name("t").unwrap().id);
        let many = |name: &str, topic_id| OffsetFetchRequestTopics {
            name: text(name),
            topic_id,
            partition_indexes: vec![0],
        };
        let one = |name: &str| OffsetFetchRequestTopic { name: text(name), partition_indexes: vec![0] };
        let request = OffsetFetchRequest {
            group_id: text(group),
            topics: Some(vec![one("t"), one("nope")]),
            require_stable: version >= 7,
            ..OffsetFetchRequest::default()
        };
        let request = if version < 8 {
            request
        } else {
            let group = OffsetFetchRequestGroup {
                group_id: text(group),
                topics: Some(vec![many("t", topic_id), many("nope", Uuid::from_bytes([9; 16]))]),
                ..OffsetFetchRequestGroup::default()
            };
            OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() }
        };
        let answer = self.ask(version, &request).await;
        if version < 8 {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let told = |it: &_| {
                let ringmain_protocol::messages::offset_fetch_response::OffsetFetchResponsePartition {
                    committed_offset,
                    committed_leader_epoch,
                    metadata,
                    error_code,
                    ..
                } = it;
                (
                    *committed_offset,
                    *committed_leader_epoch,
                    metadata.clone().unwrap().to_string(),
                    *error_code,
                )
            };
            return partitions.map(told).collect();
        }
        assert_eq!((answer.groups.len(), answer.groups[0].error_code), (1, 0));
        let partitions = answer.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|it| {
                let metadata = it.metadata.clone().unwrap().to_string();
                (it.committed_offset, it.committed_leader_epoch, metadata, it.error_code)
            })
            .collect()
    }

    /// Drops the coordinators of all groups: they are loaded anew when somebody asks.
    pub(super) fn forget_groups(&self) {
        for partition in 0..5 {
            self.broker.coordinators.unload(self.key("__consumer_offsets", partition));
        }
    }
}

#[test]
fn the_topic_of_groups_is_made_when_somebody_looks_for_a_coordinator() {
    with_broker(async |kit| {
        assert_eq!(kit.join(9, "g", "").await.error_code, 16, "there is no coordinator yet");
        for version in 0..=6 {
            assert_eq!(kit.find(version, 0, "g").await, (0, 1, 9092));
        }
        for version in 1..=6 {
            assert_eq!(kit.find(version, 1, "transaction").await, (0, 1, 9092));
        }
        assert_eq!(kit.find(6, 2, "share").await, (42, -1, -1));
        let topic = kit.broker.image().topic_by_name("__consumer_offsets").unwrap().clone();
        assert_eq!(topic.partitions.len(), 5);
        let partition = kit.broker.partition(kit.key("__consumer_offsets", 0)).unwrap();
        assert!(partition.settings().compacted && !partition.settings().log.cleanup_delete);
    });
}

#[test]
fn a_member_joins_is_heard_of_and_leaves_in_every_version() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        for version in 0..=9 {
            let group = format!("g{version}");
            let member = kit.settle(version, &group).await;
            for version in 0..=4 {
                assert_eq!(kit.beat(version, &group, &member).await, 0);
            }
            assert_eq!(kit.beat(4, "", &member).await, 24);
            assert_eq!(kit.beat(4, "unknown", &member).await, 25);
            let version = version.min(5);
            let identity = MemberIdentity { member_id: member.clone(), ..MemberIdentity::default() };
            let leave = if version < 3 {
                LeaveGroupRequest { group_id: text(&group), member_id: member, members: Vec::new() }
            } else {
                let (group_id, members) = (text(&group), vec![identity]);
                LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() }
            };
            let left = kit.ask(version, &leave).await;
            assert_eq!((left.error_code, left.members.first().map_or(0, |it| it.error_code)), (0, 0));
            let left = kit.ask(version, &leave).await;
            let code = if version < 3 { left.error_code } else { left.members[0].error_code };
            assert_eq!(code, 25, "it has left");
        }
        let nobodys = kit.join(9, "", "").await;
        assert_eq!((nobodys.error_code, nobodys.protocol_name), (24, None));
        assert_eq!(kit.join(0, "", "").await.protocol_name, Some(Str::default()));
        let unnamed = SyncGroupRequest { group_id: text("g"), ..SyncGroupRequest::default() };
        assert_eq!(kit.ask(5, &unnamed).await.error_code, 23);
        assert_eq!(kit.ask(4, &unnamed).await.error_code, 25);
    });
}

#[test]
fn offsets_are_kept_told_and_deleted_in_every_version() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 1, &[]).await;
        for version in 2..=10 {
            let group = format!("g{version}");
            let unknown = if version >= 10 { 100 } else { 3 };
            assert_eq!(kit.commit(version, &group, 7).await, [3, 0, unknown, unknown]);
            for fetched in 1..=10 {
                let epoch = if version >= 6 && fetched >= 5 { 4 } else { -1 };
                let missing = if fetched >= 10 { 100 } else { 0 };
                let expected = vec![(7, epoch, "beside".to_owned(), 0), (-1, -1, String::new(), missing)];
                assert_eq!(kit.fetch(fetched, &group).await, expected, "{version} {fetched}");
            }
        }
        let all = OffsetFetchRequest { group_id: text("g2"), topics: None, ..OffsetFetchRequest::default() };
        assert_eq!(kit.ask(2, &all).await.topics[0].partitions[0].committed_offset, 7);
        let group = OffsetFetchRequestGroup { group_id: text("g2"), topics: None, ..Default::default() };
        let all = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let told = kit.ask(10, &all).await;
        assert_eq!(told.groups[0].topics[0].topic_id, topics::uuid(kit.key("t", 0).topic_id));
        let delete = OffsetDeleteRequest {
            group_id: text("g2"),
            topics: vec![OffsetDeleteRequestTopic {
                name: text("t"),
                partitions: [0, 1]
                    .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                    .to_vec(),
            }],
        };
        let deleted = kit.ask(0, &delete).await;
        let codes: Vec<i16> = deleted.topics[0].partitions.iter().map(|it| it.error_code).collect();
        assert_eq!((deleted.error_code, codes), (0, vec![3, 0]));
        assert_eq!(kit.fetch(9, "g2").await[0].0, -1);
        assert_eq!(kit.ask(0, &OffsetDeleteRequest { group_id: text("no"), ..delete }).await.error_code, 69);
    });
}

#[test]
fn groups_are_listed_described_and_deleted() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 1, &[]).await;
        kit.settle(9, "live").await;
        kit.commit(9, "idle", 3).await;
        let list = async |states: &[&str], types: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| text(name)).collect();
            let request = ListGroupsRequest { states_filter: names(states), types_filter: names(types) };
            let mut groups = kit.ask(5, &request).await.groups;
            groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
            groups
                .into_iter()
                .map(|it| {
                    format!("{} {} {} {}", it.group_id, it.protocol_type, it.group_state, it.group_type)
                })
                .collect::<Vec<_>>()
        };
        let (idle, live) = ("idle  Empty classic".to_owned(), "live consumer Stable classic".to_owned());
        assert_eq!(list(&[], &[]).await, [idle.clone(), live.clone()]);
        assert_eq!(list(&["stable"], &["CLASSIC"]).await, [live]);
        assert_eq!(list(&["Empty", "x"], &[]).await, [idle]);
        assert!(list(&[], &["consumer"]).await.is_empty());
        for version in 0..=6 {
            let groups = ["live", "idle", "no"].map(text).to_vec();
            let request = DescribeGroupsRequest { groups, include_authorized_operations: version >= 3 };
            let described = kit.ask(version, &request).await.groups;
            let [live, idle, no] = &described[..] else { panic!("{described:?}") };
            assert_eq!(
                (&*live.group_state, &*live.protocol_type, &*live.protocol_data),
                ("Stable", "consumer", "range")
            );
            assert_eq!(
                (&*live.members[0].member_assignment, &*live.members[0].client_host),
                (&b"given"[..], "/127.0.0.1")
            );
            assert_eq!((&*idle.group_state, idle.members.len()), ("Empty", 0));
            assert_eq!((&*no.group_state, no.error_code), ("Dead", if version >= 6 { 69 } else { 0 }));
        }
        let groups_names = ["live", "idle", "idle", "no"].map(text).to_vec();
        let deleted = kit.ask(2, &DeleteGroupsRequest { groups_names }).await.results;
        let codes: Vec<(&str, i16)> = deleted.iter().map(|it| (&*it.group_id, it.error_code)).collect();
        assert_eq!(codes, [("idle", 0), ("live", 68), ("no", 69)]);
        assert_eq!(list(&["Empty"], &[]).await.len(), 0);
    });
}

#[test]
fn a_coordinator_that_is_loaded_anew_knows_what_it_knew() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 1, &[]).await;
        let member = kit.settle(9, "live").await;
        kit.commit(9, "idle", 3).await;
        kit.forget_groups();
        assert_eq!(kit.beat(4, "live", &member).await, 0);
        assert_eq!(kit.fetch(9, "idle").await[0].0, 3);
        kit.broker.io().sleep(Duration::from_secs(11)).await;
        assert_eq!(kit.beat(4, "live", &member).await, 25, "it was silent for too long");
    });
}

#[test]
fn whoever_waits_while_the_broker_stops_is_told_to_look_elsewhere() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        let (joined, ()) = join(kit.join(3, "g", ""), async {
            kit.broker.io().sleep(Duration::from_secs(1)).await;
            kit.broker.stop_waiting();
        })
        .await;
        assert_eq!(joined.error_code, 16);
        assert_eq!(kit.beat(4, "g", &Str::default()).await, 16);
        assert!(kit.join(3, "g", "").now_or_never().is_some(), "nobody waits any more");
    });
}

#[test]
fn a_log_that_is_mostly_dead_is_written_anew_and_says_the_same() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 1, &[]).await;
        let member = kit.settle(9, "g").await;
        let key = kit.broker.group_partition("idle").unwrap();
        let log = kit.broker.partition(key).unwrap().log().clone();
        let mut records = 0;
        for offset in 0..2500 {
            assert_eq!(kit.commit(9, "idle", offset).await, [3, 0, 3, 3]);
            records = log.offsets().log_end_offset.0 - log.offsets().log_start_offset.0;
            assert!(records < 2100, "{records} records for one that is alive");
            if offset % 100 == 0 {
                assert_eq!(kit.beat(4, "g", &member).await, 0);
            }
        }
        assert!(log.offsets().log_start_offset.0 > 0 && records > 0);
        kit.forget_groups();
        assert_eq!(kit.fetch(9, "idle").await[0].0, 2499);
        assert_eq!(kit.beat(4, "g", &member).await, 0);
    });
}

#[test]
fn offsets_in_a_topic_go_when_it_is_deleted() {
    with_broker(async |kit| {
        kit.find(0, 0, "g").await;
        kit.create_topic("t", 1, &[]).await;
        kit.commit(9, "g", 3).await;
        let topic = crate::metadata::request::TopicRef::Name("t".to_owned());
        kit.broker.controller().delete_topics(vec![topic]).await.remove(0).unwrap();
        kit.create_topic("t", 1, &[]).await;
        assert_eq!(kit.fetch(9, "g").await[0].0, -1);
        kit.forget_groups();
        assert_eq!(kit.fetch(9, "g").await[0].0, -1);
    });
}

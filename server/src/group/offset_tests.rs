//! Offsets: who may commit, when they go, and what transactions do to them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;
use ringmain_storage::types::{Offset, ProducerId};

use super::coordinator::Coordinator;
use super::offsets::Committed;
use super::record::{OffsetKey, Parsed, Record};
use super::test_kit::*;

fn key(topic: &str, partition: i32) -> OffsetKey {
    OffsetKey { group: GROUP.into(), topic: topic.into(), partition }
}

fn committed(offset: i64) -> Committed {
    Committed { offset, leader_epoch: 3, metadata: "m".into(), commit_timestamp: 7, expire_timestamp: None }
}

#[test]
fn records_have_apaches_bytes() {
    let offset = Record::Offset(key("t", 2), Some(committed(5)));
    let (bytes_of_key, value) = offset.to_bytes().unwrap();
    assert_eq!(bytes_of_key, &b"\0\x01\0\x01g\0\x01t\0\0\0\x02"[..]);
    let expected = b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x03\0\x01m\0\0\0\0\0\0\0\x07";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    let expiring = Committed { expire_timestamp: Some(9), ..committed(5) };
    let (_, value) = Record::Offset(key("t", 2), Some(expiring)).to_bytes().unwrap();
    let expected = b"\0\x01\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    let group = Record::Group(GROUP.into(), None);
    assert_eq!(group.to_bytes().unwrap(), (Bytes::from_static(b"\0\x02\0\x01g"), None));
}

#[test]
fn older_and_newer_records_are_read_and_foreign_ones_are_told_apart() {
    let read = |key: &'static [u8], value: &'static [u8]| {
        Record::parse(Bytes::from_static(key), Some(Bytes::from_static(value)))
    };
    let old =
        read(b"\0\0\0\x01g\0\x01t\0\0\0\x02", b"\0\0\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x07").unwrap();
    let expected = Committed { leader_epoch: -1, ..committed(5) };
    assert_eq!(old, Parsed::Known(Record::Offset(key("t", 2), Some(expected))));
    let tagged = b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x03\x02m\0\0\0\0\0\0\0\x07\x01\0\x10idididididididid";
    let tagged = read(b"\0\x01\0\x01g\0\x01t\0\0\0\x02", tagged).unwrap();
    assert_eq!(tagged, Parsed::Known(Record::Offset(key("t", 2), Some(committed(5)))));
    assert_eq!(read(b"\0\x0b\0\x01g", b"\0\0\0\0\0\x01\0").unwrap(), Parsed::Foreign);
    assert!(read(b"\0\x01\0\x01g\0\x01t\0\0\0\x02", b"\0\x63").is_err());
    assert!(read(b"\0\x63", b"").is_err());
    assert!(read(b"", b"").is_err());
}

#[test]
fn anybody_commits_in_a_group_without_members_and_a_position_may_go_back() {
    let mut world = World::default();
    assert_eq!(world.commit(&nobody(), 5), Ok(()));
    assert_eq!(world.committed(), Some(5));
    assert_eq!(world.commit(&nobody(), 2), Ok(()));
    assert_eq!(world.committed(), Some(2));
    assert_eq!(world.state(), ("Empty", 0, 0));
    assert_eq!(world.replayed().committed(GROUP, ("t", 0), true).unwrap().unwrap().offset, 2);
    let late = super::MemberRef { generation_id: 3, ..nobody() };
    assert_eq!(world.commit(&late, 5), Err(ErrorCode::UnknownMemberId));
    let elsewhere = super::MemberRef { group_id: "other".into(), ..late };
    let mut request = commit_request(&elsewhere, "t", 0, 1);
    let code = world.step(|coordinator, turn| coordinator.commit(&request, turn)).unwrap_err();
    assert_eq!(code, ErrorCode::GroupIdNotFound);
    request.knows_missing_groups = false;
    let code = world.step(|coordinator, turn| coordinator.commit(&request, turn)).unwrap_err();
    assert_eq!(code, ErrorCode::IllegalGeneration);
}

#[test]
fn a_commit_keeps_a_member_alive_and_one_that_cannot_be_written_changes_nothing() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    for offset in 0..4 {
        world.pass(5);
        assert_eq!((world.commit(&one, offset), world.commit(&two, offset)), (Ok(()), Ok(())));
    }
    world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.commit(&one, 77), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.committed(), Some(3));
}

#[test]
fn a_text_that_is_too_long_is_refused_by_itself_and_counted_as_java_does() {
    let mut world = World::default();
    world.settings.metadata_chars_max = 4;
    let mut request = commit_request(&nobody(), "t", 0, 1);
    let mut long = commit_request(&nobody(), "t", 1, 1).topics.remove(0).partitions.remove(0);
    long.metadata = "12345".into();
    request.topics[0].partitions.push(long);
    // Four signs of two bytes, and two that Java counts twice.
    request.topics[0].partitions[0].metadata = "ääää".into();
    request.topics.push(commit_request(&nobody(), "u", 0, 1).topics.remove(0));
    request.topics[1].partitions[0].metadata = "𝄞𝄞".into();
    let results = world.step(|coordinator, turn| coordinator.commit(&request, turn)).unwrap();
    assert_eq!(results, [vec![Ok(()), Err(ErrorCode::OffsetMetadataTooLarge)], vec![Ok(())]]);
    assert_eq!(world.log.records.len(), 2);
}

#[test]
fn offsets_go_some_time_after_the_last_member_left() {
    let mut world = World::default();
    world.settings.retention = Duration::from_hours(2);
    let [one, two] = world.with_two();
    world.step(Coordinator::on_loaded);
    assert_eq!(world.commit(&one, 5), Ok(()));
    for _ in 0..1800 {
        world.pass(5);
        assert_eq!((world.heartbeat(&one), world.heartbeat(&two)), (Ok(()), Ok(())));
    }
    assert_eq!(world.committed(), Some(5), "it is older than that, but somebody reads on from it");
    world.leave(&[(&one.member_id, None), (&two.member_id, None)]);
    world.pass(7100);
    assert_eq!(world.committed(), Some(5));
    world.pass(800);
    assert!(world.coordinator.groups.is_empty());
    assert_eq!(world.committed(), None);
    assert_eq!(world.replayed().bytes(), 0);
}

#[test]
fn offsets_of_nobody_go_some_time_after_the_commit_or_when_it_said() {
    let mut world = World::default();
    world.settings.retention = Duration::from_hours(2);
    world.step(Coordinator::on_loaded);
    assert_eq!(world.commit(&nobody(), 5), Ok(()));
    let mut short = commit_request(&nobody(), "u", 0, 1);
    short.retention_ms = Some(3_600_000);
    world.step(|coordinator, turn| coordinator.commit(&short, turn)).unwrap();
    let topics = |world: &World| -> Vec<_> {
        world
            .coordinator
            .committed_partitions(GROUP)
            .into_iter()
            .map(|(topic, _)| topic.to_string())
            .collect()
    };
    world.pass(3500);
    assert_eq!(topics(&world), ["t", "u"]);
    world.pass(800);
    assert_eq!(topics(&world), ["t"]);
    assert_eq!(world.commit(&nobody(), 6), Ok(()));
    world.pass(7100);
    assert_eq!(topics(&world), ["t"], "it was committed again");
    world.pass(800);
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn offsets_of_a_topic_that_members_left_behind_go_while_they_read_others() {
    let mut world = World::default();
    world.settings.retention = Duration::from_hours(1);
    let [one, two] = world.with_two();
    world.step(Coordinator::on_loaded);
    let left_behind = commit_request(&one, "u", 0, 1);
    world.step(|coordinator, turn| coordinator.commit(&left_behind, turn)).unwrap();
    assert_eq!(world.commit(&one, 5), Ok(()));
    for _ in 0..1000 {
        world.pass(5);
        assert_eq!((world.heartbeat(&one), world.heartbeat(&two)), (Ok(()), Ok(())));
    }
    assert_eq!(world.coordinator.committed_partitions(GROUP), [(Arc::from("t"), vec![0])]);
}

#[test]
fn offsets_are_deleted_only_of_topics_that_nobody_reads() {
    let mut world = World::default();
    let id: Arc<str> = GROUP.into();
    let topics = [(Arc::from("t"), vec![0, 1]), (Arc::from("u"), vec![0])];
    let delete =
        |world: &mut World| world.step(|coordinator, turn| coordinator.delete_offsets(&id, &topics, turn));
    assert_eq!(delete(&mut world), Err(ErrorCode::GroupIdNotFound));
    let [one, two] = world.with_two();
    assert_eq!(world.commit(&one, 5), Ok(()));
    let subscribed = Err(ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete(&mut world), Ok(vec![vec![(0, subscribed), (1, subscribed)], vec![(0, Ok(()))]]));
    assert_eq!(world.committed(), Some(5));
    assert_eq!(
        world.step(|coordinator, turn| coordinator.delete_group(&id, turn)),
        Err(ErrorCode::NonEmptyGroup)
    );
    world.leave(&[(&one.member_id, None), (&two.member_id, None)]);
    assert_eq!(delete(&mut world), Ok(vec![vec![(0, Ok(())), (1, Ok(()))], vec![(0, Ok(()))]]));
    assert_eq!(world.committed(), None);
    assert_eq!(world.step(|coordinator, turn| coordinator.delete_group(&id, turn)), Ok(()));
    assert_eq!(
        world.step(|coordinator, turn| coordinator.delete_group(&id, turn)),
        Err(ErrorCode::GroupIdNotFound)
    );
}

#[test]
fn offsets_in_a_deleted_topic_go_with_it() {
    let mut world = World::default();
    assert_eq!(world.commit(&nobody(), 5), Ok(()));
    let other = commit_request(&nobody(), "u", 0, 1);
    world.step(|coordinator, turn| coordinator.commit(&other, turn)).unwrap();
    let gone = [Arc::from("t")].into();
    world.step(|coordinator, turn| coordinator.topics_deleted(&gone, turn)).unwrap();
    assert_eq!((world.committed(), world.replayed().committed_partitions(GROUP).len()), (None, 1));
}

#[test]
fn a_transactions_offsets_count_when_it_is_committed_unless_a_later_commit_stands() {
    let mut world = World::default();
    let (one, two) = (ProducerId(1), ProducerId(2));
    let set = |world: &mut World, offset: i64, at: i64, producer| {
        let record = Record::Offset(key("t", 0), Some(committed(offset)));
        world.coordinator.replay(record, Offset(at), producer);
    };
    set(&mut world, 5, 0, None);
    set(&mut world, 6, 1, Some(one));
    set(&mut world, 7, 2, Some(two));
    assert_eq!(world.committed(), Some(5));
    assert_eq!(world.coordinator.committed(GROUP, ("t", 0), true), Err(ErrorCode::UnstableOffsetCommit));
    assert_eq!(world.coordinator.committed(GROUP, ("t", 1), true), Ok(None));
    world.coordinator.end_transaction(two, false);
    world.coordinator.end_transaction(one, true);
    assert_eq!(world.coordinator.committed(GROUP, ("t", 0), true).unwrap(), Some(&committed(6)));
    set(&mut world, 8, 3, Some(one));
    set(&mut world, 9, 4, None);
    world.coordinator.end_transaction(one, true);
    assert_eq!(world.committed(), Some(9));
}

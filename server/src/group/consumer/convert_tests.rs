//! A group that goes over to the new protocol and back, word by word.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

use super::super::test_kit::*;
use super::super::{Assignment as Given, MemberRef, SyncRequest, embedded};
use super::member::LEAVING;
use super::test_members::Consumer;

/// A world with a topic of four partitions, all of which the one member of a classic group has.
fn world() -> (World, MemberRef) {
    world_with(vec![0, 1, 2, 3])
}

/// The same with what the member, which leads, says that it has.
fn world_with(partitions: Vec<i32>) -> (World, MemberRef) {
    let mut world = World::default();
    world.cluster.set("t", 4);
    let answer = world.join(&by_old_client());
    world.pass(6);
    let member = member_of(&told(answer));
    let bytes = embedded::assignment_bytes(0, &[("t".into(), partitions)]);
    let assignments = vec![Given { member_id: member.member_id.clone(), bytes }];
    let request = SyncRequest { assignments, ..sync_request(&member, &[]) };
    drop(told(world.sync(&request)).unwrap());
    assert_eq!(world.state(), ("Stable", 1, 1));
    (world, member)
}

fn given(world: &mut World, member: &MemberRef) -> Result<Bytes, ErrorCode> {
    told(world.sync(&sync_request(member, &[]))).map(|synced| synced.assignment)
}

#[test]
fn a_live_group_goes_over_and_back_and_its_member_stays() {
    let (mut world, mut old) = world();
    let mut new = Consumer::new("b", &["t"]);
    assert_eq!(new.told(&mut world), "b@2 []");
    assert!(world.coordinator.groups.is_empty());
    assert_eq!(world.replayed().consumers, world.coordinator.consumers);
    // The old member has everything still, until it joins again with nothing.
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(new.told(&mut world), "b@2 []");
    old = member_of(&told(world.join(&again(&old))));
    assert_eq!(old.generation_id, 2);
    assert_eq!(world.heartbeat(&old), Ok(()));
    let half = embedded::assignment_bytes(0, &[("t".into(), vec![0, 1])]);
    assert_eq!(given(&mut world, &old), Ok(half));
    assert_eq!(new.told(&mut world), "b@2 [1/2 1/3]");
    let late = MemberRef { generation_id: 1, ..old.clone() };
    assert_eq!(given(&mut world, &late), Err(ErrorCode::IllegalGeneration));
    assert_eq!((world.commit(&old, 3), world.commit(&late, 4)), (Ok(()), Err(ErrorCode::IllegalGeneration)));
    // The last member of the new protocol goes: the other one joins a classic group.
    new.leave(&mut world, LEAVING).unwrap();
    assert!(world.coordinator.consumers.is_empty() && world.replayed().consumers.is_empty());
    assert_eq!(world.state(), ("PreparingRebalance", 2, 1));
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(member_of(&told(world.join(&again(&old)))).generation_id, 3);
    assert_eq!(world.committed(), Some(3));
}

#[test]
fn partitions_that_are_not_there_are_not_taken_over_whatever_a_leader_says() {
    let (mut world, old) = world_with(vec![-5, 0, 1, 2, 3, 9, i32::MAX]);
    let mut new = Consumer::new("b", &["t"]);
    assert_eq!(new.told(&mut world), "b@2 []");
    let known = world.coordinator.consumers[GROUP].member(&old.member_id).unwrap();
    assert!(known.current.held().map(|(_, partition)| partition).eq(0..4));
    let old = member_of(&told(world.join(&again(&old))));
    let half = embedded::assignment_bytes(0, &[("t".into(), vec![0, 1])]);
    assert_eq!(given(&mut world, &old), Ok(half));
    assert_eq!(new.told(&mut world), "b@2 [1/2 1/3]");
}

#[test]
fn a_member_of_the_classic_protocol_that_does_not_join_again_is_taken_out() {
    let (mut world, old) = world();
    let mut new = Consumer::new("b", &["t"]);
    new.beat(&mut world).unwrap();
    for _ in 0..7 {
        let _ = world.heartbeat(&old);
        new.beat(&mut world).unwrap();
        world.pass(9);
    }
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::UnknownMemberId));
    assert_eq!(new.told(&mut world), "b@3 [1/0 1/1 1/2 1/3]");
}

#[test]
fn a_group_stays_what_it_is_where_it_may_not_go_over() {
    let (mut world, old) = world();
    let mut new = Consumer::new("b", &["t"]);
    world.settings.consumer.upgrades = false;
    assert_eq!(new.told(&mut world), "GroupIdNotFound");
    world.settings.consumer.upgrades = true;
    world.settings.consumer.members_max = 0;
    assert_eq!(new.told(&mut world), "GroupIdNotFound");
    assert_eq!(world.heartbeat(&old), Ok(()));
    world.settings.consumer.members_max = 2;
    world.settings.consumer.downgrades = false;
    assert_eq!(new.told(&mut world), "b@2 []");
    new.leave(&mut world, LEAVING).unwrap();
    assert!(world.coordinator.groups.is_empty(), "it does not go back");
    // What a leader gave that is no assignment cannot be taken over.
    let mut world = World::default();
    world.with_two();
    assert_eq!(new.told(&mut world), "GroupIdNotFound");
}

//! A group that goes over to the new protocol and back, word by word.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

use super::super::coordinator::Coordinator;
use super::super::test_kit::*;
use super::super::{Assignment as Given, JoinRequest, MemberRef, SyncRequest, embedded};
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

/// Both members have their halves: the old one in the classic protocol, the new one, `b`.
fn shared() -> (World, MemberRef, Consumer) {
    let (mut world, old) = world();
    let mut new = Consumer::new("b", &["t"]);
    new.beat(&mut world).unwrap();
    let old = member_of(&told(world.join(&again(&old))));
    drop(given(&mut world, &old).unwrap());
    assert_eq!(new.told(&mut world), "b@2 [1/2 1/3]");
    (world, old, new)
}

#[test]
fn a_broker_that_ends_between_going_back_and_the_next_generation_begins_that_again() {
    let (mut world, old, mut new) = shared();
    new.leave(&mut world, LEAVING).unwrap();
    assert_eq!(world.state(), ("PreparingRebalance", 2, 1));
    world.log.compact();
    world.coordinator = world.replayed();
    world.step(Coordinator::on_loaded);
    // Otherwise it would go on with its half, and nobody would read the other one.
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    let old = member_of(&told(world.join(&again(&old))));
    let bytes = embedded::assignment_bytes(0, &[("t".into(), vec![0, 1, 2, 3])]);
    let assignments = vec![Given { member_id: old.member_id.clone(), bytes }];
    drop(told(world.sync(&SyncRequest { assignments, ..sync_request(&old, &[]) })).unwrap());
    world.coordinator = world.replayed();
    world.step(Coordinator::on_loaded);
    assert_eq!((world.state(), world.heartbeat(&old)), (("Stable", 3, 1), Ok(())));
}

#[test]
fn a_group_that_cannot_go_back_in_one_batch_stays_and_its_members_go_all_the_same() {
    let (mut world, old, mut new) = shared();
    let last = world.log.records.len();
    // Room for what takes one member out, not for all of a classic group.
    world.log.batch_bytes_max = Some(150);
    new.leave(&mut world, LEAVING).unwrap();
    assert!(world.coordinator.groups.is_empty() && world.log.records.len() > last);
    assert!(world.coordinator.consumers[GROUP].members().keys().eq([&old.member_id]));
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    world.log.batch_bytes_max = None;
    let old = member_of(&told(world.join(&again(&old))));
    let all = embedded::assignment_bytes(0, &[("t".into(), vec![0, 1, 2, 3])]);
    assert_eq!(given(&mut world, &old), Ok(all));
    // A log that takes nothing at all is another matter: the member goes when it does.
    let (mut world, _, mut new) = shared();
    world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(new.leave(&mut world, LEAVING), Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.coordinator.consumers[GROUP].members().len(), 2);
}

#[test]
fn a_static_member_that_comes_back_with_the_old_protocol_joins_even_if_the_group_cannot_go_back() {
    let (mut world, old) = world();
    let mut new = Consumer { name: Some("s".into()), ..Consumer::new("b", &["t"]) };
    new.beat(&mut world).unwrap();
    let much = JoinRequest { client_id: "c".repeat(500).into(), ..again(&old) };
    let old = member_of(&told(world.join(&much)));
    drop(given(&mut world, &old).unwrap());
    new.beat(&mut world).unwrap();
    world.log.batch_bytes_max = Some(700);
    let back = told(world.join(&named("s")));
    let member = MemberRef { instance_id: Some("s".into()), ..member_of(&back) };
    assert_eq!(member.generation_id, 2);
    let half = embedded::assignment_bytes(0, &[("t".into(), vec![2, 3])]);
    assert_eq!(given(&mut world, &member), Ok(half));
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn going_back_a_member_that_keeps_what_it_has_is_known_to_have_it() {
    let (mut world, mut old) = world();
    let mut new = Consumer::new("b", &["t"]);
    new.beat(&mut world).unwrap();
    // The group goes back and over again before the old member, which reads everything still, joins.
    new.leave(&mut world, LEAVING).unwrap();
    assert_eq!(world.state(), ("PreparingRebalance", 2, 1));
    assert_eq!(new.told(&mut world), "b@3 []");
    assert_eq!(new.told(&mut world), "b@3 []");
    let keeps = |owned: &[i32]| vec![keeping_protocol("range", "t", &[("t", owned.to_vec())])];
    let request = JoinRequest { protocols: keeps(&[0, 1, 2, 3]), ..again(&old) };
    old = member_of(&told(world.join(&request)));
    let half = embedded::assignment_bytes(1, &[("t".into(), vec![0, 1])]);
    assert_eq!(given(&mut world, &old), Ok(half));
    assert_eq!(new.told(&mut world), "b@3 []");
    let request = JoinRequest { protocols: keeps(&[0, 1]), ..again(&old) };
    drop(told(world.join(&request)));
    assert_eq!(new.told(&mut world), "b@3 [1/2 1/3]");
}

#[test]
fn going_over_in_the_middle_of_a_rebalance_a_member_has_what_it_said_it_has() {
    let (mut world, old) = world();
    // It leads: joining again it begins a generation, and with another subscription the next, which takes back what it
    // was given.
    let keeps = |topic: &str| JoinRequest {
        protocols: vec![keeping_protocol("range", topic, &[("t", vec![0, 1, 2, 3])])],
        ..again(&old)
    };
    drop(told(world.join(&keeps("t"))));
    drop(told(world.join(&keeps("u"))));
    let mut new = Consumer::new("b", &["t"]);
    assert_eq!(new.told(&mut world), "b@4 []");
}

#[test]
fn going_back_with_a_static_member_begins_a_rebalance_unless_everyone_has_what_it_is_meant_to() {
    let (mut world, old) = world();
    let mut new = Consumer { name: Some("s".into()), ..Consumer::new("b", &["t"]) };
    new.beat(&mut world).unwrap();
    // The old member has not given anything up yet.
    let back = told(world.join(&named("s")));
    let member = MemberRef { instance_id: Some("s".into()), ..member_of(&back) };
    assert_eq!((member.generation_id, world.state()), (2, ("PreparingRebalance", 2, 2)));
    assert_eq!(given(&mut world, &member), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::IllegalGeneration));
    world.coordinator.check();
}

#[test]
fn going_back_with_a_static_member_is_told_to_nobody_else_if_everyone_has_what_it_is_meant_to() {
    for grows in [false, true] {
        let (mut world, old) = world();
        let mut new = Consumer { name: Some("s".into()), ..Consumer::new("b", &["t"]) };
        new.beat(&mut world).unwrap();
        let old = member_of(&told(world.join(&again(&old))));
        drop(given(&mut world, &old).unwrap());
        new.beat(&mut world).unwrap();
        if grows {
            world.cluster.set("t", 6);
        }
        let back = told(world.join(&named("s")));
        let member = MemberRef { instance_id: Some("s".into()), ..member_of(&back) };
        assert_eq!(member.generation_id, world.state().1);
        if grows {
            // The group's next epoch had begun with that.
            assert_eq!(world.state(), ("PreparingRebalance", 2, 2));
            assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
        } else {
            assert_eq!((world.state(), world.heartbeat(&old)), (("Stable", 2, 2), Ok(())));
            let half = embedded::assignment_bytes(0, &[("t".into(), vec![2, 3])]);
            assert_eq!(given(&mut world, &member), Ok(half));
        }
        world.coordinator.check();
    }
}

#[test]
fn nobody_waits_for_what_is_left_of_a_member_that_is_another_now() {
    let (mut world, _, _) = shared();
    let old = MemberRef { instance_id: Some("o".into()), ..member_of(&told(world.join(&named("o")))) };
    Consumer::new("c", &["t"]).beat(&mut world).unwrap();
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    // Told to join, and to ask what it is given, it comes in the new protocol under the same id instead.
    let mut old = Consumer { name: old.instance_id, ..Consumer::new(&old.member_id, &["t"]) };
    old.beat(&mut world).unwrap();
    world.coordinator.check();
    // A static member that comes back, with something to give up when it went.
    let mut away = Consumer { name: Some("s".into()), ..Consumer::new("d", &["t"]) };
    away.beat(&mut world).unwrap();
    away.leave(&mut world, super::member::LEAVING_FOR_A_WHILE).unwrap();
    away.id = "e".into();
    away.beat(&mut world).unwrap();
    world.coordinator.check();
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

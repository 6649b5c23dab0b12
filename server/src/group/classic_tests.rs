//! Conversations of members with the coordinator of a classic group.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

use super::coordinator::Coordinator;
use super::record::Record;
use super::test_kit::*;
use super::{Assignment, JoinRequest, Protocol, SyncRequest};

#[test]
fn the_first_generation_waits_for_members_and_longer_when_some_come() {
    let mut world = World::default();
    let mut one = world.join(&by_old_client());
    world.pass(2);
    let mut two = world.join(&by_old_client());
    world.pass(2);
    assert!(waits(&mut one) && waits(&mut two), "somebody came: it waits three seconds more");
    assert_eq!(world.state(), ("PreparingRebalance", 0, 2));
    world.pass(2);
    let [one, two] = [one, two].map(told);
    let (leader, follower) = (one.result.clone().unwrap(), two.result.clone().unwrap());
    assert_eq!((leader.generation_id, follower.generation_id), (1, 1));
    assert_eq!((&leader.leader, &follower.leader), (&one.member_id, &one.member_id));
    assert_eq!(leader.protocol_name.as_deref(), Some("range"));
    assert_eq!(leader.protocol_type.as_deref(), Some("consumer"));
    let members: Vec<_> = leader.members.iter().map(|member| &member.member_id).collect();
    assert_eq!(members, [&one.member_id, &two.member_id]);
    assert_eq!(leader.members[0].metadata, protocol("range", "t").metadata);
    assert!(follower.members.is_empty());
    assert_eq!(&*one.member_id, "c-1");
}

#[test]
fn everyone_is_told_what_the_leader_says_and_it_is_written_down() {
    let mut world = World::default();
    let answers = [world.join(&by_old_client()), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    let mut follower = world.sync(&sync_request(&two, &[]));
    assert!(waits(&mut follower));
    assert_eq!(world.heartbeat(&two), Ok(()));
    assert_eq!(world.commit(&two, 5), Err(ErrorCode::RebalanceInProgress));
    let leader = world.sync(&sync_request(&one, &[&one, &two]));
    assert_eq!(told(leader).unwrap().assignment, Bytes::from_static(b"c-1"));
    assert_eq!(told(follower).unwrap().assignment, Bytes::from_static(b"c-2"));
    assert_eq!(world.state(), ("Stable", 1, 2));
    let Some(Record::Group(id, Some(written))) = world.log.records.last() else {
        panic!("nothing is written")
    };
    assert_eq!((&**id, written.generation, written.members.len()), (GROUP, 1, 2));
    assert_eq!(written.leader.as_deref(), Some("c-1"));
    assert_eq!(&*written.members[1].assignment, b"c-2");
    // Asked again, what was said stands.
    assert_eq!(told(world.sync(&sync_request(&two, &[]))).unwrap().assignment, Bytes::from_static(b"c-2"));
}

#[test]
fn a_member_that_the_leader_forgets_is_given_nothing() {
    let mut world = World::default();
    let answers = [world.join(&by_old_client()), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    drop(world.sync(&sync_request(&one, &[&one])));
    assert_eq!(told(world.sync(&sync_request(&two, &[]))).unwrap().assignment, Bytes::new());
}

#[test]
fn a_new_member_comes_again_with_the_id_it_is_told() {
    let mut world = World::default();
    let asked = told(world.join(&JoinRequest { needs_known_id: true, ..by_old_client() }));
    assert_eq!(asked.result.unwrap_err(), ErrorCode::MemberIdRequired);
    assert_eq!(world.state(), ("Empty", 0, 0));
    let with_id = JoinRequest { member_id: asked.member_id, ..by_old_client() };
    let joining = world.join(&with_id);
    assert_eq!(world.state(), ("PreparingRebalance", 0, 1));
    world.pass(3);
    assert_eq!(told(joining).member_id, with_id.member_id);
}

#[test]
fn an_id_that_is_not_used_is_forgotten_and_holds_nobody_up_longer() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    let asked = told(world.join(&JoinRequest { needs_known_id: true, ..by_old_client() }));
    let mut joining = [world.join(&again(&one)), world.join(&again(&two))];
    assert!(joining.iter_mut().all(waits), "the third may come");
    world.pass(10);
    for answer in joining {
        assert_eq!(told(answer).result.unwrap().generation_id, 2);
    }
    let late = JoinRequest { member_id: asked.member_id, ..by_old_client() };
    assert_eq!(refusal(world.join(&late)), ErrorCode::UnknownMemberId);
}

#[test]
fn a_third_member_has_the_others_join_again() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    let third = world.join(&by_old_client());
    assert_eq!(world.heartbeat(&one), Err(ErrorCode::RebalanceInProgress));
    // What was read so far may still be committed.
    assert_eq!(world.commit(&one, 7), Ok(()));
    assert_eq!(told(world.sync(&sync_request(&two, &[]))), Err(ErrorCode::RebalanceInProgress));
    let joining = [world.join(&again(&one)), world.join(&again(&two))];
    assert_eq!(told(third).result.unwrap().generation_id, 2);
    for answer in joining {
        assert_eq!(told(answer).result.unwrap().generation_id, 2);
    }
    assert_eq!(world.state(), ("CompletingRebalance", 2, 3));
    assert_eq!(world.heartbeat(&one), Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.commit(&one, 8), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn a_member_that_does_not_join_again_in_time_is_out() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    let mut answer = world.join(&again(&one));
    assert!(waits(&mut answer));
    // It is heard of all the time, and waited for as long as it said.
    for _ in 0..11 {
        world.pass(5);
        assert_eq!(world.heartbeat(&two), Err(ErrorCode::RebalanceInProgress));
    }
    assert!(waits(&mut answer));
    world.pass(5);
    assert_eq!(told(answer).result.unwrap().members.len(), 1);
    assert_eq!(world.heartbeat(&two), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    for _ in 0..3 {
        world.pass(4);
        let beat = world.heartbeat(&one);
        assert!(matches!(beat, Ok(()) | Err(ErrorCode::RebalanceInProgress)), "{beat:?}");
    }
    assert_eq!(world.state(), ("PreparingRebalance", 1, 1));
    assert_eq!(world.heartbeat(&two), Err(ErrorCode::UnknownMemberId));
    assert_eq!(told(world.join(&again(&one))).result.unwrap().generation_id, 2);
    assert_eq!(refusal(world.join(&again(&two))), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_whose_members_all_fall_silent_is_empty_and_that_is_written_down() {
    let mut world = World::default();
    world.with_two();
    world.pass(11);
    assert_eq!(world.state(), ("Empty", 2, 0));
    let Some(Record::Group(_, Some(written))) = world.log.records.last() else {
        panic!("nothing is written")
    };
    assert_eq!(
        (written.generation, written.members.len(), &written.protocol, &written.leader),
        (2, 0, &None, &None)
    );
    assert_eq!(&*written.protocol_type, "consumer");
}

#[test]
fn a_member_that_never_asks_what_it_is_given_is_out() {
    let mut world = World::default();
    let answers = [world.join(&by_old_client()), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    drop(world.sync(&sync_request(&one, &[&one, &two])));
    for _ in 0..12 {
        world.pass(5);
        world.heartbeat(&two).ok();
        world.heartbeat(&one).ok();
    }
    assert_eq!(world.state(), ("PreparingRebalance", 1, 1));
    assert_eq!(world.heartbeat(&two), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn the_leader_joining_again_begins_a_generation_and_a_follower_does_not() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    let same = told(world.join(&again(&two))).result.unwrap();
    assert_eq!((same.generation_id, same.members.len()), (1, 0));
    assert_eq!(world.state(), ("Stable", 1, 2));
    let changed = JoinRequest { protocols: vec![protocol("range", "u")], ..again(&two) };
    let mut changed = world.join(&changed);
    assert!(waits(&mut changed));
    let leader = world.join(&again(&one));
    assert_eq!(told(leader).result.unwrap().generation_id, 2);
    // Its answer was lost: it is told again.
    let lost = told(world.join(&again(&one))).result.unwrap();
    assert_eq!((lost.generation_id, lost.members.len()), (2, 2));
    assert_eq!(world.state(), ("CompletingRebalance", 2, 2));
}

#[test]
fn members_leave_by_id_or_by_name_each_with_its_own_answer() {
    let mut world = World::default();
    let answers = [world.join(&named("a")), world.join(&named("b")), world.join(&by_old_client())];
    world.pass(9);
    let ids = answers.map(|answer| told(answer).member_id);
    let left =
        world.leave(&[("", Some("a")), (&ids[1], Some("a")), ("", Some("no")), ("", None), ("x", None)]);
    let unknown = Err(ErrorCode::UnknownMemberId);
    assert_eq!(left, [Ok(()), unknown, unknown, unknown, unknown]);
    assert_eq!(world.leave(&[(&ids[2], Some("b"))]), [Err(ErrorCode::FencedInstanceId)]);
    assert_eq!(world.leave(&[(&ids[2], None), (&ids[1], Some("b"))]), [Ok(()), Ok(())]);
    assert_eq!(world.state(), ("Empty", 2, 0));
}

#[test]
fn the_last_one_that_was_waited_for_leaving_begins_the_generation() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    let mut joining = world.join(&again(&one));
    assert!(waits(&mut joining));
    assert_eq!(world.leave(&[(&two.member_id, None)]), [Ok(())]);
    assert_eq!(told(joining).result.unwrap().generation_id, 2);
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_and_nobody_rejoins() {
    let mut world = World::default();
    let answers = [world.join(&named("a")), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    drop(world.sync(&sync_request(&one, &[&one, &two])));
    drop(world.sync(&sync_request(&two, &[])));
    let back = told(world.join(&named("a")));
    let joined = back.result.clone().unwrap();
    assert_eq!((joined.generation_id, joined.skip_assignment, joined.members.len()), (1, true, 2));
    assert_eq!((&joined.leader, world.state()), (&back.member_id, ("Stable", 1, 2)));
    let back = member_of(&back);
    assert_eq!(told(world.sync(&sync_request(&back, &[]))).unwrap().assignment, Bytes::from_static(b"a-1"));
    let old = super::MemberRef { instance_id: Some("a".into()), ..one };
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::FencedInstanceId));
    let Some(Record::Group(_, Some(written))) = world.log.records.last() else {
        panic!("nothing is written")
    };
    assert!(written.members.iter().any(|member| *member.member_id == *back.member_id));
    // Before version 9 it is not told that it leads.
    let old_client = JoinRequest { may_skip_assignment: false, ..named("a") };
    let again = told(world.join(&old_client)).result.unwrap();
    assert_eq!((again.leader, again.skip_assignment, again.members.len()), (back.member_id, false, 0));
}

#[test]
fn a_static_member_that_comes_back_before_the_leader_spoke_has_all_rejoin() {
    let mut world = World::default();
    let answers = [world.join(&named("a")), world.join(&by_old_client())];
    world.pass(6);
    let [_, two] = answers.map(|answer| member_of(&told(answer)));
    let syncing = world.sync(&sync_request(&two, &[]));
    let mut back = world.join(&named("a"));
    assert!(waits(&mut back));
    assert_eq!(told(syncing), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(world.state(), ("PreparingRebalance", 1, 2));
}

#[test]
fn a_static_members_return_that_cannot_be_written_down_did_not_happen() {
    let mut world = World::default();
    let joining = world.join(&named("a"));
    world.pass(3);
    let one = super::MemberRef { instance_id: Some("a".into()), ..member_of(&told(joining)) };
    drop(world.sync(&sync_request(&one, &[&one])));
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    assert_eq!(refusal(world.join(&named("a"))), ErrorCode::NotCoordinator);
    assert_eq!(world.heartbeat(&one), Ok(()));
    assert_eq!(world.state(), ("Stable", 1, 1));
}

#[test]
fn a_static_member_may_be_away_during_a_rebalance_but_not_longer_than_its_session() {
    let mut world = World::default();
    let slow = JoinRequest { session_timeout_ms: 120_000, ..named("a") };
    let answers = [world.join(&slow), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    drop(world.sync(&sync_request(&one, &[&one, &two])));
    let changed = JoinRequest { protocols: vec![protocol("range", "u")], ..again(&two) };
    let joining = world.join(&changed);
    world.pass(60);
    let joined = told(joining).result.unwrap();
    assert_eq!((joined.members.len(), &joined.leader), (2, &two.member_id), "who is here leads");
    world.pass(130);
    assert_eq!(world.state(), ("Empty", 3, 0));
}

#[test]
fn an_assignment_that_cannot_be_written_down_is_nobodys() {
    let mut world = World::default();
    let answers = [world.join(&by_old_client()), world.join(&by_old_client())];
    world.pass(6);
    let [one, two] = answers.map(|answer| member_of(&told(answer)));
    let follower = world.sync(&sync_request(&two, &[]));
    world.log.refuses = Some(ErrorCode::NotCoordinator);
    let leader = world.sync(&sync_request(&one, &[&one, &two]));
    assert_eq!(
        (told(leader), told(follower)),
        (Err(ErrorCode::NotCoordinator), Err(ErrorCode::NotCoordinator))
    );
    assert_eq!(world.state(), ("PreparingRebalance", 1, 2));
}

#[test]
fn protocols_that_not_all_know_are_not_chosen_and_a_member_without_a_common_one_is_refused() {
    let mut world = World::default();
    let with = |names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| protocol(name, "t")).collect(),
        ..by_old_client()
    };
    let answers = [
        world.join(&with(&["sticky", "roundrobin", "range"])),
        world.join(&with(&["roundrobin", "range"])),
        world.join(&with(&["range", "roundrobin"])),
    ];
    assert_eq!(refusal(world.join(&with(&["sticky"]))), ErrorCode::InconsistentGroupProtocol);
    let other = JoinRequest { protocol_type: "connect".into(), ..by_old_client() };
    assert_eq!(refusal(world.join(&other)), ErrorCode::InconsistentGroupProtocol);
    world.pass(9);
    for answer in answers {
        assert_eq!(told(answer).result.unwrap().protocol_name.as_deref(), Some("roundrobin"));
    }
    let none = JoinRequest { group_id: "other".into(), protocols: Vec::new(), ..by_old_client() };
    assert_eq!(refusal(world.join(&none)), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn whoever_is_unknown_is_told_so() {
    let mut world = World::default();
    let [one, _] = world.with_two();
    let unknown = super::MemberRef { member_id: "x".into(), ..one.clone() };
    assert_eq!(refusal(world.join(&again(&unknown))), ErrorCode::UnknownMemberId);
    assert_eq!(told(world.sync(&sync_request(&unknown, &[]))), Err(ErrorCode::UnknownMemberId));
    assert_eq!(world.heartbeat(&unknown), Err(ErrorCode::UnknownMemberId));
    assert_eq!(world.commit(&unknown, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(world.commit(&nobody(), 1), Err(ErrorCode::UnknownMemberId), "there are members");
    let old = super::MemberRef { generation_id: 0, ..one.clone() };
    assert_eq!(told(world.sync(&sync_request(&old, &[]))), Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.heartbeat(&old), Err(ErrorCode::IllegalGeneration));
    let elsewhere = super::MemberRef { group_id: "other".into(), ..one.clone() };
    assert_eq!(world.heartbeat(&elsewhere), Err(ErrorCode::UnknownMemberId));
    assert_eq!(told(world.sync(&sync_request(&elsewhere, &[]))), Err(ErrorCode::UnknownMemberId));
    let other = SyncRequest { protocol_name: Some("sticky".into()), ..sync_request(&one, &[]) };
    assert_eq!(told(world.sync(&other)), Err(ErrorCode::InconsistentGroupProtocol));
    for timeout in [-1, 0, 5_999, 1_800_001] {
        let request = JoinRequest { session_timeout_ms: timeout, ..by_old_client() };
        assert_eq!(refusal(world.join(&request)), ErrorCode::InvalidSessionTimeout, "{timeout}");
    }
}

#[test]
fn a_full_group_takes_nobody_and_a_full_memory_no_group() {
    let mut world = World::default();
    world.settings.members_max = 2;
    let [one, _] = world.with_two();
    assert_eq!(refusal(world.join(&by_old_client())), ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.heartbeat(&one), Ok(()), "those that are there are left alone");
    world.settings.bytes_max = world.coordinator.bytes() + 1000;
    let other = JoinRequest { group_id: "other".into(), ..by_old_client() };
    assert_eq!(refusal(world.join(&other)), ErrorCode::GroupMaxSizeReached);
    let records = world.log.records.len();
    assert_eq!((world.commit(&one, 1), world.commit(&one, 2)), (Ok(()), Ok(())));
    let large = commit_request(&one, "u", 0, 1);
    world.settings.bytes_max = 0;
    let results = world.step(|coordinator, turn| coordinator.commit(&large, turn)).unwrap();
    assert_eq!(results, [[Err(ErrorCode::InvalidCommitOffsetSize)]]);
    assert_eq!(world.commit(&one, 3), Ok(()), "what is there may change");
    assert_eq!(world.log.records.len(), records + 3);
}

#[test]
fn a_loaded_group_that_is_too_large_by_now_loses_the_last_to_come() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    world.coordinator = world.replayed();
    world.settings.members_max = 1;
    world.step(Coordinator::on_loaded);
    assert_eq!(world.heartbeat(&one), Err(ErrorCode::RebalanceInProgress));
    let joining = world.join(&again(&one));
    assert_eq!(refusal(world.join(&again(&two))), ErrorCode::GroupMaxSizeReached);
    assert_eq!(told(joining).result.unwrap().generation_id, 2);
}

#[test]
fn members_go_on_after_a_start_and_silent_ones_do_not() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    world.coordinator = world.replayed();
    world.step(Coordinator::on_loaded);
    assert_eq!(world.state(), ("Stable", 1, 2));
    assert_eq!((world.heartbeat(&one), world.commit(&two, 9)), (Ok(()), Ok(())));
    assert_eq!(told(world.sync(&sync_request(&two, &[]))).unwrap().assignment, Bytes::from_static(b"c-2"));
    world.pass(8);
    assert_eq!(world.heartbeat(&one), Ok(()));
    world.pass(3);
    assert_eq!(world.state(), ("PreparingRebalance", 1, 1));
}

#[test]
fn nothing_is_left_of_a_group_in_the_account_of_memory() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    assert_eq!(world.commit(&one, 1), Ok(()));
    told(world.join(&JoinRequest { needs_known_id: true, ..by_old_client() }));
    assert_eq!(world.leave(&[(&one.member_id, None), (&two.member_id, None)]), [Ok(()), Ok(())]);
    world.pass(60);
    let id: Arc<str> = GROUP.into();
    assert_eq!(world.step(|coordinator, turn| coordinator.delete_group(&id, turn)), Ok(()));
    assert_eq!(world.coordinator.bytes(), 0);
    assert_eq!(world.coordinator.next_deadline(), None);
    let day = Duration::from_hours(24);
    world.pass(day.as_secs());
}

#[test]
fn who_is_a_member_grows_within_the_bound_as_well() {
    let mut world = World::default();
    let [one, two] = world.with_two();
    world.settings.bytes_max = world.coordinator.bytes() + 1000;
    let before = world.coordinator.bytes();
    let large = || Protocol { name: "range".into(), metadata: vec![0; 2000].into() };
    let more = JoinRequest { protocols: vec![large()], ..again(&two) };
    assert_eq!(refusal(world.join(&more)), ErrorCode::GroupMaxSizeReached);
    assert_eq!((world.state(), world.coordinator.bytes()), (("Stable", 1, 2), before));
    assert_eq!((world.heartbeat(&one), world.heartbeat(&two)), (Ok(()), Ok(())));
    // What a leader gives takes room as well.
    let joins = [world.join(&again(&one)), world.join(&again(&two))];
    let [one, two] = joins.map(|answer| member_of(&told(answer)));
    let given = Assignment { member_id: Arc::clone(&two.member_id), bytes: vec![0; 2000].into() };
    let much = SyncRequest { assignments: vec![given], ..sync_request(&one, &[]) };
    assert_eq!(told(world.sync(&much)), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(world.state(), ("PreparingRebalance", 2, 2));
    // An id that was given out is a member when it comes with what it is let in with.
    let first = JoinRequest { needs_known_id: true, ..by_old_client() };
    world.settings.bytes_max = world.coordinator.bytes() + 3000;
    let answer = told(world.join(&first));
    assert_eq!(answer.result, Err(ErrorCode::MemberIdRequired));
    let large = JoinRequest { member_id: answer.member_id, protocols: vec![large()], ..first };
    assert_eq!(refusal(world.join(&large)), ErrorCode::GroupMaxSizeReached);
    world.coordinator.check();
}

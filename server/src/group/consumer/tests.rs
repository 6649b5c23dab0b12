//! Conversations with groups of KIP-848, and what comes of them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use ringmain_protocol::ErrorCode;

use super::super::record::Record;
use super::super::test_kit::{GROUP, World, commit_request};
use super::super::{MemberRef, consumer::Asker};
use super::asks::Beat;
use super::member::{Assignment, LEAVING, LEAVING_FOR_A_WHILE};
use super::record::{ConsumerRecord, GroupEpoch};
use super::settings::{HEARTBEAT_INTERVAL, SESSION_TIMEOUT};
use super::test_members::Consumer;

/// A world with a topic of four partitions, whose number is 1.
fn world() -> World {
    let mut world = World::default();
    world.cluster.set("t", 4);
    world
}

/// The group as administrators see it, such as `Stable 3/3 a@4 b@4`.
fn described(world: &World) -> String {
    let group = world.coordinator.describe_consumers(GROUP, &world.settings).unwrap();
    let members: Vec<String> =
        group.members.iter().map(|member| format!("{}@{}", member.member_id, member.epoch)).collect();
    format!("{} {}/{} {}", group.state, group.epoch, group.target_epoch, members.join(" "))
}

/// Sees to it that the log says the same, with old records and without.
fn replays(world: &mut World) {
    world.coordinator.check();
    assert_eq!(world.replayed().consumers, world.coordinator.consumers);
    world.log.compact();
    assert_eq!(world.replayed().consumers, world.coordinator.consumers);
}

fn beat(world: &mut World, beat: &Beat) -> Result<(), ErrorCode> {
    world.step(|coordinator, turn| coordinator.beat(beat, turn)).map(drop)
}

#[test]
fn two_members_share_and_the_second_gets_what_the_first_gave_up() {
    let mut world = world();
    let (mut a, mut b) = (Consumer::new("a", &["t"]), Consumer::new("b", &["t"]));
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3]");
    assert_eq!(described(&world), "Stable 2/2 a@2");
    assert_eq!(b.told(&mut world), "b@3 []");
    assert_eq!(described(&world), "Reconciling 3/3 a@2 b@3");
    // It is told what to keep, and is in its old epoch until it says that it has given the others up.
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1]");
    assert_eq!(b.told(&mut world), "b@3 []");
    assert_eq!(a.told(&mut world), "a@3 [1/0 1/1]");
    assert_eq!(b.told(&mut world), "b@3 [1/2 1/3]");
    assert_eq!(described(&world), "Stable 3/3 a@3 b@3");
    replays(&mut world);
    a.leave(&mut world, LEAVING).unwrap();
    assert_eq!(described(&world), "Assigning 4/3 b@3");
    assert_eq!(b.told(&mut world), "b@4 [1/0 1/1 1/2 1/3]");
    b.leave(&mut world, LEAVING).unwrap();
    assert_eq!(described(&world), "Empty 5/4 ");
    replays(&mut world);
}

#[test]
fn who_is_not_heard_of_is_taken_out_and_who_does_not_give_up_in_time_as_well() {
    let mut world = world();
    let (mut a, mut b) = (Consumer::new("a", &["t"]), Consumer::new("b", &["t"]));
    a.beat(&mut world).unwrap();
    world.pass(44);
    b.beat(&mut world).unwrap();
    world.pass(2);
    assert_eq!(described(&world), "Assigning 4/3 b@3");
    assert_eq!(a.told(&mut world), "UnknownMemberId");
    assert_eq!(b.told(&mut world), "b@4 [1/0 1/1 1/2 1/3]");
    a.beat(&mut world).unwrap();
    for _ in 0..3 {
        // It is there, but keeps everything.
        let all = b.owned.clone();
        b.beat(&mut world).unwrap();
        b.owned = all;
        world.pass(11);
    }
    assert_eq!(described(&world), "Assigning 6/5 a@5");
    assert_eq!(b.told(&mut world), "UnknownMemberId");
    replays(&mut world);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut world = world();
    let mut a = Consumer { name: Some("s".into()), ..Consumer::new("a", &["t"]) };
    let mut b = Consumer::new("b", &["t"]);
    for _ in 0..3 {
        a.beat(&mut world).unwrap();
        b.beat(&mut world).unwrap();
    }
    assert_eq!(described(&world), "Stable 3/3 a@3 b@3");
    let mut other = Consumer { id: "c".into(), epoch: 0, owned: Assignment::new(), ..a.clone() };
    assert_eq!(other.told(&mut world), "UnreleasedInstanceId");
    let left = a.leave(&mut world, LEAVING_FOR_A_WHILE).unwrap();
    assert_eq!((left.member_epoch, left.heartbeat_interval_ms), (LEAVING_FOR_A_WHILE, 0));
    assert_eq!(described(&world), "Reconciling 3/3 a@-2 b@3");
    assert_eq!(other.told(&mut world), "c@3 [1/0 1/1]");
    assert_eq!(described(&world), "Stable 3/3 b@3 c@3");
    a.epoch = 3;
    assert_eq!(a.told(&mut world), "FencedInstanceId");
    a.name = Some("nobody".into());
    a.epoch = 3;
    assert_eq!(a.told(&mut world), "UnknownMemberId");
    replays(&mut world);
    other.leave(&mut world, LEAVING_FOR_A_WHILE).unwrap();
    world.pass(30);
    b.beat(&mut world).unwrap();
    world.pass(30);
    assert_eq!(described(&world), "Assigning 4/3 b@3");
}

#[test]
fn an_epoch_that_is_not_the_members_fences_it_unless_an_answer_was_lost() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&mut world).unwrap();
    a.topics = vec!["t", "u"];
    a.beat(&mut world).unwrap();
    assert_eq!(a.epoch, 3);
    let late = Beat { member_epoch: 2, ..a.says() };
    assert_eq!(beat(&mut world, &late), Ok(()));
    assert_eq!(beat(&mut world, &Beat { owned: None, ..late.clone() }), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(beat(&mut world, &Beat { member_epoch: 4, ..late }), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(Consumer { epoch: 1, ..Consumer::new("b", &["t"]) }.told(&mut world), "UnknownMemberId");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let mut world = world();
    let good = Consumer::new("a", &["t"]).says();
    let wrong = [
        Beat { group_id: "".into(), ..good.clone() },
        Beat { member_id: " ".into(), ..good.clone() },
        Beat { instance_id: Some("".into()), ..good.clone() },
        Beat { rack_id: Some(" ".into()), ..good.clone() },
        Beat { member_epoch: -3, ..good.clone() },
        Beat { member_epoch: LEAVING_FOR_A_WHILE, ..good.clone() },
        Beat { rebalance_timeout_ms: None, ..good.clone() },
        Beat { owned: None, ..good.clone() },
        Beat { topics: None, ..good.clone() },
    ];
    for wrong in wrong {
        assert_eq!(beat(&mut world, &wrong), Err(ErrorCode::InvalidRequest), "{wrong:?}");
    }
    let assignor = Beat { assignor: Some("sticky".into()), ..good.clone() };
    assert_eq!(beat(&mut world, &assignor), Err(ErrorCode::UnsupportedAssignor));
    let regex = Beat { regex: Some("(".into()), ..good.clone() };
    assert_eq!(beat(&mut world, &regex), Err(ErrorCode::InvalidRegularExpression));
    for epoch in [LEAVING, 5] {
        let nobody = Beat { member_epoch: epoch, ..good.clone() };
        assert_eq!(beat(&mut world, &nobody), Err(ErrorCode::GroupIdNotFound));
    }
    assert!(world.log.records.is_empty());
    world.settings.consumer.members_max = 1;
    assert_eq!(beat(&mut world, &good), Ok(()));
    let one_more = Beat { member_id: "b".into(), ..good.clone() };
    assert_eq!(beat(&mut world, &one_more), Err(ErrorCode::GroupMaxSizeReached));
    world.settings.consumer.members_max = 2;
    world.settings.bytes_max = world.coordinator.bytes() + 100;
    assert_eq!(beat(&mut world, &one_more), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(
        beat(&mut world, &Beat { member_id: "".into(), makes_own_id: false, ..good }),
        Err(ErrorCode::GroupMaxSizeReached)
    );
}

#[test]
fn who_is_a_member_grows_within_the_bound_as_well() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&mut world).unwrap();
    world.settings.bytes_max = world.coordinator.bytes() + 1000;
    let before = world.coordinator.bytes();
    let topics = |count: u32| Some((0..count).map(|number| Arc::from(format!("topic-{number}"))).collect());
    let many = Beat { topics: topics(100), ..a.says() };
    assert_eq!(beat(&mut world, &many), Err(ErrorCode::GroupMaxSizeReached));
    // Many partitions take room as well, and so do topics that an expression stands for.
    world.cluster.set("large", 100);
    let large = Beat { topics: Some(["large".into()].into()), ..a.says() };
    assert_eq!(beat(&mut world, &large), Err(ErrorCode::GroupMaxSizeReached));
    let regex = Beat { regex: Some("l.*".into()), ..a.says() };
    assert_eq!(beat(&mut world, &regex), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(world.coordinator.bytes(), before);
    // It is a member still, may go on as before and say a little more.
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3]");
    assert_eq!(beat(&mut world, &Beat { topics: topics(2), ..a.says() }), Ok(()));
    replays(&mut world);
}

#[test]
fn a_group_has_only_so_many_expressions() {
    let mut world = world();
    for number in 0..64 {
        let a = Consumer::new(&format!("a{number}"), &[]).says();
        assert_eq!(beat(&mut world, &Beat { regex: Some(format!("t{number}").into()), ..a }), Ok(()));
    }
    let one_more = |regex: &str| Beat { regex: Some(regex.into()), ..Consumer::new("b", &[]).says() };
    assert_eq!(beat(&mut world, &one_more("u")), Err(ErrorCode::GroupMaxSizeReached));
    assert_eq!(beat(&mut world, &one_more("t7")), Ok(()));
}

#[test]
fn new_partitions_and_lost_topics_begin_an_epoch() {
    let mut world = world();
    world.cluster.set("u", 1);
    let mut a = Consumer::new("a", &["t", "u"]);
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3 2/0]");
    world.cluster.set("other", 1);
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3 2/0]");
    world.cluster.set("u", 2);
    assert_eq!(a.told(&mut world), "a@3 [1/0 1/1 1/2 1/3 2/0 2/1]");
    world.cluster.remove("t");
    assert_eq!(a.told(&mut world), "a@3 [2/0 2/1]");
    assert_eq!(a.told(&mut world), "a@4 [2/0 2/1]");
    replays(&mut world);
}

#[test]
fn expressions_stand_for_topics_as_they_come_and_go() {
    let mut world = world();
    world.cluster.set("tea", 1);
    let mut a = Consumer { regex: Some("t.*"), ..Consumer::new("a", &[]) };
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3 2/0]");
    world.cluster.set("toe", 1);
    assert_eq!(a.told(&mut world), "a@2 [1/0 1/1 1/2 1/3 2/0]");
    world.pass(10);
    assert_eq!(a.told(&mut world), "a@3 [1/0 1/1 1/2 1/3 2/0 3/0]");
    let mut b = Consumer { regex: Some("toe"), ..Consumer::new("b", &["tea"]) };
    b.beat(&mut world).unwrap();
    a.beat(&mut world).unwrap();
    a.beat(&mut world).unwrap();
    assert_eq!(b.told(&mut world), "b@4 [2/0 3/0]");
    assert!(world.coordinator.consumers[GROUP].is_subscribed_to("toe"));
    replays(&mut world);
    a.regex = Some("");
    assert_eq!(a.told(&mut world), "a@4 []");
    assert_eq!(a.told(&mut world), "a@5 []");
    assert!(!world.coordinator.consumers[GROUP].is_subscribed_to("t"));
    replays(&mut world);
}

#[test]
fn a_group_may_have_times_of_its_own_within_bounds() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    assert_eq!(a.beat(&mut world).unwrap().heartbeat_interval_ms, 5000);
    world.cluster.configure(HEARTBEAT_INTERVAL, "7000");
    world.cluster.configure(SESSION_TIMEOUT, "900000");
    assert_eq!(a.beat(&mut world).unwrap().heartbeat_interval_ms, 7000);
    world.pass(59);
    assert_eq!(described(&world), "Stable 2/2 a@2");
    world.pass(2);
    assert_eq!(described(&world), "Empty 3/2 ");
}

#[test]
fn a_late_commit_counts_for_what_the_member_had_before() {
    let mut world = world();
    let (mut a, mut b) = (Consumer::new("a", &["t"]), Consumer::new("b", &["t"]));
    for _ in 0..3 {
        a.beat(&mut world).unwrap();
        b.beat(&mut world).unwrap();
    }
    let by = |id: &str, generation_id| MemberRef {
        group_id: GROUP.into(),
        member_id: id.into(),
        instance_id: None,
        generation_id,
    };
    let mut commit = |member: MemberRef, partition| {
        let request = commit_request(&member, "t", partition, 5);
        world.step(|coordinator, turn| coordinator.commit(&request, turn)).map(drop)
    };
    assert_eq!(commit(by("a", 3), 0), Ok(()));
    assert_eq!(commit(by("a", 2), 0), Ok(()));
    assert_eq!(commit(by("a", 2), 3), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(by("a", 4), 0), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(by("b", 2), 3), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(by("x", 3), 0), Err(ErrorCode::UnknownMemberId));
    assert_eq!(commit(by("", -1), 0), Err(ErrorCode::UnknownMemberId));
    let old = commit_request(&by("a", 3), "t", 0, 5);
    let old = super::super::CommitRequest { knows_missing_groups: false, ..old };
    let old = world.step(|coordinator, turn| coordinator.commit(&old, turn)).map(drop);
    assert_eq!(old, Err(ErrorCode::UnsupportedVersion));
    let fetch = |id: Option<&str>, member_epoch| {
        world.coordinator.check_fetch(GROUP, &Asker { member_id: id.map(Arc::from), member_epoch })
    };
    assert_eq!(fetch(None, -1), Ok(()));
    assert_eq!(fetch(Some("a"), 3), Ok(()));
    assert_eq!(fetch(Some("a"), 2), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(Some("x"), 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn an_empty_group_is_deleted_with_its_offsets_and_a_living_one_is_not() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    a.beat(&mut world).unwrap();
    let id: Arc<str> = GROUP.into();
    let delete = |world: &mut World| world.step(|coordinator, turn| coordinator.delete_group(&id, turn));
    assert_eq!(delete(&mut world), Err(ErrorCode::NonEmptyGroup));
    a.leave(&mut world, LEAVING).unwrap();
    assert_eq!(delete(&mut world), Ok(()));
    assert!(world.coordinator.consumers.is_empty() && world.coordinator.bytes() == 0);
    replays(&mut world);
}

#[test]
fn a_log_that_takes_nothing_changes_nothing() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(a.told(&mut world), "CoordinatorNotAvailable");
    assert!(world.coordinator.consumers.is_empty());
    world.log.refuses = None;
    a.beat(&mut world).unwrap();
    world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable);
    world.pass(60);
    assert_eq!(described(&world), "Stable 2/2 a@2");
    world.log.refuses = None;
    world.pass(2);
    assert_eq!(described(&world), "Empty 3/2 ");
}

#[test]
fn preferred_assignors_are_counted() {
    let mut world = world();
    let mut a = Consumer::new("a", &["t"]);
    let by_range = Beat { assignor: Some("range".into()), ..a.says() };
    beat(&mut world, &by_range).unwrap();
    let group = world.coordinator.describe_consumers(GROUP, &world.settings).unwrap();
    assert_eq!(&*group.assignor, "range");
    a.leave(&mut world, LEAVING).unwrap();
    let group = world.coordinator.describe_consumers(GROUP, &world.settings).unwrap();
    assert_eq!(&*group.assignor, "uniform");
}

#[test]
fn the_last_epoch_there_is_has_none_after_it() {
    let mut world = world();
    let epoch = GroupEpoch { epoch: i32::MAX - 1, metadata_hash: 0 };
    let record = Record::Consumer(GROUP.into(), ConsumerRecord::Epoch(Some(epoch)));
    world.step(|coordinator, turn| coordinator.write(vec![record], turn)).unwrap();
    let mut a = Consumer::new("a", &["t"]);
    assert_eq!(a.told(&mut world), format!("a@{} [1/0 1/1 1/2 1/3]", i32::MAX));
    let mut b = Consumer::new("b", &["t"]);
    b.beat(&mut world).unwrap();
    a.leave(&mut world, LEAVING).unwrap();
    assert_eq!(described(&world), format!("Stable {0}/{0} b@{0}", i32::MAX));
    replays(&mut world);
}

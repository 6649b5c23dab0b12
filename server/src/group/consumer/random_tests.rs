//! Members of both protocols that do what they like, in any order, in one group that goes over and back under them,
//! against what has to hold whatever they do.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;

use ringmain_protocol::ErrorCode;
use ringmain_storage::types::TopicId;

use super::super::classic::{Assignment as Given, MemberRef, SyncRequest};
use super::super::cluster::Cluster as _;
use super::super::coordinator::Coordinator;
use super::super::embedded;
use super::super::test_kit::*;
use super::member::{Assignment, LEAVING, LEAVING_FOR_A_WHILE};
use super::test_members::Consumer;

/// Steps of one seed.
const STEPS: u32 = 20_000;

/// What a client of the classic protocol has to do next.
#[derive(Clone, Copy, Default)]
enum Due {
    #[default]
    Heartbeat,
    /// It was told a generation.
    Sync,
    Join,
}

/// A client of the classic protocol.
#[derive(Default)]
struct Classic {
    name: Option<Arc<str>>,
    /// Whether it keeps what it has while it joins (KIP-429); others give everything up before.
    keeps: bool,
    member: Option<MemberRef>,
    /// All members of the generation with what they say they have of the first topic, if it leads.
    others: Vec<(Arc<str>, Vec<i32>)>,
    joining: Option<Joining>,
    syncing: Option<Syncing>,
    owned: Assignment,
    due: Due,
    /// Whether it was taken out, and does not know yet that it has lost what it had.
    is_out: bool,
}

#[derive(Default)]
struct Crowd {
    world: World,
    consumers: Vec<Consumer>,
    classics: Vec<Classic>,
    /// The group's epoch or generation when it was looked at last, and whether it was of the new protocol.
    epoch: Option<(bool, i32)>,
    made: u32,
    /// How many words those of the new protocol do not say yet, after all of them left.
    quiet: u32,
    /// How often it went over, and back.
    ups: u32,
    downs: u32,
}

impl Crowd {
    fn new() -> Self {
        let mut crowd = Self::default();
        crowd.world.cluster.set("t", 6);
        let named = |at: usize, kind: &str| (at < 2).then(|| Arc::from(format!("{kind}{at}")));
        // A name is one member's, whatever it speaks.
        crowd.consumers = (0..5).map(|at| Consumer { name: named(at, "s"), ..Consumer::default() }).collect();
        crowd.classics = (0..4)
            .map(|at| Classic { name: named(at, "s"), keeps: at % 2 == 0, ..Classic::default() })
            .collect();
        crowd.world.step(Coordinator::on_loaded);
        crowd
    }

    fn beat(&mut self, at: usize, dice: &mut Dice) {
        let consumer = &mut self.consumers[at];
        if consumer.epoch == 0 && (consumer.id.is_empty() || dice.below(3) == 0) {
            self.made += 1;
            consumer.id = format!("m{}", self.made).into();
            consumer.topics = vec![["t", "u"][usize::from(dice.below(4) == 0)]];
            // Reading expressions takes most of the time.
            let has_regex = dice.below(6) == 0;
            consumer.regex = has_regex.then(|| ["", "[tu]", "u|v"][dice.index(3)]);
        }
        if dice.below(12) == 0 {
            // The answer is lost.
            let says = consumer.says();
            drop(self.world.step(|coordinator, turn| coordinator.beat(&says, turn)));
        } else {
            drop(consumer.beat(&mut self.world));
        }
    }

    fn join(&mut self, at: usize, dice: &mut Dice) {
        let classic = &mut self.classics[at];
        let member_id = classic.member.as_ref().map(|member| Arc::clone(&member.member_id));
        let topic = ["t", "u"][usize::from(dice.below(4) == 0)];
        let id = self.world.cluster.topic(topic).map(|facts| facts.id);
        // What it reads no more it gives up before it joins, whatever it is.
        classic.owned.retain(|owned, _| classic.keeps && id == Some(*owned));
        let owned = classic.owned.values().map(|all| (topic, all.iter().copied().collect()));
        let request = super::super::JoinRequest {
            member_id: member_id.unwrap_or_default(),
            instance_id: classic.name.clone(),
            rebalance_timeout_ms: 20_000,
            protocols: vec![if classic.keeps {
                keeping_protocol("range", topic, &owned.collect::<Vec<_>>())
            } else {
                protocol("range", topic)
            }],
            needs_known_id: dice.below(2) == 0,
            ..by_old_client()
        };
        (classic.syncing, classic.due) = (None, Due::Heartbeat);
        classic.joining = Some(self.world.join(&request));
    }

    fn sync(&mut self, at: usize) {
        let classic = &mut self.classics[at];
        classic.due = Due::Heartbeat;
        let Some(member) = classic.member.clone().filter(|member| member.generation_id >= 0) else { return };
        let count = i32::try_from(classic.others.len()).unwrap();
        // What another has is given to nobody before that one gave it up.
        let is_free = |id: &Arc<str>, it: i32| {
            classic.others.iter().all(|(other, owned)| other == id || !owned.contains(&it))
        };
        let given = |(index, (id, _)): (i32, &(Arc<str>, Vec<i32>))| Given {
            member_id: Arc::clone(id),
            bytes: embedded::assignment_bytes(
                0,
                &[("t".into(), (0..4).filter(|it| it % count == index && is_free(id, *it)).collect())],
            ),
        };
        let assignments = (0..).zip(&classic.others).map(given).collect();
        let member = MemberRef { instance_id: classic.name.clone(), ..member };
        let request = SyncRequest { member, protocol_type: None, protocol_name: None, assignments };
        classic.syncing = Some(self.world.sync(&request));
    }

    fn heartbeat(&mut self, at: usize) {
        let Some(member) = self.classics[at].member.clone() else { return };
        match self.world.heartbeat(&member) {
            Ok(()) => {}
            Err(ErrorCode::RebalanceInProgress) => self.classics[at].due = Due::Join,
            Err(_) => self.classics[at].lose(),
        }
    }

    /// Clients of the classic protocol do what they have to, more or less.
    fn go_on(&mut self, at: usize, dice: &mut Dice) {
        match self.classics[at].due {
            Due::Sync => self.sync(at),
            Due::Join => self.join(at, dice),
            Due::Heartbeat if self.classics[at].member.is_none() => self.join(at, dice),
            Due::Heartbeat => self.heartbeat(at),
        }
    }

    /// Takes over what clients of the classic protocol were told since the last look.
    fn listen(&mut self) {
        for classic in &mut self.classics {
            if let Some(mut joining) = classic.joining.take() {
                match joining.try_recv() {
                    Ok(None) => classic.joining = Some(joining),
                    Ok(Some(answer)) => match answer.result {
                        Ok(joined) => {
                            classic.due = Due::Sync;
                            classic.member = Some(MemberRef {
                                group_id: GROUP.into(),
                                member_id: answer.member_id,
                                instance_id: classic.name.clone(),
                                generation_id: joined.generation_id,
                            });
                            let owned = |bytes| {
                                let owned = embedded::subscription(bytes).unwrap().owned.into_iter();
                                owned.filter(|(name, _)| **name == *"t").flat_map(|(_, all)| all).collect()
                            };
                            let others = joined.members.into_iter();
                            classic.others = others.map(|it| (it.member_id, owned(it.metadata))).collect();
                        }
                        Err(ErrorCode::MemberIdRequired) => {
                            classic.member = Some(MemberRef { member_id: answer.member_id, ..nobody() });
                            classic.due = Due::Join;
                        }
                        Err(ErrorCode::RebalanceInProgress) => classic.due = Due::Join,
                        Err(_) => classic.lose(),
                    },
                    Err(_) => classic.lose(),
                }
            }
            if let Some(mut syncing) = classic.syncing.take() {
                match syncing.try_recv() {
                    Ok(None) => classic.syncing = Some(syncing),
                    Ok(Some(Ok(synced))) => {
                        let topics = embedded::assignment(synced.assignment).unwrap_or_default();
                        classic.is_out = false;
                        let cluster = &self.world.cluster;
                        classic.owned = topics
                            .into_iter()
                            .filter_map(|(name, all)| {
                                Some((cluster.topic(&name)?.id, all.into_iter().collect()))
                            })
                            .collect();
                    }
                    Ok(Some(Err(_))) | Err(_) => classic.due = Due::Join,
                }
            }
        }
    }

    /// A topic comes, or has more partitions.
    fn grow(&mut self, topic: &str, more: u64) {
        let count = self.world.cluster_partitions(topic) + usize::try_from(more).unwrap();
        self.world.cluster.set(topic, i32::try_from(count).unwrap());
    }

    fn act(&mut self, dice: &mut Dice) {
        let (at, other) = (dice.index(5), dice.index(4));
        match dice.below(100) {
            0..40 if self.quiet > 0 => self.quiet -= 1,
            0..32 => self.beat(at, dice),
            40..44 => drop(self.consumers[at].leave(&mut self.world, LEAVING)),
            44..48 if self.consumers[at].name.is_some() => {
                drop(self.consumers[at].leave(&mut self.world, LEAVING_FOR_A_WHILE));
            }
            32..40 | 48..69 => self.go_on(other, dice),
            69..71 => self.join(other, dice),
            71..73 => self.sync(other),
            73..76 => self.heartbeat(other),
            76..79 => {
                let classic = &mut self.classics[other];
                let id = classic.member.as_ref().map(|it| Arc::clone(&it.member_id)).unwrap_or_default();
                let name = classic.name.clone();
                classic.lose();
                let members = vec![(id, name)];
                let request = super::super::LeaveRequest { group_id: GROUP.into(), members };
                drop(self.world.step(|coordinator, turn| coordinator.leave(&request, turn)));
            }
            79..90 => self.world.pass(dice.below(15)),
            90 => self.grow("t", dice.below(16) / 15),
            91 => self.grow("u", 1 + dice.below(3)),
            92 => self.world.cluster.remove("u"),
            93 => self.world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable),
            94..96 => self.world.log.refuses = None,
            // What takes one member out fits, a classic group or everyone's share may not.
            96 => self.world.log.batch_bytes_max = Some(500),
            97 => self.world.log.batch_bytes_max = None,
            98 => {
                // Everyone who speaks one of the protocols goes, now and then, and stays away for a while.
                self.quiet = u32::try_from(dice.below(20)).unwrap();
                for at in 0..self.consumers.len() {
                    drop(self.consumers[at].leave(&mut self.world, LEAVING));
                }
            }
            _ => {
                self.world.coordinator = self.world.replayed();
                self.world.step(Coordinator::on_loaded);
                // A generation is written when its leader has spoken, an epoch at once.
                self.epoch = self.epoch.filter(|(is_new, _)| *is_new);
            }
        }
    }

    fn check(&mut self) {
        self.world.coordinator.check();
        let now =
            match (self.world.coordinator.consumers.get(GROUP), self.world.coordinator.groups.get(GROUP)) {
                (Some(group), _) => Some((true, group.epoch())),
                (None, Some(group)) => Some((false, group.generation_id())),
                (None, None) => None,
            };
        let of_members = |is_new: bool| {
            let coordinator = &self.world.coordinator;
            if is_new {
                coordinator.consumers[GROUP].members().len()
            } else {
                coordinator.groups[GROUP].len()
            }
        };
        if let (Some((before, epoch)), Some((after, then))) = (self.epoch, now) {
            let is_same = before == after;
            assert!(
                then >= epoch || (!is_same && of_members(after) <= 1) || then == 0,
                "{before} {epoch} then {after} {then}"
            );
            self.ups += u32::from(!is_same && after && of_members(after) > 1);
            self.downs += u32::from(!is_same && !after && of_members(after) > 0);
        }
        self.epoch = now;
        self.find_those_out();
        self.check_owners();
    }

    fn find_those_out(&mut self) {
        let (consumers, groups) = (&self.world.coordinator.consumers, &self.world.coordinator.groups);
        let is_member = |id: &str| {
            consumers.get(GROUP).is_some_and(|group| group.member(id).is_some())
                || groups.get(GROUP).is_some_and(|group| group.member(id).is_some())
        };
        for classic in &mut self.classics {
            classic.is_out |= classic.member.as_ref().is_some_and(|it| !is_member(&it.member_id));
        }
    }

    /// What a member has, nobody else is given.
    fn check_owners(&self) {
        let Some(group) = self.world.coordinator.consumers.get(GROUP) else { return };
        let consumers = self.consumers.iter().map(|it| (it.id.clone(), &it.owned));
        let classics = self
            .classics
            .iter()
            .filter(|it| !it.is_out)
            .filter_map(|it| Some((Arc::clone(&it.member.as_ref()?.member_id), &it.owned)));
        for (id, owned) in consumers.chain(classics) {
            let Some(member) = group.member(&id).filter(|member| member.current.epoch > 0) else { continue };
            let held: BTreeSet<(TopicId, i32)> = member.current.held().collect();
            for (topic, partitions) in owned {
                for partition in partitions {
                    assert!(held.contains(&(*topic, *partition)), "{id} has {topic:?}/{partition}");
                }
            }
        }
    }

    /// Replaying the log gives what was lived through.
    fn check_replay(&mut self) {
        let replayed = self.world.replayed();
        replayed.check();
        assert_eq!(replayed.consumers, self.world.coordinator.consumers);
    }
}

impl Classic {
    fn lose(&mut self) {
        self.member = None;
        self.owned.clear();
        (self.is_out, self.due) = (false, Due::Heartbeat);
        (self.joining, self.syncing) = (None, None);
    }
}

fn live(seed: u64) {
    let (mut dice, mut crowd) = (Dice(seed), Crowd::new());
    for step in 0..STEPS {
        crowd.act(&mut dice);
        crowd.listen();
        crowd.check();
        if step % 256 == 0 {
            crowd.check_replay();
            crowd.world.log.compact();
            crowd.check_replay();
        }
    }
    assert!(crowd.ups > 20 && crowd.downs > 20, "{} {}", crowd.ups, crowd.downs);
    // Left to themselves, those of the new protocol share everything.
    (crowd.world.log.refuses, crowd.world.log.batch_bytes_max) = (None, None);
    crowd.world.pass(3600);
    // The group is gone by then, and begins anew.
    crowd.epoch = None;
    for consumer in &mut crowd.consumers {
        (consumer.topics, consumer.regex) = (vec!["t"], None);
        consumer.lose();
    }
    for _ in 0..6 {
        (0..crowd.consumers.len()).for_each(|at| drop(crowd.consumers[at].beat(&mut crowd.world)));
        crowd.check();
    }
    let group = &crowd.world.coordinator.consumers[GROUP];
    assert_eq!((group.state().name(), group.members().len()), ("Stable", crowd.consumers.len()));
    let owned: BTreeSet<i32> =
        crowd.consumers.iter().flat_map(|it| it.owned.values().flatten().copied()).collect();
    let count =
        crowd.consumers.iter().map(|it| it.owned.values().map(BTreeSet::len).sum::<usize>()).sum::<usize>();
    let partitions = crowd.world.cluster_partitions("t");
    assert_eq!((owned.len(), count), (partitions, partitions));
    crowd.check_replay();
}

#[test]
fn whatever_members_of_both_protocols_do_a_partition_has_one_owner_and_the_log_says_what_was_lived_through() {
    for seed in 1..=5_u64 {
        live(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

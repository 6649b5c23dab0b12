//! Members that do what they like, in any order, against what has to hold whatever they do.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

use super::coordinator::Coordinator;
use super::test_kit::*;
use super::{Assignment, JoinRequest, MemberRef, SyncRequest};

/// Steps of one seed.
const STEPS: u32 = 20_000;
/// Partitions that leaders share out.
const PARTITIONS: u8 = 6;

/// A client: what it takes itself for, and what it waits for.
#[derive(Default)]
struct Client {
    name: Option<Arc<str>>,
    member: Option<MemberRef>,
    /// All members of the generation, if it leads.
    others: Vec<Arc<str>>,
    /// Whether it was told a generation and did not ask yet what it is given.
    asks: bool,
    joining: Option<Joining>,
    syncing: Option<Syncing>,
}

#[derive(Default)]
struct Crowd {
    world: World,
    clients: Vec<Client>,
    /// Starts so far.
    starts: u32,
    /// The highest generation of this start.
    generation: i32,
    /// Who was told to own a partition, by start, generation and partition.
    owners: BTreeMap<(u32, i32, u8), Arc<str>>,
    /// What was committed last.
    committed: Option<i64>,
}

impl Crowd {
    fn new() -> Self {
        let mut crowd = Self::default();
        crowd.world.settings.members_max = 6;
        crowd.clients = (0..8)
            .map(|at| Client { name: (at < 3).then(|| Arc::from(format!("s{at}"))), ..Client::default() })
            .collect();
        crowd.world.step(Coordinator::on_loaded);
        crowd
    }

    fn join(&mut self, at: usize, dice: &mut Dice) {
        let client = &mut self.clients[at];
        let member_id =
            client.member.as_ref().map(|member| Arc::clone(&member.member_id)).unwrap_or_default();
        let topic = if dice.below(4) == 0 { "u" } else { "t" };
        let mut protocols = vec![protocol("range", topic), protocol("sticky", topic)];
        if dice.below(2) == 0 {
            protocols.swap(0, 1);
        }
        protocols.truncate(1 + usize::from(dice.below(8) > 0));
        let request = JoinRequest {
            member_id,
            instance_id: client.name.clone(),
            rebalance_timeout_ms: 1000 * i32::try_from(1 + dice.below(40)).unwrap(),
            protocols,
            needs_known_id: dice.below(2) == 0,
            may_skip_assignment: dice.below(2) == 0,
            ..by_old_client()
        };
        (client.syncing, client.asks) = (None, false);
        client.joining = Some(self.world.join(&request));
    }

    fn sync(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.asks = false;
        let Some(member) = client.member.clone().filter(|member| member.generation_id >= 0) else { return };
        // The partitions go round the members.
        let given = |(index, id): (usize, &Arc<str>)| Assignment {
            member_id: Arc::clone(id),
            bytes: (0..PARTITIONS).filter(|at| usize::from(*at) % client.others.len() == index).collect(),
        };
        let assignments = client.others.iter().enumerate().map(given).collect();
        let member = MemberRef { instance_id: client.name.clone(), ..member };
        let request = SyncRequest { member, protocol_type: None, protocol_name: None, assignments };
        client.syncing = Some(self.world.sync(&request));
    }

    /// Takes over what clients were told since the last look.
    fn listen(&mut self) {
        let (starts, owners) = (self.starts, &mut self.owners);
        for client in &mut self.clients {
            if let Some(mut joining) = client.joining.take() {
                match joining.try_recv() {
                    Ok(None) => client.joining = Some(joining),
                    Ok(Some(answer)) => match answer.result {
                        Ok(joined) => {
                            client.asks = true;
                            let generation_id = joined.generation_id;
                            client.member = Some(MemberRef {
                                group_id: GROUP.into(),
                                member_id: answer.member_id,
                                instance_id: client.name.clone(),
                                generation_id,
                            });
                            let told = joined.members.into_iter().filter(|_| !joined.skip_assignment);
                            client.others = told.map(|member| member.member_id).collect();
                        }
                        Err(ErrorCode::MemberIdRequired) => {
                            client.member = Some(MemberRef { member_id: answer.member_id, ..nobody() });
                        }
                        Err(_) => client.member = None,
                    },
                    // Its coordinator has ended, or it asked again.
                    Err(_) => client.member = None,
                }
            }
            if let Some(mut syncing) = client.syncing.take() {
                match syncing.try_recv() {
                    Ok(None) => client.syncing = Some(syncing),
                    Ok(Some(Ok(synced))) => {
                        let member = client.member.as_ref().unwrap();
                        for partition in &synced.assignment {
                            let key = (starts, member.generation_id, *partition);
                            let owner = client.name.as_ref().unwrap_or(&member.member_id);
                            let before = owners.entry(key).or_insert_with(|| Arc::clone(owner));
                            assert_eq!(before, owner, "two own partition {partition} of {key:?}");
                        }
                    }
                    Ok(Some(Err(_))) | Err(_) => {}
                }
            }
        }
    }

    fn act(&mut self, dice: &mut Dice) {
        let at = usize::try_from(dice.below(8)).unwrap();
        let member = self.clients[at].member.clone();
        match dice.below(100) {
            0..30 => self.join(at, dice),
            30..50 => {
                for at in 0..self.clients.len() {
                    if self.clients[at].asks && dice.below(8) > 0 {
                        self.sync(at);
                    }
                }
            }
            50..55 => self.sync(at),
            55..70 => {
                if let Some(member) = member {
                    let _ = self.world.heartbeat(&member);
                }
            }
            70..80 => {
                let offset = i64::try_from(dice.below(1000)).unwrap();
                if self.world.commit(&member.unwrap_or_else(nobody), offset).is_ok() {
                    self.committed = Some(offset);
                }
            }
            80..84 => {
                let id = member.map(|member| member.member_id).unwrap_or_default();
                let name = self.clients[at].name.clone();
                self.world.leave_if_there(&[(&id, name.as_deref())]);
            }
            84..97 => self.world.pass(dice.below(12)),
            97 => self.world.log.refuses = Some(ErrorCode::CoordinatorNotAvailable),
            98 => self.world.log.refuses = None,
            _ => {
                self.world.coordinator = self.world.replayed();
                self.world.step(Coordinator::on_loaded);
                self.starts += 1;
                self.generation = 0;
            }
        }
    }

    fn check(&mut self) {
        self.world.coordinator.check();
        let Some(group) = self.world.coordinator.groups.get(GROUP) else { return };
        assert!(group.generation_id() >= self.generation, "a generation only follows a smaller one");
        self.generation = group.generation_id();
        let dynamic = group.members().filter(|member| member.instance_id.is_none()).count();
        assert!(dynamic <= 6 || group.state().name() == "PreparingRebalance");
    }

    /// Replaying the log gives what was lived through, as far as it outlives the process.
    fn check_replay(&self) {
        let replayed = self.world.replayed();
        assert_eq!(replayed.committed(GROUP, ("t", 0), true).unwrap().map(|it| it.offset), self.committed);
        assert_eq!(self.world.committed(), self.committed);
        let Some(group) = self.world.coordinator.groups.get(GROUP) else { return };
        let is_written = group.persisted.as_ref().is_some_and(|it| it.generation == group.generation_id());
        if matches!(group.state().name(), "Stable" | "Empty") && is_written {
            let seen = |coordinator: &Coordinator| {
                let group = &coordinator.groups[GROUP];
                let members: Vec<(Arc<str>, Option<Arc<str>>, Bytes)> = group
                    .members()
                    .map(|it| (Arc::clone(&it.id), it.instance_id.clone(), it.assignment.clone()))
                    .collect();
                (group.state(), group.generation_id(), group.protocol_name().cloned(), members)
            };
            assert_eq!(seen(&replayed), seen(&self.world.coordinator));
        }
    }
}

fn live(seed: u64) {
    let (mut dice, mut crowd) = (Dice(seed), Crowd::new());
    for step in 0..STEPS {
        crowd.act(&mut dice);
        crowd.listen();
        crowd.check();
        if step % 64 == 0 {
            crowd.check_replay();
            // Nobody looks at old records of a group: without them replaying stays short.
            crowd.world.log.compact();
        }
    }
    crowd.world.log.refuses = None;
    crowd.world.pass(3600);
    crowd.listen();
    let idle = crowd.clients.iter().all(|client| client.joining.is_none() && client.syncing.is_none());
    assert!(idle, "everyone is told in the end");
    crowd.check_replay();
    assert!(
        crowd.generation > 100 && crowd.owners.len() > 300,
        "{} {}",
        crowd.generation,
        crowd.owners.len()
    );
}

#[test]
fn whatever_members_do_a_partition_has_one_owner_and_the_log_says_what_was_lived_through() {
    for seed in 1..=5_u64 {
        live(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
}

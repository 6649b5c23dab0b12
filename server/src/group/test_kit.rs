//! A coordinator without a broker, for tests: time is set by hand, ids are numbered, and the log is a list.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use ringmain_protocol::ErrorCode;
use ringmain_storage::types::{Offset, TimestampMs, TopicId};

use super::classic::{
    Assignment, JoinAnswer, JoinRequest, LeaveRequest, Left, MemberRef, Protocol, SyncAnswer, SyncRequest,
};
use super::cluster::{Cluster, TopicFacts};
use super::coordinator::Coordinator;
use super::offsets::{CommitRequest, PartitionCommit, TopicCommit};
use super::record::{Parsed, Record};
use super::settings::GroupSettings;
use super::turn::{RecordSink, Turn};
use crate::counters::GroupCounters;

/// The group that tests are about.
pub(super) const GROUP: &str = "g";

/// A log that is a list. It refuses everything while it is told to, and batches that are larger than it is told.
#[derive(Debug, Default)]
pub(super) struct ListLog {
    pub(super) records: Vec<Record>,
    pub(super) refuses: Option<ErrorCode>,
    pub(super) batch_bytes_max: Option<usize>,
}

impl RecordSink for ListLog {
    fn append(&mut self, records: &[Record], _: TimestampMs) -> Result<Offset, ErrorCode> {
        if let Some(code) = self.refuses {
            return Err(code);
        }
        let bytes = |record: &Record| {
            let (key, value) = record.to_bytes().unwrap();
            key.len() + value.map_or(0, |value| value.len())
        };
        if self.batch_bytes_max.is_some_and(|max| records.iter().map(bytes).sum::<usize>() > max) {
            return Err(ErrorCode::UnknownServerError);
        }
        let first = i64::try_from(self.records.len()).unwrap();
        self.records.extend_from_slice(records);
        Ok(Offset(first))
    }
}

impl ListLog {
    /// Leaves of each key only the newest record, and of what was taken away nothing: replaying stays short.
    pub(super) fn compact(&mut self) {
        let mut seen = std::collections::BTreeSet::new();
        self.records.reverse();
        self.records.retain(|record| {
            let (key, value) = record.to_bytes().unwrap();
            seen.insert(key) && value.is_some()
        });
        self.records.reverse();
    }
}

/// Topics that tests make and take away: each with its id's number and how many partitions it has.
#[derive(Debug, Default)]
pub(super) struct ListCluster {
    topics: std::collections::BTreeMap<Arc<str>, (u8, i32)>,
    configs: std::collections::BTreeMap<&'static str, Arc<str>>,
    version: i64,
    made: u8,
}

impl ListCluster {
    /// Makes a topic, or gives it more partitions.
    pub(super) fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let number = self.topics.get(name).map_or(self.made + 1, |(number, _)| *number);
        self.made = self.made.max(number);
        self.topics.insert(name.into(), (number, partitions));
    }

    /// Takes a topic away.
    pub(super) fn remove(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }

    /// Configures every group.
    pub(super) fn configure(&mut self, key: &'static str, value: &str) {
        self.configs.insert(key, value.into());
    }

    fn facts(&self, name: &Arc<str>) -> Option<TopicFacts> {
        let (number, partitions) = *self.topics.get(name)?;
        Some(TopicFacts { id: TopicId([number; 16]), name: Arc::clone(name), partitions })
    }
}

impl Cluster for ListCluster {
    fn version(&self) -> i64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<TopicFacts> {
        self.topics.get_key_value(name).and_then(|(name, _)| self.facts(name))
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicFacts> {
        let name = self.topics.iter().find(|(_, (number, _))| TopicId([*number; 16]) == id)?.0;
        self.facts(name)
    }

    fn topic_names(&self) -> Box<dyn Iterator<Item = &Arc<str>> + '_> {
        Box::new(self.topics.keys())
    }

    fn group_config(&self, _: &str, key: &str) -> Option<Arc<str>> {
        self.configs.get(key).cloned()
    }
}

/// Numbers without a pattern (`xorshift64`).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// An index into a list of `len`.
    pub(super) fn index(&mut self, len: u64) -> usize {
        usize::try_from(self.below(len)).unwrap()
    }
}

/// A coordinator with its surroundings.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) log: ListLog,
    pub(super) cluster: ListCluster,
    pub(super) settings: GroupSettings,
    pub(super) counters: GroupCounters,
    now: Duration,
    ids: u32,
}

/// An answer that was given, or is yet to come.
pub(super) type Joining = oneshot::Receiver<JoinAnswer>;
/// An answer that was given, or is yet to come.
pub(super) type Syncing = oneshot::Receiver<SyncAnswer>;

impl World {
    /// When the world began, by the wall clock.
    pub(super) const BEGAN_MS: i64 = 1_700_000_000_000;

    /// How many partitions a topic has.
    pub(super) fn cluster_partitions(&self, name: &str) -> usize {
        self.cluster.topic(name).map_or(0, |facts| usize::try_from(facts.partitions).unwrap())
    }

    /// Has the coordinator do one thing.
    pub(super) fn step<R>(&mut self, work: impl FnOnce(&mut Coordinator, &mut Turn<'_>) -> R) -> R {
        let Self { coordinator, log, cluster, settings, counters, now, ids } = self;
        let bytes_left = settings.bytes_max.saturating_sub(coordinator.bytes());
        let random_uuid = &mut || {
            *ids += 1;
            ids.to_string()
        };
        let wall_clock = TimestampMs(Self::BEGAN_MS + i64::try_from(now.as_millis()).unwrap());
        work(
            coordinator,
            &mut Turn { now: *now, wall_clock, random_uuid, log, cluster, settings, bytes_left, counters },
        )
    }

    /// Lets time pass; what is due is done when it is.
    pub(super) fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.coordinator.next_deadline().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step(Coordinator::on_time);
        }
        self.now = until;
    }

    /// A member joins.
    pub(super) fn join(&mut self, request: &JoinRequest) -> Joining {
        let (waits, answer) = oneshot::channel();
        self.step(|coordinator, turn| coordinator.join(request, waits, turn));
        answer
    }

    /// A member asks what it is given.
    pub(super) fn sync(&mut self, request: &SyncRequest) -> Syncing {
        let (waits, answer) = oneshot::channel();
        self.step(|coordinator, turn| coordinator.sync(request, waits, turn));
        answer
    }

    /// A member is there.
    pub(super) fn heartbeat(&mut self, member: &MemberRef) -> Result<(), ErrorCode> {
        self.step(|coordinator, turn| coordinator.heartbeat(member, turn))
    }

    /// The same where it does not matter what becomes of it.
    pub(super) fn leave_if_there(&mut self, members: &[(&str, Option<&str>)]) {
        drop(self.leave(members));
    }

    /// Members leave, each by its id or its own name.
    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Left {
        let members = members.iter().map(|(id, name)| (Arc::from(*id), name.map(Arc::from))).collect();
        let request = LeaveRequest { group_id: GROUP.into(), members };
        self.step(|coordinator, turn| coordinator.leave(&request, turn)).unwrap()
    }

    /// Commits one partition of topic `t`.
    pub(super) fn commit(&mut self, member: &MemberRef, offset: i64) -> Result<(), ErrorCode> {
        let request = commit_request(member, "t", 0, offset);
        self.step(|coordinator, turn| coordinator.commit(&request, turn)).map(|results| {
            assert_eq!(results, [[Ok(())]]);
        })
    }

    /// What is committed for one partition of topic `t`.
    pub(super) fn committed(&self) -> Option<i64> {
        self.coordinator.committed(GROUP, ("t", 0), false).unwrap().map(|committed| committed.offset)
    }

    /// The group's state, generation and number of members.
    pub(super) fn state(&self) -> (&'static str, i32, usize) {
        let group = &self.coordinator.groups[GROUP];
        (group.state().name(), group.generation_id(), group.len())
    }

    /// A coordinator made from the log alone, through bytes.
    pub(super) fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::default();
        for (offset, record) in (0..).zip(&self.log.records) {
            let (key, value) = record.to_bytes().unwrap();
            let Parsed::Known(record) = Record::parse(key, value).unwrap() else { unreachable!() };
            coordinator.replay(record, Offset(offset), None);
        }
        coordinator
    }

    /// Two members with ids in a stable group, the first one leads; each was given its own id.
    pub(super) fn with_two(&mut self) -> [MemberRef; 2] {
        let answers = [self.join(&by_old_client()), self.join(&by_old_client())];
        self.pass(6);
        let [one, two] = answers.map(|answer| member_of(&told(answer)));
        drop(self.sync(&sync_request(&one, &[&one, &two])));
        drop(self.sync(&sync_request(&two, &[])));
        assert_eq!(self.state(), ("Stable", 1, 2));
        [one, two]
    }
}

/// A consumer without an id, whose client cannot join again with the one it is told.
pub(super) fn by_old_client() -> JoinRequest {
    JoinRequest {
        group_id: GROUP.into(),
        member_id: Arc::default(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", "t")],
        needs_known_id: false,
        may_skip_assignment: true,
    }
}

/// A consumer that is a member already.
pub(super) fn again(member: &MemberRef) -> JoinRequest {
    let (member_id, instance_id) = (Arc::clone(&member.member_id), member.instance_id.clone());
    JoinRequest { member_id, instance_id, needs_known_id: true, ..by_old_client() }
}

/// A static member that does not know its id.
pub(super) fn named(name: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(name.into()), ..by_old_client() }
}

/// A protocol with a subscription to one topic, by a member that keeps what it has while it joins.
pub(super) fn keeping_protocol(name: &str, topic: &str, owned: &[(&str, Vec<i32>)]) -> Protocol {
    let mut metadata = protocol(name, topic).metadata.to_vec();
    // Version 1 says what the member has.
    metadata[1] = 1;
    let put = |metadata: &mut Vec<u8>, number: usize| {
        metadata.extend_from_slice(&i32::try_from(number).unwrap().to_be_bytes());
    };
    put(&mut metadata, owned.len());
    for (topic, partitions) in owned {
        metadata.extend_from_slice(&[0, u8::try_from(topic.len()).unwrap()]);
        metadata.extend_from_slice(topic.as_bytes());
        put(&mut metadata, partitions.len());
        partitions.iter().for_each(|partition| metadata.extend_from_slice(&partition.to_be_bytes()));
    }
    Protocol { name: name.into(), metadata: metadata.into() }
}

/// A protocol with a subscription to one topic.
pub(super) fn protocol(name: &str, topic: &str) -> Protocol {
    let mut metadata = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    metadata.extend_from_slice(topic.as_bytes());
    metadata.extend_from_slice(&[0xff; 4]);
    Protocol { name: name.into(), metadata: metadata.into() }
}

/// A member asks what it is given; each of `given` is given its own id.
pub(super) fn sync_request(member: &MemberRef, given: &[&MemberRef]) -> SyncRequest {
    let assignment = |member: &&MemberRef| Assignment {
        member_id: Arc::clone(&member.member_id),
        bytes: Bytes::copy_from_slice(member.member_id.as_bytes()),
    };
    SyncRequest {
        member: member.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: given.iter().map(assignment).collect(),
    }
}

/// A commit of one partition.
pub(super) fn commit_request(member: &MemberRef, topic: &str, partition: i32, offset: i64) -> CommitRequest {
    let commit = PartitionCommit { partition, offset, leader_epoch: 3, metadata: "m".into() };
    CommitRequest {
        member: member.clone(),
        knows_missing_groups: true,
        retention_ms: None,
        topics: vec![TopicCommit { topic: topic.into(), partitions: vec![commit] }],
    }
}

/// Nobody: an administrator, or a consumer that is in no group.
pub(super) fn nobody() -> MemberRef {
    MemberRef { group_id: GROUP.into(), member_id: Arc::default(), instance_id: None, generation_id: -1 }
}

/// The answer, which was given.
pub(super) fn told<T>(mut answer: oneshot::Receiver<T>) -> T {
    answer.try_recv().unwrap().expect("no answer yet")
}

/// Whether the answer is yet to come.
pub(super) fn waits<T>(answer: &mut oneshot::Receiver<T>) -> bool {
    answer.try_recv().unwrap().is_none()
}

/// Who somebody is that was told a generation.
pub(super) fn member_of(answer: &JoinAnswer) -> MemberRef {
    MemberRef {
        group_id: GROUP.into(),
        member_id: Arc::clone(&answer.member_id),
        instance_id: None,
        generation_id: answer.result.as_ref().unwrap().generation_id,
    }
}

/// Why somebody is in no generation.
pub(super) fn refusal(answer: Joining) -> ErrorCode {
    told(answer).result.unwrap_err()
}

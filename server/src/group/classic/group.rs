//! A classic group: its members and where it stands between two generations. What moves it is in the other files here;
//! this one keeps its parts in agreement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use ringmain_protocol::ErrorCode;
use ringmain_protocol::coordinator::GroupMetadataValue;
use ringmain_protocol::coordinator::group_metadata_value::MemberMetadata;
use ringmain_protocol::wire::Str;
use ringmain_storage::types::TimestampMs;

use super::super::embedded;
use super::super::record::text;
use super::asks::{JoinAnswer, JoinRequest, Joined, JoinedMember, Protocol};
use super::member::Member;

/// What a group takes in memory beside its members, about.
pub(in crate::group) const GROUP_BYTES: usize = 512;
/// What an id takes that was given out.
const PENDING_BYTES: usize = 512;

/// The type of groups whose members are consumers.
const CONSUMER: &str = "consumer";

/// Where a group stands (`ClassicGroupState`); a dead one is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum State {
    /// It has no members, but maybe offsets.
    Empty,
    /// It waits for members to join. The first time it waits for members nobody knows of.
    PreparingRebalance {
        /// Whether it was empty before.
        is_initial: bool,
    },
    /// It waits for the leader to say what each is given.
    CompletingRebalance,
    /// Everyone knows.
    Stable,
}

impl State {
    /// Its name, as clients are told.
    pub(in crate::group) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group.
#[derive(Debug)]
pub(in crate::group) struct ClassicGroup {
    id: Arc<str>,
    state: State,
    /// When it came into its state.
    state_since: Option<TimestampMs>,
    pub(in crate::group) protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    generation_id: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Static members' ids by their own names for themselves.
    by_instance: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and not yet used.
    pub(super) pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that did not ask yet for what they are given.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    /// What the members take in memory, about.
    member_bytes: usize,
    /// How many members wait for the next generation.
    awaiting_join: usize,
    /// How many members know each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    /// What its members subscribe to; `None` if that is not known.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// Whether somebody came while the first generation waits for more.
    pub(super) has_grown: bool,
    /// How long the first generation waits now, and how much longer it may.
    pub(super) initial_wait: Duration,
    pub(super) initial_wait_left: Duration,
    /// The group's newest record, as it stands in the log.
    pub(in crate::group) persisted: Option<GroupMetadataValue>,
}

impl ClassicGroup {
    /// A group that nobody knew, and that has no record of its own.
    pub(in crate::group) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since: None,
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader: None,
            members: BTreeMap::new(),
            by_instance: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            member_bytes: 0,
            awaiting_join: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            has_grown: false,
            initial_wait: Duration::ZERO,
            initial_wait_left: Duration::ZERO,
            persisted: None,
        }
    }

    /// A group as its newest record says.
    pub(in crate::group) fn from_record(id: Arc<str>, value: GroupMetadataValue) -> Self {
        let since = Some(value.current_state_timestamp).filter(|timestamp| *timestamp != -1);
        let mut group = Self::new(id);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since = since.map(TimestampMs);
        group.protocol_type = Some(text(&value.protocol_type)).filter(|name| !name.is_empty());
        group.protocol_name = value.protocol.as_ref().map(text);
        group.generation_id = value.generation;
        group.leader = value.leader.as_ref().map(text);
        for member in &value.members {
            let protocol = group.protocol_name.clone().unwrap_or_default();
            let protocols = vec![Protocol { name: protocol, metadata: copy(&member.subscription) }];
            let rebalance_timeout_ms = match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout => timeout,
            };
            group.insert(Member {
                id: text(&member.member_id),
                instance_id: member.group_instance_id.as_ref().map(text),
                client_id: text(&member.client_id),
                client_host: text(&member.client_host),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout,
                protocols,
                assignment: copy(&member.assignment),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
            });
        }
        group.subscribed = group.subscribed_now();
        group.persisted = Some(value);
        group
    }

    /// A group whose members know what they are given.
    pub(in crate::group) fn stable(
        id: Arc<str>,
        generation_id: i32,
        members: impl Iterator<Item = Member>,
        now: TimestampMs,
    ) -> Self {
        let mut group = Self::new(id);
        group.move_to(State::Stable, now);
        group.protocol_type = Some(Arc::from(CONSUMER));
        group.generation_id = generation_id;
        members.for_each(|member| group.insert(member));
        group.protocol_name = group.choose_protocol();
        group.subscribed = group.subscribed_now();
        group.persisted = Some(group.to_record(now, |member| member.assignment.clone()));
        group
    }

    /// Has its record say that a rebalance has to begin: nobody leads. The first generation that is written has a leader.
    pub(in crate::group) fn expect_rebalance(&mut self) {
        if let Some(value) = &mut self.persisted {
            value.leader = None;
        }
    }

    /// Whether its record says so, and none has begun since.
    pub(in crate::group) fn expects_rebalance(&self) -> bool {
        self.state == State::Stable && self.persisted.as_ref().is_some_and(|value| value.leader.is_none())
    }

    /// Tells everyone who waits that nothing comes of it.
    pub(in crate::group) fn answer_all(&mut self, code: ErrorCode) {
        for id in self.member_ids() {
            self.answer_join(&id, Err(code));
            self.answer_sync(&id, Err(code));
        }
    }

    /// What is written for a group that was just made.
    pub(in crate::group) fn empty_record(now: TimestampMs) -> GroupMetadataValue {
        GroupMetadataValue {
            protocol_type: Str::default(),
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp: now.0,
            members: Vec::new(),
        }
    }

    /// What is written for it as it is, with what each member is given.
    pub(super) fn to_record(
        &self,
        since: TimestampMs,
        assignment: impl Fn(&Member) -> Bytes,
    ) -> GroupMetadataValue {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let told = |member: &Member| MemberMetadata {
            member_id: Str::from(&*member.id),
            group_instance_id: member.instance_id.as_deref().map(Str::from),
            client_id: Str::from(&*member.client_id),
            client_host: Str::from(&*member.client_host),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol).cloned().unwrap_or_default(),
            assignment: assignment(member),
        };
        GroupMetadataValue {
            protocol_type: Str::from(self.protocol_type.as_deref().unwrap_or_default()),
            generation: self.generation_id,
            protocol: self.protocol_name.as_deref().map(Str::from),
            leader: self.leader.as_deref().map(Str::from),
            current_state_timestamp: since.0,
            members: self.members.values().map(told).collect(),
        }
    }

    /// Its id.
    pub(in crate::group) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it stands.
    pub(in crate::group) fn state(&self) -> State {
        self.state
    }

    /// When it came into its state, if that is known.
    pub(in crate::group) fn state_since(&self) -> Option<TimestampMs> {
        self.state_since
    }

    /// Goes over into a state.
    pub(super) fn move_to(&mut self, state: State, now: TimestampMs) {
        self.state = state;
        self.state_since = Some(now);
    }

    /// The generation it is in.
    pub(in crate::group) fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// How its members share partitions out.
    pub(in crate::group) fn protocol_name(&self) -> Option<&Arc<str>> {
        self.protocol_name.as_ref()
    }

    /// Whether its members are consumers.
    pub(in crate::group) fn has_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a topic's offsets are in use; unless it is known, those of consumers are.
    pub(in crate::group) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or_else(|| self.has_consumers(), |topics| topics.contains(topic))
    }

    /// Whether it is known what its members subscribe to.
    pub(in crate::group) fn knows_subscription(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Its members, in the order of their ids.
    pub(in crate::group) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// How many there are.
    pub(in crate::group) fn len(&self) -> usize {
        self.members.len()
    }

    /// One of them.
    pub(in crate::group) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// Changes one of them, in what nothing else depends on.
    pub(super) fn edit(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(id) {
            self.member_bytes -= member.bytes();
            change(member);
            self.member_bytes += member.bytes();
        }
    }

    /// Ids whose sessions may be under way.
    pub(in crate::group) fn session_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.keys().chain(&self.pending_join)
    }

    /// The ids of all members.
    pub(super) fn member_ids(&self) -> Vec<Arc<str>> {
        self.members.keys().cloned().collect()
    }

    /// The id of a static member.
    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.by_instance.get(instance_id)
    }

    /// Whether this is a member, and the one that has its name now.
    pub(in crate::group) fn check_member(
        &self,
        id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_member(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if **known != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.member(id).map(drop).ok_or(ErrorCode::UnknownMemberId)
    }

    /// Whether a member leads.
    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Who leads.
    pub(super) fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    /// Whether all members wait for the next generation, and no id that was given out is unused.
    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// How many members wait for the next generation.
    pub(super) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// The longest that any member lets a rebalance wait for it.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// What it takes in memory, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        // An id that was given out is a client's name and a number, of which a name has 32 KiB at most; most are short.
        GROUP_BYTES + 2 * self.id.len() + PENDING_BYTES * self.pending_join.len() + self.member_bytes
    }

    /// Takes a member in.
    pub(super) fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(&member.id));
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&member.id));
        }
        self.pending_join.remove(&member.id);
        self.count_protocols(&member.protocols, true);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.member_bytes += member.bytes();
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member or an unused id out; another member leads if it did.
    pub(in crate::group) fn remove(&mut self, id: &str) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            self.awaiting_join -= usize::from(member.awaiting_join.is_some());
            self.member_bytes -= member.bytes();
            if let Some(instance_id) = &member.instance_id {
                self.by_instance.remove(instance_id);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        removed
    }

    /// Takes over what a member says when it joins again. `waits` is where its answer goes; whoever waited before is not
    /// told any more.
    pub(super) fn update(&mut self, id: &str, request: &JoinRequest, waits: oneshot::Sender<JoinAnswer>) {
        self.set_protocols(id, request.protocols.clone());
        let mut awaited = false;
        self.edit(id, |member| {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
            awaited = member.awaiting_join.replace(waits).is_some();
        });
        self.awaiting_join += usize::from(!awaited);
    }

    /// Has a member know these protocols.
    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<Protocol>) {
        self.count_protocols(&protocols, true);
        let mut before = Vec::new();
        self.edit(id, |member| before = std::mem::replace(&mut member.protocols, protocols));
        self.count_protocols(&before, false);
    }

    /// Gives a static member another id; whoever waits under the old one is fenced.
    pub(super) fn replace_id(&mut self, old: &str, new: &Arc<str>) {
        self.answer_join(old, Err(ErrorCode::FencedInstanceId));
        self.answer_sync(old, Err(ErrorCode::FencedInstanceId));
        let was_leader = self.is_leader(old);
        let Some(mut member) = self.members.remove(old) else { return };
        self.member_bytes -= member.bytes();
        member.id = Arc::clone(new);
        member.is_new = false;
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance_id), Arc::clone(new));
        }
        self.member_bytes += member.bytes();
        self.members.insert(Arc::clone(new), member);
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(Arc::clone(new));
        }
        if was_leader {
            self.leader = Some(Arc::clone(new));
        }
    }

    /// Tells a member that waits for a generation.
    pub(super) fn answer_join(&mut self, id: &str, result: Result<Joined, ErrorCode>) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(waits) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            let member_id = match result {
                Err(ErrorCode::UnknownMemberId) => Arc::default(),
                _ => Arc::clone(&member.id),
            };
            drop(waits.send(JoinAnswer { member_id, result }));
        }
    }

    /// Tells a member that waits for what it is given. True if one did.
    pub(super) fn answer_sync(&mut self, id: &str, answer: super::asks::SyncAnswer) -> bool {
        let waits = self.members.get_mut(id).and_then(|member| member.awaiting_sync.take());
        waits.map(|waits| drop(waits.send(answer))).is_some()
    }

    /// Makes sure that somebody leads who waits for the next generation; false if nobody waits for it.
    pub(super) fn elect_leader(&mut self) -> bool {
        let waits = |member: &Member| member.awaiting_join.is_some();
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(waits) {
            return true;
        }
        let Some(elected) = self.members.values().find(|member| waits(member)) else { return false };
        self.leader = Some(Arc::clone(&elected.id));
        true
    }

    /// Begins the next generation with the members there are.
    pub(super) fn next_generation(&mut self, now: TimestampMs) {
        self.generation_id = self.generation_id.checked_add(1).unwrap_or(0);
        self.protocol_name = self.choose_protocol();
        self.subscribed = self.subscribed_now();
        let is_empty = self.members.is_empty();
        self.move_to(if is_empty { State::Empty } else { State::CompletingRebalance }, now);
        self.pending_sync.clear();
    }

    /// The protocol that most members like best, of those that all of them know.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let count = self.members.len();
        let mut votes: BTreeMap<Arc<str>, usize> = self
            .supported
            .iter()
            .filter(|(_, known)| **known == count)
            .map(|(name, _)| (Arc::clone(name), 0))
            .collect();
        let voted: Vec<Arc<str>> =
            self.members.values().filter_map(|member| member.vote(&votes).cloned()).collect();
        for name in voted {
            *votes.entry(name).or_default() += 1;
        }
        // The first of those with the same number.
        votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| name)
    }

    /// Whether somebody with these protocols could be a member.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known = |protocol: &Protocol| {
            self.supported.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(known)
    }

    /// This generation as a member is told; the leader is told of all members.
    pub(super) fn joined(&self, id: &str) -> Joined {
        let members = if self.is_leader(id) { self.joined_members() } else { Vec::new() };
        Joined {
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let told = |member: &Member| JoinedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        };
        self.members.values().map(told).collect()
    }

    fn count_protocols(&mut self, protocols: &[Protocol], is_more: bool) {
        // A member that names one twice knows it once.
        let names: BTreeSet<&Arc<str>> = protocols.iter().map(|protocol| &protocol.name).collect();
        for name in names {
            let count = self.supported.entry(Arc::clone(name)).or_default();
            *count = if is_more { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    fn subscribed_now(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.has_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.append(&mut embedded::subscription(member.metadata(protocol)?.clone())?.topics);
        }
        Some(all)
    }
}

#[cfg(test)]
impl ClassicGroup {
    /// Checks that its parts agree.
    pub(in crate::group) fn check(&self) {
        let members = || self.members.values();
        assert_eq!(self.awaiting_join, members().filter(|it| it.awaiting_join.is_some()).count());
        assert_eq!(self.member_bytes, members().map(Member::bytes).sum::<usize>());
        assert_eq!(self.leader.is_some(), !self.members.is_empty());
        assert!(self.leader.as_ref().is_none_or(|leader| self.members.contains_key(leader)));
        assert!(self.members.iter().all(|(id, member)| *id == member.id));
        let named = members().filter_map(|it| Some((it.instance_id.clone()?, Arc::clone(&it.id)))).collect();
        assert_eq!(self.by_instance, named);
        for (name, count) in &self.supported {
            let knows = |it: &&Member| it.protocols.iter().any(|protocol| protocol.name == *name);
            assert_eq!(members().filter(knows).count(), *count);
        }
        match self.state {
            State::Empty => assert!(self.members.is_empty()),
            State::CompletingRebalance => assert!(!self.members.is_empty() && self.protocol_name.is_some()),
            State::Stable => {
                assert!(members().all(|it| it.awaiting_sync.is_none() && it.awaiting_join.is_none()));
            }
            State::PreparingRebalance { .. } => assert!(members().all(|it| it.awaiting_sync.is_none())),
        }
    }
}

/// Bytes that do not keep what they were read from alive.
fn copy(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

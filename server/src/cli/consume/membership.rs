//! Membership in a consumer group, by the classic protocol: join, take what is assigned, commit, leave. Assignment is by
//! range, over all topics that members name, so that other clients may be in the group.
//!
//! Heartbeats go out between fetches. Who does not read our output for longer than the session lasts makes the group take
//! the partitions away; what was printed and not committed is then printed once more by whoever gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition};
use ringmain_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ringmain_protocol::messages::heartbeat_request::HeartbeatRequest;
use ringmain_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ringmain_protocol::messages::join_group_response::JoinGroupResponse;
use ringmain_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ringmain_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ringmain_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ringmain_protocol::wire::{Request, Str};

use super::super::client::{Client, check};
use super::super::clock::instant;
use super::super::error::CliError;
use super::super::group::{self, CONSUMER, TOPIC_NAMES_UNTIL, unversioned, versioned};
use super::super::offsets;

/// The assignor that every client has.
const RANGE: &str = "range";
/// How long the group waits for a heartbeat, as the Java client's default.
const SESSION_TIMEOUT_MS: i32 = 45_000;
/// How long the group waits for a member that has to join again.
const REBALANCE_TIMEOUT_MS: i32 = 30_000;
/// Between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// First version of LeaveGroup that names several members.
const SEVERAL_MEMBERS_SINCE: i16 = 3;

/// A member.
#[derive(Debug)]
pub(super) struct Membership {
    bootstrap: String,
    group: String,
    topic: String,
    /// Absent until it is looked for, again after it failed.
    coordinator: Option<Client>,
    member_id: Str,
    generation_id: i32,
    /// Whether partitions are ours in that generation.
    is_settled: bool,
    heard_at: Instant,
    committed_at: Instant,
    committed: BTreeMap<i32, i64>,
}

impl Membership {
    /// Not a member yet.
    pub(super) fn new(bootstrap: &str, group: &str, topic: &str) -> Self {
        let now = instant();
        Self {
            bootstrap: bootstrap.to_owned(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            coordinator: None,
            member_id: Str::default(),
            generation_id: -1,
            is_settled: false,
            heard_at: now,
            committed_at: now,
            committed: BTreeMap::new(),
        }
    }

    /// Whether it has to join (again) before anything else.
    pub(super) fn must_join(&self) -> bool {
        !self.is_settled
    }

    /// What was assigned cannot be read: it has to be asked for anew.
    pub(super) fn join_again(&mut self) {
        self.is_settled = false;
    }

    /// Joins: the partitions of our topic that are ours now, with what was committed for them.
    pub(super) fn join(&mut self) -> Result<BTreeMap<i32, Option<i64>>, CliError> {
        let assigned = loop {
            if let Some(assigned) = self.try_join()? {
                break assigned;
            }
        };
        let name = self.group.clone();
        let committed = self.with_coordinator(|coordinator| group::committed(coordinator, &name))?;
        let of = |index: i32| committed.get(&(self.topic.clone(), index)).copied();
        let places: BTreeMap<_, _> = assigned.into_iter().map(|index| (index, of(index))).collect();
        self.committed = places.iter().filter_map(|(index, offset)| Some((*index, (*offset)?))).collect();
        self.is_settled = true;
        self.heard_at = instant();
        Ok(places)
    }

    /// One round of joining; `None` if another is needed.
    fn try_join(&mut self) -> Result<Option<Vec<i32>>, CliError> {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![Str::from(self.topic.as_str())],
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: Str::from(self.group.as_str()),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.member_id.clone(),
            protocol_type: Str::from_static(CONSUMER),
            protocols: vec![JoinGroupRequestProtocol {
                name: Str::from_static(RANGE),
                metadata: versioned(&subscription)?,
            }],
            ..JoinGroupRequest::default()
        };
        let joined = self.call(&request)?;
        if ErrorCode::from_code(joined.error_code) == Some(ErrorCode::MemberIdRequired) {
            self.member_id = joined.member_id;
            return Ok(None);
        }
        if !self.is_member(joined.error_code, "join")? {
            return Ok(None);
        }
        self.member_id = joined.member_id.clone();
        self.generation_id = joined.generation_id;
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let request = SyncGroupRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            protocol_type: Some(Str::from_static(CONSUMER)),
            protocol_name: Some(Str::from_static(RANGE)),
            assignments: if leads { self.assign(&joined)? } else { Vec::new() },
            ..SyncGroupRequest::default()
        };
        let synced = self.call(&request)?;
        if !self.is_member(synced.error_code, "sync")? {
            return Ok(None);
        }
        if synced.assignment.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let assignment: ConsumerProtocolAssignment = unversioned(&synced.assignment)?;
        let ours = assignment.assigned_partitions.into_iter().filter(|topic| *topic.topic == *self.topic);
        Ok(Some(ours.flat_map(|topic| topic.partitions).collect()))
    }

    /// What each member gets: we lead.
    fn assign(&self, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>, CliError> {
        let mut members = Vec::new();
        for member in &joined.members {
            let subscription: ConsumerProtocolSubscription = unversioned(&member.metadata)?;
            // Static members come first, as in the Java client.
            let instance = member.group_instance_id.as_ref().map(ToString::to_string);
            let order = (instance.is_none(), instance, member.member_id.to_string());
            members
                .push((order, subscription.topics.iter().map(ToString::to_string).collect::<BTreeSet<_>>()));
        }
        members.sort();
        let topics: BTreeSet<String> = members.iter().flat_map(|(_, topics)| topics.clone()).collect();
        let mut client = Client::connect(&self.bootstrap)?;
        let there = offsets::partitions_of(&mut client, &topics.into_iter().collect::<Vec<_>>())?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (topic, _) in there {
            *counts.entry(topic).or_default() += 1;
        }
        let subscribed: Vec<_> = members.iter().map(|(_, topics)| topics.clone()).collect();
        let assignments = members.iter().zip(by_range(&subscribed, &counts));
        assignments
            .map(|(((_, _, member_id), _), assigned)| {
                let assigned_partitions = assigned
                    .into_iter()
                    .map(|(topic, partitions)| TopicPartition { topic: Str::from(topic), partitions })
                    .collect();
                let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
                Ok(SyncGroupRequestAssignment {
                    member_id: Str::from(member_id.as_str()),
                    assignment: versioned(&assignment)?,
                })
            })
            .collect()
    }

    /// Sends a heartbeat and commits, each if it is time.
    pub(super) fn keep_up(&mut self, positions: &BTreeMap<i32, i64>) -> Result<(), CliError> {
        if self.is_settled && instant() - self.committed_at >= COMMIT_INTERVAL {
            self.commit(positions)?;
        }
        if self.is_settled && instant() - self.heard_at >= HEARTBEAT_INTERVAL {
            let request = HeartbeatRequest {
                group_id: Str::from(self.group.as_str()),
                generation_id: self.generation_id,
                member_id: self.member_id.clone(),
                ..HeartbeatRequest::default()
            };
            let code = self.call(&request)?.error_code;
            if code == ErrorCode::RebalanceInProgress.code() {
                // What was printed is committed before others get the partitions.
                self.commit(positions)?;
                self.is_settled = false;
            } else {
                self.is_member(code, "send a heartbeat")?;
            }
            self.heard_at = instant();
        }
        Ok(())
    }

    /// Commits the positions that moved.
    pub(super) fn commit(&mut self, positions: &BTreeMap<i32, i64>) -> Result<(), CliError> {
        self.committed_at = instant();
        let moved: BTreeMap<i32, i64> = positions
            .iter()
            .filter(|(index, offset)| self.committed.get(index) != Some(offset))
            .map(|(index, offset)| (*index, *offset))
            .collect();
        if moved.is_empty() || !self.is_settled {
            return Ok(());
        }
        let partition = |(index, offset): (&i32, &i64)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(Str::default()),
        };
        let request = OffsetCommitRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id_or_member_epoch: self.generation_id,
            member_id: self.member_id.clone(),
            retention_time_ms: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: Str::from(self.topic.as_str()),
                partitions: moved.iter().map(partition).collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let answer =
            self.with_coordinator(|coordinator| coordinator.call_up_to(&request, TOPIC_NAMES_UNTIL))?;
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if !self.is_member(partition.error_code, "commit")? {
                return Ok(());
            }
        }
        self.committed.extend(moved);
        Ok(())
    }

    /// Leaves, so that others get the partitions at once.
    pub(super) fn leave(&mut self) -> Result<(), CliError> {
        let mut request =
            LeaveGroupRequest { group_id: Str::from(self.group.as_str()), ..Default::default() };
        let member_id = self.member_id.clone();
        self.is_settled = false;
        let answer = self.with_coordinator(|coordinator| {
            if coordinator.version::<LeaveGroupRequest>()? >= SEVERAL_MEMBERS_SINCE {
                request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
            } else {
                request.member_id = member_id;
            }
            coordinator.call(&request)
        })?;
        let member_code = answer.members.first().map_or(0, |member| member.error_code);
        check(answer.error_code, || self.doing("leave"))
            .and_then(|()| check(member_code, || self.doing("leave")))
    }

    /// Whether the answer's code leaves us a member; if not, the next step is to join.
    fn is_member(&mut self, code: i16, doing: &str) -> Result<bool, CliError> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::UnknownMemberId) => self.member_id = Str::default(),
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {}
            other => {
                if other.is_some_and(ErrorCode::retriable) {
                    self.coordinator = None;
                }
                return check(code, || self.doing(doing)).map(|()| true);
            }
        }
        self.is_settled = false;
        Ok(false)
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} (group {})", self.group)
    }

    fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, CliError> {
        self.with_coordinator(|coordinator| coordinator.call(request))
    }

    /// Asks the coordinator, which is looked for anew once it failed.
    fn with_coordinator<T>(
        &mut self,
        ask: impl FnOnce(&mut Client) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let mut coordinator = match self.coordinator.take() {
            Some(coordinator) => coordinator,
            None => group::coordinator(&mut Client::connect(&self.bootstrap)?, &self.group)?,
        };
        let answer = ask(&mut coordinator)?;
        self.coordinator = Some(coordinator);
        Ok(answer)
    }
}

/// Splits each topic's partitions among those who named it: runs of neighbours, the first members one more.
fn by_range<'a>(
    subscribed: &[BTreeSet<String>],
    counts: &'a BTreeMap<String, usize>,
) -> Vec<BTreeMap<&'a str, Vec<i32>>> {
    let mut assigned = vec![BTreeMap::new(); subscribed.len()];
    for (topic, count) in counts {
        let takers: Vec<usize> = (0..subscribed.len()).filter(|at| subscribed[*at].contains(topic)).collect();
        let mut partitions = (0..i32::try_from(*count).unwrap_or(i32::MAX)).peekable();
        for (place, taker) in takers.iter().enumerate() {
            let share = count / takers.len() + usize::from(place < count % takers.len());
            if share > 0 {
                assigned[*taker].insert(topic.as_str(), partitions.by_ref().take(share).collect());
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_in_runs_to_those_who_named_the_topic() {
        let named = |topics: &[&str]| topics.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let subscribed = [named(&["a", "b"]), named(&["a"]), named(&["b", "gone"])];
        let counts = BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 1)]);
        let assigned = by_range(&subscribed, &counts);
        assert_eq!(assigned[0], BTreeMap::from([("a", vec![0, 1, 2]), ("b", vec![0])]));
        assert_eq!(assigned[1], BTreeMap::from([("a", vec![3, 4])]));
        assert_eq!(assigned[2], BTreeMap::new());
    }
}

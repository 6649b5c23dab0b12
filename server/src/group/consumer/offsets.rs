//! Who may commit and ask for offsets in a group of KIP-848 (`ConsumerGroup.validateOffsetCommit`, `validateOffsetFetch`).
//!
//! A member may be behind when it commits: what counts is that it has had the partition since the epoch it names or before
//! (KIP-1251).

use std::sync::Arc;

use ringmain_protocol::ErrorCode;

use super::super::cluster::Cluster;
use super::super::coordinator::Coordinator;
use super::super::offsets::CommitRequest;
use super::group::ConsumerGroup;
use super::member::Member;

/// Who asks for offsets as a member.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Its id, if it says who it is.
    pub member_id: Option<Arc<str>>,
    /// The epoch it takes itself to be in; −1 if it does not say.
    pub member_epoch: i32,
}

impl ConsumerGroup {
    /// Whether somebody may commit.
    pub(in crate::group) fn check_commit(
        &self,
        request: &CommitRequest,
        cluster: &dyn Cluster,
    ) -> Result<(), ErrorCode> {
        let (id, epoch) = (&request.member.member_id, request.member.generation_id);
        if epoch < 0 && self.members().is_empty() {
            return Ok(());
        }
        let member = self.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        if member.facts.classic.is_some() {
            return if epoch == member.current.epoch { Ok(()) } else { Err(ErrorCode::IllegalGeneration) };
        }
        if !request.knows_missing_groups {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if epoch == member.current.epoch {
            return Ok(());
        }
        let is_known = |topic: &str, partition: i32| {
            had_since(member, cluster, topic, partition).is_some_and(|since| since <= epoch)
        };
        let mut commits = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|one| (&*topic.topic, one.partition)));
        if epoch < member.current.epoch && commits.all(|(topic, partition)| is_known(topic, partition)) {
            return Ok(());
        }
        Err(ErrorCode::StaleMemberEpoch)
    }
}

/// Since which epoch a member has had a partition.
fn had_since(member: &Member, cluster: &dyn Cluster, topic: &str, partition: i32) -> Option<i32> {
    let id = cluster.topic(topic)?.id;
    let owned = [&member.current.assigned, &member.current.revoking];
    owned.into_iter().find_map(|owned| owned.get(&id)?.get(&partition).copied())
}

impl Coordinator {
    /// Whether somebody may ask for a group's offsets.
    pub fn check_fetch(&self, group_id: &str, asker: &Asker) -> Result<(), ErrorCode> {
        let Some(group) = self.consumers.get(group_id) else { return Ok(()) };
        if asker.member_id.is_none() && asker.member_epoch < 0 {
            return Ok(());
        }
        let id = asker.member_id.as_deref().unwrap_or_default();
        let member = group.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        match &member.facts.classic {
            _ if asker.member_epoch == member.current.epoch => Ok(()),
            Some(_) => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}

//! One member of a group of KIP-848, in the two halves that its two records have: what it says of itself, and where it
//! stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmain_storage::types::TopicId;

use super::super::classic::Protocol;

/// The epoch of a member that joins.
pub(super) const JOINING: i32 = 0;
/// The epoch of a member that leaves, or is gone.
pub(super) const LEAVING: i32 = -1;
/// The epoch of a static member that leaves to come back.
pub(super) const LEAVING_FOR_A_WHILE: i32 = -2;

/// Partitions by topic.
pub type Assignment = BTreeMap<TopicId, BTreeSet<i32>>;
/// Partitions by topic, each with the epoch in which the member got it.
pub(super) type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// What a partition that a member owns takes in memory, about: its place in the member's own list, in its target and in
/// the list of owners.
const PARTITION_BYTES: usize = 128;

/// How far a member is on its way to what it is meant to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemberState {
    /// It has all of it.
    #[default]
    Stable,
    /// It has to give partitions up first.
    Unrevoked,
    /// It waits for partitions that others have yet to give up.
    Unreleased,
    /// A newer version's.
    Unknown(i8),
}

impl MemberState {
    /// As records say it.
    #[must_use]
    pub fn from_number(number: i8) -> Self {
        match number {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            other => Self::Unknown(other),
        }
    }

    /// As records say it.
    #[must_use]
    pub fn number(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown(number) => number,
        }
    }
}

/// What a member that speaks the classic protocol says beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicFacts {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it knows, the best first.
    pub protocols: Vec<Protocol>,
}

/// What a member says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its own name for itself, if it is static.
    pub instance_id: Option<Arc<str>>,
    /// Where it stands in the data centre.
    pub rack_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it is, as Java writes an address.
    pub client_host: Arc<str>,
    /// Topics that it reads, by name.
    pub topics: BTreeSet<Arc<str>>,
    /// Topics that it reads, by expression; empty for none.
    pub regex: Arc<str>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// How it wants partitions to be shared out.
    pub assignor: Option<Arc<str>>,
    /// Set for a member that speaks the classic protocol.
    pub classic: Option<ClassicFacts>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: Arc::default(),
            client_host: Arc::default(),
            topics: BTreeSet::new(),
            regex: Arc::default(),
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

/// Where a member stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Current {
    /// The epoch it is in.
    pub epoch: i32,
    /// The one before, which it may still name if an answer was lost.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it has.
    pub assigned: Owned,
    /// What it has yet to give up.
    pub revoking: Owned,
}

impl Current {
    /// Where a member stands of which nothing is known.
    #[must_use]
    pub fn gone() -> Self {
        Self { epoch: LEAVING, previous_epoch: LEAVING, ..Self::default() }
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        PARTITION_BYTES * (partition_count(&self.assigned) + partition_count(&self.revoking))
    }

    /// Whether it has all that it is meant to have in an epoch.
    #[must_use]
    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// All that others cannot have yet.
    pub fn held(&self) -> impl Iterator<Item = (TopicId, i32)> {
        let of = |owned: &Owned| -> Vec<(TopicId, i32)> {
            owned.iter().flat_map(|(topic, all)| all.keys().map(|partition| (*topic, *partition))).collect()
        };
        of(&self.assigned).into_iter().chain(of(&self.revoking))
    }

    /// The same by topic.
    #[must_use]
    pub fn held_assignment(&self) -> Assignment {
        let mut held = Assignment::new();
        for (topic, partition) in self.held() {
            held.entry(topic).or_default().insert(partition);
        }
        held
    }

    /// What it has, without epochs.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        self.assigned.iter().map(|(topic, owned)| (*topic, owned.keys().copied().collect())).collect()
    }
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::group) struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// What it says of itself.
    pub facts: Facts,
    /// Where it stands.
    pub current: Current,
}

impl Member {
    /// Somebody who just came.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, ..Self::default() }
    }

    /// Whether it has to give partitions up in time. One that is away has, and one that speaks the classic protocol is
    /// expected to join.
    pub(in crate::group) fn is_revoking(&self) -> bool {
        let Current { epoch, state, .. } = self.current;
        state == MemberState::Unrevoked && epoch != LEAVING_FOR_A_WHILE && self.facts.classic.is_none()
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.facts.bytes(&self.id) + self.current.bytes()
    }
}

impl Facts {
    /// What a member that says this takes in memory, about, but for what it has.
    pub(super) fn bytes(&self, id: &str) -> usize {
        let facts = self;
        let optional = [&facts.instance_id, &facts.rack_id, &facts.assignor];
        let texts = optional.into_iter().flatten().chain(&facts.topics).map(|text| 64 + text.len());
        let protocols = facts.classic.iter().flat_map(|classic| &classic.protocols);
        1024 + 4 * id.len()
            + facts.client_id.len()
            + facts.client_host.len()
            + facts.regex.len()
            + texts.sum::<usize>()
            + protocols.map(|protocol| 80 + protocol.name.len() + protocol.metadata.len()).sum::<usize>()
    }
}

fn partition_count(owned: &Owned) -> usize {
    owned.values().map(BTreeMap::len).sum()
}

//! What members of a group of KIP-848 ask, and what they are told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::member::{Assignment, JOINING, LEAVING, LEAVING_FOR_A_WHILE};

/// A member is there: it joins, goes on, or leaves. What it does not say is as it was.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The group.
    pub group_id: Arc<str>,
    /// Who it is; empty if it has no id yet.
    pub member_id: Arc<str>,
    /// The epoch it takes itself to be in.
    pub member_epoch: i32,
    /// Its own name for itself, if it is a static member.
    pub instance_id: Option<Arc<str>>,
    /// Where it stands in the data centre.
    pub rack_id: Option<Arc<str>>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: Option<i32>,
    /// Topics that it reads, by name.
    pub topics: Option<BTreeSet<Arc<str>>>,
    /// Topics that it reads, by expression; empty for none.
    pub regex: Option<Arc<str>>,
    /// How it wants partitions to be shared out.
    pub assignor: Option<Arc<str>>,
    /// What it has.
    pub owned: Option<Assignment>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it is, as Java writes an address.
    pub client_host: Arc<str>,
    /// Whether it makes its own id (KIP-1082).
    pub makes_own_id: bool,
}

impl Beat {
    /// Whether it goes.
    #[must_use]
    pub fn leaves(&self) -> bool {
        matches!(self.member_epoch, LEAVING | LEAVING_FOR_A_WHILE)
    }

    /// Whether it joins, or joins again with nothing.
    #[must_use]
    pub fn joins(&self) -> bool {
        self.member_epoch == JOINING
    }

    /// Whether it says everything, and so wants to be told everything.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.joins() || (self.rebalance_timeout_ms.is_some() && subscribes && self.owned.is_some())
    }

    /// What a new member with its group would take in memory, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        let topics = self.topics.iter().flatten().map(|topic| 64 + topic.len());
        let regex = self.regex.as_ref().map_or(0, |regex| regex.len());
        4096 + 2 * self.group_id.len() + 4 * self.member_id.len() + regex + topics.sum::<usize>()
    }
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// Its id.
    pub member_id: Arc<str>,
    /// The epoch it is in.
    pub member_epoch: i32,
    /// How often it is to be heard of; 0 if it left.
    pub heartbeat_interval_ms: i32,
    /// What it has now, if that changed or it said everything.
    pub assignment: Option<Assignment>,
}

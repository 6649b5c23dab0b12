//! What members of a classic group ask, and what they are told. No API versions: where a version changes what is meant,
//! the question says so itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmain_protocol::ErrorCode;

/// A way of sharing partitions out that a member knows, with what it has to say for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Arc<str>,
    /// What the member says: for consumers its subscription.
    pub metadata: Bytes,
}

impl Protocol {
    /// What it takes in memory, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        80 + self.name.len() + self.metadata.len()
    }
}

impl std::fmt::Debug for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({} bytes)", self.name, self.metadata.len())
    }
}

/// Somebody wants to be a member, or to be one of the next generation too.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Who it is; empty if it has no id yet.
    pub member_id: Arc<str>,
    /// Its own name for itself, if it is a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it is, as Java writes an address.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// What kind of group it takes this for, such as `consumer`.
    pub protocol_type: Arc<str>,
    /// What it knows, the best first.
    pub protocols: Vec<Protocol>,
    /// Whether it is told an id and has to come again before it is a member (KIP-394).
    pub needs_known_id: bool,
    /// Whether it can be told that the assignment stands already (KIP-814).
    pub may_skip_assignment: bool,
}

impl JoinRequest {
    /// What a new member with its group would take in memory, about.
    pub(in crate::group) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len());
        2048 + 2 * self.group_id.len() + 4 * self.client_id.len() + protocols.sum::<usize>()
    }
}

/// What it is told.
#[derive(Clone, Debug)]
pub struct JoinAnswer {
    /// Its id; empty if it is nobody.
    pub member_id: Arc<str>,
    /// The generation it is in, or why it is in none.
    pub result: Result<Joined, ErrorCode>,
}

/// A generation, as one of its members is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub generation_id: i32,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// How partitions are shared out.
    pub protocol_name: Option<Arc<str>>,
    /// Who says what each is given.
    pub leader: Arc<str>,
    /// Whether the leader has nothing to say: what was said stands.
    pub skip_assignment: bool,
    /// All members, for the leader; empty for others.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its own name for itself.
    pub instance_id: Option<Arc<str>>,
    /// What it said for the protocol that was chosen.
    pub metadata: Bytes,
}

/// Who asks, as part of which generation.
#[derive(Clone, Debug)]
pub struct MemberRef {
    /// The group.
    pub group_id: Arc<str>,
    /// The member.
    pub member_id: Arc<str>,
    /// Its own name for itself.
    pub instance_id: Option<Arc<str>>,
    /// The generation it takes itself to be in.
    pub generation_id: i32,
}

/// A member asks for what it is given; the leader says what everyone is given.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Who.
    pub member: MemberRef,
    /// What kind of group it takes this for, if it says so.
    pub protocol_type: Option<Arc<str>>,
    /// How it takes partitions to be shared out, if it says so.
    pub protocol_name: Option<Arc<str>>,
    /// What everyone is given, if it leads.
    pub assignments: Vec<Assignment>,
}

/// What one member is given.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The member.
    pub member_id: Arc<str>,
    /// What it is given.
    pub bytes: Bytes,
}

/// What a member is given, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// How partitions are shared out.
    pub protocol_name: Option<Arc<str>>,
    /// What it is given.
    pub assignment: Bytes,
}

/// The answer to a [`SyncRequest`].
pub type SyncAnswer = Result<Synced, ErrorCode>;

/// Members leave, or are made to.
#[derive(Clone, Debug)]
pub struct LeaveRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Each by its id, or by its own name for itself and an empty id.
    pub members: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// What became of each of them, in their order.
pub type Left = Vec<Result<(), ErrorCode>>;

/// Milliseconds of a request as a duration; none if negative.
pub(in crate::group) fn duration_ms(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

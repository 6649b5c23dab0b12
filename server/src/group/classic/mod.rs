//! Groups of the classic protocol: members join, one of them leads and says what each is given, all ask for it.
//!
//! A generation begins when everyone has joined, or when those who have not are given up. The model is Apache Kafka's
//! `ClassicGroup` and the part of `GroupMetadataManager` that is about it; what it does in which state is the same, also
//! where it is odd, since clients rely on it. What is written to the log: a group when it is made, the assignment of
//! each generation, a generation without members, and a static member that came back under another id.

mod asks;
mod group;
mod join;
mod leave;
mod member;
mod rebalance;
mod sync;

pub(super) use asks::duration_ms;
pub use asks::{
    Assignment, JoinAnswer, JoinRequest, Joined, JoinedMember, LeaveRequest, Left, MemberRef, Protocol,
    SyncAnswer, SyncRequest, Synced,
};
pub(super) use group::{ClassicGroup, GROUP_BYTES, State};
pub(super) use join::{JoinWaiter, refuse_join};
pub(super) use member::Member;
pub(super) use rebalance::Step;
pub(super) use sync::SyncWaiter;

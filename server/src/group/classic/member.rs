//! One member of a classic group.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::oneshot;

use super::asks::{JoinAnswer, JoinRequest, Protocol, SyncAnswer};

/// A member. The channels are where answers go that it waits for; whoever asked may have gone, and then nobody is told.
#[derive(Debug, Default)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Arc<str>,
    pub(in crate::group) instance_id: Option<Arc<str>>,
    pub(in crate::group) client_id: Arc<str>,
    pub(in crate::group) client_host: Arc<str>,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) session_timeout_ms: i32,
    pub(in crate::group) protocols: Vec<Protocol>,
    pub(in crate::group) assignment: Bytes,
    /// Whether it was never part of a generation: then waiting does not keep it alive.
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<oneshot::Sender<JoinAnswer>>,
    pub(super) awaiting_sync: Option<oneshot::Sender<SyncAnswer>>,
}

impl Member {
    /// A member that just came.
    pub(super) fn new(id: Arc<str>, request: &JoinRequest) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// What it says for a protocol, if it knows it.
    pub(in crate::group) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|known| &*known.name == protocol).map(|known| &known.metadata)
    }

    /// The protocol it likes best of those in `candidates`.
    pub(super) fn vote(&self, candidates: &BTreeMap<Arc<str>, usize>) -> Option<&Arc<str>> {
        self.protocols.iter().map(|protocol| &protocol.name).find(|name| candidates.contains_key(*name))
    }

    /// Whether it is alive without a heartbeat: it waits for an answer.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.id.len() * 3 + self.client_id.len() + self.client_host.len();
        let protocols: usize = self.protocols.iter().map(Protocol::bytes).sum();
        512 + texts
            + self.instance_id.as_ref().map_or(0, |id| 2 * id.len())
            + protocols
            + self.assignment.len()
    }
}

//! A control plane for tests: the real controller loop over a log in memory, on the caller's own executor, so
//! that handlers are tested with it under the simulated one.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::service::Service;
use super::{ControlConfig, ControllerClient};
use crate::metadata::batch::NewBatch;
use crate::metadata::bootstrap;
use crate::metadata::image::{BrokerImage, Endpoint, FeatureRange, Id};
use crate::metadata::image_records::broker_record;
use crate::metadata::loader::Loader;
use crate::metadata::log::{LogError, MetadataLog};
use crate::metadata::request::ImageUpdate;
use crate::metadata::snapshot::SnapshotContent;
use crate::metadata::store::MetadataStore;
use futures::channel::{mpsc, oneshot};
use std::path::PathBuf;
use std::sync::Arc;

/// A log that keeps nothing but its end.
#[derive(Debug)]
struct MemoryLog(i64);

impl MetadataLog for MemoryLog {
    fn end_offset(&self) -> i64 {
        self.0
    }

    fn epoch(&self) -> i32 {
        1
    }

    fn append(&mut self, batch: NewBatch<'_>, _now_ms: i64) -> Result<i64, LogError> {
        let base = self.0;
        let count = match batch {
            NewBatch::Data(records, _) => records.len(),
            NewBatch::Control(records) => records.len(),
        };
        self.0 += i64::try_from(count).unwrap();
        Ok(base)
    }

    fn wants_snapshot(&self) -> bool {
        false
    }

    fn write_snapshot(&mut self, _content: SnapshotContent<'_>) -> Result<(), LogError> {
        Ok(())
    }
}

/// The parts of a control plane that nobody runs yet.
pub(crate) struct InMemory<F> {
    /// The published image: node 1, in service, on listener `PLAINTEXT`.
    pub(crate) store: Arc<MetadataStore>,
    /// Asks the controller.
    pub(crate) controller: ControllerClient,
    /// Changes to act on.
    pub(crate) updates: mpsc::Receiver<ImageUpdate>,
    /// The loop; it ends when `stop` is dropped.
    pub(crate) service: F,
    /// Keeps the loop going.
    pub(crate) stop: oneshot::Sender<()>,
}

/// A control plane of node 1 in a cluster of its own.
pub(crate) fn in_memory() -> InMemory<impl Future<Output = ()> + 'static> {
    let endpoint =
        Endpoint { name: "PLAINTEXT".into(), host: "localhost".into(), port: 9092, security_protocol: 0 };
    let features = bootstrap::FEATURES.iter();
    let broker = BrokerImage {
        id: 1,
        epoch: 1,
        incarnation_id: Id([1; 16]),
        listeners: vec![endpoint.clone()],
        features: features
            .map(|(name, min, max, _)| FeatureRange { name: Arc::from(*name), min: *min, max: *max })
            .collect(),
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: vec![Id([2; 16])],
        cordoned_log_dirs: None,
    };
    let mut loader = Loader::new("the-cluster");
    loader.data(&bootstrap::first_records(), 10, 1).unwrap();
    loader.data(&[broker_record(&broker).into()], 11, 1).unwrap();
    let image = Arc::new(loader.image().clone());
    let store = Arc::new(MetadataStore::new(Arc::clone(&image)));
    let config = ControlConfig {
        log_dirs: vec![PathBuf::from("/data")],
        node_id: 1,
        rack: None,
        listeners: vec![endpoint],
        cluster_id: None,
        num_partitions: 1,
        default_replication_factor: 1,
        snapshot_log_bytes: u64::MAX,
    };
    let service = Service::new(&config, Box::new(MemoryLog(11)), image, Vec::new(), Arc::clone(&store));
    let (requests, waiting) = mpsc::channel(super::REQUESTS_WAITING_MAX);
    let (update, updates) = mpsc::channel(0);
    let (stop, stopped) = oneshot::channel();
    InMemory {
        store,
        controller: ControllerClient { requests },
        updates,
        service: service.run(waiting, update, stopped),
        stop,
    }
}

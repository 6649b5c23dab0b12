//! A whole broker on the simulated disk, for tests of handlers: requests go in as frames and come out as frames,
//! through the codec, so that every answer is also one that can be encoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::oneshot;
use ringmain_protocol::ApiKey;
use ringmain_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringmain_protocol::messages::response_header::ResponseHeader;
use ringmain_protocol::wire::{self, Message, Reader, Records, Str, Writer};
use ringmain_storage::config::StoreConfig;
use ringmain_storage::io::Io;
use ringmain_storage::io::sim::{SimIo, SimWorld};
use ringmain_storage::manager::LogManager;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::validate::ProducerBatch;
use ringmain_storage::types::{PartitionIndex, PartitionKey};

use super::{
    Broker, BrokerParts, InternalTopic, InternalTopics, ListenerAddress, ListenerId, Part, Peer, Request,
    Response, Settings,
};
use crate::control::in_memory::in_memory;
use crate::group::GroupSettings;
use crate::metadata::request::CreateTopicSpec;
use crate::partition::Stores;
use crate::runtime::logging::LogFilter;
use crate::runtime::router::routers;

/// A running broker, node 1.
pub(super) struct Kit {
    /// The broker.
    pub(super) broker: Rc<Broker<SimIo>>,
    _stop: oneshot::Sender<()>,
}

/// A client on this host.
pub(super) fn peer() -> Peer {
    Peer { address: SocketAddr::from(([127, 0, 0, 1], 1)), listener: ListenerId::default() }
}

fn internal_topics() -> InternalTopics {
    let topic = InternalTopic { partition_count: 5, replication_factor: None, segment_bytes: 100 << 20 };
    InternalTopics { offsets: topic.clone(), transactions: topic, transactions_isr_min: None }
}

/// Runs a test against a new broker.
pub(super) fn with_broker<T>(test: impl AsyncFnOnce(Kit) -> T) -> T {
    with_settings(|_| {}, test)
}

/// Runs a test against a new broker that was started with other settings.
pub(super) fn with_settings<T>(change: impl FnOnce(&mut Settings), test: impl AsyncFnOnce(Kit) -> T) -> T {
    let world = SimWorld::new(1);
    let io = world.io();
    world.run(async move { test(Kit::start(io, change).await).await }).unwrap()
}

impl Kit {
    async fn start(io: SimIo, change: impl FnOnce(&mut Settings)) -> Self {
        io.create_directory(Path::new("/data")).await.unwrap();
        let store = StoreConfig { journal_file_bytes: 4 << 20, ..StoreConfig::new("/data") };
        let (manager, _) = LogManager::open(io.clone(), store.clone()).await.unwrap();
        let control = in_memory();
        let mut settings = Settings {
            node_id: 1,
            listeners: vec![ListenerAddress {
                address: SocketAddr::from(([127, 0, 0, 1], 9092)),
                name: "PLAINTEXT".to_owned(),
            }],
            auto_create_topics: true,
            delete_topics: true,
            fetch_max_bytes: 1 << 20,
            fetch_sessions_max: 1000,
            groups: GroupSettings::default(),
            internal_topics: internal_topics(),
            request_partitions_max: 2000,
            recordless_request_bytes_max: 4 << 20,
            batch_bytes_max: store.batch_bytes_max(),
            log_dirs: vec![PathBuf::from("/data")],
            offline_log_dirs: Vec::new(),
            has_offline_partitions: std::sync::Arc::default(),
            set_at_start: BTreeMap::new(),
            log: LogFilter::of_no_log("info"),
        };
        change(&mut settings);
        let stores = Stores::new(vec![manager]);
        let (router, _) = routers(1).remove(0);
        let (store, controller) = (control.store, control.controller);
        let broker = Broker::new(BrokerParts {
            io: io.clone(),
            stores,
            router,
            store,
            controller,
            settings,
            counters: std::sync::Arc::default(),
        });
        let mut updates = control.updates;
        let applied = Rc::clone(&broker);
        io.spawn(control.service);
        io.spawn(async move {
            while let Some(update) = updates.next().await {
                applied.announce(update).await;
            }
        });
        Self { broker, _stop: control.stop }
    }

    /// Asks in that version and reads the answer.
    pub(super) async fn ask<R: wire::Request>(&self, version: i16, request: &R) -> R::Response {
        let key = ApiKey::try_from(R::API_KEY).unwrap();
        let mut writer = Writer::new();
        if key.request_header_version(version) >= 2 {
            writer.uvarint(0);
        }
        request.write(&mut writer, version).unwrap();
        let response = self
            .broker
            .handle(Request {
                api_key: R::API_KEY,
                version,
                correlation_id: 5,
                client_id: None,
                frame_bytes: 0,
                rest: writer.finish().into_bytes(),
                peer: peer(),
                traffic: crate::runtime::traffic::Traffic::default(),
                right: None,
            })
            .await;
        let parts = match response {
            Response::Frame(parts) => parts,
            other => panic!("no frame: {other:?}"),
        };
        let mut frame = Vec::new();
        for part in parts {
            match part {
                Part::Memory(bytes) | Part::Records(bytes) => frame.extend_from_slice(&bytes),
                Part::File { .. } => panic!("a file in a small answer"),
            }
        }
        let mut reader = Reader::new(Bytes::from(frame).slice(4..));
        let header = ResponseHeader::read(&mut reader, key.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 5);
        let answer = R::Response::read(&mut reader, version).unwrap();
        reader.finish(R::NAME).unwrap();
        answer
    }

    /// Makes a topic with settings.
    pub(super) async fn create_topic(&self, name: &str, partition_count: i32, configs: &[(&str, &str)]) {
        let spec = CreateTopicSpec {
            name: name.to_owned(),
            partition_count,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        self.broker.controller().create_topics(vec![spec], false).await.pop().unwrap().unwrap();
    }

    /// What names a partition.
    pub(super) fn key(&self, topic: &str, partition: i32) -> PartitionKey {
        let topic_id = self.broker.image().topic_by_name(topic).unwrap().id;
        PartitionKey { topic_id, partition: PartitionIndex(partition) }
    }

    /// Sends one batch of `count` records, and gives the error code of its answer.
    pub(super) async fn produce(&self, topic: &str, count: i32, producer: Option<ProducerBatch>) -> i16 {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..count {
            let timestamp = self.broker.io().wall_clock();
            builder.push(&NewRecord { timestamp, value: Some(b"value"), ..NewRecord::default() }).unwrap();
        }
        if let Some(producer) = producer {
            builder = builder.with_producer(producer);
        }
        let records = Records::Bytes(builder.build().unwrap());
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![TopicProduceData {
                name: Str::from(topic),
                partition_data: vec![PartitionProduceData { index: 0, records, ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.ask(9, &request).await.responses[0].partition_responses[0].error_code
    }
}

//! From directories to the first image. In this order, each durable before the next: format what is new, read the
//! log, `quorum-state` with a new epoch, `LeaderChange`, the first records of a new cluster, this node's
//! registration together with the leaderships it takes.

use super::service::new_topic_id;
use super::{ControlConfig, StartError};
use crate::metadata::batch::NewBatch;
use crate::metadata::bootstrap;
use crate::metadata::control_record::{ControlRecord, Voter};
use crate::metadata::controller::leadership;
use crate::metadata::directory::{self, METADATA_FOLDER, MetaProperties};
use crate::metadata::image::{BrokerImage, ControllerImage, Endpoint, FeatureRange, Id, MetadataImage};
use crate::metadata::image_records::{METADATA_VERSION, broker_record, controller_record};
use crate::metadata::loader::Loader;
use crate::metadata::log::{LocalLog, MetadataLog};
use ringmain_protocol::metadata::{AbortTransactionRecord, BrokerRegistrationChangeRecord, MetadataRecord};
use ringmain_storage::inspect::versions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Port that the quorum's record of voters names for this controller. Nobody listens there: Apache's tools and
/// an Apache controller that takes the directory over want an endpoint to be written.
const CONTROLLER_PORT: u16 = 9093;
/// Records in one batch of leaderships.
const BATCH_RECORDS_MAX: usize = 10_000;

/// What the start leaves for the service.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) log: Box<dyn MetadataLog>,
    pub(super) image: Arc<MetadataImage>,
    pub(super) control: Vec<ControlRecord>,
    pub(super) directory_ids: Vec<(PathBuf, Id)>,
}

/// Opens or formats the directories, recovers, and takes the lead.
pub(super) fn start(config: &ControlConfig, now_ms: i64) -> Result<Started, StartError> {
    let (metas, endpoint) = (prepare(config, now_ms)?, controller_endpoint(config));
    let (first, cluster_id) = match (config.log_dirs.first(), metas.first()) {
        (Some(directory), Some(meta)) => (directory, &meta.cluster_id),
        _ => return Err(StartError::Mismatch("log.dirs names no directory".to_string())),
    };
    let folder = first.join(METADATA_FOLDER);
    let mut loader = Loader::new(cluster_id);
    let mut log = LocalLog::open(&folder, &mut loader, config.snapshot_log_bytes)?;
    if log.torn_bytes() > 0 {
        tracing::warn!(
            bytes = log.torn_bytes(),
            "cut off an unfinished write at the end of the metadata log"
        );
    }
    check_claims(config, &loader)?;
    lead(config, &folder, &mut log, &mut loader, now_ms)?;
    let directory_ids: Vec<Id> = metas.iter().map(|meta| meta.directory_id).collect();
    register(config, endpoint, &directory_ids, &mut log, &mut loader, now_ms)?;
    Ok(Started {
        image: Arc::new(loader.image().clone()),
        control: loader.control_records(),
        log: Box::new(log),
        directory_ids: config.log_dirs.iter().cloned().zip(directory_ids).collect(),
    })
}

/// Reads each directory's `meta.properties`, and refuses what a newer build wrote, before anything is written anywhere.
fn read_metas(config: &ControlConfig) -> Result<Vec<Option<MetaProperties>>, StartError> {
    let mut found = Vec::with_capacity(config.log_dirs.len());
    for path in &config.log_dirs {
        directory::create(path)?;
        found.push(directory::read_meta(path)?);
        versions::check(path).map_err(|error| StartError::Mismatch(error.to_string()))?;
    }
    Ok(found)
}

/// The cluster that the directories belong to, if any does; they have to agree, with each other and with the
/// configuration.
fn agreed_cluster_id(
    config: &ControlConfig,
    found: &[Option<MetaProperties>],
) -> Result<Option<String>, StartError> {
    let mut cluster_id: Option<(String, &Path)> = None;
    for (path, meta) in config.log_dirs.iter().zip(found) {
        let Some(meta) = meta else { continue };
        if meta.node_id != config.node_id {
            return Err(StartError::Mismatch(format!(
                "{} belongs to node {}, and node.id is {}: set node.id={}, or use another directory",
                path.display(),
                meta.node_id,
                config.node_id,
                meta.node_id
            )));
        }
        let (known, whose) = cluster_id.get_or_insert_with(|| (meta.cluster_id.clone(), path));
        if *known != meta.cluster_id {
            return Err(StartError::Mismatch(format!(
                "{} belongs to cluster {known}, {} to cluster {}: they cannot be used together",
                whose.display(),
                path.display(),
                meta.cluster_id
            )));
        }
    }
    if let (Some((known, whose)), Some(wanted)) = (&cluster_id, &config.cluster_id)
        && known != wanted
    {
        return Err(StartError::Mismatch(format!(
            "{} belongs to cluster {known}, and ringmain.cluster.id is {wanted}: leave it out, or use another directory",
            whose.display()
        )));
    }
    let has_metadata = found.first().is_some_and(Option::is_some);
    if let Some((known, whose)) = cluster_id.as_ref().filter(|_| !has_metadata) {
        return Err(StartError::Mismatch(format!(
            "the first of log.dirs holds no metadata, but {} is of cluster {known}: name first the directory that \
             was first before",
            whose.display()
        )));
    }
    Ok(cluster_id.map(|(id, _)| id))
}

/// Reads or writes each directory's `meta.properties`; they have to agree.
fn prepare(config: &ControlConfig, now_ms: i64) -> Result<Vec<MetaProperties>, StartError> {
    let found = read_metas(config)?;
    let cluster_id = agreed_cluster_id(config, &found)?
        .or_else(|| config.cluster_id.clone())
        .unwrap_or_else(|| ringmain_protocol::Uuid::from_bytes(new_topic_id().0).to_string());
    let mut metas = Vec::with_capacity(found.len());
    for (at, (path, meta)) in config.log_dirs.iter().zip(found).enumerate() {
        let is_new = meta.is_none();
        let meta = meta.unwrap_or_else(|| MetaProperties {
            cluster_id: cluster_id.clone(),
            node_id: config.node_id,
            directory_id: Id(new_topic_id().0),
        });
        if is_new {
            if at == 0 {
                let endpoint = controller_endpoint(config);
                let voter = Voter { id: config.node_id, directory_id: meta.directory_id, endpoint };
                directory::format_metadata(path, &voter, now_ms)?;
            }
            directory::write_meta(path, &meta)?;
        }
        metas.push(meta);
    }
    Ok(metas)
}

/// Where the quorum's records say that this controller is.
fn controller_endpoint(config: &ControlConfig) -> Endpoint {
    let host =
        config.listeners.first().map_or_else(|| Arc::from("127.0.0.1"), |first| Arc::clone(&first.host));
    Endpoint { name: Arc::from("CONTROLLER"), host, port: CONTROLLER_PORT, security_protocol: 0 }
}

/// Refuses a log that this node must not lead or does not understand.
fn check_claims(config: &ControlConfig, loader: &Loader) -> Result<(), StartError> {
    if let Some(voters) = loader.voters()
        && voters.only_voter() != Some(config.node_id)
    {
        return Err(StartError::Mismatch(format!(
            "this metadata log has other voters than node {}: ringmain leads alone, or joins a quorum as a broker",
            config.node_id
        )));
    }
    for (name, level) in loader.image().features.iter() {
        let known = bootstrap::FEATURES.iter().find(|(feature, ..)| *feature == &**name);
        if !known.is_some_and(|(_, min, max, _)| (*min..=*max).contains(level)) {
            return Err(StartError::Mismatch(format!(
                "this metadata log needs {name} {level}, which this version of ringmain does not know"
            )));
        }
    }
    Ok(())
}

/// Begins a new epoch, and a new cluster if there is none.
fn lead(
    config: &ControlConfig,
    folder: &Path,
    log: &mut LocalLog,
    loader: &mut Loader,
    now_ms: i64,
) -> Result<(), StartError> {
    let epoch = directory::read_quorum_epoch(folder)?.max(log.last_epoch()).saturating_add(1);
    directory::write_quorum_state(folder, config.node_id, epoch)?;
    let is_first = log.end_offset() == 0;
    log.begin_epoch(epoch)?;
    let mut records = vec![ControlRecord::leader_change(config.node_id)];
    if is_first {
        records.extend(loader.control_records());
    }
    log.append(NewBatch::Control(&records), now_ms)?;
    loader.end_of_snapshot(log.end_offset(), epoch);
    let mut records = Vec::new();
    if loader.in_transaction() {
        let reason = Some("the leader that began it is gone".into());
        records.push(AbortTransactionRecord { reason }.into());
    }
    append(log, loader, &records, now_ms)?;
    if loader.image().feature(METADATA_VERSION) == 0 {
        append(log, loader, &bootstrap::first_records(), now_ms)?;
    }
    Ok(())
}

/// Registers this node as controller and broker, in service at once, and takes the leaderships that are its own.
fn register(
    config: &ControlConfig,
    endpoint: Endpoint,
    directory_ids: &[Id],
    log: &mut LocalLog,
    loader: &mut Loader,
    now_ms: i64,
) -> Result<(), StartError> {
    let incarnation_id = Id(new_topic_id().0);
    let features: Vec<FeatureRange> = bootstrap::FEATURES
        .iter()
        .map(|(name, min, max, _)| FeatureRange { name: Arc::from(*name), min: *min, max: *max })
        .collect();
    let controller = ControllerImage {
        id: config.node_id,
        incarnation_id,
        zk_migration_ready: false,
        listeners: vec![endpoint],
        features: features.clone(),
    };
    let version = loader.image().feature(METADATA_VERSION);
    let mut records = Vec::new();
    if version >= CONTROLLER_REGISTRATION {
        records.push(controller_record(&controller).into());
    }
    // A broker's epoch is the offset of its registration.
    let epoch = log.end_offset().saturating_add(i64::try_from(records.len()).unwrap_or(0));
    let broker = BrokerImage {
        id: config.node_id,
        epoch,
        incarnation_id,
        listeners: config.listeners.clone(),
        features,
        rack: config.rack.as_deref().map(Arc::from),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: directory_ids.to_vec(),
        cordoned_log_dirs: None,
    };
    records.push(broker_record(&broker).into());
    let change = BrokerRegistrationChangeRecord {
        broker_id: config.node_id,
        broker_epoch: epoch,
        fenced: -1,
        ..BrokerRegistrationChangeRecord::default()
    };
    records.push(change.into());
    append(log, loader, &records, now_ms)?;
    let leaderships = leadership::after_start(loader.image(), config.node_id);
    for records in leaderships.chunks(BATCH_RECORDS_MAX) {
        append(log, loader, records, now_ms)?;
    }
    Ok(())
}

/// From this `metadata.version` on controllers register (Kafka 3.7).
const CONTROLLER_REGISTRATION: i16 = 15;

/// Makes records durable and applies them.
fn append(
    log: &mut LocalLog,
    loader: &mut Loader,
    records: &[MetadataRecord],
    now_ms: i64,
) -> Result<(), StartError> {
    if records.is_empty() {
        return Ok(());
    }
    log.append(NewBatch::Data(records, loader.image().feature(METADATA_VERSION)), now_ms)?;
    loader.data(records, log.end_offset(), log.epoch())?;
    Ok(())
}

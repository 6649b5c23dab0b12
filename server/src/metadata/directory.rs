//! What makes a log directory one of Kafka's: `meta.properties` in each, and in the first the files around the
//! metadata log. Written as Apache's `kafka-storage format --standalone` does, `meta.properties` last: a directory
//! without it is formatted again.

use super::batch::WriteError;
use super::bootstrap;
use super::control_record::{ControlRecord, Voter};
use super::files;
use super::image::Id;
use super::record_version::METADATA_VERSION_MAX;
use super::snapshot::{self, SnapshotContent, SnapshotId};
use ringmain_protocol::Uuid;
use std::io;
use std::path::{Path, PathBuf};

/// Folder of the metadata log in the first log directory.
pub const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// What `meta.properties` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// Id of the cluster it belongs to.
    pub cluster_id: String,
    /// Id of the node it belongs to.
    pub node_id: i32,
    /// The directory's own id.
    pub directory_id: Id,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// A file says something that cannot be.
    #[error("{path}: {reason}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// A record could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Reads `meta.properties`; `None` if the directory has none.
pub fn read_meta(directory: &Path) -> Result<Option<MetaProperties>, DirectoryError> {
    let path = directory.join("meta.properties");
    let Some(bytes) = at(&path, files::read_optional(&path))? else { return Ok(None) };
    // A predecessor that was killed may have left a name that no power cut would have left.
    at(directory, files::sync_dir(directory))?;
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let line = text.lines().find(|line| {
            let line = line.trim_start();
            !line.starts_with('#') && line.split('=').next().is_some_and(|name| name.trim() == key)
        });
        line.and_then(|line| line.split_once('=')).map(|(_, value)| value.trim().to_string())
    };
    let wrong = |reason: String| DirectoryError::Wrong { path: path.clone(), reason };
    let need = |key: &str| value(key).ok_or_else(|| wrong(format!("{key} is missing")));
    let version = need("version")?;
    if version != "1" {
        return Err(wrong(format!("version {version} is not known: 1 is")));
    }
    let node_id = need("node.id")?;
    let directory_id = need("directory.id")?;
    Ok(Some(MetaProperties {
        cluster_id: need("cluster.id")?,
        node_id: node_id.parse().map_err(|_| wrong(format!("node.id {node_id} is no number")))?,
        directory_id: directory_id
            .parse::<Uuid>()
            .map(|uuid| Id(*uuid.as_bytes()))
            .map_err(|error| wrong(format!("directory.id {directory_id}: {error}")))?,
    }))
}

/// Writes `meta.properties`; durable on return.
pub fn write_meta(directory: &Path, meta: &MetaProperties) -> Result<(), DirectoryError> {
    let path = directory.join("meta.properties");
    let text = format!(
        "#\nnode.id={}\ndirectory.id={}\nversion=1\ncluster.id={}\n",
        meta.node_id,
        Uuid::from_bytes(meta.directory_id.0),
        meta.cluster_id
    );
    at(&path, files::write_whole(&path, text.as_bytes(), 0o644))
}

/// Writes all but `meta.properties` into the first log directory: the records a new cluster begins with, and
/// the snapshot that names the only voter.
pub fn format_metadata(directory: &Path, voter: &Voter, now_ms: i64) -> Result<(), DirectoryError> {
    let folder = directory.join(METADATA_FOLDER);
    at(&folder, files::create_dir(&folder))?;
    let log = folder.join("00000000000000000000.log");
    if at(&log, files::read_optional(&log))?.is_some_and(|bytes| !bytes.is_empty()) {
        let reason =
            "there is a metadata log here but no meta.properties: restore that file, or start with another \
                      directory"
                .to_string();
        return Err(DirectoryError::Wrong { path: folder, reason });
    }
    let content = |control, records| SnapshotContent {
        control,
        records,
        metadata_version: METADATA_VERSION_MAX,
        last_timestamp_ms: 0,
        now_ms,
    };
    let voters = [ControlRecord::kraft_version(), ControlRecord::kraft_voters(voter)];
    let path = folder.join(SnapshotId { end_offset: 0, epoch: 0 }.file_name());
    at(&path, files::write_whole(&path, &snapshot::write(content(&voters, &[]), 0)?, 0o444))?;
    let path = directory.join("bootstrap.checkpoint");
    let records = bootstrap::feature_records();
    at(&path, files::write_whole(&path, &snapshot::write(content(&[], &records), 0)?, 0o644))?;
    let path = folder.join("partition.metadata");
    let text = format!("version: 0\ntopic_id: {}", Uuid::METADATA_TOPIC_ID);
    at(&path, files::write_whole(&path, text.as_bytes(), 0o644))
}

/// The epoch in `quorum-state`; 0 if there is no such file yet.
pub fn read_quorum_epoch(folder: &Path) -> Result<i32, DirectoryError> {
    let path = folder.join("quorum-state");
    let Some(bytes) = at(&path, files::read_optional(&path))? else { return Ok(0) };
    let state: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let epoch = state.as_ref().and_then(|state| state.get("leaderEpoch")).and_then(serde_json::Value::as_i64);
    epoch.and_then(|epoch| i32::try_from(epoch).ok()).ok_or_else(|| DirectoryError::Wrong {
        path: path.clone(),
        reason: "it names no leaderEpoch".to_string(),
    })
}

/// Writes `quorum-state`: `leader_id` leads in `epoch`. Durable on return, and so before any record of that epoch.
pub fn write_quorum_state(folder: &Path, leader_id: i32, epoch: i32) -> Result<(), DirectoryError> {
    let path = folder.join("quorum-state");
    let state = format!(
        "{{\"leaderId\":{leader_id},\"leaderEpoch\":{epoch},\"votedId\":-1,\"votedDirectoryId\":\"{}\",\
         \"data_version\":1}}",
        Uuid::ZERO
    );
    at(&path, files::write_whole_if_room(&path, state.as_bytes(), 0o644))
}

/// Makes a directory; durable on return.
pub fn create(directory: &Path) -> Result<(), DirectoryError> {
    at(directory, files::create_dir(directory))
}

/// Names the file an error is about.
fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, DirectoryError> {
    result.map_err(|error| DirectoryError::Io { path: path.to_path_buf(), error })
}

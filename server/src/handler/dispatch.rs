//! Which handler answers which key, and the frame around its answer.
//!
//! Order of checks, as in `RequestHeader.parse` and `RequestContext.parseRequest`: key known and served → version served
//! (`ApiVersions` answers a wrong one, every other API closes the connection: the client cannot have learnt of it
//! here) → no larger than a request of its kind may be → body readable. A body that cannot be read closes the connection
//! and says which field it was; bytes after it are not looked at, as in Apache.

use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use ringmain_protocol::ApiKey;
use ringmain_protocol::messages::ApiVersionsResponse;
use ringmain_protocol::messages::response_header::ResponseHeader;
use ringmain_protocol::wire::{self, Message, Reader, Writer};
use ringmain_storage::io::Io;
use ringmain_storage::segment::Slice;

use super::offset_for_leader_epoch;
use super::{Answer, Broker, Context, Part, Request, Response};
use super::{alter_configs, alter_partition_reassignments, elect_leaders, incremental_alter_configs};
use super::{api_versions, fetch, init_producer_id, list_offsets, metadata, produce};
use super::{consumer_group_describe, consumer_group_heartbeat, delete_groups, describe_groups, list_groups};
use super::{
    create_partitions, create_topics, delete_records, delete_topics, describe_cluster, describe_configs,
};
use super::{describe_log_dirs, describe_producers, describe_topic_partitions, list_config_resources};
use super::{find_coordinator, heartbeat, join_group, leave_group, sync_group};
use super::{list_partition_reassignments, update_features};
use super::{offset_commit, offset_delete, offset_fetch};

/// The configuration key of the limit of requests without records.
const KEY: &str = "ringmain.recordless.request.max.bytes";

/// Memory that the arrays of a Produce may take for a byte of it: a partition with a batch has fewer bytes in memory than
/// on the wire. What has none is refused, one by one and at a stretch, and waits for those that are stored.
const PRODUCE_BUDGET_PER_BYTE: usize = 2;
/// And whatever the number of bytes.
const PRODUCE_BUDGET_BASE_BYTES: usize = 16 << 10;
/// And at most: some forty thousand partitions.
const PRODUCE_BUDGET_BYTES_MAX: usize = 2 << 20;

/// First version of the request header that ends in tagged fields.
const FLEXIBLE_HEADER: i16 = 2;

impl<I: Io> Broker<I> {
    /// Answers one request. The future may wait (for durability, for data); dropping it gives up the
    /// answer, never what was already appended. Requests of one connection may be handled at the same
    /// time, but a Produce must have been polled once before the next request of its connection is
    /// handled: its appends are queued in that first poll, which keeps a pipelining producer's order.
    pub async fn handle(&self, request: Request) -> Response {
        let Ok(key) = ApiKey::try_from(request.api_key) else {
            return Response::Close(format!("unknown API key {}", request.api_key));
        };
        let Some(versions) = api_versions::versions(key) else {
            return Response::Close(format!("{} is not served", key.name()));
        };
        if !versions.contains(&request.version) {
            if key == ApiKey::ApiVersions {
                let told = api_versions::unsupported();
                return frame::<ApiVersionsResponse>(key, &request, 0, told.into());
            }
            return Response::Close(format!("{} version {} is not served", key.name(), request.version));
        }
        let (bytes, bytes_max) = (request.rest.len(), self.settings().recordless_request_bytes_max);
        if key != ApiKey::Produce && bytes > bytes_max {
            let why = format!("{} of {bytes} bytes is larger than {KEY}={bytes_max}", key.name());
            return Response::Close(why);
        }
        match key {
            ApiKey::Produce => {
                answer(key, request, async |context, body| produce::handle(self, context, body).await).await
            }
            ApiKey::Fetch => {
                answer(key, request, async |context, body| fetch::handle(self, context, body).await).await
            }
            ApiKey::ListOffsets => {
                answer(key, request, async |context, body| list_offsets::handle(self, context, body).await)
                    .await
            }
            ApiKey::OffsetForLeaderEpoch => {
                answer(key, request, async |_, body| offset_for_leader_epoch::handle(self, body).await).await
            }
            ApiKey::Metadata => {
                answer(key, request, async |context, body| metadata::handle(self, context, body).await).await
            }
            ApiKey::ApiVersions => {
                answer(key, request, async |context, body| api_versions::handle(self, context, &body)).await
            }
            ApiKey::InitProducerId => {
                answer(key, request, async |_, body| init_producer_id::handle(self, &body).await).await
            }
            _ => self.handle_group(key, request).await,
        }
    }

    /// Answers what members of groups ask.
    async fn handle_group(&self, key: ApiKey, request: Request) -> Response {
        match key {
            ApiKey::FindCoordinator => {
                answer(key, request, async |context, body| {
                    find_coordinator::handle(self, context, body).await
                })
                .await
            }
            ApiKey::JoinGroup => {
                answer(key, request, async |context, body| join_group::handle(self, context, body).await)
                    .await
            }
            ApiKey::SyncGroup => {
                answer(key, request, async |context, body| sync_group::handle(self, context, body).await)
                    .await
            }
            ApiKey::Heartbeat => {
                answer(key, request, async |context, body| heartbeat::handle(self, context, body).await).await
            }
            ApiKey::LeaveGroup => {
                answer(key, request, async |context, body| leave_group::handle(self, context, body).await)
                    .await
            }
            ApiKey::OffsetCommit => {
                answer(key, request, async |context, body| offset_commit::handle(self, context, body).await)
                    .await
            }
            ApiKey::OffsetFetch => {
                answer(key, request, async |context, body| offset_fetch::handle(self, context, body).await)
                    .await
            }
            ApiKey::OffsetDelete => {
                answer(key, request, async |context, body| offset_delete::handle(self, context, body).await)
                    .await
            }
            ApiKey::DescribeGroups => {
                answer(key, request, async |context, body| describe_groups::handle(self, context, body).await)
                    .await
            }
            ApiKey::ListGroups => {
                answer(key, request, async |_, body| list_groups::handle(self, body).await).await
            }
            ApiKey::ConsumerGroupHeartbeat => {
                answer(key, request, async |context, body| {
                    consumer_group_heartbeat::handle(self, context, body).await
                })
                .await
            }
            ApiKey::ConsumerGroupDescribe => {
                answer(key, request, async |context, body| {
                    consumer_group_describe::handle(self, context, body).await
                })
                .await
            }
            ApiKey::DeleteGroups => {
                answer(key, request, async |context, body| delete_groups::handle(self, context, body).await)
                    .await
            }
            _ => self.handle_admin(key, request).await,
        }
    }

    /// Answers what is asked about and done to topics, configurations and the cluster.
    async fn handle_admin(&self, key: ApiKey, request: Request) -> Response {
        match key {
            ApiKey::CreateTopics => {
                answer(key, request, async |context, body| create_topics::handle(self, context, body).await)
                    .await
            }
            ApiKey::DeleteTopics => {
                answer(key, request, async |context, body| delete_topics::handle(self, context, body).await)
                    .await
            }
            ApiKey::CreatePartitions => {
                answer(key, request, async |_, body| create_partitions::handle(self, body).await).await
            }
            ApiKey::DescribeConfigs => {
                answer(key, request, async |context, body| {
                    describe_configs::handle(self, context, body).await
                })
                .await
            }
            ApiKey::AlterConfigs => {
                answer(key, request, async |_, body| alter_configs::handle(self, body).await).await
            }
            ApiKey::IncrementalAlterConfigs => {
                answer(key, request, async |_, body| incremental_alter_configs::handle(self, body).await)
                    .await
            }
            ApiKey::ElectLeaders => {
                answer(key, request, async |context, body| elect_leaders::handle(self, context, body).await)
                    .await
            }
            ApiKey::AlterPartitionReassignments => {
                answer(key, request, async |_, body| alter_partition_reassignments::handle(self, body).await)
                    .await
            }
            ApiKey::ListPartitionReassignments => {
                answer(key, request, async |_, body| list_partition_reassignments::handle(self, body).await)
                    .await
            }
            ApiKey::UpdateFeatures => {
                answer(key, request, async |context, body| update_features::handle(self, context, body).await)
                    .await
            }
            ApiKey::DescribeCluster => {
                answer(key, request, async |context, body| describe_cluster::handle(self, context, &body))
                    .await
            }
            ApiKey::DeleteRecords => {
                answer(key, request, async |_, body| delete_records::handle(self, body).await).await
            }
            ApiKey::DescribeLogDirs => {
                answer(key, request, async |_, body| describe_log_dirs::handle(self, body).await).await
            }
            ApiKey::DescribeProducers => {
                answer(key, request, async |_, body| describe_producers::handle(self, body).await).await
            }
            ApiKey::DescribeTopicPartitions => {
                answer(key, request, async |_, body| describe_topic_partitions::handle(self, &body).await)
                    .await
            }
            ApiKey::ListConfigResources => {
                answer(key, request, async |context, body| {
                    list_config_resources::handle(self, context, &body)
                })
                .await
            }
            _ => Response::Close(format!("{} is not served", key.name())),
        }
    }
}

/// Reads the body, has it handled, frames what comes out.
async fn answer<R: wire::Request>(
    key: ApiKey,
    mut request: Request,
    handle: impl AsyncFnOnce(&Context, R) -> Answer<R::Response>,
) -> Response {
    let version = request.version;
    let body = match read::<R>(key, &mut request) {
        Ok(body) => body,
        Err(error) => {
            return Response::Close(format!("{} version {version} cannot be read: {error}", R::NAME));
        }
    };
    let context = Context {
        version,
        client_id: request.client_id.take(),
        frame_bytes: request.frame_bytes,
        peer: request.peer,
        traffic: request.traffic.clone(),
        right: Cell::new(request.right.take()),
    };
    let answer = handle(&context, body).await;
    frame(key, &request, version, answer)
}

/// Reads what follows the client id, and leaves the frame to what was read.
fn read<R: wire::Request>(key: ApiKey, request: &mut Request) -> Result<R, wire::DecodeError> {
    let rest = std::mem::take(&mut request.rest);
    let mut reader = if key == ApiKey::Produce {
        let budget_bytes = PRODUCE_BUDGET_BASE_BYTES + PRODUCE_BUDGET_PER_BYTE * rest.len();
        Reader::with_budget(rest, budget_bytes.min(PRODUCE_BUDGET_BYTES_MAX))
    } else {
        Reader::new(rest)
    };
    if key.request_header_version(request.version) >= FLEXIBLE_HEADER {
        reader.skip_tags("RequestHeader")?;
    }
    R::read(&mut reader, request.version)
}

/// The frame of an answer.
fn frame<R: Message>(key: ApiKey, request: &Request, version: i16, answer: Answer<R>) -> Response {
    let (body, slices) = match answer {
        Answer::Body { body, slices } => (body, slices),
        Answer::Nothing => return Response::None,
        Answer::Close(reason) => return Response::Close(reason),
    };
    let mut writer = Writer::new();
    let header = ResponseHeader { correlation_id: request.correlation_id };
    let header_version = key.response_header_version(version);
    let written = header.write(&mut writer, header_version).and_then(|()| body.write(&mut writer, version));
    if let Err(error) = written {
        tracing::error!(api = key.name(), version, %error, "response cannot be written");
        return Response::Close(format!("the response cannot be written: {error}"));
    }
    let encoded = writer.finish();
    let Ok(size) = i32::try_from(encoded.len()) else {
        return Response::Close(format!("the response has {} bytes, more than a frame can", encoded.len()));
    };
    let mut parts = Vec::with_capacity(1 + encoded.parts.len() + slices.iter().map(Vec::len).sum::<usize>());
    parts.push(Part::Memory(length_prefix(size)));
    let mut slices: Vec<Option<Vec<Slice>>> = slices.into_iter().map(Some).collect();
    for part in encoded.parts {
        match part {
            wire::Part::Bytes(bytes) => parts.push(Part::Memory(bytes)),
            wire::Part::Slices { index, len } => {
                let run =
                    usize::try_from(index).ok().and_then(|at| slices.get_mut(at)).and_then(Option::take);
                let run = run.unwrap_or_default();
                let there: usize = run.iter().map(Slice::len).sum();
                assert!(u32::try_from(there) == Ok(len), "a run of {there} bytes was announced as {len}");
                parts.extend(run.into_iter().map(part_of));
            }
        }
    }
    Response::Frame(parts)
}

/// The four bytes before every frame.
fn length_prefix(size: i32) -> Bytes {
    let mut prefix = BytesMut::with_capacity(4);
    prefix.put_i32(size);
    prefix.freeze()
}

/// A slice of a log as the connection sends it.
fn part_of(slice: Slice) -> Part {
    match slice {
        Slice::Memory(bytes) => Part::Records(bytes),
        Slice::File { descriptor, position, len } => Part::File { descriptor, position, len },
    }
}

//! One blocking connection to one broker, and the few look-ups both commands share.
//! One request is in flight at a time.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use ringmain_protocol::error_code::ErrorCode;
use ringmain_protocol::messages::api_versions_request::ApiVersionsRequest;
use ringmain_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ringmain_protocol::messages::request_header::RequestHeader;
use ringmain_protocol::messages::response_header::ResponseHeader;
use ringmain_protocol::registry::{request_header_version, response_header_version};
use ringmain_protocol::wire::{Message, Reader, Request, Str, Uuid, Writer};

use super::error::CliError;

/// Longest wait for a connection or an answer. Above any `max_wait` the commands ask for.
const ANSWER_WAIT: Duration = Duration::from_secs(40);
/// Largest answer that is read: far above what the commands ask for, far below what would hurt a host.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A topic as one look-up saw it.
#[derive(Debug, Clone)]
pub(crate) struct TopicView {
    /// Its id; zero where the broker has none.
    pub(crate) id: Uuid,
    /// Address of the leader of each partition, by partition index from 0.
    pub(crate) leaders: Vec<String>,
}

/// A connection. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
    /// Highest version the broker takes, by API key.
    version_max: HashMap<i16, (i16, i16)>,
}

impl Client {
    /// Connects and asks which versions the broker speaks. Of several addresses, with commas between them, the first
    /// that answers is taken.
    pub(crate) fn connect(addresses: &str) -> Result<Self, CliError> {
        let mut tried = addresses.split(',').map(|address| Self::connect_to(address.trim()));
        let first = tried.next().unwrap_or_else(|| Self::connect_to(addresses));
        first.or_else(|error| tried.find_map(Result::ok).ok_or(error))
    }

    fn connect_to(address: &str) -> Result<Self, CliError> {
        let broken = |source| CliError::Connection { address: address.to_owned(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for candidate in address.to_socket_addrs().map_err(broken)? {
            match TcpStream::connect_timeout(&candidate, ANSWER_WAIT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(broken)?;
                    stream.set_read_timeout(Some(ANSWER_WAIT)).map_err(broken)?;
                    let mut client = Self {
                        address: address.to_owned(),
                        stream,
                        correlation_id: 0,
                        version_max: HashMap::new(),
                    };
                    client.learn_versions()?;
                    return Ok(client);
                }
                Err(error) => last = error,
            }
        }
        Err(broken(last))
    }

    fn learn_versions(&mut self) -> Result<(), CliError> {
        let answer = self.call_version(&ApiVersionsRequest::default(), 0)?;
        check(answer.error_code, || "ask for API versions".to_owned())?;
        self.version_max =
            answer.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version))).collect();
        Ok(())
    }

    /// The highest version both sides speak.
    pub(crate) fn version<R: Request>(&self) -> Result<i16, CliError> {
        let (min, max) = self.version_max.get(&R::API_KEY).copied().ok_or(CliError::Unsupported(R::NAME))?;
        let version = max.min(*R::VERSIONS.end());
        if version < min || version < *R::VERSIONS.start() {
            return Err(CliError::Unsupported(R::NAME));
        }
        Ok(version)
    }

    /// Asks in the highest version both sides speak, and waits for the answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, CliError> {
        let version = self.version::<R>()?;
        self.call_version(request, version)
    }

    /// As [`call`](Self::call), but in no version above `version_max`.
    pub(crate) fn call_up_to<R: Request>(
        &mut self,
        request: &R,
        version_max: i16,
    ) -> Result<R::Response, CliError> {
        let version = self.version::<R>()?.min(version_max);
        self.call_version(request, version)
    }

    fn call_version<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, CliError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            request_api_key: R::API_KEY,
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(Str::from_static("ringmain-cli")),
        };
        let mut writer = Writer::new();
        let unknown = |_| CliError::Unsupported(R::NAME);
        header.write(&mut writer, request_header_version(R::API_KEY, version).map_err(unknown)?)?;
        request.write(&mut writer, version)?;
        let frame = writer.finish().into_bytes();
        let answer = self.exchange(&frame)?;
        let mut reader = Reader::new(answer);
        let header = ResponseHeader::read(
            &mut reader,
            response_header_version(R::API_KEY, version).map_err(unknown)?,
        )?;
        if header.correlation_id != self.correlation_id {
            let source = io::Error::new(io::ErrorKind::InvalidData, "an answer to another request came");
            return Err(self.broken(source));
        }
        Ok(R::Response::read(&mut reader, version)?)
    }

    fn exchange(&mut self, frame: &[u8]) -> Result<Bytes, CliError> {
        let wire = |stream: &mut TcpStream| -> io::Result<Bytes> {
            let size = i32::try_from(frame.len())
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the request exceeds 2 GiB"))?;
            stream.write_all(&size.to_be_bytes())?;
            stream.write_all(frame)?;
            let mut size = [0_u8; 4];
            stream.read_exact(&mut size)?;
            let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
            if size > ANSWER_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer's size makes no sense"));
            }
            let mut answer = vec![0_u8; size];
            stream.read_exact(&mut answer)?;
            Ok(answer.into())
        };
        wire(&mut self.stream).map_err(|source| self.broken(source))
    }

    fn broken(&self, source: io::Error) -> CliError {
        CliError::Connection { address: self.address.clone(), source }
    }

    /// Looks up a topic; `create` lets the broker make it where it allows that.
    pub(crate) fn topic(&mut self, name: &str, create: bool) -> Result<TopicView, CliError> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() }]),
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        let answer = self.call(&request)?;
        let doing = || format!("look up topic {name}");
        let Some(topic) = answer.topics.into_iter().next() else {
            let code = ErrorCode::UnknownTopicOrPartition;
            return Err(CliError::Broker { doing: doing(), code, message: None });
        };
        check(topic.error_code, doing)?;
        let addresses: HashMap<i32, String> = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id, address(&broker.host, broker.port)))
            .collect();
        let mut partitions = topic.partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        let mut leaders = Vec::with_capacity(partitions.len());
        for partition in partitions {
            check(partition.error_code, || {
                format!("find the leader of {name}-{}", partition.partition_index)
            })?;
            let leader = addresses.get(&partition.leader_id).ok_or_else(|| CliError::Broker {
                doing: format!("find the leader of {name}-{}", partition.partition_index),
                code: ErrorCode::LeaderNotAvailable,
                message: None,
            })?;
            leaders.push(leader.clone());
        }
        Ok(TopicView { id: topic.topic_id, leaders })
    }
}

/// A broker's address as it is connected to.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An error for every code but none.
pub(crate) fn check(code: i16, doing: impl FnOnce() -> String) -> Result<(), CliError> {
    refused(code, None, doing).map_or(Ok(()), Err)
}

/// The error that a code other than none is, with what the broker said beside it.
pub(crate) fn refused(code: i16, message: Option<&str>, doing: impl FnOnce() -> String) -> Option<CliError> {
    match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => None,
        code => {
            let message = message.filter(|message| !message.is_empty()).map(str::to_owned);
            Some(CliError::Broker { doing: doing(), code, message })
        }
    }
}

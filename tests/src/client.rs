//! A raw connection to a broker: frames, and the few requests that the tests make.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::wait_for;
use crate::wire::{Reader, Writer};

/// Produce.
pub const PRODUCE: i16 = 0;
/// Fetch.
pub const FETCH: i16 = 1;
/// ListOffsets.
pub const LIST_OFFSETS: i16 = 2;
/// Metadata.
pub const METADATA: i16 = 3;
/// ApiVersions.
pub const API_VERSIONS: i16 = 18;
/// CreateTopics.
pub const CREATE_TOPICS: i16 = 19;

/// What a produce of one partition was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Kafka's error code.
    pub error_code: i16,
    /// Offset of the batch's first record.
    pub base_offset: i64,
}

/// One partition of a fetch answer.
#[expect(missing_debug_implementations, reason = "carries records")]
pub struct FetchedPartition {
    /// Kafka's error code.
    pub error_code: i16,
    /// Where consumers stop.
    pub high_watermark: i64,
    /// Batches.
    pub records: Vec<u8>,
}

/// A connection with one request in flight at a time unless the caller does otherwise.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects. A read that waits for a minute fails: it bounds a hang.
    pub fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream.set_write_timeout(Some(Duration::from_mins(1))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, correlation_id: 0 }
    }

    /// This side of the connection, as the broker logs it.
    pub fn local_address(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    /// The socket, for tests that misuse it.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// A frame (with its length) of a request with header version 1.
    pub fn frame(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
        let header = Writer::default().i16(api_key).i16(version).i32(correlation_id).string("tests");
        Writer::default().bytes(&header.raw(body).0).0
    }

    /// Sends one request and returns the body of its answer.
    pub fn request(&mut self, api_key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation_id += 1;
        self.stream.write_all(&Client::frame(api_key, version, self.correlation_id, body))?;
        let answer = self.receive()?;
        let mut reader = Reader(&answer);
        assert_eq!(reader.i32(), self.correlation_id, "answers come in the order of requests");
        Ok(reader.0.to_vec())
    }

    /// Receives one frame.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        assert!(length <= 256 << 20, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Api key to (lowest, highest) version.
    pub fn api_versions(&mut self) -> io::Result<Vec<(i16, i16, i16)>> {
        let answer = self.request(API_VERSIONS, 0, &[])?;
        let mut reader = Reader(&answer);
        assert_eq!(reader.i16(), 0, "error code of ApiVersions");
        Ok((0..reader.count()).map(|_| (reader.i16(), reader.i16(), reader.i16())).collect())
    }

    /// Creates a topic and returns the error code.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> io::Result<i16> {
        self.create_topic_with(topic, partitions, &[])
    }

    /// Creates a topic with configs and returns the error code.
    pub fn create_topic_with(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<i16> {
        let count = i32::try_from(configs.len()).unwrap();
        let mut body = Writer::default().i32(1).string(topic).i32(partitions).i16(1).i32(0).i32(count);
        for (key, value) in configs {
            body = body.string(key).string(value);
        }
        let answer = self.request(CREATE_TOPICS, 2, &body.i32(30_000).i8(0).0)?;
        let mut reader = Reader(&answer);
        reader.i32();
        assert_eq!(reader.i32(), 1, "one topic is answered");
        assert_eq!(reader.string(), topic);
        Ok(reader.i16())
    }

    /// Creates a topic and waits until every partition has a leader.
    pub fn create_topic_and_wait(&mut self, topic: &str, partitions: i32) {
        assert_eq!(self.create_topic(topic, partitions).unwrap(), 0, "creating {topic}");
        self.wait_for_leaders(topic, partitions);
    }

    /// Waits until every partition of a topic has a leader.
    pub fn wait_for_leaders(&mut self, topic: &str, partitions: i32) {
        wait_for("leaders", || {
            let answer = self.request(METADATA, 1, &Writer::default().i32(1).string(topic).0).unwrap();
            let mut reader = Reader(&answer);
            for _ in 0..reader.count() {
                let _broker = (reader.i32(), reader.string(), reader.i32(), reader.string());
            }
            reader.i32();
            assert_eq!(reader.count(), 1);
            let (topic_error, _, _, count) = (reader.i16(), reader.string(), reader.i8(), reader.i32());
            (topic_error == 0 && count == partitions).then_some(())
        });
    }

    /// The body of a Produce v3 of one batch to each named partition, with acks=all.
    pub fn produce_body(topic: &str, batches: &[(i32, &[u8])]) -> Vec<u8> {
        let count = i32::try_from(batches.len()).unwrap();
        let mut body = Writer::default().i16(-1).i16(-1).i32(30_000).i32(1).string(topic).i32(count);
        for (partition, batch) in batches {
            body = body.i32(*partition).bytes(batch);
        }
        body.0
    }

    /// Reads the answer of [`Client::produce_body`]: partition index to what it was answered.
    pub fn produce_answer(answer: &[u8]) -> Vec<(i32, Produced)> {
        let mut reader = Reader(answer);
        assert_eq!(reader.i32(), 1, "one topic is answered");
        reader.string();
        let read = |reader: &mut Reader<'_>| {
            let (partition, error_code, base_offset) = (reader.i32(), reader.i16(), reader.i64());
            reader.i64();
            (partition, Produced { error_code, base_offset })
        };
        (0..reader.count()).map(|_| read(&mut reader)).collect()
    }

    /// Produces one batch to one partition.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<Produced> {
        let answer = self.request(PRODUCE, 3, &Client::produce_body(topic, &[(partition, batch)]))?;
        Ok(Client::produce_answer(&answer)[0].1)
    }

    /// Fetches one partition from an offset, at most 1 MiB unless the first batch is larger.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<FetchedPartition> {
        let answer = self.request(FETCH, 4, &Client::fetch_body(topic, partition, offset))?;
        Ok(Client::fetch_answer(&answer))
    }

    /// The body of a Fetch v4 of one partition that waits for nothing.
    pub fn fetch_body(topic: &str, partition: i32, offset: i64) -> Vec<u8> {
        let body = Writer::default().i32(-1).i32(0).i32(1).i32(1 << 20).i8(0);
        body.i32(1).string(topic).i32(1).i32(partition).i64(offset).i32(1 << 20).0
    }

    /// Reads the answer of [`Client::fetch_body`].
    pub fn fetch_answer(answer: &[u8]) -> FetchedPartition {
        let mut reader = Reader(answer);
        let _echo = (reader.i32(), reader.i32(), reader.string(), reader.i32(), reader.i32());
        let (error_code, high_watermark, _last_stable) = (reader.i16(), reader.i64(), reader.i64());
        for _ in 0..reader.count() {
            let _aborted = (reader.i64(), reader.i64());
        }
        let length = reader.count();
        FetchedPartition { error_code, high_watermark, records: reader.raw(length).to_vec() }
    }

    /// The offset of a timestamp, or of −1 (end) or −2 (start).
    pub fn list_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> io::Result<i64> {
        let body = Writer::default().i32(-1).i32(1).string(topic).i32(1).i32(partition).i64(timestamp);
        let answer = self.request(LIST_OFFSETS, 1, &body.0)?;
        let mut reader = Reader(&answer);
        let _echo = (reader.i32(), reader.string(), reader.i32(), reader.i32());
        assert_eq!(reader.i16(), 0, "error code of ListOffsets");
        reader.i64();
        Ok(reader.i64())
    }

    /// Whether the broker has closed this connection (what it still sends is read and dropped).
    pub fn is_closed_by_broker(&mut self) -> bool {
        let mut sink = [0; 4096];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}

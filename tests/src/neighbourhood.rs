//! A broker with a well-behaved client beside whoever misbehaves: whatever a test does to the broker, the neighbour
//! is served, nothing of it is lost, and memory stays bounded.

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::batch;
use crate::broker::{Broker, wait_for};
use crate::checker::read_all;
use crate::client::Client;

/// How much more memory the broker may hold after a test than before it, unless the test says otherwise.
const GROWTH_BYTES_MAX: u64 = 256 << 20;
/// The neighbour's topic, with one partition.
pub const TOPIC: &str = "neighbour";

/// A broker, and a client on a connection of its own that must never notice anything. There is a topic `target` with
/// two partitions for the others.
#[derive(Debug)]
pub struct Neighbourhood {
    /// The broker.
    pub broker: Broker,
    neighbour: Client,
    produced: i64,
    resident_bytes_before: u64,
    growth_bytes_max: u64,
    _directory: tempfile::TempDir,
}

impl Neighbourhood {
    /// Starts it with the default configuration.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Neighbourhood {
        Neighbourhood::with(&[])
    }

    /// Starts it with settings (`key=value`).
    pub fn with(settings: &[&str]) -> Neighbourhood {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::start(Path::new(&directory.path().join("data")), settings);
        let mut neighbour = Client::connect(&broker.address);
        neighbour.create_topic_and_wait(TOPIC, 1);
        neighbour.create_topic_and_wait("target", 2);
        let mut all = Neighbourhood {
            broker,
            neighbour,
            produced: 0,
            resident_bytes_before: 0,
            growth_bytes_max: GROWTH_BYTES_MAX,
            _directory: directory,
        };
        all.neighbour_is_served();
        all.resident_bytes_before = all.broker.resident_bytes();
        all
    }

    /// From now on memory may grow by so much only.
    pub fn grow_at_most(&mut self, bytes: u64) {
        self.growth_bytes_max = bytes;
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(&self.broker.address)
    }

    /// `count` connections at once; raises this process's own limit of descriptors as far as that needs.
    pub fn connect_many(&self, count: usize) -> Vec<Client> {
        let wanted = u64::try_from(count).unwrap() + 256;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if soft < wanted {
            assert!(hard >= wanted, "`ulimit -Hn` is {hard}, the test needs {wanted}");
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        }
        (0..count).map(|_| self.connect()).collect()
    }

    /// The neighbour produces and is acknowledged.
    pub fn neighbour_is_served(&mut self) {
        let value = format!("{}", self.produced).into_bytes();
        let answer = self.neighbour.produce(TOPIC, 0, &batch::build(&[value])).unwrap();
        assert_eq!((answer.error_code, answer.base_offset), (0, self.produced));
        self.produced += 1;
    }

    /// Sends bytes on a new connection, ends its sending side, and expects that it is closed.
    pub fn closes_on(&mut self, what: &str, bytes: &[u8]) {
        let mut client = self.connect();
        client.stream().write_all(bytes).unwrap();
        client.stream().shutdown(Shutdown::Write).ok();
        assert!(client.is_closed_by_broker(), "{what}: the connection stays open");
        self.neighbour_is_served();
    }

    /// Sends bytes on a new connection that stays open for writing, and expects that it is closed.
    pub fn refuses(&mut self, what: &str, bytes: &[u8]) {
        let mut client = self.connect();
        client.stream().write_all(bytes).unwrap();
        assert!(client.is_closed_by_broker(), "{what}: the connection stays open");
        self.neighbour_is_served();
    }

    /// Memory has not grown beyond what is allowed; says by how much it has.
    pub fn memory_is_bounded(&self) -> u64 {
        let resident_bytes = self.broker.resident_bytes();
        let growth_bytes = resident_bytes.saturating_sub(self.resident_bytes_before);
        assert!(
            growth_bytes <= self.growth_bytes_max,
            "{resident_bytes} bytes resident, {} before",
            self.resident_bytes_before
        );
        growth_bytes
    }

    /// The broker has logged a line that contains `text`.
    pub fn log_says(&self, text: &str) {
        wait_for(text, || self.broker.log().contains(text).then_some(()));
    }

    /// Every record of the neighbour is there, memory is bounded, and the broker stops cleanly.
    pub fn end(mut self) {
        self.neighbour_is_served();
        let found = read_all(&mut self.neighbour, TOPIC, 0);
        assert!(found.iter().map(|(offset, _)| *offset).eq(0..self.produced), "nothing is lost");
        self.memory_is_bounded();
        assert!(self.broker.stop().success());
    }
}

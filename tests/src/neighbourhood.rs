//! A broker with a well-behaved client beside whoever misbehaves: whatever a test does to the broker, the neighbour
//! is served throughout, nothing of it is lost, and memory stays bounded.

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::broker::{Broker, wait_for};
use crate::client::Client;
use crate::dice::rounds;
use crate::neighbour::Neighbour;

/// How much more memory the broker may hold in a test than before it, unless the test says otherwise.
const GROWTH_BYTES_MAX: u64 = 256 << 20;
/// Rounds that the neighbour has to get through beside each thing that is done to the broker.
const NEIGHBOUR_ROUNDS: u64 = 30;

/// A broker, and a client on a connection of its own that must never notice anything. There is a topic `target` with
/// two partitions for the others.
#[derive(Debug)]
pub struct Neighbourhood {
    // Dropped first: it need not see the broker killed.
    neighbour: Neighbour,
    /// The broker.
    pub broker: Broker,
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
        Client::connect(&broker.address).create_topic_and_wait("target", 2);
        let neighbour = Neighbour::start(&broker.address);
        let growth_bytes_max = GROWTH_BYTES_MAX;
        let mut all = Neighbourhood {
            broker,
            neighbour,
            resident_bytes_before: 0,
            growth_bytes_max,
            _directory: directory,
        };
        all.neighbour_is_served();
        all.resident_bytes_before = all.broker.resident_bytes();
        all.broker.forget_resident_bytes_max();
        all
    }

    /// Memory may grow by so much only.
    pub fn grow_at_most(&mut self, bytes: u64) {
        self.growth_bytes_max = bytes;
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(&self.broker.address)
    }

    /// `count` connections at once; raises this process's own limit of descriptors as far as that needs.
    pub fn connect_many(&self, count: usize) -> Vec<Client> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let wanted = u64::try_from(count).unwrap() + 256;
        assert!(hard >= wanted, "`ulimit -Hn` is {hard}, the test needs {wanted}");
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        }
        (0..count).map(|_| self.connect()).collect()
    }

    /// The neighbour goes through its rounds while everything stays as it is.
    pub fn neighbour_is_served(&mut self) {
        self.neighbour.wait_for(usize::try_from(rounds(NEIGHBOUR_ROUNDS)).unwrap());
    }

    /// Does `work` once, and again and again until the neighbour has gone through its rounds meanwhile.
    pub fn throughout(&mut self, mut work: impl FnMut(&Neighbourhood)) {
        let wanted = usize::try_from(rounds(NEIGHBOUR_ROUNDS)).unwrap();
        let mut served = 0;
        self.neighbour.rounds_since();
        while served < wanted {
            work(self);
            served += self.neighbour.rounds_since();
        }
    }

    /// Sends bytes on a new connection, and expects that it is closed.
    pub fn closes_on(&self, what: &str, bytes: &[u8]) -> Client {
        let mut client = self.connect();
        client.stream().write_all(bytes).unwrap();
        assert!(client.is_closed_by_broker(), "{what}: the connection stays open");
        client
    }

    /// Sends bytes on a new connection, and expects that it is closed, that a line of the log says `why`, and that
    /// the neighbour is served on.
    pub fn refuses(&mut self, what: &str, bytes: &[u8], why: &str) {
        let client = self.closes_on(what, bytes);
        self.log_says_of(&client, what, why);
        self.neighbour_is_served();
    }

    /// The same if the peer sends no more.
    pub fn refuses_the_end(&mut self, what: &str, bytes: &[u8], why: &str) {
        let mut client = self.connect();
        client.stream().write_all(bytes).unwrap();
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed_by_broker(), "{what}: the connection stays open");
        self.log_says_of(&client, what, why);
        self.neighbour_is_served();
    }

    fn log_says_of(&self, client: &Client, what: &str, why: &str) {
        let peer = client.local_address();
        let line = wait_for(&format!("a line about {what}"), || {
            self.broker.log().lines().find(|line| line.contains(&peer)).map(str::to_owned)
        });
        assert!(line.contains(why), "{what}: {line}");
    }

    /// The memory of the broker has never been beyond what is allowed; says how far it went.
    pub fn memory_is_bounded(&self) -> u64 {
        let growth_bytes = self.broker.resident_bytes_max().saturating_sub(self.resident_bytes_before);
        assert!(
            growth_bytes <= self.growth_bytes_max,
            "memory grew by {growth_bytes} bytes, {} are allowed",
            self.growth_bytes_max
        );
        growth_bytes
    }

    /// The broker has logged a line that contains `text`.
    pub fn log_says(&self, text: &str) {
        wait_for(text, || self.broker.log().contains(text).then_some(()));
    }

    /// The neighbour was served, every record of it is there, memory was bounded, and the broker stops cleanly. Prints
    /// what `tests/hostile` gathers.
    pub fn end(mut self) {
        self.neighbour_is_served();
        let growth_bytes = self.memory_is_bounded();
        let latencies = self.neighbour.end();
        println!("neighbour {latencies} | {:5} of {:5}", growth_bytes >> 20, self.growth_bytes_max >> 20);
        assert!(self.broker.stop().success());
    }
}

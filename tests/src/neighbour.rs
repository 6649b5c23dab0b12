//! A well-behaved client in a thread of its own, for tests that misbehave beside it: it produces a record with
//! acks=all, fetches it, and begins again, for as long as it lives. Every answer has to be right. It also says how long
//! each took: no test asserts on that, `tests/hostile` prints it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::batch;
use crate::checker::read_all;
use crate::client::Client;

/// Its topic, with one partition.
pub const TOPIC: &str = "neighbour";
/// Between two rounds: a thousand clients like this one would be a usual day.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the two requests of one round took.
#[derive(Clone, Copy, Debug)]
struct Round {
    produce: Duration,
    fetch: Duration,
}

/// The thread. It ends, and is looked at, by [`Neighbour::end`]; a drop ends it without a look.
#[derive(Debug)]
pub struct Neighbour {
    thread: Option<JoinHandle<io::Result<Client>>>,
    rounds: Receiver<Round>,
    ends: Arc<AtomicBool>,
    past: Vec<Round>,
}

impl Neighbour {
    /// Creates its topic and begins.
    pub fn start(address: &str) -> Neighbour {
        let mut client = Client::connect(address);
        // As produced, whatever the broker does to other topics: the tests' reader opens no compressed batch.
        let created = client.create_topic_with(TOPIC, 1, &[("compression.type", "producer")]);
        assert_eq!(created.unwrap(), 0, "creating {TOPIC}");
        client.wait_for_leaders(TOPIC, 1);
        let ends = Arc::new(AtomicBool::new(false));
        let (report, rounds) = channel();
        let seen = Arc::clone(&ends);
        let thread = Some(thread::spawn(move || live(client, &report, &seen)));
        Neighbour { thread, rounds, ends, past: Vec::new() }
    }

    /// How many rounds it has finished since this or [`Neighbour::wait_for`] was last asked. Panics if it has failed.
    pub fn rounds_since(&mut self) -> usize {
        let before = self.past.len();
        self.past.extend(self.rounds.try_iter());
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            self.fail();
        }
        self.past.len() - before
    }

    /// Waits until it has gone through so many rounds that began after this call. Panics if it has failed.
    pub fn wait_for(&mut self, rounds: usize) {
        self.rounds_since();
        // One more: it may be in the middle of a round.
        for _ in 0..=rounds {
            match self.rounds.recv() {
                Ok(round) => self.past.push(round),
                Err(_) => self.fail(),
            }
        }
    }

    /// Ends it, reads back all that it was acknowledged, and says how long its requests took.
    pub fn end(mut self) -> Latencies {
        self.ends.store(true, Ordering::Relaxed);
        let mut client = self.thread.take().map(|thread| thread.join().unwrap()).unwrap().unwrap();
        self.past.extend(self.rounds.try_iter());
        let found = read_all(&mut client, TOPIC, 0);
        let expected = (0..).take(self.past.len()).map(|number| (number, value(number)));
        assert!(found.into_iter().eq(expected), "nothing of the neighbour's is lost");
        Latencies::of(&self.past)
    }

    fn fail(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => panic!("the neighbour was not served: {error}"),
            _ => panic!("the neighbour was answered wrongly"),
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn value(number: i64) -> Vec<u8> {
    format!("{number:0100}").into_bytes()
}

fn live(mut client: Client, report: &Sender<Round>, ends: &AtomicBool) -> io::Result<Client> {
    for number in 0.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let produced = client.produce(TOPIC, 0, &batch::build(&[value(number)]))?;
        let produce = began.elapsed();
        assert_eq!((produced.error_code, produced.base_offset), (0, number), "the neighbour's record");
        let began = Instant::now();
        let fetched = client.fetch(TOPIC, 0, number)?;
        let fetch = began.elapsed();
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, number + 1), "the neighbour's fetch");
        assert!(
            batch::records(&fetched.records) == [(number, value(number))],
            "what it reads is what it wrote"
        );
        if report.send(Round { produce, fetch }).is_err() {
            break;
        }
        thread::sleep(PAUSE);
    }
    Ok(client)
}

/// How long a neighbour's requests took.
#[derive(Debug)]
pub struct Latencies {
    rounds: usize,
    produce: [Duration; 3],
    fetch: [Duration; 3],
}

impl Latencies {
    fn of(rounds: &[Round]) -> Latencies {
        let of = |which: fn(&Round) -> Duration| {
            let mut sorted: Vec<_> = rounds.iter().map(which).collect();
            sorted.sort_unstable();
            let at = |percent| {
                sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
            };
            [at(50), at(99), at(100)]
        };
        Latencies { rounds: rounds.len(), produce: of(|round| round.produce), fetch: of(|round| round.fetch) }
    }
}

impl fmt::Display for Latencies {
    /// `ROUNDS | produce: P50 P99 MAX | fetch: P50 P99 MAX`, in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6}", self.rounds)?;
        for times in [self.produce, self.fetch] {
            write!(f, " |")?;
            for time in times {
                write!(f, " {:7.2}", time.as_secs_f64() * 1000.0)?;
            }
        }
        Ok(())
    }
}

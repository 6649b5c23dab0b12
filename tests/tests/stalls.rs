//! A broker with more shards than there are cores, beside work that takes every core: no request may be left behind.
//! An executor that goes to sleep with a task that is ready, or a wake-up that is lost between two shards, shows as a
//! request that is never answered; that a loaded machine is slow is no fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use ringmain_tests::batch;
use ringmain_tests::broker::Broker;
use ringmain_tests::checker::Checker;
use ringmain_tests::client::Client;
use ringmain_tests::dice::{Dice, rounds};

const TOPIC: &str = "busy";
/// More than shards, so that each has some.
const PARTITIONS: i32 = 12;

/// Threads that do nothing but take the CPU, twice as many as there are cores.
struct Load {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start() -> Load {
        let ends = Arc::new(AtomicBool::new(false));
        let burn = |ends: Arc<AtomicBool>| {
            while !ends.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let cores = thread::available_parallelism().unwrap().get();
        let threads = (0..cores * 2).map(|_| {
            thread::spawn({
                let ends = Arc::clone(&ends);
                move || burn(ends)
            })
        });
        Load { threads: threads.collect(), ends }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

#[test]
fn no_request_is_left_behind_by_more_shards_than_cores_on_a_loaded_machine() {
    let mut dice = Dice::of_this_run();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let _load = Load::start();
    let mut checker = Checker::default();
    for round in 0..rounds(4) {
        let shards = format!("ringmain.shards={}", 2 + dice.below(4));
        let broker = Broker::start(&data, &[&shards]);
        let mut client = Client::connect(&broker.address);
        if round == 0 {
            client.create_topic_and_wait(TOPIC, PARTITIONS);
        }
        // One request after the other, each to another shard than the one before: whatever sleeps has to be woken.
        for request in 0..10 {
            for partition in 0..PARTITIONS {
                let values = vec![format!("{round}/{request}/{partition}").into_bytes()];
                let produced = client.produce(TOPIC, partition, &batch::build(&values)).unwrap();
                assert_eq!(produced.error_code, 0);
                checker.acknowledged(partition, produced.base_offset, values);
            }
        }
        checker.verify(&mut client, TOPIC);
        broker.kill();
    }
}

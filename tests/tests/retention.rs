//! Retention in the running broker: what is old goes, from a topic that nobody writes to any more as well, and its space
//! comes back; what is young stays.

use std::path::Path;

use ringmain_tests::batch;
use ringmain_tests::broker::{Broker, wait_for};
use ringmain_tests::client::Client;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const EARLIEST: i64 = -2;

#[expect(clippy::disallowed_methods, reason = "the test looks at files from outside")]
fn bytes_of_segments(data: &Path, partition: &str) -> (u64, usize) {
    let entries = std::fs::read_dir(data.join(partition)).unwrap().map(Result::unwrap);
    let files: Vec<_> = entries.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect();
    let bytes = files.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "log"));
    let deleted = files.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "deleted"));
    (bytes.map(|(_, bytes)| bytes).sum(), deleted.count())
}

#[test]
fn what_is_old_goes_from_a_topic_that_nobody_writes_to() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let settings = ["log.retention.check.interval.ms=50"];
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    let old = [("retention.ms", "1"), ("file.delete.delay.ms", "0")];
    assert_eq!(client.create_topic_with("old", 1, &old).unwrap(), 0);
    client.wait_for_leaders("old", 1);
    client.create_topic_and_wait("young", 1);
    for topic in ["old", "young"] {
        for number in 0..50 {
            let batch = batch::build(&[vec![number; 20_000]]);
            assert_eq!(client.produce(topic, 0, &batch).unwrap().error_code, 0);
        }
    }
    wait_for("the log start to be the end", || {
        (client.list_offset("old", 0, EARLIEST).unwrap() == 50).then_some(())
    });
    assert_eq!(client.fetch("old", 0, 0).unwrap().error_code, OFFSET_OUT_OF_RANGE);
    wait_for("the space to come back", || (bytes_of_segments(&data, "old-0") == (0, 0)).then_some(()));
    assert_eq!(client.list_offset("young", 0, EARLIEST).unwrap(), 0);
    assert_eq!(batch::records(&client.fetch("young", 0, 49).unwrap().records)[0].1, vec![49; 20_000]);
    // It stays so after a crash, and the topic goes on behind what went.
    broker.kill();
    let broker = Broker::start(&data, &settings);
    let mut client = Client::connect(&broker.address);
    client.wait_for_leaders("old", 1);
    assert_eq!(client.list_offset("old", 0, EARLIEST).unwrap(), 50);
    let produced = client.produce("old", 0, &batch::build(&[vec![1; 10]])).unwrap();
    assert_eq!((produced.error_code, produced.base_offset), (0, 50));
    assert_eq!(client.list_offset("young", 0, EARLIEST).unwrap(), 0);
    assert!(broker.stop().success());
}

//! Knows every record that was sent, in which order, and which of them were acknowledged at which
//! offset; says whether what a broker holds agrees.

use std::collections::BTreeMap;

use crate::batch;
use crate::client::Client;

/// One partition's history.
#[derive(Default)]
struct History {
    /// Acknowledged: offset to value.
    acknowledged: BTreeMap<i64, Vec<u8>>,
    /// Sent, and never answered: each may be in the log once, whole batch or not at all.
    unanswered: Vec<Vec<Vec<u8>>>,
}

/// The histories of all partitions of one topic.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "carries records")]
pub struct Checker {
    partitions: BTreeMap<i32, History>,
}

impl Checker {
    /// A batch was acknowledged at this base offset.
    pub fn acknowledged(&mut self, partition: i32, base_offset: i64, values: Vec<Vec<u8>>) {
        let history = self.partitions.entry(partition).or_default();
        for (offset, value) in (base_offset..).zip(values) {
            let before = history.acknowledged.insert(offset, value);
            assert!(before.is_none(), "partition {partition}: offset {offset} was acknowledged twice");
        }
    }

    /// A batch was sent, and the connection ended before its answer.
    pub fn unanswered(&mut self, partition: i32, values: Vec<Vec<u8>>) {
        self.partitions.entry(partition).or_default().unanswered.push(values);
    }

    /// Number of acknowledged records.
    pub fn acknowledged_count(&self) -> usize {
        self.partitions.values().map(|history| history.acknowledged.len()).sum()
    }

    /// Reads every partition from its start and panics unless each offset up to the end holds
    /// either the record acknowledged there, or records of a batch that was sent and never
    /// answered, which then is there whole and once; and every acknowledged record is there.
    pub fn verify(&mut self, client: &mut Client, topic: &str) {
        for (partition, history) in &mut self.partitions {
            let found = read_all(client, topic, *partition);
            history.verify(*partition, &found);
        }
    }
}

/// Every record of a partition, in the order in which it is served.
pub fn read_all(client: &mut Client, topic: &str, partition: i32) -> Vec<(i64, Vec<u8>)> {
    let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
    loop {
        let next = found.last().map_or(0, |(offset, _)| offset + 1);
        let fetched = client.fetch(topic, partition, next).unwrap();
        assert_eq!(fetched.error_code, 0, "fetching {topic}-{partition} from {next}");
        if next == fetched.high_watermark {
            return found;
        }
        let records = batch::records(&fetched.records);
        let before = found.len();
        found.extend(records.into_iter().filter(|(offset, _)| *offset >= next));
        assert!(
            found.len() > before,
            "{topic}-{partition}: nothing at {next} below {}",
            fetched.high_watermark
        );
    }
}

impl History {
    fn verify(&mut self, partition: i32, found: &[(i64, Vec<u8>)]) {
        for (expected, (offset, _)) in (0..).zip(found) {
            assert_eq!(*offset, expected, "partition {partition}: offsets are dense and in order");
        }
        let end = i64::try_from(found.len()).unwrap();
        if let Some((last, _)) = self.acknowledged.last_key_value() {
            assert!(*last < end, "partition {partition}: {last} was acknowledged, the log ends at {end}");
        }
        let mut at = 0;
        while at < found.len() {
            let (offset, value) = &found[at];
            if let Some(wanted) = self.acknowledged.get(offset) {
                assert!(wanted == value, "partition {partition}: offset {offset} holds another record");
                at += 1;
                continue;
            }
            // Not acknowledged: it must begin a batch that was sent and not answered. From now on
            // it is known, and must stay.
            let whole = |sent: &Vec<Vec<u8>>| {
                sent.len() <= found.len() - at
                    && sent.iter().zip(&found[at..]).all(|(sent, (_, value))| sent == value)
            };
            let index = self.unanswered.iter().position(whole);
            let index =
                index.unwrap_or_else(|| panic!("partition {partition}: offset {offset} was never sent so"));
            let sent = self.unanswered.swap_remove(index);
            at += sent.len();
            for (offset, value) in (*offset..).zip(sent) {
                assert!(
                    self.acknowledged.insert(offset, value).is_none(),
                    "{partition}: a batch over {offset}"
                );
            }
        }
        // What is not in the log after a restart can never come back.
        self.unanswered.clear();
    }
}

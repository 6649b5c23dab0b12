//! Records made from a seed. `tests/interop/records` makes the same ones in Java: change both or neither.

use bytes::Bytes;
use ringmain_storage::record::builder::{BatchBuilder, NewRecord};
use ringmain_storage::record::compression::Codec;
use ringmain_storage::record::record::BatchRecords;
use ringmain_storage::types::TimestampMs;

/// First timestamp of every corpus batch.
pub(crate) const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// The generator splitmix64: the same sequence for the same seed, in any language.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 1) % end
    }

    /// An index below `end`.
    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(u64::try_from(end).unwrap())).unwrap()
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        // Few distinct values, so that the codecs have something to do.
        (0..length).map(|_| b'a' + u8::try_from(self.below(6)).unwrap()).collect()
    }

    fn nullable(&mut self, length_end: u64) -> Option<Vec<u8>> {
        match self.below(8) {
            0 => None,
            1 => Some(Vec::new()),
            _ => {
                let length = self.below(length_end);
                Some(self.bytes(length))
            }
        }
    }
}

/// A header: name and value.
pub(crate) type OwnedHeader = (String, Option<Vec<u8>>);

/// A record that owns its parts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OwnedRecord {
    /// Timestamp.
    pub(crate) timestamp: i64,
    /// Key.
    pub(crate) key: Option<Vec<u8>>,
    /// Value.
    pub(crate) value: Option<Vec<u8>>,
    /// Headers.
    pub(crate) headers: Vec<OwnedHeader>,
}

/// The records of one seed.
pub(crate) fn records(seed: u64) -> Vec<OwnedRecord> {
    let mut random = Random(seed);
    let count = 1 + random.below(40);
    let one = |index: u64, random: &mut Random| {
        let timestamp = FIRST_TIMESTAMP + i64::try_from(random.below(100_000)).unwrap();
        let key = random.nullable(40);
        let value = random.nullable(if index == 3 { 70_000 } else { 300 });
        let header_count = random.below(4);
        let headers = (0..header_count).map(|header| {
            let name = format!("h{header}-é");
            (name, random.nullable(20))
        });
        OwnedRecord { timestamp, key, value, headers: headers.collect() }
    };
    (0..count).map(|index| one(index, &mut random)).collect()
}

/// One batch of these records.
pub(crate) fn build(codec: Codec, records: &[OwnedRecord]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let record = NewRecord {
            timestamp: TimestampMs(record.timestamp),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// The records of a batch.
pub(crate) fn read(batch: &[u8]) -> Vec<OwnedRecord> {
    let opened = BatchRecords::open(batch, 64 << 20).unwrap();
    let own = |record: ringmain_storage::record::record::Record<'_>| OwnedRecord {
        timestamp: record.timestamp.0,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec))).collect(),
    };
    opened.iter().map(|record| own(record.unwrap())).collect()
}

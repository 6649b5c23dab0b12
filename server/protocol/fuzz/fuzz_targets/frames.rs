//! The framed records of internal topics: metadata records, and the keys and values of the coordinators.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ringmain_protocol::coordinator::{
    GroupKey, GroupValue, ShareKey, ShareValue, TransactionKey, TransactionValue,
};
use ringmain_protocol::metadata::MetadataRecord;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    if let Ok((record, version)) = MetadataRecord::read_framed(bytes.clone()) {
        let written = record.write_framed(version).expect("what was read can be written");
        assert!(MetadataRecord::read_framed(written).is_ok());
    }
    let _ = GroupKey::read_framed(bytes.clone());
    let _ = TransactionKey::read_framed(bytes.clone());
    let _ = ShareKey::read_framed(bytes.clone());
    let Some((api_key, value)) = input.split_first() else { return };
    let value = Bytes::copy_from_slice(value);
    let _ = GroupValue::read_framed(i16::from(*api_key), value.clone());
    let _ = TransactionValue::read_framed(i16::from(*api_key), value.clone());
    let _ = ShareValue::read_framed(i16::from(*api_key), value);
});

//! Every reader: the first two bytes of the input choose the type, the third the version, the rest is read.
//! What was read can be written, and what was written is read and written again as the same bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ringmain_protocol::catalog::{self, RoundTripError};

fuzz_target!(|input: &[u8]| {
    let [high, low, version, content @ ..] = input else { return };
    let entries = catalog::entries();
    let entry = &entries[usize::from(u16::from_be_bytes([*high, *low])) % entries.len()];
    let versions = entry.versions();
    let count = versions.end() - versions.start() + 1;
    let version = versions.start() + i16::from(*version) % count;
    match entry.round_trip(Bytes::copy_from_slice(content), version) {
        Ok(encoded) => {
            let written = encoded.into_bytes();
            let again = entry.round_trip(written.clone(), version).map(|encoded| encoded.into_bytes());
            assert_eq!(again, Ok(written), "{} v{version}", entry.name);
        }
        Err(RoundTripError::Decode(_)) => {}
        Err(RoundTripError::Encode(error)) => panic!("{} v{version}: {error}", entry.name),
    }
});

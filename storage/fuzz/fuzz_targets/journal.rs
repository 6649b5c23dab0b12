//! Any bytes as a journal frame or as a checkpoint: an answer within bounds, never a panic. Half of the inputs
//! get the checksum they ask for, so that lies reach the deeper checks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmain_storage::checkpoint::Checkpoint;
use ringmain_storage::journal::frame::{Look, look};
use ringmain_storage::log::checkpoint_file::read_partition_offsets;

/// Where a frame's header has its checksum, and where its descriptors begin.
const CHECKSUM_AT: usize = 44;
const DESCRIPTORS_AT: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    let mut frame = rest.to_vec();
    let mut checkpoint = rest.to_vec();
    if mode & 1 == 1 && rest.len() >= DESCRIPTORS_AT {
        frame[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
        let checksum = crc32c::crc32c(&frame);
        frame[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        checkpoint.extend(crc32c::crc32c(rest).to_le_bytes());
    }
    if let Look::Frame(found) = look(&frame) {
        assert!(found.payload_at <= found.bytes);
        let sum: u64 = found.descriptors.iter().map(|descriptor| u64::from(descriptor.len)).sum();
        assert!(found.payload_at as u64 + sum <= found.bytes as u64);
    }
    if let Ok(read) = Checkpoint::read(&checkpoint) {
        assert_eq!(Checkpoint::read(&read.write()).map(|again| again.write()), Ok(read.write()));
    }
    let _ = read_partition_offsets(rest);
});

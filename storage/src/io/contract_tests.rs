//! What every `Io` promises, as tests that run over each of them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;

use super::{AlignedBuffer, BLOCK_BYTES, Io, IoError, IoFile, OpenHow};

/// A buffer of whole blocks, every byte `fill`.
fn filled(blocks: usize, fill: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(blocks * BLOCK_BYTES);
    buffer.fill(fill);
    buffer
}

/// The whole contract, on an empty directory.
pub(super) async fn holds<I: Io>(make: impl FnOnce() -> Result<I, IoError>, root: &Path) {
    let io = make().unwrap();
    files_are_made_once_and_read_back(&io, root).await;
    many_writes_at_once_land_each_in_its_place(&io, root).await;
    a_dropped_write_frees_nothing_early(&io, root).await;
    lengths_are_set_and_allocation_keeps_them(&io, root).await;
    small_files_are_replaced_whole(&io, root).await;
    names_move_and_go(&io, root).await;
    time_passes(&io).await;
}

async fn files_are_made_once_and_read_back<I: Io>(io: &I, root: &Path) {
    let directory = root.join("a/b");
    io.create_directory(&directory).await.unwrap();
    io.create_directory(&directory).await.unwrap();
    let path = directory.join("file");
    assert_eq!(
        io.open(&path, OpenHow::ReadWrite).await.map(drop).unwrap_err().source.kind(),
        std::io::ErrorKind::NotFound
    );
    let file = io.open(&path, OpenHow::Create).await.unwrap();
    assert_eq!(file.path(), path);
    assert_eq!(
        io.open(&path, OpenHow::Create).await.map(drop).unwrap_err().source.kind(),
        std::io::ErrorKind::AlreadyExists
    );
    let back = file.write_at(filled(2, 1), 0).await.unwrap();
    assert_eq!(back.len(), 2 * BLOCK_BYTES);
    file.write_durable_at(filled(1, 2), 2 * 4096).await.unwrap();
    file.sync().await.unwrap();
    io.sync_directory(&directory).await.unwrap();
    let read = io.open(&path, OpenHow::Read).await.unwrap();
    let all = read.read_at(0, 16 * BLOCK_BYTES).await.unwrap();
    assert_eq!(all.len(), 3 * BLOCK_BYTES);
    assert!(all[..2 * BLOCK_BYTES].iter().all(|byte| *byte == 1));
    assert!(all[2 * BLOCK_BYTES..].iter().all(|byte| *byte == 2));
    assert_eq!(read.read_at(3 * 4096, BLOCK_BYTES).await.unwrap().len(), 0);
    assert!(read.write_at(filled(1, 3), 0).await.is_err(), "opened for reading only");
    assert!(file.read_at(1, BLOCK_BYTES).await.is_err(), "off a block boundary");
    assert!(file.write_at(filled(1, 3), 512).await.is_err(), "off a block boundary");
}

async fn many_writes_at_once_land_each_in_its_place<I: Io>(io: &I, root: &Path) {
    let file = io.open(&root.join("many"), OpenHow::Create).await.unwrap();
    let writes = (0..=255_u8).map(|index| file.write_at(filled(1, index), u64::from(index) * 4096));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let reads = (0..=255_u8).map(|index| file.read_at(u64::from(index) * 4096, BLOCK_BYTES));
    for (index, read) in join_all(reads).await.into_iter().enumerate() {
        assert!(read.unwrap().iter().all(|byte| usize::from(*byte) == index), "block {index}");
    }
    if let Some(descriptor) = file.send_descriptor().await.unwrap() {
        let mut bytes = vec![0; 4096];
        nix::sys::uio::pread(&descriptor, &mut bytes, 7 * 4096).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        let again = file.send_descriptor().await.unwrap().unwrap();
        assert!(std::sync::Arc::ptr_eq(&descriptor, &again), "opened once");
    }
}

async fn a_dropped_write_frees_nothing_early<I: Io>(io: &I, root: &Path) {
    let path = root.join("dropped");
    let file = io.open(&path, OpenHow::Create).await.unwrap();
    for index in 0..64_u32 {
        let write = Box::pin(file.write_at(filled(16, 9), u64::from(index) * 65536));
        // Polled once, so that it is under way, then dropped with its file.
        drop(futures::future::select(write, std::future::ready(())).await);
    }
    drop(file);
    let file = io.open(&path, OpenHow::ReadWrite).await.unwrap();
    file.sync().await.unwrap();
    let size = file.size().await.unwrap();
    for position in (0..size).step_by(BLOCK_BYTES) {
        let block = file.read_at(position, BLOCK_BYTES).await.unwrap();
        assert!(block.iter().all(|byte| *byte == 9) || block.iter().all(|byte| *byte == 0));
    }
}

async fn lengths_are_set_and_allocation_keeps_them<I: Io>(io: &I, root: &Path) {
    let file = io.open(&root.join("length"), OpenHow::Create).await.unwrap();
    file.allocate(0, 1 << 20).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 0);
    file.write_at(filled(2, 5), 0).await.unwrap();
    file.truncate(5000).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 5000);
    let read = file.read_at(0, 2 * BLOCK_BYTES).await.unwrap();
    assert_eq!(read.len(), 5000);
    assert_eq!(file.read_at(4096, BLOCK_BYTES).await.unwrap().len(), 5000 - 4096);
    file.truncate(8192).await.unwrap();
    let read = file.read_at(0, 2 * BLOCK_BYTES).await.unwrap();
    assert!(read[..5000].iter().all(|byte| *byte == 5));
    assert!(read[5000..].iter().all(|byte| *byte == 0), "what was cut off does not come back");
    file.sync().await.unwrap();
}

async fn small_files_are_replaced_whole<I: Io>(io: &I, root: &Path) {
    let path = root.join("small");
    assert_eq!(io.read_file(&path, 100).await.unwrap_err().source.kind(), std::io::ErrorKind::NotFound);
    io.replace_file(&path, b"first".to_vec()).await.unwrap();
    io.replace_file(&path, b"2".to_vec()).await.unwrap();
    assert_eq!(io.read_file(&path, 100).await.unwrap(), b"2");
    assert_eq!(io.read_file(&path, 1).await.unwrap(), b"2");
    assert!(io.read_file(&path, 0).await.is_err(), "larger than allowed");
}

async fn names_move_and_go<I: Io>(io: &I, root: &Path) {
    let directory = root.join("names");
    io.create_directory(&directory).await.unwrap();
    for name in ["c", "a", "b"] {
        io.open(&directory.join(name), OpenHow::Create).await.unwrap();
    }
    assert_eq!(io.list_directory(&directory).await.unwrap(), ["a", "b", "c"]);
    let open = io.open(&directory.join("a"), OpenHow::ReadWrite).await.unwrap();
    open.write_at(filled(1, 7), 0).await.unwrap();
    io.rename(&directory.join("a"), &directory.join("c")).await.unwrap();
    io.remove_file(&directory.join("b")).await.unwrap();
    io.sync_directory(&directory).await.unwrap();
    assert_eq!(io.list_directory(&directory).await.unwrap(), ["c"]);
    io.rename(&directory, &root.join("names-moved")).await.unwrap();
    assert!(open.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|byte| *byte == 7));
    io.remove_directory(&root.join("names-moved")).await.unwrap();
    assert_eq!(open.read_at(0, BLOCK_BYTES).await.unwrap().len(), BLOCK_BYTES, "open files outlive names");
    assert_eq!(io.list_directory(&directory).await.unwrap_err().source.kind(), std::io::ErrorKind::NotFound);
    assert!(io.remove_file(&directory.join("c")).await.is_err());
}

async fn time_passes<I: Io>(io: &I) {
    let before = (io.now(), io.wall_clock());
    io.sleep(Duration::from_millis(5)).await;
    assert!(io.now() >= before.0 + Duration::from_millis(5));
    assert!(io.wall_clock().0 >= before.1.0 + 5);
    let (sender, receiver) = futures::channel::oneshot::channel();
    io.spawn(async move { sender.send(1).unwrap() });
    assert_eq!(receiver.await.unwrap(), 1);
}

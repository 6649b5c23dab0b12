//! Index files as a crash leaves them: none is ahead of its segment.

use std::path::Path;

use ringmain_storage::io::Io;
use ringmain_storage::io::sim::SimIo;
use ringmain_storage::record::batch::{self, BatchHeader};

const SIZE_MAX: usize = 1 << 20;

/// Every entry of every `.index` in a log directory names a whole batch of its segment, before a start touches anything.
pub(crate) async fn check_index_files(io: &SimIo, directory: &Path) -> Result<(), String> {
    let Ok(folders) = io.list_directory(directory).await else { return Ok(()) };
    for folder in folders.iter().filter(|name| name.contains('-')) {
        let folder = directory.join(folder);
        let Ok(files) = io.list_directory(&folder).await else { continue };
        for name in files.iter().filter_map(|name| name.strip_suffix(".index")) {
            let index = io.read_file(&folder.join(format!("{name}.index")), SIZE_MAX).await;
            // Retention may have removed it, and not yet its index.
            let log = io.read_file(&folder.join(format!("{name}.log")), SIZE_MAX).await;
            let (Ok(index), Ok(log), Ok(base)) = (index, log, name.parse()) else { continue };
            check_entries(base, &index, &log)
                .map_err(|what| format!("{}/{name}.index: {what}", folder.display()))?;
        }
    }
    Ok(())
}

fn check_entries(base: i64, index: &[u8], log: &[u8]) -> Result<(), String> {
    for entry in index.chunks_exact(8) {
        let [relative, position] =
            [&entry[..4], &entry[4..]].map(|part| u32::from_be_bytes(part.try_into().unwrap()));
        let bytes = log.get(usize::try_from(position).unwrap()..).unwrap_or_default();
        let header = BatchHeader::read(bytes);
        let whole = header.and_then(|header| bytes.get(..header.batch_bytes()?).map(|bytes| (header, bytes)));
        let is_there = whole.is_some_and(|(header, bytes)| {
            header.last_offset().0 == base + i64::from(relative)
                && batch::compute_crc(bytes) == Some(header.crc())
        });
        if !is_there {
            return Err(format!("it has an entry for {position}, where the segment has no such batch"));
        }
    }
    Ok(())
}

//! What the page cache holds of a file, asked without waiting, and reading through it on a helper thread.
//!
//! A cold `sendfile` waits for the disk inside the system call, and with it a whole shard. So whoever hands a
//! range out for sending asks first, and has it read elsewhere if it is not there. What is there may be
//! evicted before it is sent: then one call waits, which is slow and not wrong.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use nix::unistd::{SysconfVar, sysconf};

/// A kernel that cannot count pages is asked about one byte in this many: it reads files in large pieces, and each
/// question touches a page.
const PROBE_BYTES: u64 = 256 << 10;
/// Number of the `cachestat` system call, the same on all machines (Linux 6.5).
const CACHESTAT: libc::c_long = 451;
/// One read-ahead call reads no more than the device's read-ahead, whose usual default this is.
const READ_AHEAD_BYTES: u64 = 128 << 10;

/// Copies what the page cache holds at `position`, up to `out`'s length, without waiting for the disk.
/// 0 if it holds nothing there.
pub fn read_resident(descriptor: &OwnedFd, position: u64, out: &mut [u8]) -> io::Result<usize> {
    let at = i64::try_from(position).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let vector = libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: out.len() };
    loop {
        #[expect(unsafe_code, reason = "preadv2 has no safe form")]
        // SAFETY: the one vector is `out`, which nobody else uses during the call.
        let count =
            unsafe { libc::preadv2(descriptor.as_raw_fd(), &raw const vector, 1, at, libc::RWF_NOWAIT) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                // The second is a file system that cannot say: nothing counts as resident, and memory is used.
                Some(libc::EAGAIN | libc::EOPNOTSUPP) => return Ok(0),
                Some(libc::EINTR) => continue,
                _ => return Err(error),
            }
        };
        return Ok(count);
    }
}

/// Whether all of `[position, end)` is in the page cache. Before Linux 6.5, or where counting is forbidden, as far as a
/// byte in each [`PROBE_BYTES`] tells.
pub fn is_resident(descriptor: &OwnedFd, position: u64, end: u64) -> io::Result<bool> {
    if position >= end {
        return Ok(true);
    }
    if let Some(pages) = resident_pages(descriptor, position, end) {
        return Ok(pages >= end.div_ceil(page_bytes()) - position / page_bytes());
    }
    for at in probes(position, end) {
        if read_resident(descriptor, at, &mut [0])? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Unit of the page cache.
fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let known = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        known.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
    })
}

/// `struct cachestat_range`.
#[repr(C)]
struct Range {
    position: u64,
    size: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    in_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of the range the page cache holds; `None` if the kernel does not say.
fn resident_pages(descriptor: &OwnedFd, position: u64, end: u64) -> Option<u64> {
    static IS_THERE: AtomicBool = AtomicBool::new(true);
    if !IS_THERE.load(Relaxed) {
        return None;
    }
    let range = Range { position, size: end - position };
    let mut pages = Pages::default();
    #[expect(unsafe_code, reason = "there is no other form of it")]
    // SAFETY: the kernel reads one of the structures and writes the other; both have its layout and live through the call.
    let result =
        unsafe { libc::syscall(CACHESTAT, descriptor.as_raw_fd(), &raw const range, &raw mut pages, 0_u32) };
    if result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        IS_THERE.store(false, Relaxed);
    }
    (result == 0).then_some(pages.cached)
}

/// Has `[position, end)` read into the page cache, and does not wait for it.
pub fn begin_reading(descriptor: &OwnedFd, position: u64, end: u64) -> io::Result<()> {
    let mut at = position;
    while at < end {
        let size = READ_AHEAD_BYTES.min(end - at);
        posix_fadvise(
            descriptor.as_fd(),
            signed(at)?,
            signed(size)?,
            PosixFadviseAdvice::POSIX_FADV_WILLNEED,
        )?;
        at += size;
    }
    Ok(())
}

/// Fills `out` through the page cache, and waits for the disk. Less only where the file ends.
pub fn read(descriptor: &OwnedFd, position: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = position.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match nix::sys::uio::pread(descriptor, rest, signed(at)?) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// One position in each [`PROBE_BYTES`] of the range, and its last byte.
fn probes(position: u64, end: u64) -> impl Iterator<Item = u64> {
    let step = usize::try_from(PROBE_BYTES).unwrap_or(usize::MAX);
    (position..end).step_by(step).chain(end.checked_sub(1).filter(|last| *last > position))
}

fn signed(position: u64) -> io::Result<i64> {
    i64::try_from(position).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_types, reason = "tests")]

    use std::io::Write;

    use super::*;

    #[test]
    fn a_single_page_that_is_not_there_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file =
            std::fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
        file.write_all(&vec![1; 64 << 12]).unwrap();
        file.sync_all().unwrap();
        let file = OwnedFd::from(file);
        if resident_pages(&file, 0, 4096).is_none() {
            // This kernel does not count pages: it is not asked about each.
            return;
        }
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM).unwrap();
        if is_resident(&file, 5 << 12, 6 << 12).unwrap() {
            // A file system in memory.
            return;
        }
        for page in (0..64).filter(|page| *page != 5) {
            assert_eq!(read(&file, page << 12, &mut [0; 4096]).unwrap(), 4096);
        }
        assert!(is_resident(&file, 0, 5 << 12).unwrap());
        assert!(is_resident(&file, 6 << 12, 64 << 12).unwrap());
        assert!(!is_resident(&file, (5 << 12) + 7, (5 << 12) + 8).unwrap());
        assert!(!is_resident(&file, 0, 64 << 12).unwrap());
    }
}

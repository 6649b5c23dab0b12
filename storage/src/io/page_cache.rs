//! What the page cache holds of a file, asked without waiting, and filling it on a helper thread.
//!
//! A cold `sendfile` waits for the disk inside the system call, and with it a whole shard. So whoever hands a
//! range out for sending asks first, and has it warmed elsewhere if it is not there. What is there may be
//! evicted before it is sent: then one call waits, which is slow and not wrong.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

/// The kernel is asked about one byte in this many: it reads files in large pieces, and each question touches a page.
const PROBE_BYTES: u64 = 256 << 10;
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

/// Whether `[position, end)` is in the page cache, as far as a byte in each [`PROBE_BYTES`] tells.
pub fn is_resident(descriptor: &OwnedFd, position: u64, end: u64) -> io::Result<bool> {
    for at in probes(position, end) {
        if read_resident(descriptor, at, &mut [0])? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fills the page cache with `[position, end)`, and begins with `[end, ahead_end)`. Blocks.
pub(super) fn warm(descriptor: &OwnedFd, (position, end): (u64, u64), ahead_end: u64) -> io::Result<()> {
    let mut at = position;
    while at < ahead_end {
        let size = READ_AHEAD_BYTES.min(ahead_end - at);
        posix_fadvise(
            descriptor.as_fd(),
            signed(at)?,
            signed(size)?,
            PosixFadviseAdvice::POSIX_FADV_WILLNEED,
        )?;
        at += size;
    }
    // The advice only starts reading; one byte of each piece waits for it.
    for at in probes(position, end) {
        nix::sys::uio::pread(descriptor, &mut [0], signed(at)?)?;
    }
    Ok(())
}

/// One position in each [`PROBE_BYTES`] of the range, and its last byte.
fn probes(position: u64, end: u64) -> impl Iterator<Item = u64> {
    let step = usize::try_from(PROBE_BYTES).unwrap_or(usize::MAX);
    (position..end).step_by(step).chain(end.checked_sub(1).filter(|last| *last > position))
}

fn signed(position: u64) -> io::Result<i64> {
    i64::try_from(position).map_err(|_| io::ErrorKind::InvalidInput.into())
}

//! A non-blocking TCP socket on a shard's executor: reads, vectored sends, `sendfile`.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BufMut;
use nix::sys::socket::{self, MsgFlags, Shutdown};
use ringmain_storage::io::executor::give_way;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::handler::Part;

/// Most slices one `writev` takes: the kernel's limit is 1,024, and 64 already amortise the call.
const SLICES_MAX: usize = 64;
/// Bytes one `sendfile` call may move, so that one peer does not hold the shard.
const SENDFILE_BYTES_MAX: usize = 256 << 10;
/// Bytes sent before the shard's other tasks get a turn: a thousand connections that all have much to take then leave
/// a turn to everybody else several times a second.
const TURN_BYTES: usize = 256 << 10;

/// A connected socket. Clones share it; it closes with the last.
#[derive(Clone)]
pub(super) struct Socket {
    inner: Rc<TcpStream>,
}

impl Socket {
    /// Takes a connected stream over; it must be used on this thread's executor only.
    pub(super) fn new(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { inner: Rc::new(TcpStream::from_std(stream)?) })
    }

    /// A second descriptor of the same socket, for another shard.
    pub(super) fn duplicate(&self) -> io::Result<std::net::TcpStream> {
        Ok(self.inner.as_fd().try_clone_to_owned()?.into())
    }

    /// Ends one or both directions; a second time is no error.
    pub(super) fn shutdown(&self, how: Shutdown) {
        // It fails only when the peer has gone already, which is what was wanted.
        let _ = socket::shutdown(self.inner.as_raw_fd(), how);
    }

    /// Reads what is there: `None` if nothing is, `Some(0)` at the end of the stream.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let room = buffer.len();
        self.reading(room, || self.inner.try_read(buffer))
    }

    /// As [`Socket::try_read`], behind what a buffer has.
    pub(super) fn try_read_into(&self, buffer: &mut impl BufMut) -> io::Result<Option<usize>> {
        let room = buffer.chunk_mut().len();
        self.reading(room, || self.inner.try_read_buf(buffer))
    }

    /// A read that brings less than there is room for has brought all there was, which the next read would only say
    /// again: the socket counts as empty until the kernel announces more.
    fn reading(&self, room: usize, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
        loop {
            match read() {
                Ok(count) => {
                    if count > 0 && count < room {
                        let empty = || Err::<(), _>(ErrorKind::WouldBlock.into());
                        let _ = self.inner.try_io(Interest::READABLE, empty);
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a byte has arrived that was not read.
    pub(super) fn has_unread(&self) -> bool {
        matches!(socket::recv(self.inner.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK), Ok(1..))
    }

    /// Ready when a read might not wait. One task at a time.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_read_ready(cx)
    }

    /// Sends all parts in order. `moved` is called whenever bytes went out.
    pub(super) async fn send(&self, parts: &[Part], moved: impl Fn()) -> io::Result<()> {
        let mut at = Cursor { index: 0, skip: 0 };
        let mut turn = 0;
        while let Some(part) = parts.get(at.index) {
            let sent = match part {
                Part::Memory(_) | Part::Records(_) => self.try_send_memory(parts, &at)?,
                Part::File { descriptor, position, len } => {
                    self.try_send_file(descriptor, *position, *len, at.skip)?
                }
            };
            let Some(count) = sent else {
                self.inner.writable().await?;
                continue;
            };
            at.advance(parts, count);
            moved();
            turn += count;
            if turn >= TURN_BYTES {
                turn = 0;
                give_way().await;
            }
        }
        Ok(())
    }

    /// Sends from the run of memory parts at the cursor. `None` if the socket is full.
    fn try_send_memory(&self, parts: &[Part], at: &Cursor) -> io::Result<Option<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut skip = at.skip;
        let run = parts.iter().skip(at.index).map_while(|part| match part {
            Part::Memory(bytes) | Part::Records(bytes) => Some(bytes),
            Part::File { .. } => None,
        });
        for (slot, bytes) in slices.iter_mut().zip(run) {
            *slot = IoSlice::new(bytes.get(skip..).unwrap_or_default());
            skip = 0;
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(Some(0));
        }
        loop {
            match self.inner.try_write_vectored(slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends from a file range. `None` if the socket is full. The range is warm: who made the part saw to it.
    fn try_send_file(
        &self,
        descriptor: &OwnedFd,
        position: u64,
        len: usize,
        skip: usize,
    ) -> io::Result<Option<usize>> {
        let count = len.saturating_sub(skip).min(SENDFILE_BYTES_MAX);
        if count == 0 {
            return Ok(Some(0));
        }
        let from = u64::try_from(skip).ok().and_then(|skip| position.checked_add(skip));
        let mut from = from
            .and_then(|from| i64::try_from(from).ok())
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a file position beyond 2^63"))?;
        loop {
            let sent = self.inner.try_io(Interest::WRITABLE, || {
                Ok(nix::sys::sendfile::sendfile64(&self.inner, descriptor, Some(&mut from), count)?)
            });
            match sent {
                // The file is shorter than the slice says: what was promised in the header cannot be sent.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where sending stands: the part, and how much of it has gone.
struct Cursor {
    index: usize,
    skip: usize,
}

impl Cursor {
    fn advance(&mut self, parts: &[Part], mut count: usize) {
        while let Some(part) = parts.get(self.index) {
            let left = part.len() - self.skip;
            if count < left {
                self.skip += count;
                return;
            }
            count -= left;
            self.index += 1;
            self.skip = 0;
        }
    }
}

//! Cuts a stream into request frames: `length i32 | length bytes`, the length not counting itself.
//!
//! Only the bytes of an unfinished frame are kept. A length is believed as far as bytes follow it: memory
//! grows with what arrived, never with what was announced.
//!
//! What is missing of a large frame is received where it stays ([`Framing::room`]), everything else through the
//! buffer that the shard's connections share. After a large frame one expects another: little is read ahead then.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A frame's memory is at most so many times what has arrived of it: four, so that a frame of 1 MiB, of which the
/// first read brings a quarter, is not copied again while it grows.
const GROWTH_MAX: usize = 4;
/// And only twice while so little has arrived: many connections may stand there with that.
const LITTLE_BYTES: usize = 64 << 10;
/// A frame's memory may at once be as much as the last one had, if that was no more than this.
const EXPECTED_BYTES_MAX: usize = 128 << 10;
/// Missing bytes that are worth a read of their own.
const IN_PLACE_BYTES_MIN: usize = 16 << 10;
/// From so many bytes on a frame is large: after it comes another one, it is assumed.
const LARGE_BYTES_MIN: usize = 32 << 10;
/// Bytes read through the shared buffer where a large frame is expected.
const AHEAD_BYTES: usize = 8 << 10;

/// Why the stream cannot be read on. The connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// The length is negative, or above the limit and the first bytes are no protocol we can name.
    #[error("a frame of {length} bytes was announced; socket.request.max.bytes allows {length_max}")]
    Length {
        /// The announced length.
        length: i32,
        /// The limit.
        length_max: usize,
    },
    /// The first bytes are a TLS record: the client believes that this listener speaks TLS.
    #[error("the client speaks TLS, this listener does not (security.protocol should be PLAINTEXT)")]
    Tls,
    /// The first bytes are an HTTP request.
    #[error("the client speaks HTTP, not Kafka's protocol")]
    Http,
}

/// The unfinished frame of one connection; without one it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Framing {
    partial: BytesMut,
    /// Bytes of the last frame.
    last_bytes: usize,
}

impl Framing {
    /// Takes received bytes and appends the frames that are whole now, without their length prefix.
    pub(super) fn push(
        &mut self,
        mut received: &[u8],
        length_max: usize,
        frames: &mut Vec<Bytes>,
    ) -> Result<(), FrameError> {
        while !received.is_empty() {
            if self.partial.len() < 4 {
                // The usual case: a frame that begins and ends within what was received.
                if self.partial.is_empty()
                    && let Some((prefix, rest)) = received.split_first_chunk::<4>()
                {
                    let length = frame_length(*prefix, length_max)?;
                    if let Some((frame, rest)) = rest.split_at_checked(length) {
                        self.last_bytes = length;
                        frames.push(Bytes::copy_from_slice(frame));
                        received = rest;
                        continue;
                    }
                }
                let missing = 4 - self.partial.len();
                let (head, rest) = received.split_at(missing.min(received.len()));
                self.partial.extend_from_slice(head);
                received = rest;
                continue;
            }
            let length =
                self.partial.first_chunk::<4>().map_or(Ok(0), |prefix| frame_length(*prefix, length_max))?;
            let missing = 4 + length - self.partial.len();
            let (body, rest) = received.split_at(missing.min(received.len()));
            self.grow(body.len(), length);
            self.partial.extend_from_slice(body);
            received = rest;
            self.finish(length, frames);
        }
        // A prefix whose frame has no body, or a length that cannot be, is seen without waiting for more.
        if let Some(prefix) = self.partial.first_chunk::<4>() {
            let length = frame_length(*prefix, length_max)?;
            self.finish(length, frames);
        }
        Ok(())
    }

    /// Room for what is missing of an unfinished frame, if that is worth a read of its own; [`Framing::took`] is told
    /// how much was put there.
    pub(super) fn room(&mut self) -> Option<Limit<&mut BytesMut>> {
        let length = usize::try_from(i32::from_be_bytes(*self.partial.first_chunk::<4>()?)).ok()?;
        let missing = (4 + length).checked_sub(self.partial.len())?;
        if missing < IN_PLACE_BYTES_MIN {
            return None;
        }
        self.grow(1, length);
        let room = self.partial.capacity() - self.partial.len();
        Some((&mut self.partial).limit(room.min(missing)))
    }

    /// Takes what was received into [`Framing::room`].
    pub(super) fn took(&mut self, frames: &mut Vec<Bytes>) {
        let length = self.partial.first_chunk::<4>().map(|prefix| i32::from_be_bytes(*prefix));
        if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
            self.finish(length, frames);
        }
    }

    /// Bytes to read through the shared buffer at most.
    pub(super) fn ahead_bytes(&self) -> usize {
        if self.last_bytes >= LARGE_BYTES_MIN { AHEAD_BYTES } else { usize::MAX }
    }

    /// Makes room for bytes that have arrived, or for the next ones, of a frame of this length.
    fn grow(&mut self, more: usize, length: usize) {
        let arrived = self.partial.len() + more;
        if self.partial.capacity() < arrived {
            let expected = (4 + self.last_bytes).min(EXPECTED_BYTES_MAX);
            let growth = if arrived < LITTLE_BYTES { GROWTH_MAX / 2 } else { GROWTH_MAX };
            let grown = arrived.saturating_mul(growth).max(expected).min(4 + length);
            self.partial.reserve(grown - self.partial.len());
        }
    }

    fn finish(&mut self, length: usize, frames: &mut Vec<Bytes>) {
        if self.partial.len() == 4 + length {
            self.last_bytes = length;
            let mut frame = std::mem::take(&mut self.partial).freeze();
            frame.advance(4);
            frames.push(frame);
        }
    }

    /// Bytes of an unfinished frame that are held.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.partial.len()
    }
}

fn frame_length(prefix: [u8; 4], length_max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= length_max => Ok(length),
        _ => Err(match prefix {
            [0x14..=0x17, 0x03, 0x00..=0x04, _] => FrameError::Tls,
            [b'G', b'E', b'T', b' ']
            | [b'P', b'O', b'S', b'T']
            | [b'P', b'U', b'T', b' ']
            | [b'H', b'E', b'A', b'D'] => FrameError::Http,
            _ => FrameError::Length { length, length_max },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        let prefixed =
            |frame: &&[u8]| [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
        frames.iter().flat_map(prefixed).collect()
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let large = vec![7_u8; 5000];
        let expected: [&[u8]; 5] = [b"first", b"", &large, b"x", b""];
        let bytes = stream(&expected);
        for step in [1, 2, 3, 5, 7, 64, 4096, bytes.len()] {
            let (mut framing, mut frames) = (Framing::default(), Vec::new());
            for piece in bytes.chunks(step) {
                framing.push(piece, 10_000, &mut frames).unwrap();
            }
            assert_eq!(frames, expected, "cut every {step} bytes");
            assert_eq!(framing.unfinished_bytes(), 0);
        }
    }

    #[test]
    fn what_is_missing_of_a_large_frame_is_received_in_place() {
        let large: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        let expected: [&[u8]; 4] = [b"first", &large, &large[..100_000], b"last"];
        let mut bytes = &stream(&expected)[..];
        let (mut framing, mut frames) = (Framing::default(), Vec::new());
        let mut in_place = 0;
        while !bytes.is_empty() {
            if let Some(mut room) = framing.room() {
                let (now, rest) = bytes.split_at(bytes.len().min(room.remaining_mut()).min(30_000));
                room.put_slice(now);
                in_place += now.len();
                bytes = rest;
                framing.took(&mut frames);
            } else {
                let (now, rest) = bytes.split_at(bytes.len().min(framing.ahead_bytes()).min(20_000));
                framing.push(now, 1 << 20, &mut frames).unwrap();
                bytes = rest;
            }
            let bytes_max = (GROWTH_MAX * framing.unfinished_bytes()).max(EXPECTED_BYTES_MAX);
            assert!(framing.partial.capacity() <= bytes_max);
        }
        assert_eq!(frames, expected);
        assert!(in_place > 340_000, "{in_place}");
        assert_eq!(framing.unfinished_bytes(), 0);
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_with_the_reason() {
        let refused = |bytes: &[u8]| Framing::default().push(bytes, 100, &mut Vec::new()).unwrap_err();
        assert_eq!(refused(&[0xff; 4]), FrameError::Length { length: -1, length_max: 100 });
        assert_eq!(refused(&[0, 0, 0, 101]), FrameError::Length { length: 101, length_max: 100 });
        assert_eq!(refused(&[0x16, 0x03, 0x01, 0x02, 0x00]), FrameError::Tls);
        assert_eq!(refused(b"GET / HTTP/1.1"), FrameError::Http);
    }

    #[test]
    fn an_announced_length_takes_no_memory_of_its_own() {
        let mut framing = Framing::default();
        framing.push(&100_000_000_u32.to_be_bytes(), 1 << 30, &mut Vec::new()).unwrap();
        framing.push(&[1; 1000], 1 << 30, &mut Vec::new()).unwrap();
        let capacity = framing.partial.capacity();
        assert!(capacity <= GROWTH_MAX * framing.unfinished_bytes(), "{capacity}");
    }
}

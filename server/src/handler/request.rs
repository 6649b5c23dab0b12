//! A request frame taken apart as far as its header, which names the API and its version.
//!
//! Layout of the header (the frame's length prefix is already gone), big-endian:
//! `api_key i16 | api_version i16 | correlation_id i32 | client_id nullable string (i16 length) | [tagged fields]`.
//! The tagged fields are there only when the API's version is a flexible one.

use std::net::SocketAddr;

use bytes::{Buf, Bytes};

use super::workload::Right;
use crate::runtime::traffic::Traffic;

/// One of the broker's listeners, by its place in [`Settings::listeners`](super::Settings).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListenerId(pub usize);

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The listener it came through.
    pub listener: ListenerId,
}

/// One request, its header read, its body not.
pub struct Request {
    /// Which API.
    pub api_key: i16,
    /// Which version of it; not checked yet.
    pub version: i16,
    /// Echoed in the response's header.
    pub correlation_id: i32,
    /// What the client calls itself; `None` if it does not say. A copy: a slice would share the frame with the records
    /// in it, which are stored where they stand if nobody else has them.
    pub client_id: Option<Bytes>,
    /// Bytes of the whole frame.
    pub frame_bytes: usize,
    /// What follows the client id: tagged fields of the header if the version is flexible, then the body.
    pub rest: Bytes,
    /// The other end of the connection.
    pub peer: Peer,
    /// Told whose partitions it is about.
    pub traffic: Traffic,
    /// The right to work on it, if it needs one.
    pub right: Option<Right>,
}

/// Why a frame's header could not be read. The connection is closed: without a header there is nobody to answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The frame ends inside the header.
    #[error("the frame has {frame_bytes} bytes and ends inside the request header")]
    Truncated {
        /// Bytes in the frame.
        frame_bytes: usize,
    },
    /// The client id's length is negative but not −1.
    #[error("the client id's length is {length}")]
    ClientIdLength {
        /// What stood there.
        length: i16,
    },
}

impl Request {
    /// Reads the header of one frame (without its length prefix).
    pub fn parse(mut frame: Bytes, peer: Peer) -> Result<Self, BadRequest> {
        let frame_bytes = frame.len();
        let truncated = BadRequest::Truncated { frame_bytes };
        if frame_bytes < 10 {
            return Err(truncated);
        }
        let (api_key, version, correlation_id) = (frame.get_i16(), frame.get_i16(), frame.get_i32());
        let client_id = match frame.get_i16() {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| BadRequest::ClientIdLength { length })?;
                if length > frame.len() {
                    return Err(truncated);
                }
                Some(Bytes::copy_from_slice(&frame.split_to(length)))
            }
        };
        Ok(Self {
            api_key,
            version,
            correlation_id,
            client_id,
            frame_bytes,
            rest: frame,
            peer,
            traffic: Traffic::default(),
            right: None,
        })
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("api_key", &self.api_key)
            .field("version", &self.version)
            .field("correlation_id", &self.correlation_id)
            .field("peer", &self.peer.address)
            .field("rest_bytes", &self.rest.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { address: SocketAddr::from(([127, 0, 0, 1], 1)), listener: ListenerId::default() }
    }

    #[test]
    fn a_header_is_read_and_the_rest_is_left() {
        let frame = Bytes::from_static(b"\0\x12\0\x03\0\0\0\x07\0\x02meREST");
        let request = Request::parse(frame, peer()).unwrap();
        assert_eq!((request.api_key, request.version, request.correlation_id), (18, 3, 7));
        assert_eq!(request.client_id.as_deref(), Some(&b"me"[..]));
        assert_eq!(&request.rest[..], b"REST");
    }

    #[test]
    fn every_short_frame_is_an_error() {
        let frame = Bytes::from_static(b"\0\x12\0\x03\0\0\0\x07\0\x02me");
        for length in 0..frame.len() {
            assert!(Request::parse(frame.slice(..length), peer()).is_err(), "{length}");
        }
        assert!(Request::parse(frame, peer()).is_ok());
    }

    #[test]
    fn a_negative_client_id_is_an_error() {
        let frame = Bytes::from_static(b"\0\x12\0\x03\0\0\0\x07\xff\xfeme");
        assert_eq!(Request::parse(frame, peer()).unwrap_err(), BadRequest::ClientIdLength { length: -2 });
    }
}

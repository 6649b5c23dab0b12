//! What a consumer subscribes to, as far as a broker looks into it: the topics, so that offsets of topics that are being
//! read neither expire nor are deleted.
//!
//! Layout (`ConsumerProtocolSubscription`, big-endian), the same start in every version: `version i16 | topic count i32 |
//! per topic: length i16, UTF-8 | …`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// The topics; `None` if the bytes are no subscription.
pub(super) fn topics(mut metadata: Bytes) -> Option<BTreeSet<Arc<str>>> {
    let version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        if length > metadata.len() {
            return None;
        }
        topics.insert(Arc::from(std::str::from_utf8(&metadata.split_to(length)).ok()?));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::{Bytes, topics};

    #[test]
    fn topics_are_read_and_anything_else_is_none() {
        let good = b"\0\x03\0\0\0\x02\0\x01a\0\x02bcREST";
        let read = topics(Bytes::from_static(good)).unwrap();
        assert_eq!(read.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "bc"]);
        for end in 0..good.len() - 4 {
            assert_eq!(topics(Bytes::from_static(&good[..end])), None, "{end}");
        }
        for bad in [
            &b"\xff\xff\0\0\0\0"[..],
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\xff\xff",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(topics(Bytes::from_static(bad)), None);
        }
    }
}

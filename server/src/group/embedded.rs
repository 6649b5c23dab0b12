//! What consumers that speak the classic protocol say in the bytes that a broker passes on (`ConsumerProtocol`): what they
//! read, and what they were given. A broker looks into it so that offsets that are in use stay, and where both protocols
//! meet in one group.
//!
//! Layout, big-endian, a text is `length i16, UTF-8`, bytes are `length i32` (−1 for none) and that many:
//! - subscription: `version i16 | topic count i32, texts | user bytes |` since 1 `topic count i32, per topic: name, partition
//!   count i32, partitions i32 |` since 2 `generation i32 |` since 3 `rack as a text (−1 for none)`;
//! - assignment: `version i16 | topic count i32, per topic: name, partition count i32, partitions i32 | user bytes`.
//!
//! Newer versions only add to the end. What a client wrote too short for its version is taken as far as it goes: the topics
//! have to be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Partitions of topics by name.
pub(super) type Named = Vec<(Arc<str>, Vec<i32>)>;

/// What a consumer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The version it speaks.
    pub(super) version: i16,
    /// The topics.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it has.
    pub(super) owned: Named,
    /// Where it stands in the data centre.
    pub(super) rack_id: Option<Arc<str>>,
}

/// First version that says what the member has.
const OWNED_SINCE: i16 = 1;
/// First version that says of which generation that is.
const GENERATION_SINCE: i16 = 2;
/// First version with a rack.
const RACK_SINCE: i16 = 3;
/// The newest version of an assignment.
const ASSIGNMENT_VERSION_MAX: i16 = 3;

/// What a consumer reads; `None` if the bytes are no subscription.
pub(super) fn subscription(mut bytes: Bytes) -> Option<Subscription> {
    let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let mut topics = BTreeSet::new();
    for _ in 0..count(&mut bytes)? {
        topics.insert(text(&mut bytes)?);
    }
    let mut subscription = Subscription { version, topics, ..Subscription::default() };
    // What follows may be missing.
    let _ = rest(&mut subscription, bytes);
    Some(subscription)
}

fn rest(subscription: &mut Subscription, mut bytes: Bytes) -> Option<()> {
    skip(&mut bytes)?;
    if subscription.version >= OWNED_SINCE {
        subscription.owned = named(&mut bytes)?;
    }
    if subscription.version >= GENERATION_SINCE {
        bytes.try_get_i32().ok()?;
    }
    if subscription.version >= RACK_SINCE {
        subscription.rack_id = Some(text(&mut bytes)?);
    }
    Some(())
}

/// What a consumer was given; `None` if the bytes are no assignment.
pub(super) fn assignment(mut bytes: Bytes) -> Option<Named> {
    bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    named(&mut bytes)
}

/// An assignment as bytes, for a consumer whose subscription has that version.
pub(super) fn assignment_bytes(version: i16, topics: &[(Arc<str>, Vec<i32>)]) -> Bytes {
    let mut bytes = BytesMut::new();
    let put_count =
        |bytes: &mut BytesMut, count: usize| bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    bytes.put_i16(version.min(ASSIGNMENT_VERSION_MAX));
    put_count(&mut bytes, topics.len());
    for (name, partitions) in topics {
        // No topic's name is longer than 249 bytes.
        bytes.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        bytes.put_slice(name.as_bytes());
        put_count(&mut bytes, partitions.len());
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn count(bytes: &mut Bytes) -> Option<i32> {
    bytes.try_get_i32().ok().filter(|count| *count >= 0)
}

fn text(bytes: &mut Bytes) -> Option<Arc<str>> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok().filter(|length| *length <= bytes.len())?;
    Some(Arc::from(std::str::from_utf8(&bytes.split_to(length)).ok()?))
}

fn skip(bytes: &mut Bytes) -> Option<()> {
    let length = bytes.try_get_i32().ok()?;
    let length = usize::try_from(length.max(0)).ok().filter(|length| *length <= bytes.len())?;
    bytes.advance(length);
    Some(())
}

fn named(bytes: &mut Bytes) -> Option<Named> {
    let mut topics = Named::new();
    for _ in 0..count(bytes)? {
        let name = text(bytes)?;
        let mut partitions = Vec::new();
        for _ in 0..count(bytes)? {
            partitions.push(bytes.try_get_i32().ok()?);
        }
        topics.push((name, partitions));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Named, assignment, assignment_bytes, subscription};

    fn topics(bytes: &'static [u8]) -> Option<Vec<String>> {
        let read = subscription(Bytes::from_static(bytes))?;
        Some(read.topics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn topics_are_read_and_anything_else_is_none() {
        let good = b"\0\x03\0\0\0\x02\0\x01a\0\x02bcREST";
        assert_eq!(topics(good).unwrap(), ["a", "bc"]);
        for end in 0..good.len() - 4 {
            assert_eq!(topics(&good[..end]), None, "{end}");
        }
        for bad in [
            &b"\xff\xff\0\0\0\0"[..],
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\xff\xff",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(topics(bad), None);
        }
    }

    #[test]
    fn a_subscription_says_what_a_member_has_and_where_it_is() {
        let whole =
            b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x05\0\0\0\x07\0\x01r";
        let read = subscription(Bytes::from_static(whole)).unwrap();
        assert_eq!((read.version, &read.owned), (3, &vec![("a".into(), vec![5])]));
        assert_eq!(read.rack_id.as_deref(), Some("r"));
        for end in 9..whole.len() {
            assert!(subscription(Bytes::from_static(&whole[..end])).is_some(), "{end}");
        }
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let given: Named = vec![("a".into(), vec![0, 2]), ("b".into(), vec![])];
        assert_eq!(assignment(assignment_bytes(1, &given)), Some(given));
        assert_eq!(assignment(Bytes::new()), None);
    }
}

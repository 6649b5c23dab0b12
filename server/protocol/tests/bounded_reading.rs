//! Bytes that lie about counts, lengths, tags and varints: each is an error that names its field, before
//! anything is allocated for it.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, SaslHandshakeRequest};
use ringmain_protocol::wire::{DecodeProblem, Message, Reader};

/// What reading all of `bytes` as `M` says is wrong, and where.
fn problem<M: Message>(version: i16, bytes: &'static [u8]) -> (&'static str, DecodeProblem) {
    let mut reader = Reader::new(Bytes::from_static(bytes));
    match M::read(&mut reader, version).and_then(|_| reader.finish(M::NAME)) {
        Ok(()) => panic!("{} v{version} read {bytes:?} without complaint", M::NAME),
        Err(error) => (error.field, error.problem),
    }
}

#[test]
fn a_count_beyond_the_remaining_bytes_is_refused() {
    let huge = problem::<MetadataRequest>(0, &[0x7f, 0xff, 0xff, 0xff, 0, 1, b'a']);
    let count = 0x7fff_ffff;
    assert_eq!(huge, ("MetadataRequest.Topics", DecodeProblem::Count { count, remaining: 3 }));
    // Flexible: 2^32 − 2 elements.
    let huge = problem::<MetadataRequest>(9, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    assert_eq!(huge.0, "MetadataRequest.Topics");
    assert!(matches!(huge.1, DecodeProblem::Count { remaining: 1, .. }), "{huge:?}");
}

#[test]
fn a_count_is_compared_with_the_smallest_size_of_its_elements() {
    // Two topics of at least two bytes each do not fit into three bytes.
    let tight = problem::<MetadataRequest>(0, &[0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(tight.1, DecodeProblem::Count { count: 2, remaining: 3 });
}

#[test]
fn negative_counts_and_lengths_other_than_null_are_refused() {
    let count = problem::<MetadataRequest>(1, &[0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(count, ("MetadataRequest.Topics", DecodeProblem::Length { length: -2 }));
    let length = problem::<SaslHandshakeRequest>(1, &[0x80, 0x00]);
    assert_eq!(length, ("SaslHandshakeRequest.Mechanism", DecodeProblem::Length { length: -32768 }));
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    // Null means "all topics" from version 1 on.
    let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
    assert_eq!(MetadataRequest::read(&mut reader, 1).unwrap().topics, None);
    let null = problem::<MetadataRequest>(0, &[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(null, ("MetadataRequest.Topics", DecodeProblem::Null));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let text = problem::<SaslHandshakeRequest>(1, &[0, 2, 0xc3, 0x28]);
    assert_eq!(text, ("SaslHandshakeRequest.Mechanism", DecodeProblem::Utf8));
}

#[test]
fn a_string_longer_than_kafka_allows_is_refused() {
    let mut bytes = vec![0x81, 0x80, 0x02]; // 32768 + 1 as a varint
    bytes.resize(bytes.len() + 40_000, b'a');
    let mut reader = Reader::new(Bytes::from(bytes));
    let error = ApiVersionsRequest::read(&mut reader, 3).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::Length { length: 32768 });
}

#[test]
fn malformed_varints_are_refused() {
    for bytes in [&[0x80, 0x80, 0x80, 0x80, 0x10][..], &[0xff; 5], &[0x80; 6]] {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        assert_eq!(reader.uvarint("here").unwrap_err().problem, DecodeProblem::Varint, "{bytes:?}");
    }
    let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
    assert_eq!(reader.uvarint("here"), Ok(u32::MAX));
}

#[test]
fn unknown_tagged_fields_are_skipped_and_liars_refused() {
    // Two empty strings, then one tagged field: tag 9, three bytes.
    let mut reader = Reader::new(Bytes::from_static(&[1, 1, 1, 9, 3, 7, 7, 7]));
    assert_eq!(ApiVersionsRequest::read(&mut reader, 3).unwrap(), ApiVersionsRequest::default());
    assert_eq!(reader.remaining(), 0);

    let count = problem::<ApiVersionsRequest>(3, &[1, 1, 0x7f, 9, 0]);
    assert_eq!(count.1, DecodeProblem::Count { count: 127, remaining: 2 });
    let size = problem::<ApiVersionsRequest>(3, &[1, 1, 1, 9, 0x7f]);
    assert!(matches!(size.1, DecodeProblem::Truncated { needed: 127, .. } | DecodeProblem::Count { .. }));
    let size = problem::<ApiVersionsRequest>(3, &[1, 1, 1, 9, 0x7f, 0]);
    assert_eq!(size.1, DecodeProblem::Truncated { needed: 127, remaining: 1 });
}

/// Fetch v12 without topics; what follows are its tagged fields.
fn fetch_with_tags(tags: &[u8]) -> Result<FetchRequest, DecodeProblem> {
    let mut bytes = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
    bytes.extend_from_slice(&[1, 1, 1]); // topics, forgotten topics, rack
    bytes.extend_from_slice(tags);
    FetchRequest::read(&mut Reader::new(Bytes::from(bytes)), 12).map_err(|error| error.problem)
}

#[test]
fn a_tagged_field_cannot_read_beyond_its_size() {
    let cluster = fetch_with_tags(&[1, 0, 3, 3, b'h', b'i']).unwrap().cluster_id;
    assert_eq!(cluster.as_deref(), Some("hi"));
    // The string says two bytes, the field only has room for one: its neighbour is not touched.
    let beyond = fetch_with_tags(&[1, 0, 2, 3, b'h', b'i']);
    assert_eq!(beyond.unwrap_err(), DecodeProblem::Truncated { needed: 2, remaining: 1 });
    let left = fetch_with_tags(&[1, 0, 4, 3, b'h', b'i', b'!']);
    assert_eq!(left.unwrap_err(), DecodeProblem::TagSize { left: 1 });
}

#[test]
fn small_elements_cannot_inflate_memory() {
    // A million empty topic names of one byte each would become tens of megabytes.
    let topics = 1_000_000_u32;
    let mut bytes = vec![0xc1, 0x84, 0x3d]; // the count + 1 as a varint
    bytes.resize(bytes.len() + usize::try_from(topics).unwrap() * 2 + 4, 1);
    let input = Bytes::from(bytes);
    let mut reader = Reader::with_budget(input.clone(), 1 << 20);
    let error = MetadataRequest::read(&mut reader, 9).unwrap_err();
    assert_eq!((error.field, error.problem), ("MetadataRequest.Topics", DecodeProblem::MemoryBudget));
    // The usual budget is proportional to the input, so this one does not fit there either.
    let error = MetadataRequest::read(&mut Reader::new(input), 9).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::MemoryBudget);
}

#[test]
fn a_dense_but_honest_request_fits_the_budget() {
    use ringmain_protocol::messages::metadata_request::MetadataRequestTopic;
    use ringmain_protocol::{Str, Writer};
    for version in MetadataRequest::VERSIONS {
        let topic = |number: u32| MetadataRequestTopic {
            name: Some(Str::from(format!("topic-{number}"))),
            ..MetadataRequestTopic::default()
        };
        let request =
            MetadataRequest { topics: Some((0..50_000).map(topic).collect()), ..Default::default() };
        let mut writer = Writer::new();
        request.write(&mut writer, version).unwrap();
        let mut reader = Reader::new(writer.finish().into_bytes());
        assert_eq!(MetadataRequest::read(&mut reader, version).unwrap(), request, "v{version}");
    }
}

#[test]
fn a_version_outside_the_range_is_refused() {
    let beyond = problem::<FetchRequest>(19, &[]);
    assert_eq!(beyond, ("FetchRequest", DecodeProblem::UnsupportedVersion { version: 19 }));
    assert_eq!(problem::<FetchRequest>(-1, &[]).1, DecodeProblem::UnsupportedVersion { version: -1 });
}

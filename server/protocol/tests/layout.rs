//! Bytes written out by hand: the versions beyond Apache's own, headers, frames, ids, codes, and how record
//! bytes travel.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use ringmain_protocol::coordinator::{GroupKey, GroupValue, OffsetCommitKey, OffsetCommitValue};
use ringmain_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ringmain_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ringmain_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, DescribeConfigsResponse, FetchResponse,
    ProduceRequest, RequestHeader,
};
use ringmain_protocol::metadata::{MetadataRecord, TopicRecord};
use ringmain_protocol::wire::{EncodeProblem, Message, Part, Reader, Records, Str, Uuid, Writer};
use ringmain_protocol::{ApiKey, ErrorCode};

fn read<M: Message>(version: i16, bytes: &'static [u8]) -> M {
    let mut reader = Reader::new(Bytes::from_static(bytes));
    let message = M::read(&mut reader, version).unwrap();
    reader.finish(M::NAME).unwrap();
    let mut writer = Writer::new();
    message.write(&mut writer, version).unwrap();
    assert_eq!(writer.finish().into_bytes(), bytes, "{} v{version} written again", M::NAME);
    message
}

#[test]
fn create_topics_of_version_0_has_no_validate_only() {
    let request: CreateTopicsRequest =
        read(0, b"\0\0\0\x01\0\x01t\0\0\0\x03\0\x01\0\0\0\0\0\0\0\x01\0\x01k\0\x01v\0\0\x03\xe8");
    assert_eq!(request.timeout_ms, 1000);
    assert!(!request.validate_only);
    let topic = &request.topics[0];
    assert_eq!((&*topic.name, topic.num_partitions, topic.replication_factor), ("t", 3, 1));
    assert_eq!(topic.configs[0].value.as_deref(), Some("v"));
    let strict = CreateTopicsRequest { validate_only: true, ..request };
    let error = strict.write(&mut Writer::new(), 0).unwrap_err();
    assert_eq!(error.problem, EncodeProblem::UnsupportedField);
}

#[test]
fn delete_topics_of_version_0_is_a_list_of_names() {
    let request: DeleteTopicsRequest = read(0, b"\0\0\0\x02\0\x01a\0\x01b\0\0\0\x07");
    assert_eq!(request.topic_names, [Str::from("a"), Str::from("b")]);
    assert_eq!(request.timeout_ms, 7);
}

#[test]
fn describe_configs_of_version_0_says_whether_a_value_is_the_default() {
    let request: DescribeConfigsRequest = read(0, b"\0\0\0\x01\x02\0\x01t\xff\xff\xff\xff");
    assert_eq!(request.resources[0].configuration_keys, None);
    let response: DescribeConfigsResponse =
        read(0, b"\0\0\0\0\0\0\0\x01\0\0\xff\xff\x02\0\x01t\0\0\0\x01\0\x01k\0\x01v\0\x01\0");
    let config = &response.results[0].configs[0];
    assert!(config.is_default && !config.read_only && !config.is_sensitive);
    // Later versions say it by the source of the value.
    let config = DescribeConfigsResourceResult { config_source: 5, is_default: true, ..Default::default() };
    let result = DescribeConfigsResult { configs: vec![config], ..Default::default() };
    let response = DescribeConfigsResponse { results: vec![result], ..Default::default() };
    response.write(&mut Writer::new(), 4).unwrap();
}

#[test]
fn a_request_header_keeps_the_old_form_of_the_client_id() {
    let header: RequestHeader = read(2, b"\0\x12\0\x03\0\0\0\x05\0\x02me\0");
    assert_eq!((header.request_api_key, header.request_api_version), (18, 3));
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (5, Some("me")));
    let header: RequestHeader = read(1, b"\0\0\0\x03\0\0\0\x05\xff\xff");
    assert_eq!(header.client_id, None);
}

#[test]
fn header_versions_follow_the_flexible_versions() {
    assert_eq!((ApiKey::Fetch.request_header_version(11), ApiKey::Fetch.request_header_version(12)), (1, 2));
    assert_eq!(
        (ApiKey::Fetch.response_header_version(11), ApiKey::Fetch.response_header_version(12)),
        (0, 1)
    );
    assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
    assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0, "KIP-511");
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1, "never flexible");
}

#[test]
fn api_keys_are_known_by_number() {
    assert_eq!(ApiKey::try_from(0), Ok(ApiKey::Produce));
    assert_eq!(ApiKey::Produce.versions(), 3..=13);
    assert_eq!(ApiKey::InitProducerId.versions(), 0..=5, "version 6 is not released");
    for number in [-1, 4, 93, i16::MAX] {
        assert!(ApiKey::try_from(number).is_err(), "{number}");
    }
    for key in ApiKey::ALL {
        assert_eq!(ApiKey::try_from(key.code()), Ok(key));
    }
}

#[test]
fn error_codes_are_kafkas() {
    assert_eq!(ErrorCode::all().count(), 135);
    for (position, code) in ErrorCode::all().enumerate() {
        assert_eq!(usize::try_from(code.code() + 1), Ok(position), "{code}");
        assert_eq!(ErrorCode::from_code(code.code()), Some(code));
    }
    assert_eq!(ErrorCode::NotLeaderOrFollower.code(), 6);
    assert_eq!(ErrorCode::InvalidTopicException.name(), "INVALID_TOPIC_EXCEPTION");
    assert!(ErrorCode::NotLeaderOrFollower.retriable() && !ErrorCode::InvalidRecord.retriable());
    assert_eq!(ErrorCode::from_code(4242), None);
}

#[test]
fn ids_are_written_as_kafka_writes_them() {
    assert_eq!(Uuid::METADATA_TOPIC_ID.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    let counted = Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
    assert_eq!(counted.to_string(), "AAECAwQFBgcICQoLDA0ODw");
    let full = Uuid::from_u128(u128::MAX);
    assert_eq!(full.to_string(), "_____________________w");
    for id in [Uuid::ZERO, Uuid::METADATA_TOPIC_ID, counted, full] {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for bad in ["", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAAAAAAAAAAAA+Q", "AAAAAAAAAAAAAAAAAAAAAAA"] {
        assert!(bad.parse::<Uuid>().is_err(), "{bad}");
    }
}

#[test]
fn a_metadata_record_has_three_varints_in_front() {
    let record: MetadataRecord =
        TopicRecord { name: Str::from_static("t"), topic_id: Uuid::METADATA_TOPIC_ID }.into();
    let framed = record.write_framed(0).unwrap();
    assert_eq!(framed, &b"\x01\x02\x00\x02t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0"[..]);
    assert_eq!(MetadataRecord::read_framed(framed), Ok((record, 0)));
    for broken in [&b"\x02\x02\0"[..], b"\x01\x06\0", b"\x01\x02\x09", b"\x01\x14\0\0\0", b"", b"\x01\xff"] {
        assert!(MetadataRecord::read_framed(Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
    }
}

#[test]
fn a_coordinator_record_has_two_bytes_in_front_of_key_and_value() {
    let key: GroupKey = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 7 }.into();
    let framed = key.write_framed().unwrap();
    assert_eq!(framed, &b"\0\x01\0\x01g\0\x01t\0\0\0\x07"[..]);
    assert_eq!(GroupKey::read_framed(framed), Ok(key));
    let value: GroupValue = OffsetCommitValue { offset: 9, ..Default::default() }.into();
    let framed = value.write_framed(3).unwrap();
    assert_eq!(framed, &b"\0\x03\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0"[..]);
    assert_eq!(GroupValue::read_framed(1, framed), Ok((value, 3)));
}

/// A fetch response with one topic and these records.
fn fetched(records: Records) -> FetchResponse {
    let partitions = vec![PartitionData { records, ..PartitionData::default() }];
    FetchResponse {
        responses: vec![FetchableTopicResponse { partitions, ..FetchableTopicResponse::default() }],
        ..FetchResponse::default()
    }
}

#[test]
fn record_bytes_are_never_copied() {
    let records = Bytes::from(vec![7; 100]);
    let mut writer = Writer::new();
    fetched(Records::Bytes(records.clone())).write(&mut writer, 12).unwrap();
    let encoded = writer.finish();
    let shared = |part: &Part| matches!(part, Part::Bytes(bytes) if bytes.as_ptr() == records.as_ptr());
    assert_eq!(encoded.parts.iter().filter(|part| shared(part)).count(), 1);
    // And what was read shares the frame.
    let frame = encoded.into_bytes();
    let response = FetchResponse::read(&mut Reader::new(frame.clone()), 12).unwrap();
    let Records::Bytes(read) = &response.responses[0].partitions[0].records else { panic!("no records") };
    assert!(frame.as_ptr_range().contains(&read.as_ptr()));
    assert_eq!(read, &records);
}

#[test]
fn a_large_array_gathers_in_several_parts() {
    let numbers: Vec<i32> = (0..200_000).collect();
    let write = |writer: &mut Writer| {
        writer.array(&numbers, "numbers", false, |writer, number| {
            writer.i32(*number);
            Ok(())
        })
    };
    let mut writer = Writer::new();
    write(&mut writer).unwrap();
    let encoded = writer.finish();
    assert_eq!((encoded.parts.len(), encoded.len()), (4, 4 + 4 * 200_000));
    // The size of a tagged field has to be known before it.
    let mut writer = Writer::new();
    let mark = writer.begin_tag(1);
    write(&mut writer).unwrap();
    writer.end_tag(mark, "tag").unwrap();
    let tagged = writer.finish();
    assert_eq!(tagged.parts.len(), 1);
    assert!(tagged.into_bytes().ends_with(&encoded.into_bytes()));
}

#[test]
fn external_records_are_a_length_and_a_place() {
    let mut writer = Writer::new();
    fetched(Records::External { index: 3, len: 1000 }).write(&mut writer, 4).unwrap();
    let external = writer.finish();
    let mut writer = Writer::new();
    fetched(Records::Bytes(Bytes::from(vec![0; 1000]))).write(&mut writer, 4).unwrap();
    let inline = writer.finish();
    assert_eq!(external.len(), inline.len());
    assert_eq!(external.parts.last(), Some(&Part::Slices { index: 3, len: 1000 }));
    assert_eq!(external.parts.len(), 2);
    assert_eq!(external.parts.first(), inline.parts.first(), "the length is there");
}

#[test]
fn produce_tells_null_records_from_empty_ones() {
    let null: ProduceRequest =
        read(3, b"\xff\xff\0\x01\0\0\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff");
    assert_eq!(null.topic_data[0].partition_data[0].records, Records::Null);
    let empty: ProduceRequest =
        read(3, b"\xff\xff\0\x01\0\0\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\0");
    assert_eq!(empty.topic_data[0].partition_data[0].records, Records::Bytes(Bytes::new()));
}

#[test]
fn secrets_and_records_do_not_show_in_debug() {
    use ringmain_protocol::messages::SaslAuthenticateRequest;
    let secret = SaslAuthenticateRequest { auth_bytes: Bytes::from_static(b"hunter2") };
    assert_eq!(format!("{secret:?}"), "SaslAuthenticateRequest { .. }");
    assert_eq!(format!("{:?}", Records::Bytes(Bytes::from_static(b"hunter2"))), "Records(7 bytes)");
}

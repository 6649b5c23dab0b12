//! Record batches that lie: each is refused with the error code of Apache Kafka 4.3, to which the same bytes were
//! sent, and fails neither its neighbours in the request nor the one on another connection.

use ringmain_tests::batch::{self, position};
use ringmain_tests::client::{Client, PRODUCE};
use ringmain_tests::neighbourhood::Neighbourhood;

/// A batch of three records with some of its bytes replaced; `sealed` makes the CRC right again.
fn lying(at: usize, bytes: &[u8], sealed: bool) -> Vec<u8> {
    let mut batch = batch::build(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if sealed {
        batch::seal(&mut batch);
    }
    batch
}

#[test]
fn batches_that_lie_are_refused_and_their_neighbours_in_the_request_are_not() {
    let mut place = Neighbourhood::new();
    let good = batch::build(&[b"good".to_vec()]);
    let length = i32::try_from(good.len() - 12).unwrap();
    let twice = [&good[..], &good[..]].concat();
    let large = batch::build(&[vec![b'x'; 1_100_000]]);
    let cases: Vec<(&str, Vec<u8>, i16)> = vec![
        ("a CRC that does not match", lying(position::CRC, &[1, 2, 3, 4], false), 2),
        ("a flipped bit in a value", lying(batch::HEADER_BYTES + 6, &[0xff], false), 2),
        (
            "more records counted than there are",
            lying(position::RECORD_COUNT, &30_i32.to_be_bytes(), true),
            87,
        ),
        (
            "fewer records counted than there are",
            lying(position::RECORD_COUNT, &1_i32.to_be_bytes(), true),
            87,
        ),
        ("a negative count", lying(position::RECORD_COUNT, &(-3_i32).to_be_bytes(), true), 87),
        (
            "a last offset delta above the count",
            lying(position::LAST_OFFSET_DELTA, &9_i32.to_be_bytes(), true),
            87,
        ),
        (
            "a negative last offset delta",
            lying(position::LAST_OFFSET_DELTA, &(-1_i32).to_be_bytes(), true),
            87,
        ),
        ("a control batch", lying(position::ATTRIBUTES, &0x20_i16.to_be_bytes(), true), 87),
        ("two batches", twice, 87),
        ("a record too large", large, 10),
        ("a record length that lies", lying(batch::HEADER_BYTES, &[0x7e], true), 87),
        ("a negative record length", lying(batch::HEADER_BYTES, &[0x01], true), 87),
        ("a record length without end", lying(batch::HEADER_BYTES, &[0xff; 8], true), 87),
        ("a key length that lies", lying(batch::HEADER_BYTES + 4, &[0x7e], true), 87),
        ("a value length that lies", lying(batch::HEADER_BYTES + 5, &[0x7e], true), 87),
        ("a negative number of headers", lying(batch::HEADER_BYTES + 9, &[0x01], true), 87),
    ];
    for (good_offset, (what, bytes, error_code)) in (0..).zip(cases) {
        let mut client = place.connect();
        let body = Client::produce_body("target", &[(0, &bytes), (1, &good)]);
        let answer = client.request(PRODUCE, 3, &body).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut answers = Client::produce_answer(&answer);
        answers.sort_by_key(|(partition, _)| *partition);
        assert_eq!(answers[0].1.error_code, error_code, "{what}");
        assert_eq!(answers[0].1.base_offset, -1, "{what}: no offset is given");
        assert_eq!(
            (answers[1].1.error_code, answers[1].1.base_offset),
            (0, good_offset),
            "{what}: its neighbour"
        );
        place.neighbour_is_served();
    }
    // Bytes that are no batch: an error or a closed connection.
    let no_batches: Vec<(&str, Vec<u8>)> = vec![
        ("an old magic", lying(position::MAGIC, &[1], false)),
        ("a magic of the future", lying(position::MAGIC, &[3], false)),
        ("a length above the bytes", lying(position::BATCH_LENGTH, &(length + 500).to_be_bytes(), false)),
        ("a length below a header", lying(position::BATCH_LENGTH, &7_i32.to_be_bytes(), false)),
        ("a negative length", lying(position::BATCH_LENGTH, &(-7_i32).to_be_bytes(), false)),
        ("a truncated header", good[..40].to_vec()),
        ("no bytes", Vec::new()),
        ("a codec of the future", lying(position::ATTRIBUTES, &7_i16.to_be_bytes(), true)),
    ];
    for (what, bytes) in no_batches {
        let mut client = place.connect();
        if let Ok(answer) = client.request(PRODUCE, 3, &Client::produce_body("target", &[(0, &bytes)])) {
            let answer = Client::produce_answer(&answer)[0].1;
            assert!(answer.error_code != 0, "{what} is taken: {answer:?}");
        }
        place.neighbour_is_served();
    }
    let mut client = place.connect();
    assert_eq!(client.list_offset("target", 0, -1).unwrap(), 0, "nothing of the lies was kept");
    assert_eq!(client.produce("target", 7, &good).unwrap().error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(client.create_topic("no such/name", 1).unwrap(), 17, "INVALID_TOPIC_EXCEPTION");
    assert_eq!(client.create_topic("none", 0).unwrap(), 37, "INVALID_PARTITIONS");
    assert_eq!(client.create_topic("target", 1).unwrap(), 36, "TOPIC_ALREADY_EXISTS");
    assert_eq!(client.fetch("target", 0, 5).unwrap().error_code, 1, "OFFSET_OUT_OF_RANGE");
    assert_eq!(client.fetch("target", 9, 0).unwrap().error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    place.end();
}

//! A partition's folder: its name, and `partition.metadata`, which ties it to a topic id (Kafka's
//! `PartitionMetadataFile`: two lines, `version: 0` and `topic_id: ` with the id in URL-safe base64).

use crate::types::{PartitionIndex, TopicId};

/// Name of the file.
pub(crate) const METADATA_FILE: &str = "partition.metadata";
/// What a folder that is being deleted ends in.
pub(crate) const DELETED_SUFFIX: &str = "-delete";
/// What a folder ends in that is no topic's any more.
const STRAY_SUFFIX: &str = "-stray";
/// Most bytes that a file system takes for a name.
const NAME_BYTES_MAX: usize = 255;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `<topic>-<partition>`.
pub(crate) fn name(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// `<topic>-<partition>.<topic id>-delete`.
pub(crate) fn deleted_name(topic: &str, partition: PartitionIndex, id: TopicId) -> String {
    name_with_suffix(topic, &format!("-{partition}.{id:?}{DELETED_SUFFIX}"))
}

/// `<topic>-<partition>.<topic id>-stray`.
pub(crate) fn stray_name(topic: &str, partition: PartitionIndex, id: TopicId) -> String {
    name_with_suffix(topic, &format!("-{partition}.{id:?}{STRAY_SUFFIX}"))
}

/// Whether a folder of this name is what such a log was set aside as.
pub(crate) fn is_stray_of(name: &str, partition: PartitionIndex, id: TopicId) -> bool {
    name.ends_with(&format!("-{partition}.{id:?}{STRAY_SUFFIX}"))
}

/// As `LocalLog.logDirNameWithSuffixCappedLength`: a topic's name is shortened where the whole would be too long.
fn name_with_suffix(topic: &str, suffix: &str) -> String {
    let room = NAME_BYTES_MAX - suffix.len();
    let end = (0..=room.min(topic.len())).rfind(|end| topic.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}", &topic[..end])
}

/// Topic and partition of a folder's name; `None` if it is no partition's.
pub(crate) fn parse_name(name: &str) -> Option<(&str, PartitionIndex)> {
    let name = match name.strip_suffix(DELETED_SUFFIX) {
        Some(deleted) => deleted.rsplit_once('.')?.0,
        None => name,
    };
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !topic.is_empty()).then_some(())?;
    Some((topic, PartitionIndex(partition.parse().ok()?)))
}

/// The file's text.
pub(crate) fn write_metadata(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", id_text(id))
}

/// A topic id as Kafka prints it: URL-safe base64 without padding.
pub(crate) fn id_text(id: TopicId) -> String {
    let mut text = String::new();
    for chunk in id.0.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..=chunk.len() {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[usize::try_from(index).unwrap_or(0)]));
        }
    }
    text
}

/// The topic id in a file's text.
pub(crate) fn read_metadata(text: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    if lines.next()?.strip_prefix("version:")?.trim() != "0" {
        return None;
    }
    let digits = lines.next()?.strip_prefix("topic_id:")?.trim().as_bytes();
    (digits.len() == 22).then_some(())?;
    let mut bits: u128 = 0;
    for digit in &digits[..21] {
        bits = bits << 6 | u128::try_from(ALPHABET.iter().position(|known| known == digit)?).ok()?;
    }
    let last = u128::try_from(ALPHABET.iter().position(|known| *known == digits[21])?).ok()?;
    Some(TopicId((bits << 2 | last >> 4).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{deleted_name, is_stray_of, name, parse_name, read_metadata, stray_name, write_metadata};
    use crate::types::{PartitionIndex, TopicId};

    #[test]
    fn names_and_metadata_read_back() {
        let id = TopicId([0, 1, 2, 3, 250, 251, 252, 253, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(read_metadata(write_metadata(id).as_bytes()), Some(id));
        assert_eq!(write_metadata(TopicId([0; 16])), format!("version: 0\ntopic_id: {}\n", "A".repeat(22)));
        assert_eq!(parse_name(&name("a-b", PartitionIndex(7))), Some(("a-b", PartitionIndex(7))));
        assert_eq!(
            parse_name(&deleted_name("a.b-c", PartitionIndex(7), id)),
            Some(("a.b-c", PartitionIndex(7)))
        );
        assert_eq!(parse_name("ringmain.journal"), None);
    }

    #[test]
    fn folders_that_are_set_aside_have_kafkas_names_and_those_fit() {
        let id = TopicId([0xab; 16]);
        let stray = stray_name("a-b", PartitionIndex(7), id);
        assert_eq!(stray, format!("a-b-7.{}-stray", "ab".repeat(16)));
        assert_eq!(parse_name(&stray), None, "nobody opens it");
        assert!(is_stray_of(&stray, PartitionIndex(7), id) && !is_stray_of(&stray, PartitionIndex(8), id));
        let long = "t".repeat(249);
        for name in [stray_name(&long, PartitionIndex(1000), id), deleted_name(&long, PartitionIndex(0), id)]
        {
            assert_eq!(name.len(), 255);
            assert!(name.starts_with("ttt") && name.contains(".abab"), "{name}");
        }
    }
}

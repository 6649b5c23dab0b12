//! Which partition of `__consumer_offsets` a group belongs to.

/// The topic that holds groups and their offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The partition of a group among `count`: Java's hash of its id, as every Kafka computes it, so that a log may go from
/// one broker to another.
pub fn partition_of(group_id: &str, count: i32) -> i32 {
    let hash =
        group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The smallest number has no positive counterpart.
    let positive = hash.checked_abs().unwrap_or(0);
    positive.checked_rem(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_hash_as_in_java() {
        // What `Utils.abs("…".hashCode()) % 50` gives.
        for (group, partition) in
            [("", 0), ("group", 47), ("console-consumer-1", 24), ("grüße", 23), ("𝄞", 44)]
        {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
        // Its hash is the smallest number there is.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("group", 0), 0);
    }
}

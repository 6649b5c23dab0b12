//! What a member of a consumer group asks, as raw requests of old versions.

use std::io;

use crate::client::Client;
use crate::wire::{Reader, Writer};

/// OffsetCommit.
pub const OFFSET_COMMIT: i16 = 8;
/// OffsetFetch.
pub const OFFSET_FETCH: i16 = 9;
/// FindCoordinator.
pub const FIND_COORDINATOR: i16 = 10;
/// JoinGroup.
pub const JOIN_GROUP: i16 = 11;
/// Heartbeat.
pub const HEARTBEAT: i16 = 12;
/// SyncGroup.
pub const SYNC_GROUP: i16 = 14;

/// A member of a group: who it is, and in which generation.
#[derive(Clone, Debug)]
pub struct Member {
    /// The group.
    pub group: String,
    /// Its id; empty if it is nobody.
    pub id: String,
    /// Its generation; −1 if it is nobody.
    pub generation: i32,
}

impl Member {
    /// Nobody, who may commit in a group without members.
    pub fn nobody(group: &str) -> Member {
        Member { group: group.to_owned(), id: String::new(), generation: -1 }
    }

    /// Finds the coordinator, joins the group as its only member and takes everything. It may be silent for minutes: no
    /// test is that slow.
    pub fn join(client: &mut Client, group: &str) -> io::Result<Member> {
        find_coordinator(client, group)?;
        // Version 2: session and rebalance timeout; protocols by name with what they say.
        let body = Writer::default().string(group).i32(600_000).i32(600_000).string("").string("consumer");
        let subscription = Writer::default().i16(0).i32(1).string("t").i32(-1).0;
        let body = body.i32(1).string("range").bytes(&subscription);
        let answer = client.request(JOIN_GROUP, 2, &body.0)?;
        let mut reader = Reader(&answer);
        assert_eq!((reader.i32(), reader.i16()), (0, 0), "joining {group}");
        let generation = reader.i32();
        let (protocol, leader, id) = (reader.string(), reader.string(), reader.string());
        assert_eq!((&*protocol, &leader), ("range", &id));
        let member = Member { group: group.to_owned(), id, generation };
        let body = Writer::default().string(group).i32(generation).string(&member.id);
        let body = body.i32(1).string(&member.id).bytes(b"everything");
        let answer = client.request(SYNC_GROUP, 1, &body.0)?;
        let mut reader = Reader(&answer);
        assert_eq!((reader.i32(), reader.i16()), (0, 0), "asking what it is given in {group}");
        Ok(member)
    }

    /// Kafka's error code of a heartbeat.
    pub fn heartbeat(&self, client: &mut Client) -> io::Result<i16> {
        let body = Writer::default().string(&self.group).i32(self.generation).string(&self.id);
        let answer = client.request(HEARTBEAT, 1, &body.0)?;
        let mut reader = Reader(&answer);
        reader.i32();
        Ok(reader.i16())
    }

    /// Commits one partition's offset; Kafka's error code.
    pub fn commit(
        &self,
        client: &mut Client,
        (topic, partition): (&str, i32),
        offset: i64,
    ) -> io::Result<i16> {
        let body = Writer::default().string(&self.group).i32(self.generation).string(&self.id).i64(-1);
        let body = body.i32(1).string(topic).i32(1).i32(partition).i64(offset).string("");
        let answer = client.request(OFFSET_COMMIT, 2, &body.0)?;
        let mut reader = Reader(&answer);
        assert_eq!(reader.count(), 1);
        reader.string();
        assert_eq!(reader.count(), 1);
        assert_eq!(reader.i32(), partition);
        Ok(reader.i16())
    }
}

/// Finds a group's coordinator; the only broker is it.
pub fn find_coordinator(client: &mut Client, group: &str) -> io::Result<()> {
    let answer = client.request(FIND_COORDINATOR, 0, &Writer::default().string(group).0)?;
    assert_eq!(Reader(&answer).i16(), 0, "finding the coordinator of {group}");
    Ok(())
}

/// What a group has committed for one partition; −1 if nothing.
pub fn committed(client: &mut Client, group: &str, (topic, partition): (&str, i32)) -> io::Result<i64> {
    let body = Writer::default().string(group).i32(1).string(topic).i32(1).i32(partition);
    let answer = client.request(OFFSET_FETCH, 1, &body.0)?;
    let mut reader = Reader(&answer);
    assert_eq!(reader.count(), 1);
    reader.string();
    assert_eq!((reader.count(), reader.i32()), (1, partition));
    let offset = reader.i64();
    reader.string();
    assert_eq!(reader.i16(), 0, "the offset of {topic}-{partition} in {group}");
    Ok(offset)
}

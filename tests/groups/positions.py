"""What groups commit, as the log says it: a plain consumer reads `__consumer_offsets`, as Burrow does, so that no
commit is missed, and no position may go back. Beside it zombies: who they are is in that log too, every member that was
and every generation. They commit position 0, again and again, as members that are gone and of generations that are over,
and have to be refused; whoever lets one in moves a position back."""

import contextlib
import random
import socket
import struct
import threading

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

LOG, LOGS = "__consumer_offsets", 50
OFFSET_COMMIT = 8
# Types of keys: a position, a group of the classic protocol, a member of KIP-848.
POSITION, GROUP, MEMBER = 1, 2, 5
ZOMBIE_PAUSE_S = 0.3


class Fields:
    """Fields of an older, not flexible, version, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0]

    def bytes(self, length):
        self.at += max(length, 0)
        return self.data[self.at - max(length, 0) : self.at]

    def text(self):
        return self.bytes(self.take(">h")).decode()


def generation_of(value):
    """Generation, and the members' ids with their names for themselves, of a classic group's record."""
    fields = Fields(value)
    version = fields.take(">h")
    fields.text()
    generation = fields.take(">i")
    fields.text(), fields.text()
    fields.bytes(8 if version >= 2 else 0)
    members = []
    for _ in range(fields.take(">i")):
        member = fields.text()
        members.append((member, fields.text() if version >= 3 else ""))
        fields.text(), fields.text()
        fields.bytes(8 if version >= 1 else 4)
        fields.bytes(fields.take(">i")), fields.bytes(fields.take(">i"))
    return generation, members


def text(value):
    return struct.pack(">h", len(value)) + value.encode() if value else struct.pack(">h", -1)


def commit(at, group, who, topic, partitions):
    """An OffsetCommit version 7 of position 0 in all partitions; the errors."""
    (member, instance), generation = who
    body = text(group) + struct.pack(">i", generation) + text(member) + text(instance) + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">i", partitions)
    body += b"".join(struct.pack(">iqih", partition, 0, -1, 0) for partition in range(partitions))
    frame = struct.pack(">hhi", OFFSET_COMMIT, 7, 1) + text("zombie") + body
    host, port = at.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        with connection.makefile("rb") as answers:
            answer = Fields(answers.read(struct.unpack(">i", answers.read(4))[0]))
    answer.bytes(4 + 4 + 4)
    answer.text()
    # Each partition with its error.
    return {(answer.take(">i"), answer.take(">h"))[1] for _ in range(answer.take(">i"))}


class Positions:
    """The positions of groups in one topic, and its zombies."""

    def __init__(self, at, groups, topic, partitions):
        self.at, self.topic, self.partitions = at, topic, partitions
        self.positions = {group: {} for group in groups}
        self.errors = {}
        self.commits = self.refused = 0
        # By group: what its newest generation is, and everyone who is to be refused.
        self.newest, self.zombies = {}, {group: set() for group in groups}
        self.told = threading.Event()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.read, self.rise)]
        for thread in self.threads:
            thread.start()

    # --- the log
    def read(self):
        consumer = Consumer({"bootstrap.servers": self.at, "group.id": "nobody", "enable.auto.commit": False, "log_level": 0})
        while LOG not in consumer.list_topics().topics:
            # The first group that is asked for has it made.
            if self.told.wait(0.1):
                return
        consumer.assign([TopicPartition(LOG, partition, 0) for partition in range(LOGS)])
        while not self.told.is_set() or not self.is_at_end(consumer):
            for record in consumer.consume(500, 0.2):
                if not record.error():
                    self.take(record.key(), record.value())
        consumer.close()

    def is_at_end(self, consumer):
        ends = {partition: consumer.get_watermark_offsets(TopicPartition(LOG, partition)) for partition in range(LOGS)}
        places = consumer.position([TopicPartition(LOG, partition) for partition in range(LOGS)])
        return all(ends[place.partition][1] <= max(place.offset, ends[place.partition][0]) for place in places)

    def take(self, key, value):
        key = Fields(key)
        kind, group = key.take(">h"), key.text()
        if group not in self.positions:
            return
        if kind == POSITION and value is not None:
            topic, partition = key.text(), key.take(">i")
            self.move(group, partition, struct.unpack_from(">q", value, 2)[0])
        elif kind == GROUP and value is not None:
            generation, members = generation_of(value)
            newest, were = self.newest.get(group, (0, []))
            if generation > newest:
                self.zombies[group].update((who, newest) for who in were)
                self.newest[group] = generation, members
        elif kind == MEMBER and value is None:
            # Nobody has its id again; which epoch it says does not matter.
            self.zombies[group].add(((key.text(), ""), 1))

    def move(self, group, partition, offset):
        before = self.positions[group].get(partition, 0)
        self.commits += 1
        if offset < before:
            self.errors[group] = f"the position of {partition} went back from {before} to {offset}"
        self.positions[group][partition] = offset

    # --- those who should be dead
    def rise(self):
        while not self.told.wait(ZOMBIE_PAUSE_S):
            for group, zombies in self.zombies.items():
                if not zombies:
                    continue
                who = random.choice(sorted(zombies))
                # The broker may be down.
                with contextlib.suppress(OSError, struct.error):
                    errors = commit(self.at, group, who, self.topic, self.partitions)
                    if 0 in errors:
                        self.errors[group] = f"{who}, which is over, could commit"
                    self.refused += 1

    def stop(self):
        """The end: what the coordinators say is what their log says."""
        self.told.set()
        for thread in self.threads:
            thread.join()
        admin = AdminClient({"bootstrap.servers": self.at, "log_level": 0})
        for group, positions in self.positions.items():
            answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
            said = {place.partition: place.offset for place in answer.topic_partitions}
            if said != positions:
                self.errors.setdefault(group, f"the coordinator says {said}, its log {positions}")

"""What groups write, as tools that read `__consumer_offsets` see it. See `offsets`.

offsets.py converse HOST:PORT: what groups do: administrators, members of both protocols, groups and topics that are deleted.
offsets.py read HOST:PORT: a plain consumer of another client reads the topic, and finds what was committed.
offsets.py compare OURS APACHES: what kafka-dump-log said of either broker's logs is the same."""

import json
import re
import struct
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer

TOPIC, PARTITIONS = "t", 100
# Dead records that make ringmain write a log anew, many times over.
ROUNDS = 60
# What groups have in the end: by partition of the topic, or of all of them.
KEPT = {
    "by-admin": {0: 5, 1: 6},
    "by-classic": {3: 33},
    "by-static": {4: 44},
    "by-consumer": {5: 55},
    "over-and-over": {partition: ROUNDS - 1 for partition in range(PARTITIONS)},
}
PATIENCE_S = 240


def await_(what, done):
    until = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > until:
            raise SystemExit(f"waited {PATIENCE_S} s for {what}")
        time.sleep(0.05)


class Conversation:
    def __init__(self, at):
        self.at = at
        self.admin = AdminClient({"bootstrap.servers": at, "log_level": 0})

    def make(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
        await_("leaders", lambda: len(self.admin.list_topics(topic).topics[topic].partitions) == partitions)

    def commit(self, group, offsets, topic=TOPIC):
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        asked = ConsumerGroupTopicPartitions(group, places)

        def done():
            try:
                answer = self.admin.alter_consumer_group_offsets([asked])[group].result()
                return not any(place.error for place in answer.topic_partitions)
            except KafkaException:
                # The first who asks has the topic of the groups made, and it takes a while.
                return False

        await_(f"{group} to commit", done)

    def member(self, group, **settings):
        settings = {name.replace("_", "."): value for name, value in settings.items()}
        consumer = Consumer({"bootstrap.servers": self.at, "group.id": group, "enable.auto.commit": False, **settings})
        consumer.subscribe([TOPIC])

        def has_all():
            consumer.poll(0.1)
            return len(consumer.assignment()) == PARTITIONS

        await_(f"the member of {group}", has_all)
        places = [
            TopicPartition(TOPIC, partition, offset, "where it is") for partition, offset in KEPT[group].items()
        ]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    def hold(self):
        self.make(TOPIC, PARTITIONS)
        self.make("short", 1)
        self.commit("by-admin", KEPT["by-admin"])
        self.member("by-classic")
        self.member("by-static", group_instance_id="one")
        self.member("by-consumer", group_protocol="consumer")
        self.commit("deleted", {0: 1, 1: 2})
        self.admin.delete_consumer_groups(["deleted"])["deleted"].result()
        self.commit("by-admin", {0: 1}, "short")
        self.admin.delete_topics(["short"])["short"].result()

        def is_gone():
            answer = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("by-admin")])
            return all(place.topic == TOPIC for place in answer["by-admin"].result().topic_partitions)

        await_("the offset of a deleted topic to go", is_gone)
        for offset in range(ROUNDS):
            self.commit("over-and-over", dict.fromkeys(range(PARTITIONS), offset))


def text(data, at):
    length = struct.unpack_from(">h", data, at)[0]
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


def read(at):
    """As lag monitors do it: a consumer without a group, and the internal topic by its name."""
    consumer = KafkaConsumer(
        bootstrap_servers=at, exclude_internal_topics=False, auto_offset_reset="earliest", enable_auto_commit=False
    )
    consumer.subscribe(["__consumer_offsets"])
    found = {}

    def is_all():
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                kind = struct.unpack_from(">h", record.key)[0]
                if kind > 1:
                    continue
                group, end = text(record.key, 2)
                topic, end = text(record.key, end)
                place = topic, struct.unpack_from(">i", record.key, end)[0]
                offsets = found.setdefault(group, {})
                if record.value is None:
                    offsets.pop(place, None)
                else:
                    offsets[place] = struct.unpack_from(">q", record.value, 2)[0]
        return found == wanted

    wanted = {group: {(TOPIC, partition): offset for partition, offset in offsets.items()} for group, offsets in KEPT.items()}
    wanted["deleted"] = {}
    try:
        await_("all offsets to be read", is_all)
    finally:
        consumer.close()
    print(f"{sum(map(len, found.values()))} offsets of {len(found)} groups were read")


# --- what kafka-dump-log says

LINE = re.compile(r"key: (\{.*?\}) payload: (.*)$")
# Ids, times and addresses are another broker's.
OTHER = re.compile(r"Id$|Timestamp|[Hh]ost|Hash$|^leader$|[Ee]poch$")


def plain(value, name=""):
    """The same without what two brokers cannot have in common."""
    if isinstance(value, dict):
        return {key: plain(it, key) for key, it in value.items()}
    if isinstance(value, list):
        return [plain(it) for it in value]
    return "…" if OTHER.search(name) and value not in (None, "", -1) and name != "groupId" else value


def older(value):
    """A position as the version before had it, which knew no topic ids: that is what ringmain writes."""
    if value and value["version"] == "4" and "offset" in value["data"]:
        return {"version": "3", "data": {name: it for name, it in value["data"].items() if name != "topicId"}}
    return value


def records(path):
    """By group: every record in order, and the last one of each key."""
    by_group, last = {}, {}
    for line in open(path):
        if not line.startswith("| "):
            continue
        found = LINE.search(line)
        if not found:
            raise SystemExit(f"{path}: this is not decoded: {line}")
        key = json.loads(found[1])
        value = None if found[2].strip() == "<DELETE>" or found[2].strip() == "null" else json.loads(found[2])
        group = key["data"].get("group") or key["data"].get("groupId")
        by_group.setdefault(group, []).append((plain(key), plain(older(value))))
        last.setdefault(group, {})[json.dumps(key)] = value
    return by_group, last


def compare(ours, apaches):
    (our_all, our_last), (their_all, _) = records(ours), records(apaches)
    failed = 0
    for group in sorted(their_all.keys() | our_all.keys()):
        if group == "over-and-over":
            # Ours was written anew in between.
            continue
        one, other = our_all.get(group, []), their_all.get(group, [])
        for number in range(max(len(one), len(other))):
            pair = [list_[number] if number < len(list_) else None for list_ in (one, other)]
            if pair[0] != pair[1]:
                failed += 1
                print(f"{group}, record {number}:\n  ringmain {pair[0]}\n  Apache   {pair[1]}")
    for group, offsets in KEPT.items():
        said = {}
        for key, value in our_last[group].items():
            key = json.loads(key)
            if key["type"] in ("1", 1) and value is not None:
                said[key["data"]["partition"]] = value["data"]["offset"]
        if said != offsets:
            failed += 1
            print(f"{group} is at {said}, not at {offsets}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    if sys.argv[1] == "converse":
        Conversation(sys.argv[2]).hold()
    else:
        {"read": read, "compare": compare}[sys.argv[1]](*sys.argv[2:])

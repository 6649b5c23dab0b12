"""kafka-python: produces or reads back the content of tests/clients/README.md."""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import content


def create(servers, names):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics(
        [
            NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(4 * content.MIB)})
            if name.endswith("-big")
            else NewTopic(name, content.PARTITIONS, 1)
            for name in names
            if not name.endswith("-auto")
        ]
    )
    admin.close()


def produce(servers, prefix, codecs, base):
    topics = content.topics(prefix, codecs, base)
    create(servers, topics)
    for name, partitions in topics.items():
        settings = {"bootstrap_servers": servers}
        if name.endswith("-big"):
            settings["max_request_size"] = 4 * content.MIB
        elif not name.endswith("-auto"):
            codec = name.removeprefix(prefix + "-")
            settings["compression_type"] = None if codec == "none" else codec
        producer = KafkaProducer(**settings)
        for p, records in enumerate(partitions):
            sent = [
                producer.send(name, value=v, key=k, headers=h, partition=p, timestamp_ms=t) for t, k, v, h in records
            ]
            offsets = [future.get(timeout=content.DEADLINE_S).offset for future in sent]
            if offsets != list(range(len(records))):
                raise SystemExit(f"{name}-{p}: acknowledged offsets {offsets}")
        producer.close()


def consume(servers, prefix, codecs, base):
    for name, partitions in content.topics(prefix, codecs, base).items():
        consumer = KafkaConsumer(bootstrap_servers=servers)
        assigned = [TopicPartition(name, p) for p in range(len(partitions))]
        consumer.assign(assigned)
        consumer.seek_to_beginning(*assigned)
        ends = consumer.end_offsets(assigned)
        found = [[] for _ in partitions]
        wanted = sum(map(len, partitions))
        until = time.monotonic() + content.DEADLINE_S
        while sum(map(len, found)) < wanted and time.monotonic() < until:
            for tp, records in consumer.poll(timeout_ms=1000).items():
                for r in records:
                    found[tp.partition].append((r.offset, (r.timestamp, r.key, r.value, list(r.headers))))
        for p, records in enumerate(partitions):
            if ends[assigned[p]] != len(records):
                raise SystemExit(f"{name}-{p}: ends at {ends[assigned[p]]}, wanted {len(records)}")
            content.compare(f"{name}-{p}", records, found[p])
        consumer.close()


if __name__ == "__main__":
    mode, servers, prefix, codecs, base = sys.argv[1:]
    {"produce": produce, "consume": consume}[mode](servers, prefix, codecs.split(","), int(base))

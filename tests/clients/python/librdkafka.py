"""confluent-kafka (librdkafka): produces or reads back the content of tests/clients/README.md."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import content


def create(servers, names):
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [
        NewTopic(name, 1, 1, config={"max.message.bytes": str(4 * content.MIB)})
        if name.endswith("-big")
        else NewTopic(name, content.PARTITIONS, 1)
        for name in names
        if not name.endswith("-auto")
    ]
    for name, future in admin.create_topics(wanted).items():
        future.result(60)


def produce(servers, prefix, codecs, base):
    topics = content.topics(prefix, codecs, base)
    create(servers, topics)
    for name, partitions in topics.items():
        settings = {"bootstrap.servers": servers}
        if name.endswith("-big"):
            settings["message.max.bytes"] = 4 * content.MIB
        elif not name.endswith("-auto"):
            settings["compression.codec"] = name.removeprefix(prefix + "-")
        producer = Producer(settings)
        offsets = {}

        def delivered(error, record):
            if error is not None:
                raise SystemExit(f"{name}: {error}")
            offsets.setdefault(record.partition(), []).append(record.offset())

        for p, records in enumerate(partitions):
            for timestamp, key, value, headers in records:
                producer.produce(
                    name, value, key, partition=p, on_delivery=delivered, timestamp=timestamp, headers=headers
                )
                producer.poll(0)
        if producer.flush(content.DEADLINE_S) != 0:
            raise SystemExit(f"{name}: not delivered in {content.DEADLINE_S} s")
        for p, records in enumerate(partitions):
            if offsets.get(p) != list(range(len(records))):
                raise SystemExit(f"{name}-{p}: acknowledged offsets {offsets.get(p)}")


def consume(servers, prefix, codecs, base):
    for name, partitions in content.topics(prefix, codecs, base).items():
        consumer = Consumer({"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False})
        for p, records in enumerate(partitions):
            bounds = consumer.get_watermark_offsets(TopicPartition(name, p), timeout=60)
            if bounds != (0, len(records)):
                raise SystemExit(f"{name}-{p}: bounds {bounds}, wanted {len(records)} records")
        consumer.assign([TopicPartition(name, p, 0) for p in range(len(partitions))])
        found = [[] for _ in partitions]
        wanted = sum(map(len, partitions))
        until = time.monotonic() + content.DEADLINE_S
        while sum(map(len, found)) < wanted and time.monotonic() < until:
            record = consumer.poll(1.0)
            if record is None:
                continue
            if record.error():
                if record.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise SystemExit(f"{name}: {record.error()}")
            read = (record.timestamp()[1], record.key(), record.value(), record.headers() or [])
            found[record.partition()].append((record.offset(), read))
        for p, records in enumerate(partitions):
            content.compare(f"{name}-{p}", records, found[p])
        consumer.close()


if __name__ == "__main__":
    mode, servers, prefix, codecs, base = sys.argv[1:]
    {"produce": produce, "consume": consume}[mode](servers, prefix, codecs.split(","), int(base))

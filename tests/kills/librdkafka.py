"""confluent-kafka (librdkafka) that outlives its broker: `produce AT TOPIC FIRST COUNT FILE` and `consume AT TOPIC COUNT
FILE [END...]`. Record n of a partition says so, and is produced by one idempotent producer that never gives up: it has to
be at offset n, once. Every acknowledgement, and every poll that brought records, adds a line to FILE. Ends with 0 on
SIGTERM, or, reading, at the ENDs; with 1 and a line on stderr if anything is not as it has to be."""

import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

# What keeps a client trying, at once.
SETTINGS = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50, "socket.timeout.ms": 10000}
RECORDS_PER_S = 3000

stopping = False


def stop(*_):
    global stopping
    stopping = True


def value(partition, number):
    """The only record that may be there."""
    return f"{partition}/{number}/".encode() + bytes([97 + number % 26]) * (number * 131 % 400)


def wrong(what):
    print(what, file=sys.stderr, flush=True)
    sys.exit(1)


def produce(at, topic, first, count, path):
    log = open(path, "a", buffering=1)

    def delivered(error, record):
        if error is not None:
            wrong(f"{topic}-{record.partition()}: {error}")
        number = int(record.key())
        if record.offset() != number:
            wrong(f"{topic}-{record.partition()}: record {number} was acknowledged at {record.offset()}")
        log.write(f"{record.partition()} {number}\n")

    def failed(error):
        if error.fatal():
            wrong(str(error))

    limits = {"enable.idempotence": True, "message.timeout.ms": 0, "linger.ms": 2, "queue.buffering.max.messages": 2000}
    producer = Producer({"bootstrap.servers": at, "error_cb": failed} | SETTINGS | limits)
    number, begun = 0, time.monotonic()
    while not stopping:
        for partition in range(first, first + count):
            while True:
                try:
                    producer.produce(topic, value(partition, number), str(number), partition, delivered)
                    break
                except BufferError:
                    producer.poll(0.01)
        number += 1
        producer.poll(0)
        ahead = number * count / RECORDS_PER_S - (time.monotonic() - begun)
        if ahead > 0:
            producer.poll(ahead)
        else:
            # What the broker was away for is not made up.
            begun -= ahead
    if producer.flush(120) != 0:
        wrong(f"{topic}: {len(producer)} records were not acknowledged within two minutes of the last start")


def consume(at, topic, count, path, ends):
    log = open(path, "a", buffering=1)
    settings = {"group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error", "check.crcs": True}
    consumer = Consumer({"bootstrap.servers": at} | SETTINGS | settings)
    following = [0] * count
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
    while not stopping and (not ends or any(at < end for at, end in zip(following, ends, strict=True))):
        records = consumer.consume(500, 0.1)
        for record in records:
            if record.error() is not None:
                if record.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    wrong(f"what was read is gone: {record.error()}")
                continue
            partition, offset = record.partition(), record.offset()
            if offset != following[partition]:
                wrong(f"{topic}-{partition}: offset {offset} follows {following[partition] - 1}")
            if record.value() != value(partition, offset):
                wrong(f"{topic}-{partition}: offset {offset} holds {record.value()[:40]}")
            following[partition] += 1
        if records:
            log.write(" ".join(map(str, following)) + "\n")
    consumer.close()


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, signal.SIG_IGN)
if sys.argv[1] == "produce":
    produce(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
else:
    consume(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], [int(end) for end in sys.argv[6:]])

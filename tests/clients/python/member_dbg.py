"""One member of a group: member.py (kafka_python | librdkafka | aiokafka) HOST:PORT GROUP TOPIC MODE [INSTANCE].

What every member of `tests/groups` does, in whatever language: MODE is `default` (what the client does by itself),
`cooperative` or `consumer` (KIP-848); INSTANCE makes it a static member; SESSION_MS is its session timeout if it is set. It
prints `own P P …` each time its partitions change and `read P OFFSET VALUE` for each record, before the client can commit
it. SIGTERM has it commit and leave. All else is the client's default, but that it begins at the earliest record.
"""

import asyncio
import os
import signal
import sys

SESSION_MS = int(os.environ.get("SESSION_MS", 0))


class Voice:
    """Prints what a member owns and reads; whole lines, at once."""

    def __init__(self):
        self.owned = set()

    def say(self, text):
        os.write(1, text.encode())

    def owns(self, owned):
        self.owned = set(owned)
        self.say(" ".join(["own", *map(str, sorted(self.owned))]) + "\n")

    def read(self, records):
        self.say("".join(f"read {partition} {offset} {value.decode()}\n" for partition, offset, value in records))


def until_told():
    """Yields until SIGTERM comes."""
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    while not told:
        yield


def kafka_python(servers, group, topic, mode, instance):
    from kafka import ConsumerRebalanceListener, KafkaConsumer

    assert mode == "default", mode
    voice = Voice()

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            voice.owns(voice.owned - {p.partition for p in revoked})

        def on_partitions_assigned(self, assigned):
            voice.owns(voice.owned | {p.partition for p in assigned})

        def on_partitions_lost(self, lost):
            self.on_partitions_revoked(lost)

    settings = {"session_timeout_ms": SESSION_MS} if SESSION_MS else {}
    consumer = KafkaConsumer(
        bootstrap_servers=servers, group_id=group, group_instance_id=instance, auto_offset_reset="earliest", **settings
    )
    consumer.subscribe([topic], listener=Listener())
    for _ in until_told():
        polled = consumer.poll(200)
        voice.read((r.partition, r.offset, r.value) for records in polled.values() for r in records)
    consumer.close()


def librdkafka(servers, group, topic, mode, instance):
    from confluent_kafka import Consumer

    voice = Voice()
    settings = {
        "bootstrap.servers": servers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        # The position is stored below, after the record was printed: it could be committed before, otherwise.
        "enable.auto.offset.store": False,
    }
    if instance:
        settings["group.instance.id"] = instance
    if mode == "cooperative":
        settings["partition.assignment.strategy"] = "cooperative-sticky"
    elif mode == "consumer":
        settings["group.protocol"] = "consumer"
    if SESSION_MS and mode != "consumer":
        settings["session.timeout.ms"] = SESSION_MS
    if os.environ.get("DEBUGRD"): settings["debug"] = "cgrp,fetch,topic,consumer"
    consumer = Consumer(settings)

    def assigned(_, partitions):
        voice.owns(voice.owned | {p.partition for p in partitions})

    def revoked(_, partitions):
        voice.owns(voice.owned - {p.partition for p in partitions})

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    for _ in until_told():
        records = [r for r in consumer.consume(500, 0.2) if not r.error()]
        voice.read((r.partition(), r.offset(), r.value()) for r in records)
        for record in records:
            # What was taken away meanwhile cannot be stored.
            if record.partition() in voice.owned:
                try:
                    consumer.store_offsets(record)
                except Exception as error:
                    print(error, file=sys.stderr)
    consumer.close()


def aiokafka(servers, group, topic, mode, instance):
    from aiokafka import AIOKafkaConsumer
    from aiokafka.abc import ConsumerRebalanceListener

    assert mode == "default", mode
    voice = Voice()

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            voice.owns(voice.owned - {p.partition for p in revoked})

        def on_partitions_assigned(self, assigned):
            voice.owns(p.partition for p in assigned)

    async def run():
        settings = {"session_timeout_ms": SESSION_MS} if SESSION_MS else {}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=servers, group_id=group, group_instance_id=instance, auto_offset_reset="earliest", **settings
        )
        consumer.subscribe([topic], listener=Listener())
        await consumer.start()
        for _ in until_told():
            polled = await consumer.getmany(timeout_ms=200)
            voice.read((r.partition, r.offset, r.value) for records in polled.values() for r in records)
        await consumer.stop()

    asyncio.run(run())


CLIENTS = {"kafka_python": kafka_python, "librdkafka": librdkafka, "aiokafka": aiokafka}

if __name__ == "__main__":
    client, servers, group, topic, mode, instance = [*sys.argv[1:], None][:6]
    CLIENTS[client](servers, group, topic, mode, instance)

"""Members of one group, each a process of its own: groups.py (kafka_python | librdkafka) HOST:PORT TOPIC.

Two members share four partitions; one is killed with -9 and the other takes over; a third one joins. Every record is read,
and what is committed in the end is the end. Nothing here is bound to a speed: each step is waited for, a minute at most.
"""

import json
import subprocess
import sys
import tempfile
import time

PARTITIONS = 4
RECORDS = 200


def kafka_python(servers, topic):
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=topic,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        auto_commit_interval_ms=200,
    )
    while True:
        records = consumer.poll(200)
        yield [p.partition for p in consumer.assignment()], [r.value for rs in records.values() for r in rs]


def librdkafka(servers, topic):
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "auto.commit.interval.ms": 200,
        }
    )
    consumer.subscribe([topic])
    while True:
        records = consumer.consume(100, 0.2)
        yield [p.partition for p in consumer.assignment()], [r.value() for r in records if not r.error()]


MEMBERS = {"kafka_python": kafka_python, "librdkafka": librdkafka}


class Member:
    """A member in a process of its own, which prints what it owns and what it reads."""

    def __init__(self, client, servers, topic):
        self.output = tempfile.NamedTemporaryFile("r")
        arguments = [sys.executable, __file__, "member", client, servers, topic]
        self.process = subprocess.Popen(arguments, stdout=open(self.output.name, "w"))
        self.owns, self.read = [], set()

    def look(self):
        while line := self.output.readline():
            self.owns, read = json.loads(line)
            self.read.update(read)
        return self


def wait(what, done):
    until = time.monotonic() + 60
    while not done():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.1)
    print(f"ok: {what}")


def share(members):
    owned = sorted(p for member in members for p in member.look().owns)
    return owned == list(range(PARTITIONS)) and all(member.owns for member in members)


def run(client, servers, topic):
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    sent = {f"record-{n}" for n in range(RECORDS)}
    for n, value in enumerate(sorted(sent)):
        producer.produce(topic, value, partition=n % PARTITIONS)
    producer.flush()
    members = [Member(client, servers, topic) for _ in range(2)]
    try:
        wait("two members share the partitions", lambda: share(members))
        members[1].process.kill()
        wait("one is killed and the other has them all", lambda: share(members[:1]))
        members.append(Member(client, servers, topic))
        wait("a third one joins", lambda: share([members[0], members[2]]))
        wait("every record is read", lambda: set().union(*(member.look().read for member in members)) >= sent)
        asker = Consumer({"bootstrap.servers": servers, "group.id": topic})
        partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
        end = RECORDS // PARTITIONS
        wait("all is committed", lambda: all(p.offset == end for p in asker.committed(partitions, timeout=30)))
        asker.close()
    finally:
        for member in members:
            member.process.kill()
            member.process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "member":
        for owns, read in MEMBERS[sys.argv[2]](*sys.argv[3:]):
            print(json.dumps([owns, [value.decode() for value in read]]), flush=True)
    else:
        run(*sys.argv[1:])

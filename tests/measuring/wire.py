"""The few requests that the measurement sends itself: Metadata, CreateTopics, Produce, ListOffsets, each in
its oldest version that Apache Kafka 4.3 answers. It knows no broker beyond HOST:PORT, and no client library:
what it does must cost nothing beside what is measured."""

import socket
import struct
import time

HOST = "127.0.0.1"
TIMEOUT_MS = 30_000
LATEST = -1
# Longer than this would show in how long a start takes.
RETRY_S = 0.001
# A topic that is being made: nobody leads it yet, or nobody has heard of it.
NOT_YET = (3, 5, 6)


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def frame(key, version, body):
    return struct.pack(">hhi", key, version, 1) + text("measure") + body


def ask(connection, request):
    """The body of the answer to one request."""
    connection.sendall(struct.pack(">i", len(request)) + request)
    need, answer = 4, b""
    while len(answer) < need:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        answer += chunk
        if len(answer) >= 4:
            need = 4 + struct.unpack(">i", answer[:4])[0]
    return answer[8:]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def produce_frame(topic, partition=0):
    """A Produce v3 with acks=all of one record without key, to one partition."""
    record = bytes([0, 0, 0, 1, 2]) + b"x" + bytes([0])
    records = bytes([len(record) * 2]) + record
    after_crc = struct.pack(">hiqqqhii", 0, 0, -1, -1, -1, -1, -1, 1) + records
    after_length = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(after_crc)) + after_crc
    batch = struct.pack(">qi", 0, len(after_length)) + after_length
    body = struct.pack(">hhii", -1, -1, TIMEOUT_MS, 1) + text(topic)
    return frame(0, 3, body + struct.pack(">iii", 1, partition, len(batch)) + batch)


def first_produce(port, may_wait):
    """Connects, has the topic made by a Metadata request, and produces until that is answered without error.
    False when `may_wait()` said no before."""
    topic = "first"
    while may_wait():
        try:
            with socket.create_connection((HOST, port)) as connection:
                while may_wait():
                    ask(connection, frame(3, 1, struct.pack(">i", 1) + text(topic)))
                    answer = ask(connection, produce_frame(topic))
                    error = struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)[0]
                    if error == 0:
                        return True
                    if error not in NOT_YET:
                        raise SystemExit(f"the first Produce was answered with error {error}")
                    time.sleep(RETRY_S)
        except OSError:
            # Nobody listens yet.
            time.sleep(RETRY_S)
    return False


def create_topic(port, topic, partition_count):
    """Makes the topic with CreateTopics v2, one replica, and waits until all its partitions are led."""
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">ihii", partition_count, 1, 0, 0)
    with socket.create_connection((HOST, port)) as connection:
        answer = ask(connection, frame(19, 2, body + struct.pack(">ib", TIMEOUT_MS, 0)))
        error = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))[0]
        if error:
            raise SystemExit(f"CreateTopics of {topic} was answered with error {error}")
    while True:
        try:
            end_offsets(port, topic, partition_count)
            return
        except NotLed:
            time.sleep(0.1)


class NotLed(Exception):
    """A partition has no leader yet."""


def end_offsets(port, topic, partition_count):
    """Where the partitions end for a consumer, all together (ListOffsets v1)."""
    asked = b"".join(struct.pack(">iq", partition, LATEST) for partition in range(partition_count))
    body = struct.pack(">ii", -1, 1) + text(topic) + struct.pack(">i", partition_count) + asked
    with socket.create_connection((HOST, port)) as connection:
        answer = ask(connection, frame(2, 1, body))
    offsets = 0
    for _, error, _, offset in struct.iter_unpack(">ihqq", answer[4 + 2 + len(topic) + 4 :]):
        if error in NOT_YET:
            raise NotLed
        if error:
            raise SystemExit(f"ListOffsets of {topic} was answered with error {error}")
        offsets += offset
    return offsets

"""Offset commits on the raw wire, by as many connections as are wanted, each with one request in flight as a consumer
has; and waiting until a broker that starts has read them all again. An answer is compared with the one that is right,
byte by byte, so that looking at it costs nothing."""

import itertools
import selectors
import socket
import struct
import time

from measuring import wire
from measuring.members import COORDINATOR_COMES, OFFSET_FETCH, PARTITIONS, TOPIC, blob
from measuring.wire import frame, text

OFFSET_COMMIT = 8
# Both brokers' default for the partitions of __consumer_offsets.
LOGS = 50


def commit_frame(group, partitions, offset):
    """An OffsetCommit v7 by nobody, who may commit in a group without members."""
    body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">hi", -1, 1) + text(TOPIC)
    body += struct.pack(">i", len(partitions))
    body += b"".join(struct.pack(">iqih", partition, offset, -1, 0) for partition in partitions)
    return blob(frame(OFFSET_COMMIT, 7, body))


def commit_answer(partitions):
    """That all went well."""
    results = b"".join(struct.pack(">ih", partition, 0) for partition in partitions)
    return blob(struct.pack(">iii", 1, 0, 1) + text(TOPIC) + struct.pack(">i", len(partitions)) + results)


def commit_all(port, frames_by_connection, right, until=None):
    """Sends each connection's frames one after the other, until there are none or it is that late; how many were
    answered."""
    answered = 0
    with selectors.DefaultSelector() as selector:
        for frames in frames_by_connection:
            connection = socket.create_connection((wire.HOST, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(next(frames))
            selector.register(connection, selectors.EVENT_READ, [frames, b""])
        while selector.get_map():
            for key, _ in selector.select():
                connection, state = key.fileobj, key.data
                state[1] += connection.recv(65536)
                if len(state[1]) < len(right) and right.startswith(state[1]) and state[1]:
                    continue
                if state[1] != right:
                    raise SystemExit(f"a commit was answered with {state[1].hex()}")
                answered, state[1] = answered + 1, b""
                following = None if until and time.monotonic() > until else next(state[0], None)
                if following:
                    connection.sendall(following)
                else:
                    selector.unregister(connection)
                    connection.close()
    return answered


def commits_a_second(port, connections, seconds):
    """Of one partition each, by as many groups as connections: the rate, and how many there were."""

    def frames_of(group):
        return (commit_frame(group, [0], offset) for offset in itertools.count())

    frames = [frames_of(f"commits-{number}") for number in range(connections)]
    begun = time.monotonic()
    answered = commit_all(port, frames, commit_answer([0]), begun + seconds)
    return answered / (time.monotonic() - begun), answered


def group_name(number):
    return f"loaded-{number:06}"


def fill(port, groups, partitions, connections=20):
    """That many groups, each with an offset in that many partitions, a commit each."""
    places = range(partitions)
    frames = [
        (commit_frame(group_name(number), places, number) for number in range(first, groups, connections))
        for first in range(connections)
    ]
    commit_all(port, frames, commit_answer(places))


def log_of(group):
    """The partition of __consumer_offsets that a group is in: Java's hash of a text."""
    number = 0
    for letter in group:
        number = (31 * number + ord(letter)) & 0xFFFFFFFF
    return (number & 0x7FFFFFFF) % LOGS


def await_all(port, groups):
    """Waits until a group of each log answers with its offset."""
    by_log = {log_of(group_name(number)): number for number in range(groups)}
    with socket.create_connection((wire.HOST, port)) as connection:
        for number in by_log.values():
            body = text(group_name(number)) + struct.pack(">i", 1) + text(TOPIC) + struct.pack(">ii", 1, PARTITIONS - 1)
            while True:
                answer = wire.ask(connection, frame(OFFSET_FETCH, 5, body))
                error = struct.unpack(">h", answer[-2:])[0]
                if error == 0:
                    break
                if error not in COORDINATOR_COMES:
                    raise SystemExit(f"OffsetFetch was answered with error {error}")
                time.sleep(wire.RETRY_S)
            offset = struct.unpack_from(">q", answer, 4 + 4 + 2 + len(TOPIC) + 4 + 4)[0]
            if offset != number:
                raise SystemExit(f"{group_name(number)} is at {offset}, not at {number}")

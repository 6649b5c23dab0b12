"""Members of groups that cost next to nothing: all of them in this one process, a connection each, on the raw wire.
A hundred Java consumers on the broker's own machine would be measured instead of it. They do what a consumer does
and when it does it: a member of the classic protocol asks every 3 seconds whether it has to join again, one of KIP-848
as often as the broker says and at once when it has given up or taken what it was told to. A member consumes when
records have come of all that it owns."""

import asyncio
import struct
import time
import uuid

from measuring.wire import HOST, frame, text

FETCH, OFFSET_FETCH, FIND_COORDINATOR, JOIN, HEARTBEAT, LEAVE, SYNC, CONSUMER_HEARTBEAT = 1, 9, 10, 11, 12, 13, 14, 68
REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
# What must be waited for: the coordinator is not there yet, or still reads its log.
COORDINATOR_COMES = (14, 15, 16)
RETRY_S = 0.05
# The clients' default for how often they ask.
HEARTBEAT_S = 3
SESSION_MS, REBALANCE_MS = 45_000, 300_000
TOPIC, PARTITIONS = "grouped", 100


class Refused(Exception):
    """The broker said what no member can go on with."""


class Answer:
    """What is left to be read of an answer."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def i16(self):
        return self.take(">h")

    def i32(self):
        return self.take(">i")

    def bytes(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def text(self):
        return self.bytes(max(self.i16(), 0))

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(">B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def compact(self):
        return self.bytes(max(self.varint() - 1, 0))


def blob(data):
    return struct.pack(">i", len(data)) + data


def compact(data):
    """Shorter than 127 bytes, all of them."""
    return bytes([len(data) + 1]) + data


class Member:
    """One member; `run` until it is cancelled."""

    def __init__(self, port, group):
        self.port, self.group = port, group
        self.member_id = ""
        self.owned = frozenset()
        # When it first asked to join, and since when it consumes all it owns.
        self.joined_at = self.consumes_since = None

    async def ask(self, key, version, body, flexible=False):
        request = frame(key, version, (b"\0" if flexible else b"") + body)
        self.writer.write(blob(request))
        answer = await self.reader.readexactly(struct.unpack(">i", await self.reader.readexactly(4))[0])
        return Answer(answer[5 if flexible else 4 :])

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port)
        while True:
            answer = await self.ask(FIND_COORDINATOR, 2, text(self.group) + b"\0")
            answer.i32()
            if answer.i16() not in COORDINATOR_COMES and await self.positions(()) not in COORDINATOR_COMES:
                return
            await asyncio.sleep(RETRY_S)

    async def positions(self, partitions):
        """Asks where the group is in these partitions; the error of all."""
        asked = struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        body = text(self.group) + struct.pack(">i", 1) + text(TOPIC) + asked
        answer = await self.ask(OFFSET_FETCH, 5, body)
        return struct.unpack(">h", answer.data[-2:])[0]

    async def consume(self, owned):
        """Asks where to begin, and reads until there is something of every partition."""
        self.owned, self.consumes_since = owned, None
        if not owned:
            return
        await self.positions(owned)
        missing = set(owned)
        while missing:
            asked = b"".join(struct.pack(">iqi", partition, 0, 1024) for partition in missing)
            head = struct.pack(">iiiibi", -1, 500, 1, 1 << 20, 0, 1) + text(TOPIC) + struct.pack(">i", len(missing))
            missing -= with_records(await self.ask(FETCH, 4, head + asked))
        self.consumes_since = time.monotonic()

    def first_asks(self):
        if self.joined_at is None:
            self.joined_at = time.monotonic()


def with_records(answer):
    """The partitions that the answer to a Fetch has records of."""
    found = set()
    answer.i32()
    for _ in range(answer.i32()):
        answer.text()
        for _ in range(answer.i32()):
            partition, error = answer.i32(), answer.i16()
            answer.bytes(16)
            answer.bytes(16 * max(answer.i32(), 0))
            length = max(answer.i32(), 0)
            answer.bytes(length)
            if error:
                raise Refused(f"partition {partition} cannot be read: error {error}")
            if length:
                found.add(partition)
    return found


class Classic(Member):
    """A dynamic member with the range assignor."""

    subscription = struct.pack(">hi", 1, 1) + text(TOPIC) + struct.pack(">ii", -1, 0)

    async def run(self):
        await self.connect()
        while True:
            generation, others = await self.join()
            owned = await self.sync(generation, share(others))
            if owned is None:
                continue
            await self.consume(owned)
            beat = text(self.group) + struct.pack(">i", generation) + text(self.member_id) + struct.pack(">h", -1)
            error = 0
            while not error:
                await asyncio.sleep(HEARTBEAT_S)
                answer = await self.ask(HEARTBEAT, 3, beat)
                answer.i32()
                error = answer.i16()
            if error != REBALANCE_IN_PROGRESS:
                raise Refused(f"a heartbeat was answered with error {error}")
            self.owned, self.consumes_since = frozenset(), None

    async def join(self):
        """The generation, and for the leader the ids of all members."""
        while True:
            self.first_asks()
            body = text(self.group) + struct.pack(">ii", SESSION_MS, REBALANCE_MS) + text(self.member_id)
            body += struct.pack(">h", -1) + text("consumer") + struct.pack(">i", 1) + text("range") + blob(self.subscription)
            answer = await self.ask(JOIN, 5, body)
            answer.i32()
            error, generation = answer.i16(), answer.i32()
            answer.text()
            leader, self.member_id = answer.text(), answer.text().decode()
            if error == MEMBER_ID_REQUIRED:
                continue
            if error:
                raise Refused(f"JoinGroup was answered with error {error}")
            others = []
            for _ in range(answer.i32()):
                others.append(answer.text())
                answer.text()
                answer.bytes(answer.i32())
            return generation, others if leader.decode() == self.member_id else []

    async def sync(self, generation, shares):
        """What it is given; nothing if it has to join again."""
        body = text(self.group) + struct.pack(">i", generation) + text(self.member_id) + struct.pack(">h", -1)
        body += struct.pack(">i", len(shares))
        for member_id, partitions in shares.items():
            given = struct.pack(f">i{len(partitions)}ii", len(partitions), *partitions, -1)
            body += text(member_id.decode()) + blob(struct.pack(">hi", 1, 1) + text(TOPIC) + given)
        answer = await self.ask(SYNC, 3, body)
        answer.i32()
        error = answer.i16()
        if error == REBALANCE_IN_PROGRESS:
            return None
        if error:
            raise Refused(f"SyncGroup was answered with error {error}")
        answer.i32()
        answer.bytes(2 + 4)
        answer.text()
        return frozenset(answer.i32() for _ in range(answer.i32()))

    async def leave(self):
        await self.ask(LEAVE, 2, text(self.group) + text(self.member_id))


def share(members):
    """The range assignor's: a run of partitions each."""
    members = sorted(members)
    ends = [PARTITIONS * (number + 1) // len(members) for number in range(len(members))]
    return {member: range(begin, end) for member, begin, end in zip(members, [0, *ends], ends)}


class Consumer(Member):
    """A member of a group of KIP-848, with the broker's own assignor."""

    def __init__(self, *who):
        super().__init__(*who)
        self.member_id, self.epoch, self.topic_id = str(uuid.uuid4()), 0, bytes(16)

    async def run(self):
        await self.connect()
        self.first_asks()
        given = await self.beat(is_first=True)
        while True:
            while given is not None and given != self.owned:
                self.owned, self.consumes_since = given, None
                given = await self.beat(has_changed=True)
            if self.consumes_since is None:
                await self.consume(self.owned)
            await asyncio.sleep(self.interval_s)
            given = await self.beat()

    async def beat(self, is_first=False, has_changed=False):
        """Heartbeat version 1: what it is given, if the broker says so."""
        body = compact(self.group.encode()) + compact(self.member_id.encode()) + struct.pack(">i", self.epoch)
        # No instance, no rack; what does not change is said once.
        body += b"\0\0" + struct.pack(">i", REBALANCE_MS if is_first else -1)
        body += (bytes([2]) + compact(TOPIC.encode()) if is_first else b"\0") + b"\0\0"
        if is_first:
            body += bytes([1])
        elif not has_changed:
            body += b"\0"
        else:
            partitions = struct.pack(f">{len(self.owned)}i", *self.owned)
            topics = self.topic_id + bytes([len(self.owned) + 1]) + partitions + b"\0" if self.owned else b""
            body += bytes([2 if self.owned else 1]) + topics
        answer = await self.ask(CONSUMER_HEARTBEAT, 1, body + b"\0", flexible=True)
        answer.i32()
        if error := answer.i16():
            raise Refused(f"ConsumerGroupHeartbeat was answered with error {error}: {answer.compact()}")
        answer.compact()
        answer.compact()
        self.epoch, self.interval_s = answer.i32(), answer.i32() / 1000
        if answer.take(">b") < 0:
            return None
        given = set()
        for _ in range(answer.varint() - 1):
            self.topic_id = answer.bytes(16)
            given.update(answer.i32() for _ in range(answer.varint() - 1))
            answer.bytes(1)
        return frozenset(given)

    async def leave(self):
        self.epoch = -1
        await self.beat()


class Crowd:
    """Members of one group, and the time until all of them consume."""

    def __init__(self, kind, port, group):
        self.kind, self.port, self.group = kind, port, group
        self.members, self.tasks = [], []

    async def grow(self, count):
        """So many more join at once: seconds from the last one's first request until every member consumes."""
        before = len(self.members)
        self.members += [self.kind(self.port, self.group) for _ in range(count)]
        self.tasks += [asyncio.create_task(member.run()) for member in self.members[before:]]
        while not self.is_settled():
            await asyncio.sleep(0.001)
            for task in self.tasks:
                if task.done():
                    task.result()
        last = max(member.joined_at for member in self.members[before:])
        return max(member.consumes_since for member in self.members) - last

    def is_settled(self):
        """Whether each partition has one owner who consumes."""
        if not all(member.owned and member.consumes_since for member in self.members):
            return False
        return sorted(partition for member in self.members for partition in member.owned) == [*range(PARTITIONS)]

    async def leave(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for member in self.members:
            # Whoever was stopped amid a question has its answer still to come.
            member.writer.close()
            await member.connect()
            await member.leave()
            member.writer.close()


def await_coordinators(port, groups):
    """Waits until these groups' coordinators answer; the first who asks has their topic made."""

    async def run():
        for group in groups:
            member = Member(port, group)
            await member.connect()
            member.writer.close()

    asyncio.run(run())


KINDS = {"classic": Classic, "KIP-848": Consumer}
# A group that settled is left alone so long before one more joins, so that heartbeats are as far on in all.
CALM_S = 1
# Brokers wait for the same timers at the same time, but for this: what they do in between does not coincide.
APART_S = 0.6


async def join_one(protocol, port, group, count):
    together = Crowd(KINDS[protocol], port, group)
    seconds = [await together.grow(count)]
    await together.leave()
    if count > 1:
        more = Crowd(KINDS[protocol], port, group + "-more")
        await more.grow(count - 1)
        await asyncio.sleep(CALM_S)
        seconds.append(await more.grow(1))
        await more.leave()
    return seconds


def join_seconds(protocol, ports, group, count):
    """By broker, seconds until everyone consumes: of `count` members that join an empty group at once, and of one that
    joins when all but it are there, if it is not the only one. Nearly all of that is waiting, so it is done at all brokers
    at a time."""

    async def one(number, port):
        await asyncio.sleep(number * APART_S)
        return await join_one(protocol, port, group, count)

    async def run():
        return await asyncio.gather(*(one(number, port) for number, port in enumerate(ports)))

    return asyncio.run(run())

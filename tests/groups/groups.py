"""Groups of real clients under load, and a checker. See `run`."""

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from members import Member, command
from ports import free_port
from positions import Positions

TOPIC = "grouped"
PARTITIONS = 6
PATIENCE_S = 240
# Records a second: every group reads them all.
RATE = 300
SESSION_MS = 10_000
# Longer than a scenario: nobody is thrown out of it.
LONG_SESSION_MS = 300_000

# (client, mode) of the groups whose members are killed and paused.
ROUGH = [
    ("java", "default"),
    ("java", "cooperative"),
    ("librdkafka", "default"),
    ("librdkafka", "cooperative"),
    ("java", "consumer"),
    ("librdkafka", "consumer"),
    ("kafka_python", "default"),
    ("aiokafka", "default"),
    ("franz", "default"),
    ("sarama", "default"),
    ("kafkajs", "default"),
]
# Those whose partitions must not move without need.
STICKY = [("java", "cooperative"), ("librdkafka", "cooperative"), ("franz", "cooperative")]
# Those that go over to the new protocol and back, with members of both.
MOVING = [("java", "both"), ("librdkafka", "both")]
# Those whose members have a name that outlives the process.
# Not yet kafka_python: in one run of five both members fell silent for good after a kill of the broker, having printed that
# their connections were refused; why is not known.
STATIC = [("java", "default"), ("librdkafka", "default"), ("franz", "default")]


class Broker:
    """The binary on one directory, which is killed and started again; or one that runs."""

    def __init__(self, binary, at, folder):
        self.binary, self.folder = binary, folder
        self.at = at or f"127.0.0.1:{free_port()}"
        self.process = None
        if binary:
            self.start()
        self.await_listener()

    def start(self):
        settings = [f"listeners=PLAINTEXT://{self.at}", f"log.dirs={self.folder / 'data'}", "ringmain.shards=2"]
        # In the new protocol the broker says how long a member may be silent.
        for time_of, ms in ("session.timeout", SESSION_MS), ("heartbeat.interval", 1000):
            settings += [f"group.consumer.{time_of}.ms={ms}", f"group.consumer.min.{time_of}.ms={ms}"]
        words = [word for setting in settings for word in ("--set", setting)]
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen([self.binary, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def await_listener(self):
        host, port = self.at.split(":")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.05)
        raise SystemExit(f"nobody listens at {self.at}")

    def kill_and_start(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        if code := self.process.wait(PATIENCE_S):
            raise SystemExit(f"the broker ended with {code}")


class Load:
    """One producer, at a steady rate until it is told to stop; record n of a partition is at offset n."""

    def __init__(self, at):
        admin = AdminClient({"bootstrap.servers": at})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
        self.producer = Producer({"bootstrap.servers": at, "enable.idempotence": True, "log_level": 0})
        self.told, self.error = threading.Event(), None
        self.ends = [0] * PARTITIONS
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def delivered(self, error, message):
        wanted = f"{message.partition()}-{message.offset()}".encode()
        if error or message.value() != wanted:
            self.error = f"{message.value()} was produced at {message.partition()}-{message.offset()}: {error}"

    def run(self):
        while not self.told.wait(PARTITIONS / RATE):
            for partition in range(PARTITIONS):
                value = f"{partition}-{self.ends[partition]}"
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self.delivered)
                self.ends[partition] += 1
            self.producer.poll(0)
        if left := self.producer.flush(PATIENCE_S):
            self.error = f"{left} records were not acknowledged"

    def stop(self):
        """How many records each partition has."""
        self.told.set()
        self.thread.join()
        if self.error:
            raise SystemExit(self.error)
        return self.ends


class Scenario(threading.Thread):
    """One group and what happens to it."""

    def __init__(self, world, kind, client, mode):
        super().__init__(daemon=True)
        self.world, self.kind, self.client, self.mode = world, kind, client, mode
        self.group = f"{kind}-{client}-{mode}-{os.getpid()}"
        self.members, self.failure, self.ready = [], None, False
        self.done = threading.Event()

    def run(self):
        try:
            {"rough": self.rough, "sticky": self.sticky, "static": self.static, "moving": self.moving}[self.kind]()
            self.ready = True
            self.world.await_kills(self)
            self.await_("all to be read and committed", self.is_complete)
        except (SystemExit, Exception) as error:  # noqa: BLE001: whatever it is, it is told at the end
            self.failure = f"{type(error).__name__}: {error}" if not isinstance(error, SystemExit) else str(error)
        finally:
            self.ready = True
            for member in self.members:
                member.kill()
            self.done.set()

    # --- members
    def join(self, instance=None, mode=None):
        words = [*command(self.client), self.world.broker.at, self.group, TOPIC, mode or self.mode]
        if instance:
            words.append(instance)
        name = f"{self.group}-{len(self.members)}"
        session = None if self.world.long else SESSION_MS
        self.members.append(Member(name, words, self.world.folder, session if self.kind in ("rough", "moving") else LONG_SESSION_MS))
        return self.members[-1]

    def await_(self, what, done):
        until = time.monotonic() + PATIENCE_S
        while not done():
            if self.group in self.world.commits.errors:
                raise SystemExit(self.world.commits.errors[self.group])
            if time.monotonic() > until:
                raise SystemExit(f"waited {PATIENCE_S} s for {what}; {self.state()}")
            time.sleep(0.1)

    def state(self):
        """Who has what, and how far the group is."""
        owned = {member.name[-1]: sorted(member.owned[-1]) for member in self.members}
        read = [0] * PARTITIONS
        for partition, offset in {it for member in self.members for it in member.read}:
            read[partition] += 1
        positions = self.world.commits.positions[self.group]
        return f"owned: {owned}, read: {read}, committed: {positions}, produced: {self.world.ends}"

    def share(self, *members):
        """Waits until exactly these members have all partitions, each some, and read on."""

        def shared():
            owned = [sorted(member.look()) for member in members]
            return all(owned) and sorted(sum(owned, [])) == list(range(PARTITIONS))

        self.await_(f"{len(members)} members to share", shared)
        before = [len(member.read) for member in members]

        def reads():
            return all(member.look() is not None and len(member.read) > had for member, had in zip(members, before))

        self.await_(f"{len(members)} members to read on", reads)

    # --- what happens
    def rough(self):
        first, second = self.join(), self.join()
        self.share(first, second)
        third = self.join()
        self.share(first, second, third)
        second.leave(PATIENCE_S)
        self.share(first, third)
        third.kill()
        self.share(first)
        fourth = self.join()
        self.share(first, fourth)
        first.signal(signal.SIGSTOP)
        self.share(fourth)
        first.signal(signal.SIGCONT)
        self.share(first, fourth)
        # Who joins now is amid it when the broker is killed.
        self.join()

    def moving(self):
        first, second = self.join(mode="cooperative"), self.join(mode="cooperative")
        self.share(first, second)
        # The group goes over.
        third = self.join(mode="consumer")
        self.share(first, second, third)
        second.kill()
        self.share(first, third)
        # Its last member of the new protocol leaves, and it goes back.
        third.leave(PATIENCE_S)
        self.share(first)
        fourth, fifth = self.join(mode="consumer"), self.join(mode="cooperative")
        self.share(first, fourth, fifth)
        first.leave(PATIENCE_S)
        self.share(fourth, fifth)
        fourth.kill()
        self.share(fifth)
        sixth = self.join(mode="consumer")
        self.share(fifth, sixth)

    def stayed(self, member, since):
        """That what a member has now and had before was not taken from it in between."""
        member.look()
        kept = member.owned[since] & member.owned[-1]
        for owned in member.owned[since:]:
            if not kept <= owned:
                raise SystemExit(f"{member.name} had {sorted(kept)} before and after, and {sorted(owned)} in between")

    def sticky(self):
        first = self.join()
        self.share(first)
        since = {first: len(first.owned) - 1}
        second = self.join()
        self.share(first, second)
        self.stayed(first, since[first])
        since = {member: len(member.owned) - 1 for member in (first, second)}
        third = self.join()
        self.share(first, second, third)
        for member, at in since.items():
            self.stayed(member, at)
            if not member.owned[-1] <= member.owned[at]:
                raise SystemExit(f"{member.name} got {sorted(member.owned[-1])} for {sorted(member.owned[at])}")
        since = {member: len(member.owned) - 1 for member in (first, third)}
        second.leave(PATIENCE_S)
        self.share(first, third)
        for member, at in since.items():
            self.stayed(member, at)
            if not member.owned[-1] >= member.owned[at]:
                raise SystemExit(f"{member.name} lost {sorted(member.owned[at] - member.owned[-1])} as another left")

    def static(self):
        first, second = self.join("one"), self.join("two")
        self.share(first, second)
        had, since = second.owned[-1], len(first.owned)
        second.kill()
        second.look()
        again = self.join("two")
        self.share(first, again)
        if again.owned[-1] != had or len(first.owned) != since:
            raise SystemExit(f"'two' came back to {sorted(again.owned[-1])} from {sorted(had)}; 'one': {first.owned}")

    def is_complete(self):
        if self.world.ends is None:
            return False
        read = set()
        for member in self.members:
            member.look()
            read.update(member.read)
        positions = self.world.commits.positions[self.group]
        return len(read) == sum(self.world.ends) and all(
            positions.get(partition) == end for partition, end in enumerate(self.world.ends)
        )


class World:
    """The broker, the load, and all groups beside each other."""

    def __init__(self, binary, at, folder, only, dice):
        self.folder, self.dice = folder, dice
        self.long = os.environ.get("TESTS_LONG") == "1"
        self.broker = Broker(binary, at, folder)
        self.ends, self.killed = None, threading.Event()
        self.load = Load(self.broker.at)
        kinds = {"rough": ROUGH, "sticky": STICKY, "static": STATIC, "moving": MOVING}
        self.scenarios = [Scenario(self, kind, *which) for kind, those in kinds.items() for which in those]
        self.scenarios = [it for it in self.scenarios if only in it.group]
        self.commits = Positions(self.broker.at, [scenario.group for scenario in self.scenarios], TOPIC, PARTITIONS)

    def await_kills(self, scenario):
        """Holds a scenario until the broker was killed, and the load has ended."""
        while not self.killed.wait(0.2):
            for member in scenario.members:
                member.look()

    def run(self):
        for scenario in self.scenarios:
            scenario.start()
        while not all(scenario.ready for scenario in self.scenarios):
            time.sleep(0.05)
        for _ in range((10 if self.long else 3) if self.broker.binary else 0):
            time.sleep(self.dice.random() * 2)
            self.broker.kill_and_start()
            self.broker.await_listener()
        # What is produced now is read by groups that went on by themselves.
        self.load.producer.flush(PATIENCE_S)
        self.ends = self.load.stop()
        self.killed.set()
        for scenario in self.scenarios:
            scenario.done.wait()
        self.commits.stop()
        self.broker.stop()

    def tell(self):
        failed = 0
        for scenario in self.scenarios:
            what = f"{scenario.kind}: {scenario.client} ({scenario.mode})"
            failure = scenario.failure or self.commits.errors.get(scenario.group)
            if not failure:
                records = sum(len(member.read) for member in scenario.members)
                print(f"ok     {what}: {sum(self.ends)} records read {records} times by {len(scenario.members)} members")
                continue
            failed += 1
            print(f"FAILED {what}: {failure}")
            for member in scenario.members:
                for line in member.errors.read_text(errors="replace").splitlines()[-8:]:
                    print(f"         {member.name[-1]}: {line}")
        if failed and (log := self.folder / "broker.log").exists():
            for line in log.read_text(errors="replace").splitlines()[-20:]:
                print(f"  broker: {line}")
        print(f"{self.commits.commits} commits were looked at, and {self.commits.refused} of zombies refused")
        print(f"{len(self.scenarios) - failed} passed, {failed} failed")
        return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", type=lambda path: Path(path).resolve())
    parser.add_argument("--at")
    parser.add_argument("--only", default="", help="groups whose name has this in it")
    arguments = parser.parse_args()
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    print(f"seed {seed} (SEED={seed} repeats what was drawn)", flush=True)
    with tempfile.TemporaryDirectory(prefix="ringmain-groups-") as folder:
        world = World(arguments.broker, arguments.at, Path(folder), arguments.only, random.Random(seed))
        try:
            world.run()
            failed = world.tell()
        finally:
            for scenario in world.scenarios:
                for member in scenario.members:
                    member.kill()
            if world.broker.process and world.broker.process.poll() is None:
                world.broker.process.kill()
    sys.exit(failed > 0)


main()

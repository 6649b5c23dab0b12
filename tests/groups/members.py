"""Members as processes, and what they told."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
CACHE = TESTS / ".cache"


def command(client):
    """How a member of this client is started."""
    if client == "java":
        return ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{CACHE / 'kafka/libs'}/*:{CACHE / 'java'}", "Member"]
    if client == "kafkajs":
        return ["node", TESTS / "clients/node/member.js"]
    if client in ("franz", "sarama"):
        return [CACHE / f"{client}-member"]
    return [sys.executable, TESTS / "clients/python/member.py", client]


class Member:
    """A process, and what it printed: what it owns and owned, and what it read."""

    def __init__(self, name, words, folder, session_ms):
        self.name = name
        self.path = folder / name
        self.errors = folder / f"{name}.err"
        environment = dict(os.environ)
        environment.pop("SESSION_MS", None)
        if session_ms:
            environment["SESSION_MS"] = str(session_ms)
        with open(self.path, "wb") as told, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                list(map(str, words)), stdin=subprocess.DEVNULL, stdout=told, stderr=errors, env=environment
            )
        self.told = open(self.path, "rb")
        self.partial = b""
        # All it ever owned, oldest first; the last is what it owns now.
        self.owned = [frozenset()]
        # By partition: the offset after the last one read since it was assigned.
        self.next = {}
        self.read = []

    def look(self):
        """Takes in what it printed since; returns what it owns now."""
        lines = (self.partial + self.told.read()).split(b"\n")
        self.partial = lines.pop()
        for line in lines:
            word, *rest = line.decode().split(" ")
            if word == "own":
                owned = frozenset(map(int, rest))
                self.next = {p: offset for p, offset in self.next.items() if p in owned and p in self.owned[-1]}
                self.owned.append(owned)
            elif word == "read":
                self.take(int(rest[0]), int(rest[1]), rest[2])
            else:
                raise SystemExit(f"{self.name} printed {line}")
        return self.owned[-1]

    def take(self, partition, offset, value):
        """A record: what stands there was produced there, and none was left out since the partition was assigned."""
        if value != f"{partition}-{offset}":
            raise SystemExit(f"{self.name} read {value} at {partition}-{offset}")
        after = self.next.get(partition)
        if after is not None and offset > after:
            raise SystemExit(f"{self.name} skipped {partition}-{after} to {partition}-{offset - 1}")
        self.next[partition] = offset + 1
        self.read.append((partition, offset))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def leave(self, patience_s):
        """SIGTERM: it commits, leaves and ends."""
        self.signal(signal.SIGTERM)
        # A Java process that ends by itself after the signal still says that it was the signal.
        code = self.process.wait(patience_s)
        if code not in (0, 128 + signal.SIGTERM):
            raise SystemExit(f"{self.name} left with {code}")

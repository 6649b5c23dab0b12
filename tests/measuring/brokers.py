"""Brokers that are measured: which there are, how each is started on an empty directory, and that each is
ended, whatever happens. A broker has a process group of its own, so that Ctrl-C reaches it only through here
and no child of it outlives it."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import wire
from ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("TESTS_BROKER", ROOT / "target/release/ringmain"))
# What waits for a broker gives up after this long.
PATIENCE_S = 120


@dataclass(frozen=True)
class Kind:
    """A broker by name, with what is set beyond its defaults: arguments of ringmain, or properties of Apache's."""

    name: str
    arguments: tuple = ()
    properties: str | None = None

    def command(self, port, directory):
        """The command, and the environment it needs."""
        if self.properties is not None:
            environment = os.environ | {"PROPERTIES": self.properties}
            return [ROOT / "tests/kafka/start", str(port), str(directory)], environment
        listener, admin = f"PLAINTEXT://{wire.HOST}:{port}", f"{wire.HOST}:{port + 1}"
        settings = [f"listeners={listener}", f"ringmain.admin.listener={admin}", f"log.dirs={directory}"]
        return [BINARY, *self.arguments, *(word for setting in settings for word in ("--set", setting))], None


RINGMAIN = Kind("ringmain")
KAFKA = Kind("Apache Kafka 4.3", properties="")
KAFKA_FLUSH = Kind("Apache Kafka, flush=1", properties="log.flush.interval.messages=1")
ONE_SHARD = Kind("ringmain --shards 1", arguments=("--shards", "1"))
TWO_SHARDS = Kind("ringmain --shards 2", arguments=("--shards", "2"))


class Broker:
    """One that runs and has answered its first Produce; `started_s` is how long that took from exec."""

    def __init__(self, kind, directory, log):
        self.kind = kind
        # Apache's controller takes the next one, and ringmain's metrics.
        self.port = free_port(beside=1)
        command, environment = kind.command(self.port, directory)
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            if not wire.first_produce(self.port, self._starts):
                code = self.process.returncode
                raise SystemExit(f"{kind.name} on port {self.port} answered no Produce; it ended with {code}")
        except BaseException:
            self.kill()
            raise
        self.started_s = self.age_s()

    def age_s(self):
        """Since its exec."""
        return time.monotonic() - self.begun

    def _starts(self):
        return self.process.poll() is None and self.age_s() < PATIENCE_S

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return f"{wire.HOST}:{self.port}"

    def stop(self):
        """Ends it in order."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE_S) not in (0, 128 + signal.SIGTERM):
            raise SystemExit(f"{self.kind.name} ended with {self.process.returncode}")

    def kill(self):
        """Ends it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(kind, directory, log):
    """The broker on that empty directory, for the time of the block."""
    broker = Broker(kind, directory, log)
    try:
        yield broker
        broker.stop()
    except BaseException:
        broker.kill()
        raise

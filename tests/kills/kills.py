"""Kills a broker again and again under clients that live on. See `run`."""

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ports import free_port
from volume import THROTTLE, Volume

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
TOPIC = "killed"
# Partitions that each producer has.
SHARE = 4
# Somebody who waits for 1,000 kills hears of it after so many.
KILLS_TOLD = 50
PATIENCE_S = 180
# So many lines a client has to write before it counts as going on.
LINES = 20


class Run:
    """One broker on one directory with its clients, until the end."""

    def __init__(self, binary, folder, data, dice):
        self.binary, self.folder, self.data, self.dice = binary, folder, data, dice
        self.at = f"127.0.0.1:{free_port()}"
        self.log = open(folder / "broker.log", "ab")
        self.clients, self.broker = {}, None
        self.start()
        admin = [binary, "topic", "create", TOPIC, "-b", self.at, "--partitions", str(2 * SHARE)]
        subprocess.run(admin, check=True, stdout=subprocess.DEVNULL)
        python = [sys.executable, HERE / "librdkafka.py"]
        java = ["java", "-Xmx256m", "-cp", f"{CACHE / 'kafka/libs'}/*:{CACHE / 'kills'}", "Produce"]
        self.client("librdkafka", [*python, "produce", self.at, TOPIC, 0, SHARE])
        self.client("java", [*java, self.at, TOPIC, SHARE, SHARE])
        self.client("consumer", [*python, "consume", self.at, TOPIC, 2 * SHARE])

    def start(self):
        """Starts the broker, with another number of shards each time, and does not wait for it."""
        settings = [f"listeners=PLAINTEXT://{self.at}", f"log.dirs={self.data}", "log.segment.bytes=1048576"]
        settings += [f"ringmain.shards={self.dice.randint(1, 3)}"]
        words = [word for setting in settings for word in ("--set", setting)]
        self.broker = subprocess.Popen([self.binary, *words], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.await_(lambda: self.broker.poll() is None and self.listens(), "the broker to listen")

    def listens(self):
        host, port = self.at.split(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False

    def client(self, name, command):
        path = self.folder / name
        path.touch()
        command = [str(word) for word in [*command, path]]
        errors = open(self.folder / f"{name}.err", "wb")
        self.clients[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def lines(self, name):
        return (self.folder / name).read_bytes().count(b"\n")

    def await_(self, done, what):
        until = time.monotonic() + PATIENCE_S
        while not done():
            for name, client in self.clients.items():
                if client.poll() is not None:
                    self.fail(f"{name} ended with {client.returncode}")
            if self.broker.poll() is not None:
                self.fail(f"the broker ended with {self.broker.returncode}")
            if time.monotonic() > until:
                self.fail(f"waited {PATIENCE_S} s for {what}")
            time.sleep(0.02)

    def await_progress(self, names=("librdkafka", "java", "consumer")):
        """Waits until each of these clients has gone on."""
        before = {name: self.lines(name) for name in names}
        for name in names:
            wanted = before[name] + (LINES if name != "consumer" else 1)
            self.await_(lambda name=name, wanted=wanted: self.lines(name) >= wanted, f"{name} to go on")

    def fail(self, what):
        print(f"FAILED: {what}")
        for name in [*(f"{name}.err" for name in self.clients), "broker.log"]:
            lines = (self.folder / name).read_text(errors="replace").splitlines()[-15:]
            print(*(f"    {name}: {line}" for line in lines), sep="\n")
        raise SystemExit(1)

    def kill(self):
        self.broker.kill()
        self.broker.wait()

    def acknowledged(self):
        return self.lines("librdkafka") + self.lines("java")

    def finish(self):
        """Has the producers flush, reads all from the beginning, and stops the broker."""
        for name in ("librdkafka", "java"):
            self.clients[name].send_signal(signal.SIGTERM)
        for name in ("librdkafka", "java"):
            if self.clients[name].wait(PATIENCE_S) != 0:
                self.fail(f"{name} ended with {self.clients[name].returncode}")
            del self.clients[name]
        ends = [0] * 2 * SHARE
        for name in ("librdkafka", "java"):
            for line in (self.folder / name).read_text().splitlines():
                partition, number = map(int, line.split())
                ends[partition] = max(ends[partition], number + 1)
        total = self.acknowledged()
        if total != sum(ends):
            self.fail(f"{total} records were acknowledged, of {sum(ends)}")
        # Who read beside the kills, and who reads what is there now, both to the end.
        self.client("reader", [sys.executable, HERE / "librdkafka.py", "consume", self.at, TOPIC, 2 * SHARE])
        for name in ("consumer", "reader"):
            told = self.folder / name
            wanted = " ".join(map(str, ends))
            self.await_(lambda told=told, wanted=wanted: told.read_text().endswith(wanted + "\n"), f"{name} to read {wanted}")
            self.clients[name].send_signal(signal.SIGTERM)
            if self.clients[name].wait(PATIENCE_S) != 0:
                self.fail(f"{name} ended with {self.clients[name].returncode}")
            del self.clients[name]
        self.broker.send_signal(signal.SIGTERM)
        if self.broker.wait(PATIENCE_S) != 0:
            self.fail(f"the broker ended with {self.broker.returncode}")
        return total

    def end(self):
        for process in [*self.clients.values(), self.broker]:
            if process and process.poll() is None:
                process.kill()
                process.wait()


def kills(run, rounds):
    """kill -9 at random moments, some of them while the broker starts."""
    begun = time.monotonic()
    for done in range(rounds):
        if done and done % KILLS_TOLD == 0:
            print(f"kill {done} of {rounds}, {(time.monotonic() - begun) / done:.1f} s each", flush=True)
        if run.dice.random() < 0.8:
            run.await_progress()
        time.sleep(run.dice.random() * 0.3)
        run.kill()
        run.start()
    run.await_progress()


def cuts(run, volume, rounds):
    """The file system ends under the broker, which is killed after that; what the device has is mounted again."""
    for _ in range(rounds):
        run.await_progress()
        time.sleep(run.dice.random() * 0.5)
        volume.cut_off()
        time.sleep(run.dice.random() * 0.3)
        run.kill()
        volume.come_back()
        run.start()
    run.await_progress()


def fill(run, volume):
    """Not a byte is free: producers wait, the consumer reads on, and all go on without a restart when there is room."""
    run.await_progress()
    with volume.filled():
        before = -1
        while before != run.acknowledged():
            before = run.acknowledged()
            time.sleep(2)
        run.client("again", [sys.executable, HERE / "librdkafka.py", "consume", run.at, TOPIC, 2 * SHARE])
        run.await_progress(["again"])
        run.clients["again"].kill()
        run.clients.pop("again").wait()
    run.await_progress()


def throttle(run, volume):
    """A device that takes little: slow, but nothing is lost and nobody gives up."""
    with volume.slow(run.broker.pid, 2 << 20):
        for _ in range(3):
            run.await_progress()
    run.await_progress()


def attempt(name, binary, dice, rounds):
    """One run of a kind; returns what it has to say."""
    with tempfile.TemporaryDirectory(prefix="ringmain-kills-") as folder:
        folder = Path(folder)
        volume = Volume(name, folder) if name != "kills" else None
        run = None
        try:
            run = Run(binary, folder, (volume.mounted if volume else folder) / "data", dice)
            if volume is None:
                kills(run, rounds)
                said = f"{rounds} kills"
            else:
                cuts(run, volume, rounds)
                fill(run, volume)
                throttle(run, volume)
                said = f"{rounds} cuts, filled, throttled"
            return f"{said}: {run.finish()} acknowledged records are there, once, in order"
        finally:
            if run:
                run.end()
            if volume:
                volume.remove()


def missing(name):
    """What this machine lacks for a kind, if anything."""
    if name == "kills":
        return None
    if os.getuid() != 0:
        return "only root mounts file systems"
    if not os.path.exists("/dev/loop-control"):
        return "this kernel has no loop devices"
    known = Path("/proc/filesystems").read_text().split()
    if name not in known and subprocess.run(["modprobe", name], capture_output=True).returncode != 0:
        return f"this kernel has no {name}"
    if not (THROTTLE / "blkio.throttle.write_bps_device").exists():
        return "this kernel has no cgroup blkio"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--only", choices=["kills", "ext4", "xfs"])
    parser.add_argument("--rounds", type=int, help="of each kind")
    arguments = parser.parse_args()
    long = os.environ.get("TESTS_LONG") == "1"
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    print(f"seed {seed} (SEED={seed} repeats what was drawn)", flush=True)
    passed = failed = 0
    for name, rounds in {"kills": 1000 if long else 20, "ext4": 20 if long else 3, "xfs": 20 if long else 3}.items():
        if arguments.only and arguments.only != name:
            continue
        if why := missing(name):
            print(f"not run: {name}: {why}")
            continue
        begun = time.monotonic()
        try:
            said = attempt(name, arguments.broker, random.Random(f"{seed} {name}"), arguments.rounds or rounds)
            print(f"ok     {name}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
            passed += 1
        except (SystemExit, OSError, subprocess.CalledProcessError) as error:
            if not isinstance(error, SystemExit):
                print(error)
            print(f"FAILED {name} ({time.monotonic() - begun:.0f} s)", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()

"""What is run, in which order: each part of the measurement goes round by round from broker to broker, so that
whatever else the machine does in those minutes hits all of them alike. Which clients exist and what a run
costs is known elsewhere (load, figures)."""

import contextlib
import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from measuring import load, wire
from measuring.brokers import KAFKA, KAFKA_FLUSH, ONE_SHARD, RINGMAIN, TWO_SHARDS, Broker, running
from measuring.figures import Window, idle_percent, resident_mib

PHASES = ("start", "alone", "produce", "partitions", "consume", "shards")
COMPARED = (RINGMAIN, KAFKA, KAFKA_FLUSH)
BATCHES = (16 << 10, 64 << 10)
# Runs of a broker that has the machine to itself; the first is not counted as warm.
ALONE_RUNS = 4


@dataclass(frozen=True)
class Plan:
    """How much of everything. A start of Apache Kafka takes a hundred times as long, so it has fewer."""

    phases: tuple
    records: int
    rounds: int
    warm_records: int
    starts: int
    apache_starts: int
    idle_s: int
    laps: int
    alone_records: int

    def disk_bytes(self):
        """What the brokers' directories grow to, with some air."""
        warm = self.warm_records + 3 * self.records
        runs = 4 * (("produce" in self.phases) + ("partitions" in self.phases)) * self.rounds
        alone = 2 * ALONE_RUNS * self.alone_records * ("alone" in self.phases)
        return (alone + 3 * (warm + runs * self.records)) * load.RECORD_BYTES * 5 // 4


@dataclass(frozen=True)
class Topic:
    name: str
    partition_count: int


FEW = Topic("few", 6)
MANY = Topic("many", 1000)
READ = Topic("read", 6)


@dataclass(frozen=True)
class Cell:
    """One line of the comparison: which client does what."""

    client: str
    batch_bytes: int = 0
    partition_count: int = 0

    def __str__(self):
        if not self.batch_bytes:
            return f"consume, {self.client}"
        return f"produce, {self.client}, {self.batch_bytes >> 10} KiB, {self.partition_count:,} partitions"


JAVA, KCAT = "Java", "kcat"


@dataclass
class Results:
    """Everything that was measured, by the broker's kind."""

    starts_s: dict = field(default_factory=dict)
    idle_mib: dict = field(default_factory=dict)
    idle_percent: dict = field(default_factory=dict)
    loaded_mib: dict = field(default_factory=dict)
    alone: dict = field(default_factory=dict)
    cold: dict = field(default_factory=dict)
    cells: dict = field(default_factory=dict)
    shards: dict = field(default_factory=dict)


def progress(text):
    print(text, file=sys.stderr, flush=True)


@dataclass
class Rounds:
    """Runs the plan's parts with directories below `work` and the brokers' output in `log`."""

    plan: Plan
    work: Path
    log: object
    results: Results = field(default_factory=Results)

    def run_all(self):
        if "start" in self.plan.phases:
            self.start()
        if "alone" in self.plan.phases:
            self.alone()
        if set(self.plan.phases) & {"start", "produce", "partitions", "consume"}:
            with contextlib.ExitStack() as stack:
                self.compare([stack.enter_context(self.broker(kind)) for kind in COMPARED])
        if "shards" in self.plan.phases:
            with contextlib.ExitStack() as stack:
                self.compare_shards([stack.enter_context(self.broker(kind)) for kind in (ONE_SHARD, TWO_SHARDS)])
        return self.results

    def broker(self, kind, number=0):
        # log.dirs is a list with commas.
        folder = re.sub(r"[^A-Za-z0-9]+", "-", f"{kind.name} {number}")
        return running(kind, self.work / folder, self.log)

    def start(self):
        """Each is alone on the machine here."""
        for number in range(max(self.plan.starts, self.plan.apache_starts)):
            for kind, starts in ((RINGMAIN, self.plan.starts), (KAFKA, self.plan.apache_starts)):
                if number < starts:
                    with self.broker(kind, f"start-{number}") as broker:
                        self.results.starts_s.setdefault(kind, []).append(broker.started_s)
                        progress(f"{kind.name}: first answered Produce after {broker.started_s:.3f} s")

    def alone(self):
        """One broker after the other, with long runs into a topic of one partition each."""
        for kind in (RINGMAIN, KAFKA):
            with self.broker(kind, "alone") as broker:
                for number in range(ALONE_RUNS):
                    topic = Topic(f"alone-{number}", 1)
                    create([broker], topic)
                    window = Window(broker, [broker])
                    records = self.plan.alone_records
                    rate = load.java_produce(broker, topic, BATCHES[-1], records)
                    figure = window.close(rate, records)
                    self.results.alone.setdefault(kind, []).append(figure)
                    progress(
                        f"alone, {number + 1} of {ALONE_RUNS}, {kind.name}: {figure.rate:,.0f} records/s; "
                        f"CPU s per million: {figure.broker:.3f}"
                    )

    def compare(self, brokers):
        phases, results = self.plan.phases, self.results
        if "start" in phases:
            # What a start leaves to be done is done by then.
            idle_percent(brokers, 2)
            for broker, percent in zip(brokers, idle_percent(brokers, self.plan.idle_s)):
                results.idle_percent[broker.kind] = percent
                results.idle_mib[broker.kind] = resident_mib(broker.pid)
        if not set(phases) & {"produce", "partitions", "consume"}:
            return
        results.cold = self.warm(brokers)
        results.cells = self.interleave(brokers, self.plan.rounds, self.produce_runs(brokers))
        results.loaded_mib = {broker.kind: resident_mib(broker.pid) for broker in brokers}
        if "consume" in phases:
            results.cells |= self.interleave(brokers, self.plan.rounds, self.consume_runs(brokers))

    def compare_shards(self, brokers):
        self.warm(brokers)
        (self.results.shards,) = self.interleave(brokers, self.plan.rounds, self.java(FEW, BATCHES[-1])).values()

    def warm(self, brokers):
        """Enough records for the JVM's compiler and for memory that is kept; the figures of the first run."""
        create(brokers, FEW)
        runs = self.java(FEW, BATCHES[-1])
        (cold,) = self.interleave(brokers, 1, runs, "cold: ").values()
        self.interleave(brokers, math.ceil(self.plan.warm_records / self.plan.records) - 1, runs, "warming: ")
        return cold

    def produce_runs(self, brokers):
        """All lines of producing; what a topic's first records need is made before."""
        runs = {}
        lines = load.lines_file(self.work / "lines", self.plan.records)
        for topic, phase in ((FEW, "produce"), (MANY, "partitions")):
            if phase in self.plan.phases:
                if topic is MANY:
                    create(brokers, MANY)
                    self.interleave(brokers, 1, self.java(MANY, BATCHES[-1]), "first: ")
                for batch_bytes in BATCHES:
                    runs |= self.java(topic, batch_bytes) | self.kcat(topic, batch_bytes, lines)
        return runs

    def consume_runs(self, brokers):
        """Of what is produced just before, so that all of it is in memory still."""
        records, laps = self.plan.records, self.plan.laps
        create(brokers, READ)
        self.interleave(brokers, 1, self.java(READ, BATCHES[-1]), "to be consumed: ")
        runs = {
            Cell(JAVA): lambda broker: (load.java_consume(broker, READ, records, laps), records * laps),
            Cell(KCAT): lambda broker: (load.kcat_consume(broker, READ, records, laps), records * laps),
        }
        self.interleave(brokers, 1, runs, "first: ")
        return runs

    def java(self, topic, batch_bytes):
        records = self.plan.records
        cell = Cell(JAVA, batch_bytes, topic.partition_count)
        return {cell: lambda broker: (load.java_produce(broker, topic, batch_bytes, records), records)}

    def kcat(self, topic, batch_bytes, lines):
        records = self.plan.records
        cell = Cell(KCAT, batch_bytes, topic.partition_count)
        return {cell: lambda broker: (load.kcat_produce(broker, topic, batch_bytes, lines, records), records)}

    def interleave(self, brokers, rounds, runs, label=""):
        """The figures by cell and kind. Each round has all cells, and each cell all brokers; who of them begins
        changes from round to round. A run is given a broker, and returns its rate and how many records went."""
        figures = {cell: {broker.kind: [] for broker in brokers} for cell in runs}
        for number in range(rounds):
            first = number % len(brokers)
            for cell, run in runs.items():
                for broker in brokers[first:] + brokers[:first]:
                    window = Window(broker, brokers)
                    rate, records = run(broker)
                    figure = window.close(rate, records)
                    figures[cell][broker.kind].append(figure)
                    progress(
                        f"{label}{cell}, {number + 1} of {rounds}, {broker.kind.name}: {figure.rate:,.0f} records/s; CPU "
                        f"s per million: {figure.broker:.3f}, machine {figure.machine:.3f}, clients {figure.clients:.3f}"
                    )
        return figures


def create(brokers: list[Broker], topic):
    for broker in brokers:
        wire.create_topic(broker.port, topic.name, topic.partition_count)

"""What is measured of consumer groups, with Apache Kafka as control, and the table of it."""

import contextlib
import socket
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from measuring import commits, members, wire
from measuring.brokers import KAFKA, RINGMAIN, Broker, running
from measuring.figures import Window, machine_line, resident_mib, tree_cpu_s
from measuring.rounds import progress
from measuring.table import NOTHING, quotient, reached, row, spread

PHASES = ("join", "commit", "load")
COMPARED = (RINGMAIN, KAFKA)
COUNTS = (1, 10, 100)
COMMITTING = (1, 100)


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    phases: tuple
    rounds: int
    counts: tuple
    commit_s: float
    groups: int


@dataclass
class Results:
    """Everything that was measured: by line, then by the broker's kind, a value a round."""

    joins_s: dict = field(default_factory=dict)
    joins_cpu_s: dict = field(default_factory=dict)
    commit_rates: dict = field(default_factory=dict)
    commit_cpu: dict = field(default_factory=dict)
    loads_s: dict = field(default_factory=dict)
    starts_s: dict = field(default_factory=dict)
    loads_cpu_s: dict = field(default_factory=dict)
    entry_bytes: dict = field(default_factory=dict)


def keep(lines, line, broker, value):
    lines.setdefault(line, {}).setdefault(broker.kind, []).append(value)


@dataclass
class Groups:
    """Runs the plan's parts with directories below `work` and the brokers' output in `log`."""

    plan: Plan
    work: Path
    log: object
    results: Results = field(default_factory=Results)

    def run_all(self):
        folder = {kind: self.work / f"{number}" for number, kind in enumerate(COMPARED)}
        if set(self.plan.phases) & {"join", "commit"}:
            with contextlib.ExitStack() as stack:
                brokers = [stack.enter_context(running(kind, folder[kind], self.log)) for kind in COMPARED]
                for broker in brokers:
                    prepare(broker)
                # The first of everything compiles what the JVM runs.
                for number in range(-1, self.plan.rounds):
                    self.round(brokers if number % 2 else brokers[::-1], number)
        if "load" in self.plan.phases:
            for number in range(self.plan.rounds):
                for kind in COMPARED:
                    self.load(kind, self.work / f"load-{COMPARED.index(kind)}-{number}")
        return self.results

    def round(self, brokers, number):
        for count in self.plan.counts if "join" in self.plan.phases else ():
            for protocol in members.KINDS:
                self.join(brokers, protocol, count, number)
        for connections in COMMITTING if "commit" in self.plan.phases else ():
            for broker in brokers:
                self.commit(broker, brokers, connections, number)

    def join(self, brokers, protocol, count, number):
        if number < 0 and count > 1:
            return
        before = [tree_cpu_s(broker.pid) for broker in brokers]
        ports, group = [broker.port for broker in brokers], f"{protocol}-{count}-{number}"
        measured = members.join_seconds(protocol, ports, group, count)
        for broker, seconds, used in zip(brokers, measured, before):
            cpu_s = tree_cpu_s(broker.pid) - used
            progress(f"{protocol}, {count} members, {broker.kind.name}: {seconds} s, CPU {cpu_s:.2f} s")
            if number >= 0:
                keep(self.results.joins_cpu_s, (protocol, count), broker, cpu_s)
                for what, value in zip(("at once", "one more"), seconds):
                    keep(self.results.joins_s, (protocol, count, what), broker, value)

    def commit(self, broker, brokers, connections, number):
        window = Window(broker, brokers)
        rate, count = commits.commits_a_second(broker.port, connections, self.plan.commit_s)
        figure = window.close(rate, count)
        costs = f"CPU s per million {figure.broker:.1f}"
        progress(f"{connections} commit, {broker.kind.name}: {rate:,.0f} commits/s, {costs}")
        if number >= 0:
            keep(self.results.commit_rates, connections, broker, rate)
            keep(self.results.commit_cpu, connections, broker, figure.broker)

    def load(self, kind, folder):
        """Alone on the machine: the broker that starts has nothing but these offsets to read."""
        with running(kind, folder, self.log) as broker:
            prepare(broker)
            fresh_mib = resident_mib(broker.pid)
            commits.fill(broker.port, self.plan.groups, members.PARTITIONS)
        broker = Broker(kind, folder, self.log)
        try:
            commits.await_all(broker.port, self.plan.groups)
            seconds, cpu_s = broker.age_s(), tree_cpu_s(broker.pid)
            entry = (resident_mib(broker.pid) - fresh_mib) * (1 << 20) / self.plan.groups / members.PARTITIONS
            produced = f"{broker.started_s:.2f} s to a Produce"
            progress(f"loaded, {kind.name}: {seconds:.2f} s ({produced}), CPU {cpu_s:.2f} s, {entry:.0f} bytes each")
            keep(self.results.loads_s, "", broker, seconds)
            keep(self.results.starts_s, "", broker, broker.started_s)
            keep(self.results.loads_cpu_s, "", broker, cpu_s)
            keep(self.results.entry_bytes, "", broker, entry)
            broker.stop()
        except BaseException:
            broker.kill()
            raise


def prepare(broker):
    """The topic that groups read, with a record in every partition; and the topic of the groups is there."""
    wire.create_topic(broker.port, members.TOPIC, members.PARTITIONS)
    with socket.create_connection((wire.HOST, broker.port)) as connection:
        for partition in range(members.PARTITIONS):
            wire.ask(connection, wire.produce_frame(members.TOPIC, partition))
    members.await_coordinators(broker.port, [commits.group_name(number) for number in range(200)])


# --- the table

# Two brokers that wait for the same timers are not slower than each other by what a scheduler does.
JITTER_S = 0.05


def middle(by_kind, kind):
    return median(by_kind[kind])


def goals(results, plan):
    lines = []
    if results.joins_s:
        late = {line: middle(by_kind, RINGMAIN) - middle(by_kind, KAFKA) for line, by_kind in results.joins_s.items()}
        worst = max(late, key=late.get)
        good = sum(value <= JITTER_S for value in late.values())
        text = f"{good} of {len(late)}; worst: {label(worst)}, {late[worst]:+.3f} s"
        goal = f"every member consumes no later than with Kafka (± {JITTER_S * 1000:.0f} ms)"
        lines.append(reached(goal, text, good == len(late)))
    for connections, by_kind in results.commit_rates.items():
        ratio = quotient(middle(by_kind, RINGMAIN), middle(by_kind, KAFKA))
        lines.append(reached(f"commits/s of {several(connections)} ÷ Kafka's ≥ 1", f"{ratio:.2f}", ratio >= 1))
    if results.loads_s:
        records = plan.groups * members.PARTITIONS
        seconds, entry = middle(results.loads_s[""], RINGMAIN), middle(results.entry_bytes[""], RINGMAIN)
        lines.append(reached(f"{records:,} offset records read ≤ 2 s after exec", f"{seconds:.2f} s", seconds <= 2))
        lines.append(reached("memory ≤ 1 KiB a group's partition", f"{entry:.0f} bytes", entry <= 1024))
    return [row("goal", "measured", "reached"), "|---|---|---|", *lines, ""]


def label(line):
    protocol, count, what = line
    return f"{protocol}, {count} member{'s' * (count > 1)}" + ("" if count == 1 else f", {what}")


def several(groups):
    return f"{groups} group{'s' * (groups > 1)}"


def compared(name, by_kind, write):
    values = [spread(by_kind[kind], write) if kind in by_kind else NOTHING for kind in COMPARED]
    return row(name, *values, f"{quotient(middle(by_kind, RINGMAIN), middle(by_kind, KAFKA)):.2f}")


def figures(results):
    lines = [row("what", *(kind.name for kind in COMPARED), "ringmain ÷ Kafka"), "|---|---|---|---|"]

    def section(title, names, values, write):
        if values:
            lines.append(row(f"**{title}**", "", "", ""))
            lines.extend(compared(names(line), by_kind, write) for line, by_kind in values.items())

    section("seconds from the last join until every member consumes", label, results.joins_s, lambda s: f"{s:.2f}")
    section("CPU seconds of the broker", lambda line: label((*line, "both")), results.joins_cpu_s, lambda s: f"{s:.2f}")
    section("commits per second, each waits for its answer", several, results.commit_rates, lambda rate: f"{rate:,.0f}")
    per_core = {
        line: {kind: [quotient(1e6, cpu_s) for cpu_s in runs] for kind, runs in by_kind.items()}
        for line, by_kind in results.commit_cpu.items()
    }
    section("commits per second of the broker's CPU", several, per_core, lambda rate: f"{rate:,.0f}")
    section("exec until all groups are there, s", lambda _: "offsets read", results.loads_s, lambda s: f"{s:.2f}")
    section("of that until the first answered Produce, s", lambda _: "Produce", results.starts_s, lambda s: f"{s:.2f}")
    section("CPU seconds of the broker", lambda _: "start with offsets", results.loads_cpu_s, lambda s: f"{s:.2f}")
    title = "resident memory more than before, bytes a group's partition"
    section(title, lambda _: "offsets", results.entry_bytes, lambda size: f"{size:,.0f}")
    return lines


def markdown(results, plan, machine, command):
    head = (
        f"`{command}` printed this on {date.today():%Y-%m-%d}: {machine_line()}; members, brokers and disk on that "
        f"one machine, which was busy with other things for {machine.busy_percent:.0f}% of one core."
    )
    notes = [
        "",
        f"- Median (least–most) of {plan.rounds} round{'s' * (plan.rounds > 1)}, both with their defaults: commits and "
        "loads by turns, joins at the same time, half a second apart. Members on the raw wire, all in one process, with the "
        f"clients' default times; {members.PARTITIONS} partitions.",
        "- At once: all join an empty group, whose first generation waits `group.initial.rebalance.delay.ms` for more. "
        "One more: the last joins when all others consume, who learn of it by their next heartbeat.",
        "- ringmain answers a commit, and a member that joins, from stable media; Kafka from memory.",
        f"- Offsets are those of {plan.groups:,} groups in {members.PARTITIONS} partitions each. Kafka's memory is a heap.",
    ]
    return "\n".join([head, "", *goals(results, plan), *figures(results), *notes])

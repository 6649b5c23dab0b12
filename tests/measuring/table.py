"""The results as Markdown: the goals and what came out, then every figure. A goal that is missed says so."""

from datetime import date
from statistics import median

from measuring.brokers import KAFKA, ONE_SHARD, RINGMAIN, TWO_SHARDS
from measuring.figures import machine_line
from measuring.rounds import BATCHES, COMPARED, JAVA, KCAT, Cell

NOTHING = "–"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def spread(values, write):
    """The median, and the least and the most where there are several."""
    middle = write(median(values))
    return middle if len(values) == 1 else f"{middle} ({write(min(values))}–{write(max(values))})"


def thousands(rate):
    return f"{rate / 1e3:,.0f}"


def seconds(value):
    return f"{value:.3f}"


def middle(figures, what):
    return median(getattr(figure, what) for figure in figures)


def quotient(over, under):
    """Too few records may have cost nothing that /proc counts."""
    return over / under if under else float("inf")


def ratio(by_kind, what):
    return quotient(middle(by_kind[RINGMAIN], what), middle(by_kind[KAFKA], what))


# --- the goals

def reached(goal, measured, is_reached):
    return row(goal, measured, "yes" if is_reached else "**no**")


def several(goal, values, worst, holds):
    """A goal over several lines: the least and the most, how many reach it, and which is the worst."""
    good = sum(map(holds, values.values()))
    text = f"{min(values.values()):.2f}–{max(values.values()):.2f}; {good} of {len(values)}, worst: {worst}"
    return reached(goal, text, good == len(values))


def at_least(goal, values, bound):
    return several(f"{goal} ≥ {bound:.2g}", values, min(values, key=values.get), lambda value: value >= bound)


def at_most(goal, values, bound):
    return several(f"{goal} ≤ {bound:.2g}", values, max(values, key=values.get), lambda value: value <= bound)


def produce_cells(results):
    return {cell: figures for cell, figures in results.cells.items() if cell.batch_bytes}


def start_goals(results):
    if not results.starts_s:
        return []
    start_ms = median(results.starts_s[RINGMAIN]) * 1e3
    resident, idle = results.idle_mib[RINGMAIN], results.idle_percent[RINGMAIN]
    return [
        reached("first answered Produce ≤ 200 ms after exec", f"{start_ms:.0f} ms", start_ms <= 200),
        reached("resident memory, idle, ≤ 64 MiB", f"{resident:.0f} MiB", resident <= 64),
        reached("CPU, idle, ≤ 1% of a core", f"{idle:.1f}%", idle <= 1),
    ]


def warm(runs, what):
    """Of a broker that had the machine to itself: all but its first run."""
    return middle(runs[1:], what)


def alone_goals(results):
    if not results.alone:
        return []
    cost = quotient(warm(results.alone[RINGMAIN], "broker"), warm(results.alone[KAFKA], "broker"))
    goal = "broker CPU per record ÷ Kafka's, either with the machine to itself, ≤ 0.5"
    return [reached(goal, f"{cost:.2f}", cost <= 0.5)]


def produce_goals(results):
    cells = produce_cells(results)
    if not cells:
        return []
    rates = {cell: ratio(figures, "rate") for cell, figures in cells.items()}
    costs = {cell: ratio(figures, "broker") for cell, figures in cells.items()}
    lines = [
        at_least("records/s produced, every ack from stable media, ÷ warm Kafka's", rates, 1),
        at_most("broker CPU per record produced ÷ warm Kafka's", costs, 1 / 3),
    ]
    many = {
        f"{client}, {batch_bytes >> 10} KiB": (Cell(client, batch_bytes, 1000), Cell(client, batch_bytes, 6))
        for client in (JAVA, KCAT)
        for batch_bytes in BATCHES
    }
    kept = {
        name: quotient(*(middle(cells[cell][RINGMAIN], "rate") for cell in pair))
        for name, pair in many.items()
        if pair[0] in cells and pair[1] in cells
    }
    if kept:
        lines.append(at_least("records/s over 1,000 partitions ÷ over 6", kept, 0.8))
    return lines


def consume_goals(results):
    costs = {cell: ratio(figures, "broker") for cell, figures in results.cells.items() if not cell.batch_bytes}
    return [at_most("broker CPU per record consumed ÷ warm Kafka's", costs, 1 / 3)] if costs else []


def shard_goals(results):
    if not results.shards:
        return []
    one, two = results.shards[ONE_SHARD], results.shards[TWO_SHARDS]
    faster, cost = (quotient(middle(two, what), middle(one, what)) for what in ("rate", "broker"))
    text = f"{faster:.2f} times the records/s, {cost:.2f} times the CPU"
    goal = "second shard: ≥ 1.6 times the records/s, or, where clients are the limit, ≤ 1.15 times the CPU per record"
    return [reached(goal, text, faster >= 1.6 or cost <= 1.15)]


def goals(results):
    lines = start_goals(results) + alone_goals(results) + produce_goals(results) + consume_goals(results) + shard_goals(results)
    return [row("goal", "measured", "reached"), "|---|---|---|", *lines] if lines else []


# --- every figure

def compared(name, values, write):
    """One line from one value a broker, or several."""
    values = {kind: value if isinstance(value, list) else [value] for kind, value in values.items()}
    written = [spread(values[kind], write) if kind in values else NOTHING for kind in COMPARED]
    return row(name, *written, f"{quotient(median(values[RINGMAIN]), median(values[KAFKA])):.2f}")


def cell_lines(results, title, what, write):
    """All lines of one kind of figure, cold ones first."""
    lines = [row(f"**{title}**", "", "", "", "")]
    names = {"cold, " + str(Cell(JAVA, BATCHES[-1], 6)): results.cold} | {
        str(cell): figures for cell, figures in results.cells.items()
    }
    for name, figures in names.items():
        values = {kind: [getattr(figure, what) for figure in runs] for kind, runs in figures.items()}
        lines.append(compared(name, values, write))
    return lines


def figures(results):
    if not results.starts_s and not results.cold:
        return []
    lines = [row("what", *(kind.name for kind in COMPARED), "ringmain ÷ Kafka"), "|---|---|---|---|---|"]
    if results.starts_s:
        lines += [
            compared("exec to the first answered Produce, empty directory¹, ms", results.starts_s, lambda s: f"{s * 1e3:,.0f}"),
            compared("resident memory, idle, MiB", results.idle_mib, lambda mib: f"{mib:,.0f}"),
            compared("CPU, idle, of one core", results.idle_percent, lambda percent: f"{percent:.1f}%"),
        ]
    if results.cold:
        lines.append(compared("resident memory after all that was produced, MiB", results.loaded_mib, lambda mib: f"{mib:,.0f}"))
        lines += cell_lines(results, "thousand records per second", "rate", thousands)
        lines += cell_lines(results, "CPU seconds of the broker per million records", "broker", seconds)
        lines += cell_lines(results, "… of the whole machine without the clients", "machine", seconds)
    return lines


def shards(results):
    if not results.shards:
        return []
    lines = [
        "",
        row("produce, Java, 64 KiB, 6 partitions", "thousand records/s", "broker CPU s per million", "CPU s of the client per million"),
        "|---|---|---|---|",
    ]
    for kind, runs in results.shards.items():
        rates = spread([run.rate for run in runs], thousands)
        costs = [spread([getattr(run, what) for run in runs], seconds) for what in ("broker", "clients")]
        lines.append(row(f"`{kind.name}`", rates, *costs))
    return lines


def alone(results, plan):
    if not results.alone:
        return []
    head = f"with the machine to itself: produce, Java, 64 KiB, 1 partition, runs of {plan.alone_records:,} records"
    lines = [
        "",
        row(head, "thousand records/s", "broker CPU s per million", "the first run's"),
        "|---|---|---|---|",
    ]
    for kind, runs in results.alone.items():
        rates, costs = ([getattr(run, what) for run in runs[1:]] for what in ("rate", "broker"))
        lines.append(row(kind.name, spread(rates, thousands), spread(costs, seconds), seconds(runs[0].broker)))
    return lines


def notes(plan, machine):
    return [
        "",
        f"- Median (least–most) of {plan.rounds} rounds of {plan.records:,} records, all brokers by turns. Warm is after "
        f"{plan.warm_records:,} records, cold the first run after the start. 100-byte records, acks=all, `linger.ms=5`.",
        "- Java is `kafka-producer-perf-test`, and for consuming the Java client with assigned partitions; kcat's rates "
        "include the start of its process.",
        "- Kafka acknowledges from memory unless it is told `log.flush.interval.messages=1`; ringmain from stable media, "
        "always. The whole machine's CPU includes what the kernel writes later for a broker.",
        "- A virtual machine gets its memory page by page: the first touch of a page cost "
        f"{machine.page_touch_us:.1f} µs of CPU here (0.2 µs are usual). Kafka's page cache pays that with every record, "
        "ringmain's tail cache until it is full once.",
        "- ¹ Apache Kafka's with formatting.",
    ]


def markdown(results, plan, machine, command):
    head = (
        f"`{command}` printed this on {date.today():%Y-%m-%d}: {machine_line()}; clients, brokers and disk on that "
        f"one machine, which was busy with other things for {machine.busy_percent:.0f}% of one core."
    )
    blocks = [[head, ""], goals(results), [""], figures(results), alone(results, plan), shards(results), notes(plan, machine)]
    return "\n".join(line for block in blocks for line in block)

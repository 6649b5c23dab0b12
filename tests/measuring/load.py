"""The clients that are the load: Apache's producer and consumer in Java, and kcat, each unmodified and in a
process of its own. Each function runs one to its end, makes sure that every record went, and returns records
per wall second. 100-byte records, acks=all, linger.ms=5."""

import re
import subprocess
import time

from measuring import wire
from measuring.brokers import ROOT

LIBS = ROOT / "tests/.cache/kafka/libs"
LINGER_MS = 5
RECORD_BYTES = 100
# A client that needs longer than this hangs.
PATIENCE_S = 300


def run(command, said_to=subprocess.PIPE):
    """Runs a client to its end: what it said, and the wall seconds."""
    begun = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=said_to, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S
    )
    seconds = time.monotonic() - begun
    said = (done.stdout or "") + done.stderr
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{said[-4000:]}")
    return said, seconds


def java_rate(said, verb, records):
    found = re.findall(rf"^(\d+) records {verb}, ([\d.]+) records/sec", said, re.MULTILINE)
    if not found or int(found[-1][0]) != records:
        raise SystemExit(f"not every record was {verb}:\n{said[-4000:]}")
    return float(found[-1][1])


def java_produce(broker, topic, batch_bytes, records):
    """kafka-producer-perf-test."""
    command = ["java", "-cp", f"{LIBS}/*", "org.apache.kafka.tools.ProducerPerformance", "--topic", topic.name]
    command += ["--num-records", str(records), "--record-size", str(RECORD_BYTES), "--throughput", "-1"]
    command += ["--bootstrap-server", broker.address, "--command-property", "acks=all"]
    command += [f"linger.ms={LINGER_MS}", f"batch.size={batch_bytes}"]
    return java_rate(run(command)[0], "sent", records)


def java_consume(broker, topic, records, laps):
    command = ["java", "-cp", f"{LIBS}/*", str(ROOT / "tests/measuring/Consume.java")]
    said, _ = run([*command, broker.address, topic.name, str(records), str(laps)])
    return java_rate(said, "consumed", records * laps)


def lines_file(path, records):
    """The records that kcat sends: one a line."""
    with open(path, "w") as file:
        file.writelines(f"{number:0{RECORD_BYTES}d}\n" for number in range(records))
    return path


def kcat_produce(broker, topic, batch_bytes, lines, records):
    """It prints no rate: this one is over the whole time of the process."""
    before = wire.end_offsets(broker.port, topic.name, topic.partition_count)
    command = ["kcat", "-P", "-b", broker.address, "-t", topic.name, "-X", "acks=all"]
    command += ["-X", f"linger.ms={LINGER_MS}", "-X", f"batch.size={batch_bytes}", "-l", str(lines)]
    said, seconds = run(command)
    sent = wire.end_offsets(broker.port, topic.name, topic.partition_count) - before
    if sent != records:
        raise SystemExit(f"kcat sent {sent} of {records} records:\n{said[-4000:]}")
    return records / seconds


def kcat_consume(broker, topic, records, laps):
    """The whole time of its processes, here too; what it prints goes nowhere."""
    command = ["kcat", "-C", "-b", broker.address, "-t", topic.name, "-o", "beginning", "-e"]
    # It knows the end from an empty answer, which is not to be waited for.
    command += ["-X", "fetch.wait.max.ms=10"]
    seconds_all = 0
    for _ in range(laps):
        said, seconds = run(command, subprocess.DEVNULL)
        seconds_all += seconds
        ends = {part: int(end) for part, end in re.findall(r"\[(\d+)\] at offset (\d+)", said)}
        if sum(ends.values()) != records:
            raise SystemExit(f"kcat read {sum(ends.values())} of {records} records:\n{said[-4000:]}")
    return records * laps / seconds_all

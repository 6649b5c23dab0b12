#!/usr/bin/env python3
"""tests/measuring/cold.py [--gb N] BINARY...: CPU seconds of ringmain per GB that one consumer reads from segments no
memory holds any more, pass by pass: the first pass reads them from the disk, later ones have them in the page cache.
Several builds are measured one after the other, a line for each size of a fetch. Nothing else may run meanwhile; where
something does, the smallest figure of the later passes says most. The records are random bytes of 1,000 each, in batches of 16 to 200 KB, in six partitions."""

import argparse
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measuring import brokers, wire  # noqa: E402

TOPIC = "cold"
PARTITIONS = 6
BATCH_BYTES = (16_000, 60_000, 60_000, 200_000)
RECORD_BYTES = 1_000
# Bytes of a fetch, and how many passes.
PASSES = ((1 << 20, 8), (64 << 10, 4), (12 << 10, 4))
TABLE = [0] * 256
for byte in range(256):
    TABLE[byte] = byte
    for _ in range(8):
        TABLE[byte] = TABLE[byte] >> 1 ^ (0x82F63B78 if TABLE[byte] & 1 else 0)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number):
    number, out = number << 1, b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def batch(size):
    records, count = b"", 0
    while len(records) < size:
        body = bytes(2) + varint(count) + b"\x01" + varint(RECORD_BYTES) + os.urandom(RECORD_BYTES) + b"\0"
        records, count = records + varint(len(body)) + body, count + 1
    # Retention would take older ones.
    now = time.time_ns() // 1_000_000
    after_crc = struct.pack(">hiqqqhii", 0, count - 1, now, now, -1, -1, -1, count) + records
    after_length = struct.pack(">ibI", -1, 2, crc32c(after_crc)) + after_crc
    return struct.pack(">qi", 0, len(after_length)) + after_length


def fill(port, size):
    batches, done, turn = [batch(size) for size in BATCH_BYTES], 0, 0
    with socket.create_connection((wire.HOST, port)) as connection:
        while done < size:
            records, partition = batches[turn % len(batches)], turn // len(batches) % PARTITIONS
            head = struct.pack(">hhii", -1, -1, wire.TIMEOUT_MS, 1) + wire.text(TOPIC)
            body = head + struct.pack(">iii", 1, partition, len(records)) + records
            answer = wire.ask(connection, wire.frame(0, 3, body))
            assert struct.unpack_from(">h", answer, 4 + 2 + len(TOPIC) + 8)[0] == 0
            done, turn = done + len(records), turn + 1


class Reader:
    """Reads answers into one buffer: the client's work is not what is measured, but it runs beside."""

    def __init__(self, port):
        self.socket = socket.create_connection((wire.HOST, port))
        self.buffer = memoryview(bytearray(16 << 20))

    def exact(self, size):
        done = 0
        while done < size:
            count = self.socket.recv_into(self.buffer[done:size])
            if not count:
                raise ConnectionError("the broker closed the connection")
            done += count
        return self.buffer[:size]

    def fetch(self, partition, offset, size):
        """The high watermark and the records of one Fetch v4."""
        body = struct.pack(">iiiibi", -1, 0, 1, 8 << 20, 0, 1) + wire.text(TOPIC)
        request = wire.frame(1, 4, body + struct.pack(">iiqi", 1, partition, offset, size))
        self.socket.sendall(struct.pack(">i", len(request)) + request)
        answer = self.exact(struct.unpack(">i", self.exact(4))[0])
        at = 4 + 4 + 4 + 2 + len(TOPIC) + 4
        _, error, high_watermark, _, aborted = struct.unpack_from(">ihqqi", answer, at)
        assert error == 0, error
        at += 26 + 16 * max(aborted, 0)
        return high_watermark, answer[at + 4 : at + 4 + struct.unpack_from(">i", answer, at)[0]]

    def consume(self, size):
        """Bytes of all whole batches."""
        total = 0
        for partition in range(PARTITIONS):
            offset, end = 0, 1
            while offset < end:
                end, records = self.fetch(partition, offset, size)
                at = 0
                while at + 27 <= len(records):
                    base, length = struct.unpack_from(">qi", records, at)
                    if at + 12 + length > len(records):
                        break
                    offset = base + struct.unpack_from(">i", records, at + 23)[0] + 1
                    at += 12 + length
                total += at
        return total


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(binary, size):
    brokers.BINARY = binary
    with tempfile.TemporaryDirectory(dir=".") as directory, open(os.devnull, "w") as log:
        data = Path(directory) / "data"
        with brokers.running(brokers.ONE_SHARD, data, log) as broker:
            wire.create_topic(broker.port, TOPIC, PARTITIONS)
            fill(broker.port, size)
        os.sync()
        for path in data.glob(f"{TOPIC}-*/*"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with brokers.running(brokers.ONE_SHARD, data, log) as broker:
            reader = Reader(broker.port)
            for fetch_bytes, passes in PASSES:
                figures = []
                for _ in range(passes):
                    before = cpu_seconds(broker.pid)
                    total = reader.consume(fetch_bytes)
                    figures.append(f"{(cpu_seconds(broker.pid) - before) / total * 1e9:.2f}")
                print(f"{binary.name} {fetch_bytes >> 10:>5} KiB: {' '.join(figures)} CPU s/GB", flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gb", type=float, default=1.5)
    arguments.add_argument("binary", nargs="+", type=lambda text: Path(text).resolve())
    wanted = arguments.parse_args()
    for binary in wanted.binary:
        measure(binary, wanted.gb * 1e9)


if __name__ == "__main__":
    main()

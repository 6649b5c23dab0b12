"""What a run cost, from /proc: CPU seconds of a process tree and of the whole machine, resident memory, the
price of a page. Only Linux counts like this; nothing here knows what is measured."""

import mmap
import os
import re
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Figure:
    """One run: records per wall second, and CPU seconds per million records of the broker's process tree, of
    the whole machine without the clients and without the brokers that stand idle beside, and of the clients."""

    rate: float
    broker: float
    machine: float
    clients: float


def tree(pid):
    """The process and all its descendants."""
    pids = [pid]
    for parent in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def tree_cpu_s(pid):
    """CPU seconds of the tree so far, with all threads, and children that have ended and were waited for."""
    ticks = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def machine_cpu_s():
    """CPU seconds of everything on this machine so far: user, nice, system, irq, softirq."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / TICKS


def clients_cpu_s():
    """CPU seconds of this process and of the children it has waited for. Clients are such; a broker that was
    ended is too, so none may end inside a window."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def resident_mib(pid):
    kib = 0
    for each in tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text())
            kib += int(found[1]) if found else 0
    return kib / 1024


class Window:
    """From its making to `close`: what one broker's run cost. Both ends wait for the disk, so that what a
    broker has left to the kernel, which writes it later, counts for this one and not for the next."""

    def __init__(self, broker, beside):
        self.broker = broker
        self.beside = [each for each in beside if each is not broker]
        self.before = self._now()

    def _now(self):
        os.sync()
        idle = sum(tree_cpu_s(each.pid) for each in self.beside)
        clients = clients_cpu_s()
        return tree_cpu_s(self.broker.pid), machine_cpu_s() - clients - idle, clients

    def close(self, rate, records):
        broker, machine, clients = (after - before for after, before in zip(self._now(), self.before))
        millions = records / 1e6
        return Figure(rate, broker / millions, machine / millions, clients / millions)


def idle_percent(brokers, seconds):
    """CPU of each broker while nobody asks anything, in percent of one core; all are looked at at once."""
    before = [tree_cpu_s(broker.pid) for broker in brokers]
    time.sleep(seconds)
    after = [tree_cpu_s(broker.pid) for broker in brokers]
    return [(end - begin) / seconds * 100 for begin, end in zip(before, after)]


def busy_percent(seconds):
    """CPU of everything else on this machine, in percent of one core: what will be in all figures."""
    before = machine_cpu_s()
    time.sleep(seconds)
    return (machine_cpu_s() - before) / seconds * 100


@dataclass(frozen=True)
class Machine:
    """What is said of the machine beside its name: see `busy_percent` and `page_touch_us`."""

    busy_percent: float
    page_touch_us: float


def page_touch_us():
    """What the first write to a page of new memory costs here, in microseconds of CPU."""
    size = 256 << 20
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        seconds = []
        for _ in range(2):
            before = time.process_time()
            for offset in range(0, size, PAGE):
                memory[offset] = 1
            seconds.append(time.process_time() - before)
    # The second pass is the loop alone.
    return (seconds[0] - seconds[1]) / (size / PAGE) * 1e6


def machine_line():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    kernel = os.uname().release.split("-")[0]
    gib = int(memory[1]) / (1 << 20)
    return f"{os.cpu_count()} × {cpu[1] if cpu else 'unknown CPU'}, {gib:.0f} GiB, Linux {kernel}"

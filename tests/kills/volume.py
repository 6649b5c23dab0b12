"""A file system of its own, in a file: one that can be cut off, filled and slowed down (Linux, root)."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path

# FS_IOC_SHUTDOWN and its way: nothing more reaches the device, the file system's journal neither (EXT4_GOING_FLAGS_NOLOGFLUSH,
# XFS_FSOP_GOING_FLAGS_NOLOGFLUSH).
SHUTDOWN = 0x8004587D
NOLOGFLUSH = struct.pack("I", 2)
BYTES = 1 << 30
THROTTLE = Path("/sys/fs/cgroup/blkio")


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


class Volume:
    """An ext4 or XFS, mounted."""

    def __init__(self, kind, folder):
        self.image, self.mounted = folder / f"{kind}.image", folder / kind
        with open(self.image, "wb") as image:
            image.truncate(BYTES)
        run(*{"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"]}[kind], self.image)
        self.mounted.mkdir()
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.mounted)

    def unmount(self):
        # Whoever was killed may still be going.
        for _ in range(600):
            if subprocess.run(["umount", self.mounted], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        run("umount", self.mounted)

    def cut_off(self):
        """As when its power fails: what is not on the device by now never will be."""
        folder = os.open(self.mounted, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, NOLOGFLUSH)
        os.close(folder)

    def come_back(self):
        """After a cut."""
        self.unmount()
        self.mount()

    @contextlib.contextmanager
    def filled(self):
        """Without a free byte, for the time of the block."""
        ballast = self.mounted / "ballast"
        size, block = 0, 1 << 26
        with open(ballast, "wb") as file:
            while block >= 512:
                try:
                    os.posix_fallocate(file.fileno(), size, block)
                    size += block
                except OSError:
                    block //= 2
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def slow(self, pid, bytes_per_s):
        """At so many bytes written a second by that process, for the time of the block."""
        group = THROTTLE / f"ringmain-test-{os.getpid()}"
        group.mkdir()
        device = os.stat(self.mounted).st_dev
        limit = f"{os.major(device)}:{os.minor(device)} {bytes_per_s}"
        try:
            (group / "blkio.throttle.write_bps_device").write_text(limit)
            (group / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            with contextlib.suppress(OSError):
                (THROTTLE / "cgroup.procs").write_text(str(pid))
            for _ in range(600):
                with contextlib.suppress(OSError):
                    group.rmdir()
                    return
                time.sleep(0.1)

    def remove(self):
        self.unmount()
        self.image.unlink()

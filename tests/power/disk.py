"""A machine's disk: powerdisk below, a loop device, a real file system."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from lib.proc import _die_with_parent  # noqa: E402

SECTOR = 4096
SIZE_MIB = {"ext4": 256, "xfs": 400, "btrfs": 400}
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
# How a file system may be asked to be as forgetful as it can be.
MOUNTS = {
    "ext4": ["", "", "noauto_da_alloc", "data=writeback,noauto_da_alloc",
             "noauto_da_alloc,commit=1"],
    "xfs": [""],
    "btrfs": ["", "commit=1"],
}
FSCK = {
    "ext4": ["e2fsck", "-f", "-n"],
    "xfs": ["xfs_repair", "-n", "-f"],
    "btrfs": ["btrfs", "check", "--readonly"],
}


class DiskError(Exception):
    """The test's own machinery failed: no verdict on the daemon."""


def run(*argv: object, timeout: float = 60) -> str:
    """A program that must succeed; its output."""
    done = subprocess.run([str(a) for a in argv], text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise DiskError(f"{argv}: {done.returncode}: {done.stdout}")
    return done.stdout


class PowerDisks:
    """The server of all disks of one world."""

    def __init__(self, program: Path, place: Path):
        self.place = place
        place.mkdir()
        self.proc = subprocess.Popen(
            [str(program), str(place)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=_die_with_parent)
        self.buf = b""
        self.was_cut = False
        if self._line(10) != "ready":
            raise DiskError("powerdisk does not start")

    def _line(self, timeout: float) -> Optional[str]:
        """The next line; None when none comes in time."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buf:
            left = max(0.0, end - time.monotonic())
            if not select.select([self.proc.stdout], [], [], left)[0]:
                return None
            more = os.read(self.proc.stdout.fileno(), 4096)
            if not more:
                raise DiskError("powerdisk ended")
            self.buf += more
        line, _, self.buf = self.buf.partition(b"\n")
        return line.decode()

    def ask(self, *words: object) -> list[str]:
        text = " ".join(map(str, words)) + "\n"
        self.proc.stdin.write(text.encode())
        self.proc.stdin.flush()
        while True:
            line = self._line(60)
            if line == "cut":  # it came while we asked
                self.was_cut = True
                continue
            if line is None or line.startswith("error"):
                raise DiskError(f"powerdisk: {text.strip()}: {line}")
            return line.split()

    def arm(self, ops: int, at_flush: bool, *disks: str) -> None:
        """Cut these when they have done so many writes and flushes more."""
        self.was_cut = False
        if at_flush:
            self.ask("arm-flush", ops // 4, *disks)
        else:
            self.ask("arm", ops, *disks)

    def wait_cut(self, timeout: float) -> bool:
        if not self.was_cut:
            self.was_cut = self._line(timeout) == "cut"
        return self.was_cut

    def end(self) -> None:
        self.proc.stdin.close()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)


class Disk:
    """One disk with one file system, mounted at `at` or not."""

    def __init__(self, disks: PowerDisks, name: str, kind: str, options: str,
                 at: Path):
        self.disks, self.name, self.kind = disks, name, kind
        self.options, self.at = options, at
        self.mounted = False
        at.mkdir()
        disks.ask("add", name, SIZE_MIB[kind])
        loop = self._attach()
        for left in (2, 1, 0):
            try:
                run(*MKFS[kind], loop)
                break
            except DiskError:  # btrfs looks at all loops, and some go away
                if left == 0:
                    run("losetup", "-d", loop)
                    raise
        self._mount(loop)

    def _attach(self) -> str:
        return run("losetup", "--find", "--show", "--sector-size", SECTOR,
                   self.disks.place / self.name).strip()

    def _mount(self, loop: str) -> None:
        options = ["-o", self.options] if self.options else []
        try:
            run("mount", "-t", self.kind, *options, loop, self.at)
            self.mounted = True
        finally:
            run("losetup", "-d", loop)  # as soon as nobody uses it

    def mount(self) -> float:
        """Journal replay and all; the seconds it took."""
        start = time.monotonic()
        self._mount(self._attach())
        return time.monotonic() - start

    def umount(self) -> None:
        end = time.monotonic() + 20
        while True:
            try:
                run("umount", self.at)
                break
            except DiskError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.mounted = False

    def flush(self) -> None:
        run("sync", "-f", self.at)

    def check(self) -> Optional[str]:
        """What the file system's own checker finds; it is not mounted."""
        loop = self._attach()
        try:
            run(*FSCK[self.kind], loop, timeout=120)
        except DiskError as error:
            return str(error)
        finally:
            run("losetup", "-d", loop)
        return None

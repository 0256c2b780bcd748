"""kill -9 before the k-th system call: RELIABILITY.md 4, 69, 70, 74 and 75.

A golden run: one device makes a change of each kind, the other takes them and
is killed before its k-th system call, all threads together making the count.
Whatever k is, each name then shows the old or the new, whole, and what moved
is at one of its two places; after a start all is as if nothing had been.
What one run ends with the next one begins with.

A run on a CI machine takes one of STRIDE of the calls that change something
outside the program, beginning elsewhere each day; --all-k takes every call
there is, of any kind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Optional

import pytest

from lib import killer, tree
from lib.node import OK
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.skipif(
    not killer.usable(), reason="ptrace as root on x86-64 only")]

STRIDE = 8
KILLER = [sys.executable, killer.__file__]


class Steps:
    """Which k there are, and which calls they count."""

    def __init__(self, config: pytest.Config, stride: int = STRIDE):
        every = config.getoption("--all-k")
        self.calls = "all" if every else "effects"
        self.stride = 1 if every else stride
        today = int(time.time() // 86400)
        self.first = 1 + today % self.stride
        self.done = 0
        self.died_at: dict[str, int] = {}

    def __iter__(self) -> Iterator[int]:
        k = self.first
        while True:
            yield k
            self.done += 1
            k += self.stride

    def tell(self, what: str) -> None:
        where = ", ".join(f"{name} {count}" for name, count in sorted(
            self.died_at.items(), key=lambda item: -item[1]))
        print(f"{what}: {self.done} kills, k = {self.first}, "
              f"{self.first + self.stride} ... of {self.calls}: {where}")


class Golden:
    """Device A edits, device B is killed; both hold what round `n` made."""

    def __init__(self, world: World):
        self.base = world.base
        self.a = world.node("A", log_level="warn")
        self.b = world.node("B", log_level="warn")
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.device_add(other.id, other.name, other.addr)
        self.dir_a, self.dir_b = world.dir("a"), world.dir("b")
        self.a.folder_add(self.dir_a, FOLDER, "B")
        self.b.folder_add(self.dir_b, FOLDER, "A")
        self.killer: Optional[subprocess.Popen[bytes]] = None
        self.report = self.base / "killer"
        self.n = -1
        self.new: dict[bytes, tree.Item] = {}
        self.put("same", b"never touched")
        for number in range(4):
            self.put(f"aside/{number}", b"%d" % number)
        self.edit()
        self.settle()

    # -- the two trees -------------------------------------------------------

    def put(self, name: str, data: bytes, place: Optional[Path] = None,
            **options: int) -> None:
        """Save a file as editors do, so that no half of it is ever seen."""
        made = tree.write(self.base / "draft", data, **options)
        to = (place or self.dir_a) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, to)

    def edit(self) -> None:
        """From what round n - 1 left to round n, a change of each kind."""
        self.n += 1
        n, top = self.n, self.dir_a
        self.put("replaced", tree.noise(9_000, n))
        self.put("two blocks", tree.noise(200_000, n))
        self.put(f"new {n}", b"new %d" % n)
        self.put("mode", b"its mode alone changes",
                 mode=(0o644, 0o755)[n % 2], mtime_ns=10 ** 18)
        self.put(f"dir {n}/sub/inside", b"inside %d" % n)
        os.symlink(f"target {n}", self.base / "link")
        os.replace(self.base / "link", top / "link")
        if n == 0:
            self.put("renamed 0", tree.noise(5_000, 77))
            self.put("moved 0/inside", tree.noise(5_000, 78))
        else:
            os.rename(top / f"renamed {n - 1}", top / f"renamed {n}")
            os.rename(top / f"moved {n - 1}", top / f"moved {n}")
            (top / f"new {n - 1}").unlink()
            shutil.rmtree(top / f"dir {n - 1}")
        # What is saved every moment is let rest by the watcher.
        self.a.ctl("folder", "scan", FOLDER, check=n > 0)
        self.put("of B", b"B said %d" % n, self.dir_b)
        self.old = self.new
        self.new = dict(tree.snapshot(top))
        self.new[b"of B"] = tree.snapshot(self.dir_b)[b"of B"]

    def settle(self) -> None:
        """Both have what round n made, and nothing besides."""
        settle([self.a, self.b], [self.dir_a, self.dir_b], 60)
        now = tree.snapshot(self.dir_b)
        assert now == self.new, tree.differences(now, self.new)
        staged = self.dir_b / ".stfolder/holdfast"
        wait_until(lambda: os.listdir(staged) == [], 10,
                   lambda: f"staged: {os.listdir(staged)}")
        self.check_kept()

    def check_after_death(self) -> None:
        """What a person finds on B's disk, whatever B was about to do."""
        now = tree.snapshot(self.dir_b)
        for path in self.old.keys() & self.new.keys():
            assert path in now, f"{path!r} is gone"
        for path, item in now.items():
            allowed = [i for i in (self.old.get(path), self.new.get(path))
                       if i is not None]
            assert allowed, f"{path!r} was never there"
            assert item in allowed or item.kind == "dir" \
                and allowed[0].kind == "dir", f"{path!r} is torn: {item}"
        found = {item.digest for item in now.values()}
        for name in (b"renamed %d", b"moved %d/inside"):
            assert self.new[name % self.n].digest in found, name
        assert now[b"of B"] == self.new[b"of B"]
        self.check_kept()

    def check_kept(self) -> None:
        """What A replaced or deleted is somewhere on B's disk still: at its
        name, in staging, in the trash can."""
        kept = {hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.dir_b.rglob("*")
                if path.is_file() and not path.is_symlink()}
        for path, item in self.old.items():
            assert item.digest is None or path == b"of B" \
                or item.digest in kept, f"the old {path!r} is lost"

    # -- killing -------------------------------------------------------------

    def attach(self, k: int, calls: str) -> None:
        self.report.write_text("")
        self.killer = subprocess.Popen(
            [*KILLER, str(k), str(self.report), calls, "pid",
             str(self.b.pid)])
        wait_until(self.report.read_text, 20, "attached", alive=[self.b])

    def detach(self) -> None:
        """The killer may go before it has killed, and B with it."""
        if self.killer is not None:
            self.killer.terminate()
            self.killer.wait(20)
            self.killer = None
        self.b.kill9()

    def is_over(self) -> bool:
        """B has died, or A knows it has all of this round and it rests.

        B is not asked: to answer takes system calls, and these count.
        """
        if not self.b.running:
            return True
        try:
            if tree.snapshot(self.dir_b) != self.new or \
                    tree.snapshot(self.dir_a) != self.new:
                return False
        except OSError:
            return False
        if self.a.ctl("status", "-q", check=False).code != OK:
            return False
        time.sleep(0.4)
        return True

    def told(self) -> str:
        """The name of the call it died before."""
        return self.report.read_text().partition(" ")[2].strip()

    def kill_at(self, k: int, calls: str) -> bool:
        """One golden run; False when it ended before its k-th call."""
        self.attach(k, calls)
        try:
            self.edit()
            wait_until(self.is_over, 60, f"round {self.n}, k = {k}")
            died = not self.b.running
        finally:
            self.detach()
        self.check_after_death()
        return died

    def kill_start_at(self, k: int, calls: str) -> bool:
        """A start, until in sync; False when that came before call k."""
        self.report.write_text("")
        plain = self.b.argv
        self.b.argv = [*KILLER, str(k), str(self.report), calls, "run",
                       *plain]
        try:
            self.b.spawn()
            wait_until(self.is_over, 60, f"start {self.n}, k = {k}")
            died = not self.b.running
        finally:
            self.b.kill9()
            self.b.argv = plain
        self.check_after_death()
        return died


@pytest.fixture
def golden(world: World) -> Iterator[Golden]:
    made = Golden(world)
    yield made
    made.detach()


@pytest.mark.timeout(7200)
def test_69_killed_before_any_call_of_a_pull(
        golden: Golden, request: pytest.FixtureRequest) -> None:
    steps = Steps(request.config)
    for k in steps:
        died = golden.kill_at(k, steps.calls)
        golden.b.start()
        golden.settle()
        if not died:
            break
        name = golden.told()
        steps.died_at[name] = steps.died_at.get(name, 0) + 1
    steps.tell("pull")
    assert steps.done > 10
    assert {"renameat2", "fdatasync"} <= steps.died_at.keys() \
        or steps.stride > 1


@pytest.mark.timeout(7200)
def test_70_killed_before_any_call_of_the_recovery(
        golden: Golden, request: pytest.FixtureRequest) -> None:
    """First in the midst of a pull, somewhere else each time; then again."""
    steps = Steps(request.config, 2 * STRIDE)
    for k in steps:
        while not golden.kill_at(20 + 7 * steps.done % 90, "effects"):
            golden.b.start()
            golden.settle()
        died = golden.kill_start_at(k, steps.calls)
        golden.b.start()
        golden.settle()
        if not died:
            break
        name = golden.told()
        steps.died_at[name] = steps.died_at.get(name, 0) + 1
    steps.tell("start")
    assert steps.done > 5

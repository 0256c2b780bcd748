"""kill -9 before the k-th system call: docs/faults.md, 69, 70, 74 and 75.

A golden run: one device makes a change of each kind, the other takes them and
is killed before its k-th system call, all threads together making the count.
Whatever k is, each name then shows the old or the new, whole, and what moved
is at one of its two places; after a start all is as if nothing had been.
What one run ends with the next one begins with.

A run on a CI machine takes one of STRIDE of the calls that change something
outside the program, beginning elsewhere each day; --all-k takes every call
there is, of any kind, from the first or the one it names.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Optional

import pytest

from lib import killer
from lib.golden import Golden
from lib.mounts import Mounts
from lib.node import OK
from lib.proc import wait_until
from lib.world import World

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
        self.first = every or 1 + today % self.stride
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


class Victim(Golden):
    """A golden run in which B can be killed."""

    def __init__(self, base: Path):
        super().__init__(base)
        self.report = base / "killer"
        self.killer: Optional[subprocess.Popen[bytes]] = None

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
        if not self.is_done():
            return False
        if self.a.ctl("status", "-q", check=False).code != OK:
            return False
        time.sleep(0.4)
        return True

    def has_died(self) -> bool:
        """As it was meant to: a start's killer ends with 0 then."""
        assert self.b.running or self.b.proc is not None \
            and self.b.proc.returncode in (0, -9), self.b.tail(20)
        return not self.b.running

    def told(self) -> str:
        """The name of the call it died before."""
        return self.report.read_text().partition(" ")[2].strip()

    def kill_at(self, k: int, calls: str) -> bool:
        """One golden run; False when it ended before its k-th call."""
        self.attach(k, calls)
        try:
            self.edit()
            wait_until(self.is_over, 60, f"round {self.n}, k = {k}")
            died = self.has_died()
        finally:
            self.detach()
        self.check_names()
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
            died = self.has_died()
        finally:
            self.b.end(signal.SIGINT)
            self.b.argv = plain
        self.check_names()
        return died


@pytest.fixture
def golden(world: World) -> Iterator[Victim]:
    made = Victim(world.base)
    world.daemons += [made.a, made.b]
    yield made
    made.detach()


@pytest.mark.timeout(7200)
def test_69_killed_before_any_call_of_a_pull(
        golden: Victim, request: pytest.FixtureRequest) -> None:
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
        or steps.stride > 1 or steps.first > 1


@pytest.mark.timeout(7200)
def test_70_killed_before_any_call_of_the_recovery(
        golden: Victim, request: pytest.FixtureRequest) -> None:
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


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_69_killed_on_other_file_systems(world: World, kind: str) -> None:
    mounts = Mounts(world.base)
    try:
        golden = Victim(mounts.make("disk", kind))
        world.daemons += [golden.a, golden.b]
        k, died = 1, True
        while died:
            died = golden.kill_at(k, "effects")
            golden.b.start()
            golden.settle()
            k += 23
        golden.end()
        assert k > 100
    finally:
        for daemon in world.daemons:
            daemon.kill9()
        mounts.end()

"""Fixtures: places, daemons that end with the test, and logs on failure."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator, Optional

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lib import node as ours  # noqa: E402
from lib.node import Node  # noqa: E402
from lib.proc import SANITIZED, sanitizer_reports, wait_until  # noqa: E402
from lib.world import FOLDER, Pair, World  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us behind its back ignores Ctrl-C for us, and what
    # we start would inherit it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    config.addinivalue_line("markers", "root: needs root, for mounts")
    config.addinivalue_line("markers", "tools: judges the tools themselves")
    config.addinivalue_line("markers", "matrix: only with --matrix")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None,
                     help="seed of the random storms (printed on failure)")
    parser.addoption("--all-k", type=int, nargs="?", const=1, default=0,
                     metavar="FROM",
                     help="kill before every system call, not some")
    parser.addoption("--no-slow", action="store_true",
                     help="leave the slow tests out")
    parser.addoption("--matrix", action="store_true",
                     help="every pair of routers (./dev nat), not some")


def pytest_collection_modifyitems(config: pytest.Config,
                                  items: list[pytest.Item]) -> None:
    built = ours.find_program("syncd") and ours.find_program("syncctl")
    for item in items:
        if config.getoption("--no-slow") and "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="--no-slow"))
        if "matrix" in item.keywords and not config.getoption("--matrix"):
            item.add_marker(pytest.mark.skip(reason="./dev nat"))
        if "root" in item.keywords and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="not root"))
        if not built and "tools" not in item.keywords:
            item.add_marker(pytest.mark.skip(
                reason=f"no syncd and syncctl below {ours.bin_dir()}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item,
                              call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test shows the end of every daemon's log."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for daemon in getattr(item, "daemons", []):
            report.sections.append(
                (f"log of {daemon.name} ({daemon.log})", daemon.tail(60)))


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A fresh place; kept and named when the test fails."""
    base = Path(tempfile.mkdtemp(prefix="holdfast-e2e-"))
    made = World(base, request)
    failed_before = request.session.testsfailed
    yield made
    try:
        if SANITIZED:
            made.end_cleanly()
    finally:
        _judge(made, request, failed_before)


def _judge(made: World, request: pytest.FixtureRequest,
           failed_before: int) -> None:
    """What a test must not leave behind, whatever it was about."""
    dead = [d.name for d in made.daemons
            if isinstance(d, Node) and d.proc is not None and not d.may_end
            and not d.running and d.proc.returncode not in (0, -9)]
    made.end()
    # What our own filter of system calls refused, and nobody asked for.
    refused = [f"{d.name}: {line}" for d in made.daemons
               if isinstance(d, Node) and d.log.exists()
               for line in d.log_text().splitlines()
               if "sandbox denied" in line and not d.may_be_refused]
    reports = [f"{d.name}: {line}" for d in made.daemons
               if isinstance(d, Node) and d.log.exists()
               for line in sanitizer_reports(d.log_text())]
    if request.session.testsfailed == failed_before and not dead \
            and not refused and not reports:
        shutil.rmtree(made.base, ignore_errors=True)
    else:
        print(f"kept: {made.base}")
    assert not reports, f"sanitizers report: {reports}"
    assert not dead, f"ended by themselves: {dead}"
    assert not refused, f"the sandbox is too small: {refused}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run's storms; a failure prints it."""
    given: Optional[int] = request.config.getoption("--seed")
    value = random.SystemRandom().randrange(1 << 32) if given is None \
        else given
    print(f"--seed {value}")
    return value


@pytest.fixture
def make_pair(world: World) -> Callable[..., Pair]:
    """Makes two nodes A and B that share folder f1 and are connected."""

    def make(mode_a: Optional[str] = None, mode_b: Optional[str] = None,
             connect: bool = True, **options) -> Pair:
        a = world.node("A", **options)
        b = world.node("B", **options)
        ours.pair_up(a, b)
        dir_a, dir_b = world.dir("a"), world.dir("b")
        a.folder_add(dir_a, FOLDER, "B", mode=mode_a)
        b.folder_add(dir_b, FOLDER, "A", mode=mode_b)
        if connect:
            wait_until(lambda: a.connected("B") and b.connected("A"), 30,
                       "A and B are connected", alive=[a, b])
        return Pair(a, b, dir_a, dir_b)

    return make


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()

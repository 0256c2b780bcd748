"""Disks and systems that fail: docs/faults.md, E.

strace makes system calls of a running daemon fail while one device changes
one of everything and the other takes it (lib/golden.py).  While the fault
lasts nothing is torn, deleted or announced that is not so, and status tells a
reason; when it ends all goes on by itself.
"""

from __future__ import annotations

import time
from typing import Iterator

import pytest

from lib import strace, tree
from lib.golden import Golden
from lib.node import Node
from lib.proc import wait_until
from lib.strace import Faults
from lib.world import World

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.skipif(
    not strace.usable(), reason="no strace, or not root")]

# What a signal may interrupt.
WAITING = "read,pread64,write,pwrite64,fsync,fdatasync,openat,openat2"

# Device B receives: what fails there, and the reasons one of which is told.
# A flush that could not even begin halts the folder at once, as "io-error"; then
# a "busy" of paths may be over before anybody asks.
RECEIVER = {
    "54 no room for data": ("pwrite64:error=ENOSPC", "disk-full"),
    "54 no room for a directory": ("mkdirat:error=ENOSPC", "disk-full"),
    "55 no room for the index": ("fdatasync:error=ENOSPC", "disk-full"),
    "56 over quota": ("pwrite64:error=EDQUOT:when=2", "disk-full"),
    "58 a flush fails once": ("fsync:error=EIO:when=1", "io-error"),
    "58 all flushes fail": ("fsync:error=EIO", "io-error"),
    "59 a write fails": ("pwrite64:error=EIO:when=1", "io-error"),
    "59 a write of the index fails": ("writev:error=EIO", "io-error"),
    "59 no mode can be set": ("fchmod:error=EIO", "io-error"),
    "60 no directory can be read": ("getdents64:error=EIO", "io-error"),
    "62 nothing may be opened": ("openat2:error=EACCES", "unwritable"),
    "63 no descriptors": ("openat,openat2:error=EMFILE", "busy|io-error"),
    "65 calls are interrupted": (
        f"{WAITING}:error=EINTR:when=3+7", "busy|io-error"),
    "65 the index is interrupted": ("fdatasync:error=EINTR", "busy"),
    "66 a rename is not possible": ("renameat2:error=EXDEV", "unwritable"),
    "66 a rename is not allowed": ("renameat2:error=EPERM", "unwritable"),
    "66 a name is busy": ("renameat2:error=EBUSY", "busy"),
    "66 a rename fails": ("renameat2:error=EIO:when=1", "io-error"),
    "104 the root cannot be looked at": ("fstatfs:error=EIO", ""),
}

# Device A sends: what it cannot read is neither changed nor deleted for B.
SENDER = {
    "57 no file can be read": ("pread64:error=EIO", "io-error"),
    "60 no directory can be read": ("getdents64:error=EIO", "io-error"),
    "60 a directory is read half": ("getdents64:error=EIO:when=2+2", ""),
    "62 nothing may be opened": ("openat2:error=EACCES", "unreadable"),
    "62 the root may not be opened": ("openat:error=EACCES", "unreadable"),
    "63 no descriptors": ("openat2:error=EMFILE", "busy"),
    "57 nothing can be looked at": (
        "newfstatat:error=EIO:when=2+3", "io-error"),
    "65 calls are interrupted": (f"{WAITING}:error=EINTR:when=3+7", ""),
    "59 the index cannot be written": ("pwrite64:error=EIO", "io-error"),
}

# A person has to mend these: they are tried again only after a minute.
PATIENT = ("62 nothing may be opened", "66 a rename is not possible",
           "66 a rename is not allowed")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Golden]]:
    """The run of the test before, unless that failed."""
    made: list[Golden] = []
    yield made
    for golden in made:
        golden.end()


@pytest.fixture
def golden(shared: list[Golden], request: pytest.FixtureRequest,
           tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    if not shared:
        shared.append(Golden(tmp_path_factory.mktemp("faults")))
    made = shared.pop()
    request.node.daemons = [made.a, made.b]
    try:
        yield made
    except BaseException:
        made.end()
        raise
    if made.a.running and made.b.running and made.is_done():
        shared.append(made)
    else:
        made.end()


def codes(node: Node) -> set[str]:
    """The reasons in its status, whatever they are of."""
    report = node.status()
    found = {p["code"].rpartition(".")[2] for p in report["problems"]}
    return found | {f["reason"] for f in report["folders"] if f["reason"]}


def run_with(golden: Golden, node: Node, rule: str, reason: str,
             patient: bool) -> None:
    told: set[str] = set()
    with Faults(node, rule) as faults:
        golden.edit()

        def is_told() -> bool:
            told.update(codes(node))
            return faults.hits() > 0 and \
                (reason == "" or told.intersection(reason.split("|")) or
                 golden.is_done())

        wait_until(is_told, 15, lambda: f"{reason} told; told: {told}",
                   alive=[golden.a, golden.b])
        time.sleep(0.3)
        golden.check_names(moves=False)
    if patient:
        node.restart()
    golden.settle(90, staged=True)


@pytest.mark.parametrize("case", RECEIVER)
def test_the_receivers_disk_fails(golden: Golden, case: str) -> None:
    run_with(golden, golden.b, *RECEIVER[case], patient=case in PATIENT)


@pytest.mark.parametrize("case", SENDER)
def test_the_senders_disk_fails(golden: Golden, case: str) -> None:
    run_with(golden, golden.a, *SENDER[case], patient=False)


def test_58_what_faults_left_in_staging_is_gone_after_a_start(
        world: World) -> None:
    """Old bytes wait there for the trash can; these faults leave no other."""
    golden = Golden(world.base)
    world.daemons += [golden.a, golden.b]
    with Faults(golden.b, "fsync:error=EIO") as faults:
        golden.edit()
        wait_until(lambda: faults.hits() > 3, 15, "flushes fail")
    golden.settle(90, staged=True)
    golden.b.restart()
    golden.settle(40)


def test_64_no_memory_ends_it_and_the_next_start_is_well(
        golden: Golden) -> None:
    golden.b.may_end = True
    with Faults(golden.b, "mmap,brk:error=ENOMEM") as faults:
        golden.edit()
        golden.put("large", tree.noise(30_000_000, golden.n))
        (golden.dir_a / "large").unlink()
        wait_until(lambda: not golden.b.running or golden.is_done(), 20,
                   "ended, or did without")
        hits = faults.hits()
        assert golden.b.running or hits > 0, "ended for another reason"
        golden.check_names(moves=False)
    if not golden.b.running:
        golden.b.start()
    golden.settle(90, staged=True)


def test_67_a_disk_that_takes_a_second_a_call(golden: Golden) -> None:
    """People and peers are answered all the same."""
    calls = "fsync,fdatasync,renameat2,openat2,getdents64,mkdirat,unlinkat"
    with Faults(golden.b, f"{calls}:delay_enter=1000000") as faults:
        golden.edit()
        wait_until(lambda: faults.hits() > 0, 15, "slow")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for ask in (("status", "-q"), ("device", "list"),
                        ("folder", "list")):
                took = golden.b.ctl(*ask, check=False).seconds
                assert took < 1, f"{ask} took {took:.1f} s"
            assert golden.a.connected("B")
        golden.check_names()
    golden.settle(60, staged=True)


def test_130_no_random_numbers_no_start(world: World) -> None:
    node = world.node("A", start=False)
    node.argv = ["strace", "-f", "-o", str(world.base / "strace"),
                 "-e", "trace=getrandom", "-e",
                 "inject=getrandom:error=ENOSYS", *node.argv]
    node.may_end = True
    node.spawn()
    assert node.proc is not None and node.proc.wait(20) not in (0, None)
    assert "random" in node.log_text()

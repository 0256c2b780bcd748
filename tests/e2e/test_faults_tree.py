"""Trees, disks and clocks that do odd things: docs/faults.md, D and F to I."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lib import clock, node, tree
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, Pair, World, settle


def only_halted(which: Node) -> bool:
    return which.ctl("status", "-q", check=False).code == node.STOPPED


def hashed(which: Node) -> int:
    """Files that its scans have hashed since it was started first."""
    return sum(int(word[7:]) for word in which.log_text().split()
               if word.startswith("hashed="))


# ---- D. links and roots ----------------------------------------------------

def test_47_links_in_loops_and_chains_are_links(pair: Pair) -> None:
    top = pair.dir_a
    (top / "d").mkdir()
    os.symlink("self", top / "self")
    os.symlink("b", top / "a")
    os.symlink("a", top / "b")
    os.symlink("../d", top / "d/up")
    os.symlink(".", top / "here")
    for n in range(2000):
        os.symlink(f"{n + 1}", top / f"d/{n}")
    pair.settle(60)


def test_49_a_link_at_the_root_halts(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()
    elsewhere = pair.dir_b.with_name("elsewhere")
    shutil.copytree(pair.dir_b, elsewhere, symlinks=True)
    os.rename(pair.dir_b, pair.dir_b.with_name("moved"))
    os.symlink(elsewhere, pair.dir_b)
    tree.write(pair.dir_a / "later", b"2")
    wait_until(lambda: only_halted(pair.b), 30, "halted", alive=[pair.b])
    time.sleep(1)
    assert not (elsewhere / "later").exists()
    assert (pair.dir_a / "file").exists()
    os.unlink(pair.dir_b)
    os.rename(pair.dir_b.with_name("moved"), pair.dir_b)
    pair.settle()


def test_52_a_link_for_a_trash_can_is_not_followed(pair: Pair) -> None:
    outside = pair.dir_b.with_name("outside")
    outside.mkdir()
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()
    shutil.rmtree(pair.dir_b / ".stversions", ignore_errors=True)
    os.symlink(outside, pair.dir_b / ".stversions")
    tree.write(pair.dir_a / "file", b"other")
    wait_until(lambda: (pair.dir_b / "file").read_bytes() == b"other", 20,
               "replaced")
    wait_until(lambda: pair.b.problem("trash-failed"), 20, "told")
    assert os.listdir(outside) == []
    kept = [p.read_bytes() for p in
            (pair.dir_b / ".stfolder/holdfast").iterdir()]
    assert kept == [b"1"], "what was replaced waits in staging"


# ---- F. two daemons --------------------------------------------------------

def test_76_two_daemons_on_one_directory_lose_nothing(world: World) -> None:
    """With a home each, they share what is there as two people would."""
    a, b, c = world.node("A"), world.node("B"), world.node("C")
    node.pair_up(a, b)
    node.pair_up(a, c)
    dir_a, both = world.dir("a"), world.dir("both")
    a.folder_add(dir_a, FOLDER, "B", "C")
    b.folder_add(both, FOLDER, "A")
    c.folder_add(both, FOLDER, "A")
    words = set()
    for n in range(30):
        tree.write(dir_a / f"f{n % 10}", b"%d" % n)
        time.sleep(0.05)
    words = {b"%d" % n for n in range(20, 30)}
    wait_until(lambda: words <= {p.read_bytes() for p in both.iterdir()
                                 if p.is_file()}, 60, "all came")
    settle([a], [dir_a, both], 60)
    assert words <= {p.read_bytes() for p in dir_a.iterdir() if p.is_file()}


# ---- G. the index ----------------------------------------------------------

def index_of(which: Node) -> Path:
    found = sorted(p for p in (which.home / "index").glob("*/data.mdb")
                   if "damaged" not in p.parent.name)
    assert len(found) == 1, found
    return found[0]


def test_80_an_index_of_last_week_brings_nothing_old_back(
        pair: Pair) -> None:
    for n in range(30):
        tree.write(pair.dir_a / f"f{n}", b"first %d" % n)
    pair.settle()
    pair.b.stop()
    shutil.copytree(pair.b.home / "index", pair.b.home.parent / "old index")
    pair.b.start()
    for n in range(30):
        place = (pair.dir_a, pair.dir_b)[n % 2]
        if n < 10:
            (place / f"f{n}").unlink()
        else:
            tree.write(place / f"f{n}", b"second %d" % n)
    tree.write(pair.dir_b / "new", b"of B")
    pair.settle()
    wanted = tree.snapshot(pair.dir_a)
    pair.b.stop()
    shutil.rmtree(pair.b.home / "index")
    shutil.copytree(pair.b.home.parent / "old index", pair.b.home / "index")
    pair.b.start()
    pair.settle(60)
    tree.write(pair.dir_b / "newer", b"of B")
    tree.write(pair.dir_b / "f20", b"third")
    pair.settle(60)
    now = tree.snapshot(pair.dir_a)
    for name in (b"newer", b"f20"):
        assert name in now
        now.pop(name)
        wanted.pop(name, None)
    assert tree.differences(wanted, now) == []
    assert not tree.conflicts(pair.dir_a)


@pytest.mark.slow
def test_81_flipped_bits_in_any_page_of_the_index(pair: Pair,
                                                  seed: int) -> None:
    rng = random.Random(seed)
    for n in range(300):
        tree.write(pair.dir_a / f"d{n % 7}/f{n}", b"%d" % n)
    pair.settle()
    wanted = tree.snapshot(pair.dir_a)
    for _ in range(12):
        pair.b.stop()
        path = index_of(pair.b)
        with open(path, "r+b") as file:
            for _ in range(rng.choice((1, 3, 30))):
                at = rng.randrange(path.stat().st_size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << rng.randrange(8)]))
        pair.b.may_end = True
        pair.b.spawn()

        def is_well() -> bool:
            # A page that is only touched later may end it, once.
            if not pair.b.running:
                pair.b.spawn()
            return pair.b.ready() and pair.b.in_sync(FOLDER) \
                and pair.a.in_sync(FOLDER) \
                and tree.same(pair.dir_a, pair.dir_b)

        wait_until(is_well, 60, "well again")
        assert tree.differences(wanted, tree.snapshot(pair.dir_a)) == []


def test_82_an_index_cut_while_it_is_open(pair: Pair) -> None:
    """A read behind the end is SIGBUS: it ends, and the next start mends."""
    for n in range(300):
        tree.write(pair.dir_a / f"d{n % 7}/f{n}", b"%d" % n)
    pair.settle()
    wanted = tree.snapshot(pair.dir_a)
    pair.b.may_end = True
    os.truncate(index_of(pair.b), 8192)
    tree.write(pair.dir_a / "d1/new", b"1")
    pair.b.ctl("folder", "scan", FOLDER, check=False)
    starts = 0

    def is_well() -> bool:
        nonlocal starts
        if not pair.b.running:
            starts += 1
            pair.b.spawn()
        return pair.b.ready() and tree.same(pair.dir_a, pair.dir_b) \
            and pair.b.in_sync(FOLDER)

    wait_until(is_well, 60, "well again")
    assert starts <= 2, "no loop of starts"
    wanted[b"d1/new"] = tree.snapshot(pair.dir_a)[b"d1/new"]
    assert tree.differences(wanted, tree.snapshot(pair.dir_a)) == []


# ---- H. time ---------------------------------------------------------------

YEAR = 31_557_600
JUMPS = (1, -1, 86400, -86400, 20 * YEAR, -20 * YEAR, -1_790_000_000,
         12 * YEAR, 80 * YEAR)


def test_87_a_clock_that_jumps_loses_nothing(world: World) -> None:
    shift = clock.Shift(world.base)
    a = world.node("A")
    b = world.node("B", start=False)
    b.env.update(shift.env)
    b.start()
    node.pair_up(a, b)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    for turn, seconds in enumerate(JUMPS):
        shift.set(seconds)
        tree.write(dir_b / "shared", b"B %d" % turn)
        tree.write(dir_b / f"b{turn}", b"B")
        settle([a, b], [dir_a, dir_b])
        tree.write(dir_a / "shared", b"A %d" % turn)
        if turn:
            (dir_a / f"b{turn - 1}").unlink()
        settle([a, b], [dir_a, dir_b])
        assert (dir_b / "shared").read_bytes() == b"A %d" % turn
    assert not tree.conflicts(dir_a)
    assert shift.asked(), "it looked at the clock we gave it"


def test_88_a_device_a_year_ahead_does_not_always_win(world: World) -> None:
    shift = clock.Shift(world.base)
    shift.set(YEAR)
    a = world.node("A")
    b = world.node("B", start=False)
    b.env.update(shift.env)
    b.start()
    node.pair_up(a, b)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    for turn in range(6):
        place = (dir_b, dir_a)[turn % 2]
        tree.write(place / "shared", b"%d" % turn)
        settle([a, b], [dir_a, dir_b])
        assert (dir_a / "shared").read_bytes() == b"%d" % turn
    assert not tree.conflicts(dir_a)


def test_90_times_in_the_future_are_hashed_once(pair: Pair) -> None:
    for n, when in enumerate((4_000_000_000, 4_294_967_295, 9_000_000_000)):
        tree.write(pair.dir_a / f"f{n}", b"x", mtime_ns=when * 10 ** 9)
    pair.settle()
    for _ in range(2):
        pair.b.restart()
        pair.a.restart()
        pair.settle()
    before = hashed(pair.a) + hashed(pair.b)
    for which in (pair.a, pair.b):
        which.scan(FOLDER)
        which.scan(FOLDER)
    pair.settle()
    time.sleep(1)
    assert hashed(pair.a) + hashed(pair.b) == before


# ---- I. a tree in use ------------------------------------------------------

def test_95_saves_by_mmap_and_by_direct_io(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "doc", bytes(65536))
    pair.settle()
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 65536) as view:
            view[100:105] = b"mmap!"
            view.flush()
    # A mapping that is written tells inotify nothing until it is closed.
    pair.a.scan(FOLDER)
    pair.settle()
    assert (pair.dir_b / "doc").read_bytes()[100:105] == b"mmap!"
    block = mmap.mmap(-1, 4096)
    block.write(b"direct" * 600)
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        os.write(fd, block)
    finally:
        os.close(fd)
    pair.settle()
    assert (pair.dir_b / "doc").read_bytes()[:6] == b"direct"
    assert not tree.conflicts(pair.dir_a)


@pytest.mark.slow
def test_97_a_large_directory_renamed_while_it_is_filled(
        pair: Pair) -> None:
    """B renames it while what A put there is still on its way to B."""
    for n in range(300):
        tree.write(pair.dir_a / f"big/{n % 20}/f{n}", b"%d" % n)
    pair.settle()
    for n in range(300, 3000):
        tree.write(pair.dir_a / f"big/{n % 20}/f{n}", b"%d" % n)
    wait_until(lambda: (pair.dir_b / "big/0/f300").exists(), 30, "begun")
    os.rename(pair.dir_b / "big", pair.dir_b / "renamed")
    pair.settle(120)
    words = {p.read_bytes() for p in pair.dir_a.rglob("f*") if p.is_file()}
    assert words >= {b"%d" % n for n in range(3000)}


def test_99_what_is_written_into_a_replaced_file_is_kept(
        pair: Pair) -> None:
    tree.write(pair.dir_a / "doc", b"first")
    pair.settle()
    with open(pair.dir_b / "doc", "r+b") as file:
        tree.write(pair.dir_a / "doc", b"second")
        wait_until(lambda: (pair.dir_b / "doc").read_bytes() == b"second",
                   20, "replaced")
        file.write(b"typed on")
        file.flush()
        os.fsync(file.fileno())
        pair.settle()
    kept = {p.read_bytes() for p in pair.dir_b.rglob("*") if p.is_file()}
    assert b"typed on" in kept
    pair.b.restart()
    pair.settle()
    kept = {p.read_bytes() for p in pair.dir_b.rglob("*") if p.is_file()}
    assert b"typed on" in kept


@pytest.mark.root
def test_101_an_immutable_file_blocks_only_itself(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "fixed", b"1")
    pair.settle()
    target = pair.dir_b / "fixed"
    done = subprocess.run(["chattr", "+i", str(target)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no immutable files here: {done.stderr!r}")
    try:
        tree.write(path, b"other")
        tree.write(pair.dir_a / "free", b"1")
        wait_until(lambda: (pair.dir_b / "free").exists(), 20, "goes on")
        wait_until(lambda: pair.b.problem("unwritable"), 20, "told")
        assert target.read_bytes() == b"1"
    finally:
        subprocess.run(["chattr", "-i", str(target)], check=False)
    pair.b.restart()
    pair.settle()


def test_101_a_file_with_many_names(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "many/0", b"one body")
    for n in range(1, 1000):
        os.link(path, pair.dir_a / f"many/{n}")
    pair.settle(60)


def test_108_what_is_ignored_keeps_its_directory(pair: Pair) -> None:
    (pair.dir_b / ".stignore").write_text("*.private\n")
    tree.write(pair.dir_a / "d/file", b"1")
    tree.write(pair.dir_a / "e/file", b"1")
    pair.settle()
    tree.write(pair.dir_b / "d/my.private", b"stays")
    time.sleep(0.3)
    shutil.rmtree(pair.dir_a / "d")
    shutil.rmtree(pair.dir_a / "e")
    wait_until(lambda: not (pair.dir_b / "d/file").exists()
               and not (pair.dir_b / "e").exists(), 20, "the rest goes")
    time.sleep(1)
    assert (pair.dir_b / "d/my.private").read_bytes() == b"stays"

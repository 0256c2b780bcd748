"""A disk on which "A" and "a" are one name: docs/faults.md, 35, 36, 53, 92.

Device A has a disk that tells them apart; B's is lib/foldfs.py, which keeps
neither permissions nor times under two seconds either and cannot exchange
names.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from lib import foldfs, node, tree
from lib.node import Node
from lib.proc import holds_for, wait_until
from lib.world import FOLDER, World

pytestmark = pytest.mark.root


class Folding:
    """A and B, B's folder on the folding disk."""

    def __init__(self, world: World, disk: Path):
        self.a, self.b = world.node("A"), world.node("B")
        self.dir_a, self.dir_b = world.dir("a"), disk / "b"
        node.pair_up(self.a, self.b)
        self.a.folder_add(self.dir_a, FOLDER, "B")
        self.b.folder_add(self.dir_b, FOLDER, "A")

    def names(self, which: Path) -> set[str]:
        return {os.fsdecode(name) for name in tree.walk(which)}

    def settle(self) -> None:
        """The same names and bytes; modes and times B cannot have."""

        def words(place: Path) -> dict[bytes, object]:
            return {path: (item.kind, item.digest, item.target)
                    for path, item in tree.snapshot(place).items()}

        wait_until(lambda: words(self.dir_a) == words(self.dir_b)
                   and self.a.in_sync(FOLDER) and self.b.in_sync(FOLDER),
                   40, lambda: (self.names(self.dir_a),
                                self.names(self.dir_b),
                                self.b.folder(FOLDER)),
                   alive=[self.a, self.b])

    def read(self, name: str) -> bytes:
        return (self.dir_b / name).read_bytes()


@pytest.fixture
def folding(world: World) -> Iterator[Folding]:
    disk = world.dir("disk")
    served = foldfs.mount(disk)
    try:
        yield Folding(world, disk)
    finally:
        for daemon in world.daemons:
            daemon.kill9()
        subprocess.run(["umount", "-l", str(disk)], check=False)
        served.kill()
        served.wait(20)


def test_35_two_spellings_of_a_name_lose_nothing(folding: Folding) -> None:
    tree.write(folding.dir_a / "File", b"large")
    tree.write(folding.dir_a / "file", b"small")
    tree.write(folding.dir_a / "Dir/x", b"large x")
    tree.write(folding.dir_a / "dir/x", b"small x")
    tree.write(folding.dir_a / "dir/only small", b"1")
    tree.write(folding.dir_a / "other", b"1")
    before = tree.snapshot(folding.dir_a)
    wait_until(lambda: (folding.dir_b / "other").exists(), 20, "others come",
               alive=[folding.a, folding.b])
    wait_until(lambda: folding.b.problem("name-clash"), 20, "told",
               alive=[folding.a, folding.b])
    wait_until(lambda: (folding.dir_b / "file").exists(), 20, "one of them")
    holds_for(lambda: folding.read("file") in (b"large", b"small"), 1,
              "whole")
    assert tree.snapshot(folding.dir_a) == before, "A has both still"
    # Whoever is renamed, the other is left.
    os.rename(folding.dir_a / "file", folding.dir_a / "second")
    for name in ("x", "only small"):
        (folding.dir_a / f"dir/{name}").unlink()
    (folding.dir_a / "dir").rmdir()
    wait_until(lambda: folding.read("File") == b"large"
               and folding.read("second") == b"small"
               and folding.read("Dir/x") == b"large x", 90, "all there",
               alive=[folding.a, folding.b])
    now = tree.snapshot(folding.dir_a)
    assert now[b"File"].digest == before[b"File"].digest
    assert now[b"Dir/x"].digest == before[b"Dir/x"].digest


def test_35_an_edit_of_one_spelling_leaves_the_other(
        folding: Folding) -> None:
    tree.write(folding.dir_a / "Notes", b"first")
    folding.settle()
    tree.write(folding.dir_a / "notes", b"another file")
    wait_until(lambda: folding.b.problem("name-clash"), 20, "told",
               alive=[folding.a, folding.b])
    tree.write(folding.dir_a / "Notes", b"second")
    wait_until(lambda: folding.read("Notes") == b"second", 20, "edited")
    (folding.dir_a / "notes").unlink()
    wait_until(lambda: not folding.b.problem("name-clash"), 90, "well",
               alive=[folding.a, folding.b])
    folding.settle()
    assert folding.read("Notes") == b"second"


def test_38_a_rename_of_case_alone_on_either_side(folding: Folding) -> None:
    tree.write(folding.dir_a / "Name", b"1")
    tree.write(folding.dir_a / "Place/in", b"2")
    folding.settle()
    os.rename(folding.dir_a / "Name", folding.dir_a / "NAME")
    os.rename(folding.dir_a / "Place", folding.dir_a / "PLACE")
    folding.settle()
    assert {"NAME", "PLACE/in"} <= folding.names(folding.dir_b)
    assert not tree.conflicts(folding.dir_a)


def test_53_a_link_of_another_spelling_leads_nowhere(
        folding: Folding, world: World) -> None:
    outside = world.dir("outside")
    tree.write(outside / "canary", b"untouched")
    os.symlink(outside, folding.dir_b / "Out")
    folding.settle()
    tree.write(folding.dir_a / "out/x", b"evil")
    tree.write(folding.dir_a / "out/canary", b"evil")
    tree.write(folding.dir_a / "mark", b"1")
    wait_until(lambda: (folding.dir_b / "mark").exists(), 20, "goes on")
    holds_for(lambda: os.listdir(outside) == ["canary"] and
              (outside / "canary").read_bytes() == b"untouched", 2,
              "nothing is done outside")
    assert (folding.dir_a / "out/x").read_bytes() == b"evil"
    assert os.readlink(folding.dir_a / "Out") == str(outside)


def test_92_coarse_times_and_no_permissions_settle(folding: Folding) -> None:
    for n in range(20):
        tree.write(folding.dir_a / f"a{n}", b"%d" % n, 0o600,
                   mtime_ns=10 ** 18 + n * 10 ** 9 + 123_456_789)
        tree.write(folding.dir_b / f"b{n}", b"%d" % n)
    folding.settle()
    for n in range(0, 20, 2):
        tree.write(folding.dir_a / f"a{n}", b"edited")
        (folding.dir_b / f"b{n}").unlink()
    folding.settle()

    def told(which: Node) -> int:
        return which.log_text().count("exchange index")

    before = told(folding.a), told(folding.b)
    for which in (folding.a, folding.b):
        which.scan(FOLDER)
    time.sleep(3)
    assert (told(folding.a), told(folding.b)) == before, "nothing is new"
    assert not tree.conflicts(folding.dir_a)
    for n in range(1, 20, 2):
        st = (folding.dir_a / f"a{n}").stat()
        assert st.st_mtime_ns == 10 ** 18 + n * 10 ** 9 + 123_456_789
        assert st.st_mode & 0o777 == 0o600

"""One of ours and Debian's Syncthing 1.19.2: the same folder, both ways."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from lib import kinds, tree
from lib.node import Node
from lib.proc import holds_for, wait_until
from lib.proxy import Proxy
from lib.storm import Storm
from lib.syncthing import SyncthingNode
from lib.world import FOLDER, World


class Mixed:
    """Ours and theirs with one folder."""

    def __init__(self, ours: Node, theirs: SyncthingNode, dir_a: Path,
                 dir_b: Path):
        self.ours, self.theirs = ours, theirs
        self.dir_a, self.dir_b = dir_a, dir_b

    def settle(self, timeout: float = 40.0) -> None:
        """Both trees equal, and both say that they are in sync."""

        def why() -> str:
            try:
                return "\n  ".join(
                    ["ours | theirs:"] + tree.differences(
                        tree.snapshot(self.dir_a), tree.snapshot(self.dir_b))
                    + [str(self.ours.folder(FOLDER)),
                       str(self.theirs.db_status(FOLDER)),
                       str(self.theirs.errors(FOLDER))])
            except (OSError, AssertionError) as error:
                return str(error)

        wait_until(lambda: tree.same(self.dir_a, self.dir_b)
                   and self.ours.in_sync(FOLDER)
                   and self.theirs.in_sync(FOLDER, self.ours.id),
                   timeout, why, alive=[self.ours, self.theirs])


MakeMixed = Callable[..., Mixed]


@pytest.fixture
def make_mixed(world: World) -> MakeMixed:
    def make(dial: str = "ours", mode_ours: str | None = None,
             mode_theirs: str = "sendreceive", prepare=None,
             **folder) -> Mixed:
        theirs = world.syncthing()
        ours = world.node("A")
        dir_a, dir_b = world.dir("a"), world.dir("b")
        if prepare:
            prepare(dir_a, dir_b)
        ours.device_add(theirs.id, "S",
                        *([theirs.addr] if dial == "ours" else []))
        theirs.device_add(ours.id, "A",
                          ours.addr if dial == "theirs" else "dynamic")
        ours.folder_add(dir_a, FOLDER, "S", mode=mode_ours)
        theirs.folder_add(FOLDER, dir_b, [ours.id], mode=mode_theirs,
                          **folder)
        wait_until(lambda: theirs.connected(ours.id)
                   and ours.connected("S"), 40, "connected",
                   alive=[ours, theirs])
        return Mixed(ours, theirs, dir_a, dir_b)

    return make


@pytest.fixture
def mixed(make_mixed: MakeMixed) -> Mixed:
    return make_mixed()


@pytest.mark.parametrize("dial", ["ours", "theirs"])
def test_every_kind_goes_both_ways(make_mixed: MakeMixed,
                                   dial: str) -> None:
    mixed = make_mixed(dial)
    kinds.fill(mixed.dir_a, "a-")
    kinds.fill(mixed.dir_b, "b-")
    mixed.settle(60)
    assert not tree.conflicts(mixed.dir_a)
    assert not mixed.theirs.errors(FOLDER)


def test_edits_deletes_and_metadata_go_both_ways(mixed: Mixed) -> None:
    kinds.fill(mixed.dir_a, "a-")
    kinds.fill(mixed.dir_b, "b-")
    mixed.settle(60)
    for here, tag in ((mixed.dir_a, "b-"), (mixed.dir_b, "a-")):
        tree.write(here / f"{tag}sizes/1000000", tree.noise(1_200_000, 99))
        with open(here / f"{tag}sizes/131073", "ab") as file:
            file.write(b"appended")
        (here / f"{tag}sizes/131072").unlink()
        (here / f"{tag}modes/644").chmod(0o600)
        os.utime(here / f"{tag}times/2", ns=(5, 10 ** 18 + 7))
        (here / f"{tag}links/0").unlink()
        os.symlink("elsewhere", here / f"{tag}links/0")
        shutil.rmtree(here / f"{tag}deep")
        (here / f"{tag}closed").rmdir()
        os.rename(here / f"{tag}names", here / f"{tag}renamed")
        os.rename(here / f"{tag}zeros", here / f"{tag}nulls")
    mixed.settle(60)
    assert not tree.conflicts(mixed.dir_a)


def test_type_changes_go_both_ways(mixed: Mixed) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda p: p.write_bytes(b"file"),
        "dir": lambda p: tree.write(p / "inside", b"in"),
        "link": lambda p: os.symlink("nowhere", p),
    }
    cases = [(x, y) for x in makers for y in makers if x != y]
    for before, after in cases:
        for side in "ab":
            makers[before](mixed.dir_a / f"{side}-{before}-{after}")
    mixed.settle()
    for before, after in cases:
        for side, place in (("a", mixed.dir_a), ("b", mixed.dir_b)):
            path = place / f"{side}-{before}-{after}"
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            makers[after](path)
    mixed.settle()


def test_swaps_and_case_renames_go_both_ways(mixed: Mixed) -> None:
    for side in "ab":
        for name in ("one", "two", "Case"):
            tree.write(mixed.dir_a / f"{side}{name}",
                       tree.noise(150_000, ord(name[0])))
    mixed.settle()
    for side, place in (("a", mixed.dir_a), ("b", mixed.dir_b)):
        os.rename(place / f"{side}one", place / "hand")
        os.rename(place / f"{side}two", place / f"{side}one")
        os.rename(place / "hand", place / f"{side}two")
        os.rename(place / f"{side}Case", place / f"{side}cASE")
    mixed.settle()


@pytest.mark.slow
def test_a_big_file_goes_both_ways(mixed: Mixed) -> None:
    size = 262_144_000 + 77
    chunk = tree.noise(1 << 20)
    for name, place in (("a", mixed.dir_a), ("b", mixed.dir_b)):
        with open(place / f"big-{name}", "wb") as file:
            for n in range(size >> 20):
                file.write(name.encode() + n.to_bytes(8, "big") + chunk[9:])
            file.write(chunk[:size & ((1 << 20) - 1)])
    mixed.settle(120)
    with open(mixed.dir_a / "big-b", "r+b") as file:
        file.seek(200_000_000)
        file.write(b"edited by us")
    mixed.settle(90)


def test_a_conflict_keeps_both(mixed: Mixed) -> None:
    for name in ("theirs.txt", "ours.txt"):
        tree.write(mixed.dir_a / name, b"base")
    mixed.settle()
    mixed.theirs.stop()
    tree.write(mixed.dir_a / "theirs.txt", b"from ours", mtime_ns=10 ** 18)
    tree.write(mixed.dir_a / "ours.txt", b"from ours", mtime_ns=2 * 10 ** 18)
    tree.write(mixed.dir_b / "theirs.txt", b"from theirs",
               mtime_ns=2 * 10 ** 18)
    tree.write(mixed.dir_b / "ours.txt", b"from theirs", mtime_ns=10 ** 18)
    mixed.ours.scan(FOLDER)
    mixed.theirs.start()
    mixed.settle(60)
    assert (mixed.dir_a / "theirs.txt").read_bytes() == b"from theirs"
    assert (mixed.dir_a / "ours.txt").read_bytes() == b"from ours"
    copies = {p[:p.index(b".sync-conflict-")]: p
              for p in tree.conflicts(mixed.dir_a)}
    assert set(copies) == {b"theirs", b"ours"}
    words = {k: (mixed.dir_a / os.fsdecode(p)).read_bytes()
             for k, p in copies.items()}
    assert words == {b"theirs": b"from ours", b"ours": b"from theirs"}


def test_equal_folders_merge_without_conflict(make_mixed: MakeMixed) -> None:
    def prepare(dir_a: Path, dir_b: Path) -> None:
        kinds.fill(dir_a)
        subprocess.run(["cp", "-a", f"{dir_a}/.", str(dir_b)], check=True)

    mixed = make_mixed(prepare=prepare)
    mixed.settle(60)
    assert not tree.conflicts(mixed.dir_a) + tree.conflicts(mixed.dir_b)
    assert mixed.theirs.get("/rest/system/connections")["total"][
        "inBytesTotal"] < 200_000


def test_reconnecting_sends_only_what_is_new(world: World) -> None:
    theirs = world.syncthing()
    ours = world.node("A")
    proxy = Proxy(theirs.addr)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    for n in range(600):
        tree.write(dir_a / f"d{n % 20}/file{n}", b"%d" % n)
        tree.write(dir_b / f"e{n % 20}/file{n}", b"%d" % n)
    ours.device_add(theirs.id, "S", proxy.addr)
    theirs.device_add(ours.id, "A")
    ours.folder_add(dir_a, FOLDER, "S")
    theirs.folder_add(FOLDER, dir_b, [ours.id])
    mixed = Mixed(ours, theirs, dir_a, dir_b)
    mixed.settle(90)
    time.sleep(1)
    for again in ("cut", "ours", "theirs"):
        before = proxy.total
        if again == "cut":
            proxy.cut()
        elif again == "ours":
            ours.restart()
        else:
            theirs.restart()
        wait_until(lambda: theirs.connected(ours.id), 40, "again")
        tree.write(dir_a / f"new-{again}", b"1")
        tree.write(dir_b / f"new2-{again}", b"1")
        mixed.settle(60)
        assert proxy.total - before < 40_000, again
    proxy.close()


@pytest.mark.slow
def test_it_stays_quiet_after_settling(mixed: Mixed) -> None:
    kinds.fill(mixed.dir_a, "a-")
    kinds.fill(mixed.dir_b, "b-")
    mixed.settle(60)
    time.sleep(2)
    sequence = mixed.theirs.sequences(FOLDER)
    wire = mixed.theirs.wire_bytes()
    holds_for(lambda: mixed.theirs.sequences(FOLDER) == sequence
              and mixed.theirs.wire_bytes() - wire < 300, 6,
              "no side keeps re-sending")


def test_their_receive_only_and_send_only_folders(
        make_mixed: MakeMixed) -> None:
    mixed = make_mixed(mode_theirs="receiveonly")
    tree.write(mixed.dir_a / "file", b"ours")
    mixed.settle()
    tree.write(mixed.dir_b / "file", b"changed there")
    tree.write(mixed.dir_b / "extra", b"new there")
    wait_until(lambda: mixed.theirs.db_status(FOLDER)[
        "receiveOnlyTotalItems"] == 2, 30, "they see local changes")
    time.sleep(1)
    assert (mixed.dir_a / "file").read_bytes() == b"ours"
    assert not (mixed.dir_a / "extra").exists()
    mixed.theirs.revert(FOLDER)
    mixed.settle()


def test_our_send_only_folder_overrides_theirs(
        make_mixed: MakeMixed) -> None:
    mixed = make_mixed(mode_ours="sendonly")
    tree.write(mixed.dir_a / "file", b"ours")
    mixed.settle()
    tree.write(mixed.dir_b / "file", b"changed there")
    tree.write(mixed.dir_b / "extra", b"new there")
    mixed.theirs.scan(FOLDER)
    time.sleep(2)
    assert (mixed.dir_a / "file").read_bytes() == b"ours"
    mixed.ours.ctl("folder", "override", FOLDER, "--yes")
    mixed.settle()
    assert (mixed.dir_b / "file").read_bytes() == b"ours"
    assert not (mixed.dir_b / "extra").exists()


def test_pauses_on_either_side(mixed: Mixed) -> None:
    tree.write(mixed.dir_a / "file", b"1")
    mixed.settle()
    mixed.theirs.folder_set(FOLDER, paused=True)
    tree.write(mixed.dir_a / "while theirs rests", b"2")
    time.sleep(2)
    mixed.theirs.folder_set(FOLDER, paused=False)
    mixed.settle()
    mixed.ours.ctl("folder", "pause", FOLDER)
    tree.write(mixed.dir_b / "while ours rests", b"3")
    time.sleep(2)
    assert not (mixed.dir_a / "while ours rests").exists()
    mixed.ours.ctl("folder", "resume", FOLDER)
    mixed.settle()


def test_their_ignored_files_do_not_block_us(mixed: Mixed) -> None:
    (mixed.dir_b / ".stignore").write_text("*.tmp\n")
    mixed.theirs.scan(FOLDER)
    tree.write(mixed.dir_a / "x.tmp", b"theirs ignores it")
    tree.write(mixed.dir_a / "y", b"y")
    wait_until(lambda: (mixed.dir_b / "y").exists(), 30, "y")
    # We stay "in sync": they say that they know it and do not want it.
    wait_until(lambda: mixed.ours.in_sync(FOLDER), 30, "in sync")
    assert not (mixed.dir_b / "x.tmp").exists()


def test_what_became_another_kind_and_was_deleted_goes(mixed: Mixed) -> None:
    """A Syncthing deletes only what is of the kind the deletion names."""
    for name in ("d-f", "d-l"):
        (mixed.dir_a / name).mkdir()
    for name in ("f-d", "f-l"):
        (mixed.dir_a / name).write_bytes(b"x")
    for name in ("l-d", "l-f"):
        os.symlink("nowhere", mixed.dir_a / name)
    mixed.settle()
    mixed.theirs.stop()
    for name in ("d-f", "d-l"):
        (mixed.dir_a / name).rmdir()
    for name in ("f-d", "f-l", "l-d", "l-f"):
        (mixed.dir_a / name).unlink()
    for name in ("f-d", "l-d"):
        (mixed.dir_a / name).mkdir()
    for name in ("d-f", "l-f"):
        (mixed.dir_a / name).write_bytes(b"y")
    for name in ("d-l", "f-l"):
        os.symlink("elsewhere", mixed.dir_a / name)
    local = {"files": 2, "dirs": 2, "links": 2}
    wait_until(lambda: {k: mixed.ours.folder(FOLDER)["local"][k]
                        for k in local} == local, 20, "seen")
    for name in os.listdir(mixed.dir_a):
        path = mixed.dir_a / name
        if name.endswith("-d"):
            path.rmdir()
        elif name != ".stfolder":
            path.unlink()
    wait_until(lambda: mixed.ours.folder(FOLDER)["local"]["deleted"] == 6,
               20, "deleted")
    mixed.theirs.start()
    mixed.settle(60)
    assert not [n for n in os.listdir(mixed.dir_b) if n[0] != "."]


def test_what_size_and_mtime_do_not_tell_is_seen_by_ours(
        mixed: Mixed) -> None:
    """Ours knows a file by inode and ctime, too; Syncthing does not."""
    data = [tree.noise(400_000, n) for n in range(5)]
    when = 1_700_000_000_123_456_789
    x, y, new = (mixed.dir_a / name for name in ("x", "y", "new"))
    tree.write(x, data[0], mtime_ns=when)
    tree.write(y, data[1], mtime_ns=when)
    mixed.settle()
    # Swapped.
    os.rename(x, new)
    os.rename(y, x)
    os.rename(new, y)
    mixed.settle()
    assert (mixed.dir_b / "x").read_bytes() == data[1]
    assert (mixed.dir_b / "y").read_bytes() == data[0]
    # Replaced by another of the same time.
    tree.write(new, data[2], mtime_ns=when)
    os.replace(new, x)
    mixed.settle()
    assert (mixed.dir_b / "x").read_bytes() == data[2]
    # Written in place, the time put back.
    tree.write(x, data[3], mtime_ns=when)
    mixed.settle()
    assert (mixed.dir_b / "x").read_bytes() == data[3]
    assert not tree.conflicts(mixed.dir_a)


@pytest.mark.slow
def test_a_storm_on_our_side_arrives(mixed: Mixed, seed: int) -> None:
    storm = Storm(mixed.dir_a, seed, case_renames=False)
    for _ in range(10):
        storm.run(20)
        time.sleep(0.3)
    mixed.settle(90)


@pytest.mark.slow
def test_a_storm_on_their_side_arrives(mixed: Mixed, seed: int) -> None:
    storm = Storm(mixed.dir_b, seed, case_renames=False, own_sizes=True)
    for _ in range(10):
        storm.run(20)
        time.sleep(0.3)
    mixed.theirs.scan(FOLDER)
    mixed.settle(90)

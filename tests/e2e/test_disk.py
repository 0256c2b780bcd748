"""Real file systems, and disks that fill up or go away."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from lib import kinds, node, tree
from lib.mounts import Mounts, run
from lib.node import Node
from lib.proc import wait_until
from lib.storm import Storm
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root, pytest.mark.slow]

Mount = Callable[..., Path]


@pytest.fixture
def mount(world: World) -> Iterator[Mount]:
    """Mounts a fresh file system at a name; all are unmounted at the end."""
    mounts = Mounts(world.base)
    yield mounts.make
    # The daemons still run and may hold files open.
    for daemon in world.daemons:
        daemon.kill9()
    mounts.end()


def pair_on(world: World, dir_a: Path, dir_b: Path) -> tuple[Node, Node]:
    a, b = world.node("A"), world.node("B")
    node.pair_up(a, b)
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    return a, b


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_every_kind_on(world: World, mount: Mount, kind: str,
                       seed: int) -> None:
    """Both homes of the folder on that file system, and a storm."""
    disk = mount("disk", kind)
    dir_a, dir_b = disk / "a", disk / "b"
    a, b = pair_on(world, dir_a, dir_b)
    kinds.fill(dir_a, "a-")
    settle([a, b], [dir_a, dir_b], 60)
    inode = (dir_b / "a-zeros").stat().st_ino
    os.rename(dir_a / "a-zeros", dir_a / "nulls")
    os.rename(dir_a / "a-names", dir_a / "renamed")
    settle([a, b], [dir_a, dir_b], 60)
    assert (dir_b / "nulls").stat().st_ino == inode
    for turn, place in enumerate((dir_a, dir_b)):
        Storm(place, seed + turn).run(80)
        settle([a, b], [dir_a, dir_b], 60)
    b.kill9()
    Storm(dir_a, seed + 5).run(60)
    b.start()
    settle([a, b], [dir_a, dir_b], 60)
    assert not tree.temporaries(dir_a) + tree.temporaries(dir_b)


def test_92_a_disk_that_keeps_whole_seconds_settles(world: World,
                                                    mount: Mount) -> None:
    """ext4 with its smallest inodes; what comes has nanoseconds."""
    disk = mount("disk", "ext4", 100, ["-I", "128"])
    dir_a, dir_b = world.dir("a"), disk / "b"
    a, b = pair_on(world, dir_a, dir_b)
    probe = tree.write(disk / "probe", b"", mtime_ns=10 ** 18 + 5)
    if probe.stat().st_mtime_ns != 10 ** 18:
        pytest.skip("this ext4 keeps nanoseconds")
    tree.write(dir_a / "from a", b"1", mtime_ns=10 ** 18 + 123_456_789)
    tree.write(dir_b / "from b", b"2")
    for turn in range(3):
        tree.write(dir_a / "often", b"%d" % turn)
        wait_until(lambda: (dir_b / "often").exists() and
                   (dir_b / "often").read_bytes() == b"%d" % turn, 20, "came")
    wait_until(lambda: a.in_sync(FOLDER) and b.in_sync(FOLDER), 20, "in sync")
    sent = a.folder(FOLDER)["local"], b.folder(FOLDER)["local"]
    told = a.log_text().count("exchange index")
    for which in (a, b, a, b):
        which.scan(FOLDER)
    b.restart()
    wait_until(lambda: a.in_sync(FOLDER) and b.in_sync(FOLDER), 20, "in sync")
    time.sleep(1)
    assert (a.folder(FOLDER)["local"], b.folder(FOLDER)["local"]) == sent
    assert a.log_text().count("exchange index") == told, "nothing is new"
    assert (dir_a / "from a").stat().st_mtime_ns == 10 ** 18 + 123_456_789
    assert not tree.conflicts(dir_a) + tree.conflicts(dir_b)


def test_54_a_full_disk_pauses_and_resumes(world: World,
                                           mount: Mount) -> None:
    dir_a, disk = world.dir("a"), mount("disk", "tmpfs", 24)
    dir_b = disk / "b"
    a, b = pair_on(world, dir_a, dir_b)
    tree.write(dir_a / "small", b"fits")
    settle([a, b], [dir_a, dir_b])
    ballast = tree.write(disk / "ballast", bytes(12 << 20))
    for n in range(4):
        tree.write(dir_a / f"file{n}", tree.noise(5_000_000, n))
    wait_until(lambda: b.problem("disk-full"), 40, "told", alive=[a, b])
    assert b.ctl("status", "-q", check=False).code == node.STOPPED
    assert (dir_b / "small").read_bytes() == b"fits"
    for n in range(4):
        path = dir_b / f"file{n}"
        if path.exists():
            assert path.read_bytes() == tree.noise(5_000_000, n)
    time.sleep(1)
    assert tree.snapshot(dir_a, content=False).keys() >= {b"small"}
    ballast.unlink()
    (dir_a / "file3").unlink()
    wait_until(lambda: not b.problem("disk-full"), 60, "resumed",
               alive=[a, b])
    settle([a, b], [dir_a, dir_b], 60)


def test_56_no_inodes_left_pauses_and_resumes(world: World,
                                              mount: Mount) -> None:
    disk = world.dir("disk")
    try:
        run("mount", "-t", "tmpfs", "-o", "size=50m,nr_inodes=60", "none",
            disk)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot mount: {error}")
    try:
        dir_a, dir_b = world.dir("a"), disk / "b"
        a, b = pair_on(world, dir_a, dir_b)
        for n in range(100):
            tree.write(dir_a / f"f{n}", b"%d" % n)
        wait_until(lambda: b.problem("disk-full"), 40, "told",
                   alive=[a, b])
        for n in range(60):
            (dir_a / f"f{n}").unlink()
        settle([a, b], [dir_a, dir_b], 90)
    finally:
        for daemon in world.daemons:
            daemon.kill9()
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_55_no_room_for_the_index(world: World, mount: Mount) -> None:
    """The home's file system is full: no crash, no harm, and it resumes."""
    disk = mount("disk", "tmpfs", 40)
    a = world.node("A")
    b = Node(disk / "B.home", "B")
    b.log = world.base / "B.log"
    world.daemons.append(b)
    b.start()
    node.pair_up(a, b)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    tree.write(dir_a / "small", b"1")
    settle([a, b], [dir_a, dir_b])
    free = os.statvfs(disk)
    ballast = tree.write(disk / "ballast",
                         bytes(free.f_bavail * free.f_frsize))
    for n in range(3000):
        tree.write(dir_a / f"d{n % 10}/file-with-a-name-{n}", b"%d" % n)
    time.sleep(4)
    ballast.unlink()
    if not b.running:
        b.start()
    settle([a, b], [dir_a, dir_b], 90)


def test_61_a_read_only_disk_stops_the_folder(world: World,
                                              mount: Mount) -> None:
    disk = mount("disk", "ext4", 100)
    dir_a, dir_b = world.dir("a"), disk / "b"
    a, b = pair_on(world, dir_a, dir_b)
    tree.write(dir_a / "before", b"1")
    settle([a, b], [dir_a, dir_b])
    os.sync()
    run("mount", "-o", "remount,ro", disk)
    tree.write(dir_a / "after", b"2")
    wait_until(lambda: b.problem("read-only"), 40, "told", alive=[a, b])
    run("mount", "-o", "remount,rw", disk)
    settle([a, b], [dir_a, dir_b], 60)


@pytest.mark.parametrize("marker_below", [False, True],
                         ids=["root is the mount", "root is below"])
def test_104_an_unmounted_disk_halts_and_resumes(
        world: World, mount: Mount, marker_below: bool) -> None:
    disk = mount("disk", "ext4", 100)
    dir_a, dir_b = world.dir("a"), disk / "b" if marker_below else disk
    if not marker_below:
        shutil.rmtree(disk / "lost+found")
    a, b = pair_on(world, dir_a, dir_b)
    kinds.fill(dir_a, "a-")
    settle([a, b], [dir_a, dir_b], 60)
    before = tree.snapshot(dir_a)
    run("umount", "-l", disk)
    # A lazily unmounted disk goes on serving whoever holds it, so it is the
    # next look at the root that must tell.
    b.ctl("folder", "scan", FOLDER, check=False)
    wait_until(lambda: b.ctl("status", "-q", check=False).code
               == node.STOPPED, 40, "halted", alive=[a, b])
    tree.write(dir_a / "meanwhile", b"x")
    time.sleep(1.5)
    assert before.items() <= tree.snapshot(dir_a).items()
    assert os.listdir(disk) == [], "nothing is put on the wrong disk"
    run("mount", "-o", "loop", world.base / "disk.img", disk)
    settle([a, b], [dir_a, dir_b], 60)


def test_105_another_disk_with_a_marker_halts(world: World,
                                              mount: Mount) -> None:
    """The recorded identity of the file system tells them apart."""
    disk = mount("disk", "ext4", 100)
    dir_a = world.dir("a")
    a, b = pair_on(world, dir_a, disk)
    kinds.fill(dir_a, "a-")
    wait_until(lambda: (disk / "a-zeros").exists(), 30, "synced")
    wait_until(lambda: a.in_sync(FOLDER) and b.in_sync(FOLDER), 30, "sync")
    before = tree.snapshot(dir_a)
    b.stop()
    run("umount", "-l", disk)
    run("mount", "-t", "tmpfs", "none", disk)
    (disk / ".stfolder").mkdir()
    tree.write(disk / "of another folder", b"x")
    b.start()
    wait_until(lambda: b.ctl("status", "-q", check=False).code
               == node.STOPPED, 30, "halted", alive=[a, b])
    time.sleep(1.5)
    assert tree.snapshot(dir_a) == before
    assert sorted(os.listdir(disk)) == [".stfolder", "of another folder"]
    run("umount", disk)
    run("mount", "-o", "loop", world.base / "disk.img", disk)
    wait_until(lambda: b.in_sync(FOLDER), 40, "resumed", alive=[a, b])
    assert tree.snapshot(dir_a) == before


def test_105_a_disk_that_cannot_say_which_it_is(world: World,
                                                mount: Mount) -> None:
    """A tmpfs has no identity: a number beside the marker stands for it."""
    disk, dir_a = mount("disk", "tmpfs", 50), world.dir("a")
    a, b = pair_on(world, dir_a, disk)
    kinds.fill(dir_a, "a-")
    settle([a, b], [dir_a, disk])
    before = tree.snapshot(dir_a)
    b.stop()
    run("mount", "-t", "tmpfs", "none", disk)
    (disk / ".stfolder").mkdir()
    tree.write(disk / "of another folder", b"x")
    b.start()
    wait_until(lambda: b.problem("disk-changed"), 30, "halted", alive=[a, b])
    time.sleep(1.5)
    assert tree.snapshot(dir_a) == before
    assert sorted(os.listdir(disk)) == [".stfolder", "of another folder"]
    run("umount", disk)
    wait_until(lambda: b.in_sync(FOLDER), 40, "resumed", alive=[a, b])
    settle([a, b], [dir_a, disk])
    assert tree.snapshot(dir_a) == before


def test_105_a_copy_on_another_disk_is_adopted(world: World,
                                               mount: Mount) -> None:
    disk, dir_a = mount("disk", "ext4", 50), world.dir("a")
    new = mount("new", "ext4", 50)
    a, b = pair_on(world, dir_a, disk)
    kinds.fill(dir_a, "a-")
    for n in range(20):
        tree.write(dir_a / f"more/{n}", tree.noise(10_000, n))
    settle([a, b], [dir_a, disk])
    refused = b.ctl("folder", "adopt", FOLDER, check=False)
    assert refused.code == node.REFUSED, str(refused)
    b.stop()
    run("cp", "-a", f"{disk}/.", new)
    (new / "more/7").unlink()  # of the old disk's last hours
    run("umount", "-l", disk)
    run("mount", "--bind", new, disk)
    b.start()
    wait_until(lambda: b.problem("disk-changed"), 30, "halted", alive=[a, b])
    assert "syncctl folder adopt" in b.ctl("status", check=False).out
    before = tree.snapshot(dir_a)
    b.ctl("folder", "adopt", FOLDER)
    settle([a, b], [dir_a, disk])
    assert tree.snapshot(dir_a) == before, "nothing counts as deleted"
    assert (disk / "more/7").read_bytes() == tree.noise(10_000, 7)
    assert not tree.conflicts(dir_a)
    # It is the folder's disk now.
    b.restart()
    tree.write(disk / "later", b"1")
    settle([a, b], [dir_a, disk])
    b.stop()
    run("umount", "-l", disk)


def test_105_an_emptied_folder_is_filled_again(world: World) -> None:
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a, b = pair_on(world, dir_a, dir_b)
    kinds.fill(dir_a, "a-")
    settle([a, b], [dir_a, dir_b])
    before = tree.snapshot(dir_a)
    b.stop()
    run("rm", "-r", dir_b)
    dir_b.mkdir()
    b.start()
    wait_until(lambda: b.problem("root-empty"), 30, "halted", alive=[a, b])
    b.ctl("folder", "adopt", FOLDER)
    settle([a, b], [dir_a, dir_b])
    assert tree.snapshot(dir_a) == before


def test_a_disk_goes_when_its_folder_is_paused(world: World,
                                               mount: Mount) -> None:
    """The daemon holds the folder open; a pause lets go of all of it."""
    disk, dir_a = mount("disk", "ext4", 50), world.dir("a")
    a, b = pair_on(world, dir_a, disk)
    kinds.fill(dir_a, "a-")
    settle([a, b], [dir_a, disk])
    with pytest.raises(subprocess.CalledProcessError):
        run("umount", disk)
    b.ctl("folder", "pause", FOLDER)
    wait_until(lambda: b.folder(FOLDER)["state"] == "paused", 10, "paused")
    wait_until(lambda: subprocess.run(["umount", str(disk)],
                                      capture_output=True).returncode == 0,
               10, "unmounted", alive=[b])
    tree.write(dir_a / "while away", b"1")
    (dir_a / "a-zeros").unlink()
    # Resumed too early: it waits for the disk.
    b.ctl("folder", "resume", FOLDER)
    wait_until(lambda: b.ctl("status", "-q", check=False).code
               == node.STOPPED, 30, "halted", alive=[a, b])
    run("mount", "-o", "loop", world.base / "disk.img", disk)
    settle([a, b], [dir_a, disk], 40)
    assert (disk / "while away").exists() and (dir_a / "a-sizes").exists()


def test_51_a_mount_inside_is_not_lost(world: World, mount: Mount) -> None:
    """A file system mounted below the root and taken away again."""
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a, b = pair_on(world, dir_a, dir_b)
    (dir_a / "usb").mkdir()
    tree.write(dir_a / "file", b"1")
    settle([a, b], [dir_a, dir_b])
    try:
        run("mount", "-t", "tmpfs", "none", dir_a / "usb")
        tree.write(dir_a / "usb/inside", b"on another disk")
        a.scan(FOLDER)
        tree.write(dir_a / "mark", b"1")
        wait_until(lambda: (dir_b / "mark").exists(), 20, "goes on")
    finally:
        subprocess.run(["umount", "-l", str(dir_a / "usb")], check=False)
    a.scan(FOLDER)
    tree.write(dir_a / "mark2", b"1")
    wait_until(lambda: (dir_b / "mark2").exists(), 20, "goes on")
    a.assert_alive()
    b.assert_alive()

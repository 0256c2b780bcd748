"""Changes are seen at once, and what the watcher misses is found anyway."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lib import proc, tree
from lib.proc import wait_until
from lib.world import FOLDER, Pair, World, settle


def seconds_until(check, timeout: float = 10.0) -> float:
    start = time.monotonic()
    while not check():
        assert time.monotonic() - start < timeout, "not visible in time"
        time.sleep(0.002)
    return time.monotonic() - start


def test_small_changes_are_visible_at_once(pair: Pair) -> None:
    for n in range(200):
        tree.write(pair.dir_a / f"d{n % 10}/f{n}", b"%d" % n)
    pair.settle()
    times: dict[str, list[float]] = {}
    for n in range(12):
        path, seen = pair.dir_a / f"d3/new{n}", pair.dir_b / f"d3/new{n}"
        path.write_bytes(b"x" * 4000)
        times.setdefault("create", []).append(seconds_until(seen.exists))
        path.write_bytes(b"y" * 4001)
        times.setdefault("edit", []).append(seconds_until(
            lambda: seen.stat().st_size == 4001))
        new = path.with_name(f"renamed{n}")
        os.rename(path, new)
        times.setdefault("rename", []).append(seconds_until(
            seen.with_name(new.name).exists))
        new.unlink()
        times.setdefault("delete", []).append(seconds_until(
            lambda: not seen.with_name(new.name).exists()))
    for kind, values in times.items():
        print(kind, f"p50 {statistics.median(values) * 1000:.0f} ms",
              f"max {max(values) * 1000:.0f} ms")
        assert statistics.median(values) < 1, kind


def test_a_new_tree_is_watched_at_once(pair: Pair) -> None:
    """Directories made and filled faster than watches can be set."""
    for n in range(30):
        tree.write(pair.dir_a / f"top{n}/a/b/c/file", b"%d" % n)
    pair.settle()
    for n in range(30):
        tree.write(pair.dir_a / f"top{n}/a/b/c/later", b"later")
    pair.settle()


def test_a_directory_moved_in_and_out_is_followed(pair: Pair) -> None:
    outside = pair.dir_a.with_name("outside")
    for n in range(20):
        tree.write(outside / f"s/f{n}", b"%d" % n)
    os.rename(outside, pair.dir_a / "in")
    pair.settle()
    tree.write(pair.dir_a / "in/s/f3", b"edited inside")
    pair.settle()
    os.rename(pair.dir_a / "in", outside)
    pair.settle()
    tree.write(outside / "s/f4", b"edited outside")
    time.sleep(0.5)
    assert not (pair.dir_b / "in").exists()


def test_editors_ways_of_saving(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "doc", b"base")
    pair.settle()
    # Write a new file and rename it over; backup by rename; in place.
    new = path.with_name("doc.new")
    new.write_bytes(b"one")
    os.replace(new, path)
    pair.settle()
    os.rename(path, path.with_name("doc~"))
    path.write_bytes(b"two")
    pair.settle()
    with open(path, "r+b") as file:
        file.write(b"three")
        file.flush()
        os.fsync(file.fileno())
    pair.settle()
    assert (pair.dir_b / "doc").read_bytes() == b"three"
    assert not tree.conflicts(pair.dir_a) + tree.conflicts(pair.dir_b)


def test_a_growing_file_is_never_seen_torn(pair: Pair) -> None:
    """A log that never rests: bounded work; in the end it arrives."""
    path = pair.dir_a / "log"
    stop = threading.Event()

    def write() -> None:
        number = 0
        with open(path, "ab") as file:
            while not stop.is_set():
                file.write(b"line %08d\n" % number)
                file.flush()
                number += 1
                time.sleep(0.003)

    thread = threading.Thread(target=write)
    before = proc.cpu_seconds(pair.a.pid)
    thread.start()
    try:
        tree.write(pair.dir_a / "other", b"1")
        wait_until(lambda: (pair.dir_b / "other").exists(), 10,
                   "others go on")
        time.sleep(4)
    finally:
        stop.set()
        thread.join()
    assert proc.cpu_seconds(pair.a.pid) - before < 2.5
    pair.settle()
    data = path.read_bytes()
    assert (pair.dir_b / "log").read_bytes() == data
    assert not tree.conflicts(pair.dir_a)


def test_a_file_kept_open_arrives_while_it_is_open(pair: Pair) -> None:
    with open(pair.dir_a / "open", "wb") as file:
        file.write(b"first part")
        file.flush()
        wait_until(lambda: (pair.dir_b / "open").exists()
                   and (pair.dir_b / "open").read_bytes() == b"first part",
                   30, "without close")
        file.write(b", second part")
    pair.settle()


def test_same_size_and_time_but_other_content_is_found(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "file", b"aaaa", mtime_ns=10 ** 18)
    pair.settle()
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(10 ** 18, 10 ** 18))
    wait_until(lambda: (pair.dir_b / "file").read_bytes() == b"bbbb", 20,
               "found by ctime")


def test_a_delete_and_a_new_file_within_an_instant(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "x", b"1")
    pair.settle()
    path.unlink()
    path.mkdir()
    path.rmdir()
    os.symlink("nowhere", path)
    path.unlink()
    path.write_bytes(b"last")
    pair.settle()
    assert (pair.dir_b / "x").read_bytes() == b"last"


@pytest.mark.slow
def test_103_an_overflow_of_the_queue_leads_to_a_rescan(
        world: World, make_pair) -> None:
    """The daemon is frozen while more happens than the kernel queues."""
    import signal
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    pair = make_pair()
    (pair.dir_a / "d").mkdir()
    tree.write(pair.dir_a / "keep", b"1")
    pair.settle()
    pair.a.send_signal(signal.SIGSTOP)
    for n in range(limit // 3 + 1000):
        path = pair.dir_a / f"d/{n % 50}"
        path.write_bytes(b"%d" % n)
        path.unlink()
    (pair.dir_a / "keep").write_bytes(b"changed at the end")
    tree.write(pair.dir_a / "last/one", b"made at the end")
    shutil.rmtree(pair.dir_a / "d")
    pair.a.send_signal(signal.SIGCONT)
    pair.settle(60)


@pytest.mark.root
@pytest.mark.slow
def test_103_too_few_watches_are_told_and_rescans_help(
        world: World) -> None:
    """A user namespace with a small limit of its own."""
    script = world.base / "few"
    script.write_text("#!/bin/sh\n"
                      "echo 20 > /proc/sys/user/max_inotify_watches "
                      "|| exit 99\nexec \"$@\"\n")
    script.chmod(0o755)
    wrapper = ["unshare", "-U", "-r", str(script)]
    try:
        subprocess.run([*wrapper, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no user namespace with limits: {error}")
    a = world.node("A", start=False, wrapper=wrapper)
    b = world.node("B")
    a.device_add(b.id, "B", b.addr)
    b.device_add(a.id, "A")
    dir_a, dir_b = world.dir("a"), world.dir("b")
    for n in range(60):
        tree.write(dir_a / f"d{n}/f", b"%d" % n)
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    a.start()
    settle([a, b], [dir_a, dir_b], 40)
    wait_until(lambda: a.problem("watch-limit"), 10, "told", alive=[a])
    for n in range(60):
        tree.write(dir_a / f"d{n}/f", b"changed %d" % n)
    a.scan(FOLDER)
    settle([a, b], [dir_a, dir_b], 40)


def test_scan_on_demand_finds_what_nobody_told(world: World) -> None:
    a, b = world.node("A"), world.node("B")
    from lib import node
    node.pair_up(a, b)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    a.config("folder.f1.watch", "false")
    b.folder_add(dir_b, FOLDER, "A")
    tree.write(dir_a / "d/first", b"1")
    a.wait(FOLDER)
    assert (dir_b / "d/first").exists(), "wait scans first"
    tree.write(dir_a / "d/second", b"2")
    time.sleep(1)
    assert not (dir_b / "d/second").exists(), "not watched"
    told = a.ctl("folder", "scan", FOLDER, "d", check=False)
    if told.code:
        a.scan(FOLDER)
    settle([a, b], [dir_a, dir_b])

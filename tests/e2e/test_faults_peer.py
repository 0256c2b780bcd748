"""More of a peer that lies, and of other users: docs/faults.md, A to D, L."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest

from lib import bep, killer, node, proc, tree
from lib.bep import Closed
from lib.proc import wait_until
from lib.world import FOLDER, World, settle
from test_hostile import SECRET, Victim


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    made = Victim(tmp_path_factory.mktemp("peer"))
    yield made
    made.good.close()
    made.node.kill9()


@pytest.fixture
def victim(arena: Victim,
           request: pytest.FixtureRequest) -> Iterator[Victim]:
    """The daemon, checked after each case."""
    request.node.daemons = [arena.node]
    arena.up()
    yield arena
    arena.check()


def test_13_an_index_twice_and_in_pieces_changes_nothing(
        victim: Victim) -> None:
    evil = victim.peer()
    try:
        for n in range(40):
            evil.put(FOLDER, f"twice/{n}", b"%d" % n, announce=False)
        evil.announce_all(FOLDER)
        evil.wait_adopted(FOLDER, "twice/39")
        wait_until(lambda: len(list((victim.root / "twice").iterdir()))
                   == 40, 15, "there")
        infos = list(evil.folder(FOLDER).entries.values())
        time.sleep(0.5)
        told = victim.good.folder(FOLDER).update_messages
        evil.announce(FOLDER, infos, full=True)
        evil.announce(FOLDER, infos)
        evil.announce(FOLDER, infos[::-1])
        for info in infos:
            evil.announce(FOLDER, [info])
        mark = evil.put(FOLDER, "twice/mark", b"m")
        evil.wait_adopted(FOLDER, "twice/mark")
        assert mark["name"] == "twice/mark"
        time.sleep(0.5)
        # The mark, its directory perhaps, and nothing of the rest.
        assert victim.good.folder(FOLDER).update_messages <= told + 2
        assert not tree.conflicts(victim.root)
    finally:
        evil.close()


def test_29_a_file_that_changes_while_it_is_served(victim: Victim) -> None:
    """What is answered for a hash has that hash, whenever it is asked."""
    contents = [tree.noise(262_144, n) for n in (31, 32)]
    path = tree.write(victim.root / "served", contents[0])
    evil = victim.peer()
    stop = threading.Event()

    def rewrite() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            with open(path, "r+b") as file:  # in place, not by rename
                file.write(contents[n % 2])
            time.sleep(0.002 if n % 20 else 0.8)

    thread = threading.Thread(target=rewrite)
    try:
        evil.wait_remote(FOLDER, "served")
        thread.start()
        given = 0
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for data in contents:
                block = data[131_072:]
                answer = evil.request(
                    FOLDER, "served", 131_072, 131_072,
                    hashlib.sha256(block).digest(), 1)
                if answer["code"] == bep.NO_ERROR:
                    assert answer["data"] == block
                    given += 1
        assert given > 0
    finally:
        stop.set()
        thread.join()
        evil.close()
    path.unlink()


def test_42_nothing_is_done_to_what_a_link_leads_to(victim: Victim) -> None:
    """Modes, times, deletions and conflicts below and at a link."""
    canary = victim.outside / "canary"
    before = canary.stat()
    os.symlink(victim.outside, victim.root / "out")
    os.symlink(canary, victim.root / "to file")
    evil = victim.peer()
    try:
        evil.wait_remote(FOLDER, "out")
        evil.wait_remote(FOLDER, "to file")
        evil.announce_all(FOLDER)
        for info in (
                bep.file_info("out/canary", SECRET, sequence=20, mode=0o777,
                              version={5: 2 ** 40}, mtime_ns=5 * 10 ** 17),
                bep.file_info("out/canary", b"other", sequence=21,
                              version={6: 2 ** 41}),
                bep.file_info("out/canary", sequence=22, deleted=True,
                              blocks=[], version={5: 2 ** 42})):
            evil.announce(FOLDER, [info])
        evil.put(FOLDER, "mark 42", b"m")
        wait_until(lambda: (victim.root / "mark 42").exists(), 15, "mark")
        # The links themselves may be replaced and deleted.
        evil.put(FOLDER, "to file", b"a file now", permissions=0o777)
        evil.remove(FOLDER, "out")
        wait_until(lambda: not os.path.lexists(victim.root / "out")
                   and (victim.root / "to file").read_bytes()
                   == b"a file now", 15, "replaced")
        assert not (victim.root / "to file").is_symlink()
        now = canary.stat()
        assert (now.st_mode, now.st_mtime_ns, now.st_ino, now.st_size) == \
            (before.st_mode, before.st_mtime_ns, before.st_ino,
             before.st_size)
        evil.remove(FOLDER, "to file")
        wait_until(lambda: not (victim.root / "to file").exists(), 15,
                   "gone")
    finally:
        evil.close()


def test_44_a_directory_that_turns_into_a_way_out_while_we_serve(
        victim: Victim) -> None:
    public = b"public".ljust(len(SECRET), b".")
    place = victim.root / "turns"
    tree.write(place / "canary", public)
    evil = victim.peer()
    stop = threading.Event()

    def swap() -> None:
        real = victim.root / ".syncthing.turns.tmp"
        while not stop.is_set():
            try:
                os.rename(place, real)
                os.symlink(victim.outside, place)
                os.unlink(place)
                os.rename(real, place)
            except OSError:
                pass

    thread = threading.Thread(target=swap)
    try:
        evil.wait_remote(FOLDER, "turns/canary")
        thread.start()
        given = refused = 0
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for digest in (b"", hashlib.sha256(SECRET).digest(),
                           hashlib.sha256(public).digest()):
                answer = evil.request(FOLDER, "turns/canary", 0,
                                      len(SECRET), digest)
                assert SECRET[:6] not in answer["data"]
                given += answer["code"] == bep.NO_ERROR
                refused += answer["code"] != bep.NO_ERROR
        assert refused > 0
    except Closed:
        pass
    finally:
        stop.set()
        thread.join()
        evil.close()
    if place.exists():
        tree.write(place / "canary", public)


# ---- L. control ------------------------------------------------------------

@pytest.mark.root
def test_134_another_user_is_refused_on_an_open_socket(world: World) -> None:
    """Even when directories and modes would let them."""
    a = world.node("A")
    os.chmod(world.base, 0o755)
    os.chmod(a.home, 0o755)
    os.chmod(a.socket, 0o666)
    ask = ("import os, socket, sys\n"
           "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
           "s = socket.socket(socket.AF_UNIX)\n"
           "s.connect(sys.argv[1])\n"
           "s.sendall(b'GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
           "s.settimeout(5)\n"
           "sys.stdout.buffer.write(s.recv(65536))\n")
    done = subprocess.run([sys.executable, "-c", ask, str(a.socket)],
                          capture_output=True, timeout=30)
    assert b" 200 " not in done.stdout, done.stdout
    assert b"health" not in done.stdout
    assert a.status()["health"] == "healthy", "the owner is served"


@pytest.mark.root
@pytest.mark.skipif(not killer.usable(), reason="no ptrace")
def test_140_the_configuration_killed_while_it_is_written(
        world: World) -> None:
    """The old or the new, whole, and the next writer is not kept out."""
    a = world.node("A", start=False)
    a.config("node.name", "name-0")
    report = world.base / "killer"
    k, killed = 0, True
    env = dict(os.environ)
    proc.without_leaks(env)
    while killed:
        k += 1
        subprocess.run(
            [sys.executable, killer.__file__, str(k), str(report), "effects",
             "run", str(a.ctl_path), "--home", str(a.home), "config", "set",
             "node.name", f"name-{k}"], check=True, capture_output=True,
            timeout=60 * proc.SLOW, env=env)
        killed = int(report.read_text().split()[0]) == k
        name = a.ctl("config", "get", "node.name").out.strip()
        assert name in (f"name-{k - 1}", f"name-{k}")
        a.config("node.name", f"name-{k}")
    assert k > 3
    assert a.ctl("config", "get", "mesh.listen").out.strip() == a.addr
    a.start()


def test_a_deletion_told_too_soon_is_told_again_of_the_right_kind(
        victim: Victim) -> None:
    """The peer makes the directory late; by then it became a file and went."""
    path = victim.root / "late"
    evil = victim.peer()

    def remote() -> bep.Message:
        return evil.folder(FOLDER).remote.get("late") or {}

    try:
        path.mkdir()
        wait_until(lambda: remote().get("type") == bep.DIRECTORY, 20, "a dir")
        late = dict(remote())
        path.rmdir()
        path.write_bytes(b"a file")
        wait_until(lambda: remote().get("type") == bep.FILE, 20, "a file")
        path.unlink()
        wait_until(lambda: remote().get("deleted"), 20, "gone")
        assert remote()["type"] == bep.FILE
        first = remote()["version"]
        evil.announce(FOLDER, [dict(late, sequence=1)])
        wait_until(lambda: remote().get("deleted")
                   and remote()["type"] == bep.DIRECTORY, 20, "told again")
        # A Syncthing looks at nothing it has heard the version of.
        assert remote()["version"] != first
    finally:
        evil.close()

"""The sandbox from outside: it is up, it is in nobody's way, it may be missing.

What it refuses is judged from inside, by test_sandbox_seccomp.c and
test_sandbox_landlock.c; and every end-to-end test fails when the filter of
system calls refused something (conftest.py).
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Callable

import pytest

from lib import node as ours
from lib import tree
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, Pair, World, settle


def fences(node: Node) -> dict[str, bool]:
    told = json.loads(node.http("GET", "/v1/doctor")[1])["sandbox"]
    return {name: told[name]["on"] for name in ("seccomp", "landlock")}


def status_of(task: Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line
                in (task / "status").read_text().splitlines()
                if ":\t" in line)


def test_every_thread_is_fenced(pair: Pair) -> None:
    if not fences(pair.a)["seccomp"]:
        pytest.skip("no seccomp here")
    tree.write(pair.dir_a / "x", tree.noise(3_000_000))
    pair.settle()
    tasks = list(Path(f"/proc/{pair.a.pid}/task").iterdir())
    assert len(tasks) > 2
    for task in tasks:
        status = status_of(task)
        assert status["Seccomp"].strip() == "2", task
        assert status["NoNewPrivs"].strip() == "1", task


def test_a_folder_is_let_in_and_nobody_is_cut_off(pair: Pair) -> None:
    """New workers, the same connection: `folder add` takes effect at once."""
    tree.write(pair.dir_a / "before", b"x")
    pair.settle()
    since = pair.a.device("B")["path"]["since"]
    dirs = [pair.dir_a.parent / "deep" / "er" / side for side in "ab"]
    start = time.monotonic()
    pair.a.folder_add(dirs[0], "late", "B")
    pair.b.folder_add(dirs[1], "late", "A")
    tree.write(dirs[0] / "d/file", b"let in")
    wait_until(lambda: (dirs[1] / "d/file").read_bytes() == b"let in", 10,
               "synced", alive=[pair.a, pair.b])
    print(f"{time.monotonic() - start:.2f} s from the command to the file")
    assert pair.a.device("B")["path"]["since"] == since
    # The first one is none the worse, and both go on being watched.
    tree.write(pair.dir_b / "after", b"y")
    tree.write(dirs[1] / "after", b"z")
    pair.settle()
    settle([pair.a, pair.b], dirs, folder="late")


def test_many_folders_come_and_go(world: World) -> None:
    a = world.node("A")
    for n in range(12):
        a.folder_add(world.dir(f"f{n}"), f"f{n}")
    for n in range(0, 12, 2):
        a.ctl("folder", "remove", f"f{n}", "--yes")
        a.folder_add(world.dir(f"g{n}"), f"g{n}")
    names = [f"f{n}" for n in range(1, 12, 2)] \
        + [f"g{n}" for n in range(0, 12, 2)]
    wait_until(lambda: all(a.in_sync(n) for n in names), 30, "all run",
               alive=[a])
    assert len(os.listdir(f"/proc/{a.pid}/task")) < 24, "threads end"


def test_a_root_that_goes_and_comes_back(pair: Pair) -> None:
    tree.write(pair.dir_b / "x", b"1")
    pair.settle()
    away = pair.dir_b.with_name("away")
    pair.dir_b.rename(away)
    pair.b.ctl("folder", "scan", FOLDER, check=False)
    wait_until(lambda: pair.b.ctl("status", "-q", check=False).code
               == ours.STOPPED, 30, "halted", alive=[pair.b])
    away.rename(pair.dir_b)
    tree.write(pair.dir_a / "y", b"2")
    pair.settle(40)


def test_names_of_hosts_are_found(world: World) -> None:
    """libc asks its files and servers from within."""
    try:
        socket.gethostbyname("localhost")
    except OSError:
        pytest.skip("this machine does not know localhost (no /etc/hosts)")
    a, b = world.node("A"), world.node("B")
    a.device_add(b.id, "B", b.addr.replace("127.0.0.1", "localhost"))
    b.device_add(a.id, "A")
    wait_until(lambda: a.connected("B"), 30, "connected", alive=[a, b])


def test_a_configuration_that_is_a_link(world: World) -> None:
    """The daemon writes it where it really is."""
    a = world.node("A", start=False)
    a.folder_add(world.dir("a"), FOLDER)
    dotfiles = world.dir("dotfiles")
    os.rename(a.home / "config", dotfiles / "holdfast")
    os.symlink(dotfiles / "holdfast", a.home / "config")
    a.start()
    wait_until(lambda: a.in_sync(FOLDER), 20, "runs", alive=[a])
    code, body = a.http("POST", f"/v1/folders/{FOLDER}/pause")
    assert code == 200, body
    assert "paused = true" in (dotfiles / "holdfast").read_text()
    assert (a.home / "config").is_symlink()


LESS = {
    "no landlock": ("landlock_create_ruleset:error=EOPNOTSUPP",),
    "old landlock": ("landlock_create_ruleset:retval=1:when=1",),
    "neither": ("landlock_create_ruleset:error=ENOSYS",
                "seccomp:error=EINVAL", "prctl:error=EINVAL"),
}


@pytest.fixture(params=list(LESS))
def lesser(request: pytest.FixtureRequest,
           world: World) -> Callable[[str], Node]:
    """Makes a node on a kernel that has less."""

    def make(name: str) -> Node:
        wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e",
                   "trace=landlock_create_ruleset,seccomp,prctl"]
        for inject in LESS[request.param]:
            wrapper += ["-e", f"inject={inject}"]
        made = world.node(name, start=False, wrapper=wrapper)
        made.lesser = request.param  # type: ignore[attr-defined]
        return made

    return make


def test_a_kernel_that_has_less(world: World,
                                lesser: Callable[[str], Node]) -> None:
    a, b = lesser("A"), world.node("B")
    a.start()
    on = fences(a)
    assert not on["landlock"]
    if a.lesser == "neither":  # type: ignore[attr-defined]
        assert not on["seccomp"]
    assert "sandbox miss" in a.log_text()
    told = a.ctl("doctor", "--json", check=False).json["checks"]
    assert any(line["check"] == "sandbox" and line["state"] == "warn"
               for line in told)
    ours.pair_up(a, b)
    a.folder_add(world.dir("a"), FOLDER, "B")
    b.folder_add(world.dir("b"), FOLDER, "A")
    tree.write(world.dir("a") / "d/x", b"works all the same")
    settle([a, b], [world.dir("a"), world.dir("b")], 40)


def test_required_and_not_there(lesser: Callable[[str], Node]) -> None:
    a = lesser("A")
    a.config("node.sandbox", "require")
    a.may_end = True
    a.spawn()
    assert a.proc is not None and a.proc.wait(20) == 2
    assert "node.sandbox = require" in a.log_text()


def test_required_and_there(world: World) -> None:
    probe = world.node("P")
    if not all(fences(probe).values()):
        pytest.skip("not both here")
    a = world.node("A", start=False)
    a.config("node.sandbox", "require")
    a.start()
    assert all(fences(a).values())

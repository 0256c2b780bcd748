"""syncctl doctor: every fault that is planted is found, and told what to do.

MISSION S135.  The clock of the machine is as it is, so its line is not judged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, Optional

import pytest

from lib.node import Node
from lib.proc import wait_until
from lib.world import World


class Doctor:
    """One examination."""

    def __init__(self, node: Node, **env: str):
        result = node.ctl("doctor", "--json", check=False, env=env)
        self.answer: dict[str, Any] = result.json
        assert self.answer["schema"] == "syncctl/1"
        assert self.answer["exit"] == result.code
        self.lines = [line for line in self.answer["checks"]
                      if line["check"] != "clock"]
        worst = {line["state"] for line in self.answer["checks"]}
        assert worst <= {"ok", "warn", "fail"}
        assert result.code == (6 if "fail" in worst else
                               5 if "warn" in worst else 0)

    def of(self, check: str, state: Optional[str] = None) -> list[Any]:
        return [line for line in self.lines if line["check"] == check
                and state in (None, line["state"])]

    def wrong(self) -> set[str]:
        """The checks that found something, all with advice or a reason."""
        for line in self.lines:
            assert line["what"], line
        return {line["check"] for line in self.lines
                if line["state"] != "ok"}


def test_a_node_that_is_well(world: World) -> None:
    a = world.node("A")
    a.folder_add(world.dir("a"), "f1")
    wait_until(lambda: a.in_sync("f1"), 20, "in sync", alive=[a])
    told = Doctor(a)
    if told.of("sandbox", "warn"):
        pytest.skip(f"no sandbox here: {told.of('sandbox')}")
    assert told.wrong() == set(), told.lines
    assert {line["check"] for line in told.lines} >= {
        "daemon", "config", "home", "keys", "sandbox", "watches", "descriptors",
        "ports", "folder", "filesystem", "space", "index", "syncthing",
        "problems"}
    assert "seccomp" in told.of("sandbox")[0]["what"]
    assert str(a.port) in told.of("ports")[0]["what"]
    text = a.ctl("doctor", check=False).out
    assert text.splitlines()[0].startswith("ok ")
    assert a.ctl("doctor", "-q", check=False).out == ""
    # Nothing of it stays in the folder.
    assert os.listdir(world.dir("a")) == [".stfolder"]
    stage = world.dir("a") / ".stfolder" / "holdfast"
    assert not stage.exists() or os.listdir(stage) == []
    a.socket.chmod(0o777)
    assert [line["subject"] for line in Doctor(a).of("keys", "fail")] \
        == [str(a.socket)]


def test_without_the_daemon(world: World) -> None:
    a = world.node("A", start=False)
    a.folder_add(world.dir("a"), "f1")
    told = Doctor(a)
    assert told.answer["daemon"] is False
    assert told.wrong() == {"daemon"}
    assert told.of("folder", "ok") and told.of("keys", "ok")
    a.start()
    wait_until(lambda: a.in_sync("f1"), 20, "in sync", alive=[a])
    a.stop()
    assert Doctor(a).wrong() == {"daemon"}
    # A damaged index is seen without it, too.
    data = [p for p in (a.home / "index").rglob("data.mdb")]
    assert data
    data[0].write_bytes(b"\xff" * data[0].stat().st_size)
    assert Doctor(a).of("index", "fail")


def test_keys_that_others_can_read(world: World) -> None:
    a = world.node("A", start=False)
    (a.home / "key.pem").chmod(0o644)
    found = Doctor(a).of("keys", "fail")
    assert found and "644" in found[0]["what"]
    assert found[0]["do"] == f"chmod 600 {a.home}/key.pem"
    (a.home / "key.pem").chmod(0o600)
    a.home.chmod(0o775)
    assert Doctor(a).of("keys", "fail")
    a.home.chmod(0o755)
    assert not Doctor(a).of("keys", "fail")
    (a.home / "cert.pem").write_text("no certificate")
    assert Doctor(a).of("keys", "fail")
    (a.home / "cert.pem").unlink()
    (a.home / "key.pem").unlink()
    assert Doctor(a).of("keys", "warn")


@pytest.mark.root
def test_a_home_that_cannot_be_written(world: World) -> None:
    """Read-only for us alone: in a mount namespace."""
    a = world.node("A")
    a.folder_add(world.dir("a"), "f1")
    wait_until(lambda: a.in_sync("f1"), 20, "in sync", alive=[a])
    a.stop()
    assert Doctor(a).of("home", "ok")
    script = ('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" '
              '|| exit 99; exec "$2" --home "$1" doctor --json')
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(a.home),
         str(a.ctl_path)], capture_output=True, timeout=60, env=a.env)
    if done.returncode in (1, 99):
        pytest.skip(f"no mount namespace: {done.stderr!r}")
    assert done.returncode == 6, done
    found = [line for line in json.loads(done.stdout)["checks"]
             if line["state"] != "ok" and line["check"] in ("home", "index")]
    assert [(line["check"], line["subject"]) for line in found] == \
        [("home", str(a.home)), ("index", "f1")]
    assert all("ead-only" in line["what"] for line in found), found


def test_a_sandbox_that_is_off(world: World) -> None:
    a = world.node("A", start=False)
    a.config("node.sandbox", "off")
    a.start()
    assert Doctor(a).of("sandbox", "warn")
    a.ctl("config", "unset", "node.sandbox")
    assert any("since it started" in line["what"]
               for line in Doctor(a).of("sandbox", "warn"))
    a.restart()
    assert "mode" not in str(Doctor(a).of("sandbox", "warn"))


def test_folders_that_are_not_well(world: World) -> None:
    a = world.node("A")
    gone, bare, there = (world.dir(n) for n in ("gone", "bare", "there"))
    for path in (gone, bare, there):
        a.folder_add(path, path.name)
    wait_until(lambda: all(a.in_sync(n) for n in ("gone", "bare", "there")),
               20, "in sync", alive=[a])
    a.stop()
    shutil.rmtree(gone)
    shutil.rmtree(bare / ".stfolder")
    told = Doctor(a)
    found = {line["subject"]: line for line in told.of("folder", "fail")}
    assert set(found) == {"gone", "bare"}
    assert "mkdir" in found["bare"]["do"]
    a.start()
    wait_until(lambda: Doctor(a).of("problems", "fail"), 20, "told too")


def test_a_configuration_with_mistakes(world: World) -> None:
    a = world.node("A")
    with open(a.home / "config", "a") as file:
        file.write('[folder "x"]\n\tmode = sideways\n')
    assert Doctor(a).of("config", "fail")


def test_too_few_descriptors_and_watches(world: World) -> None:
    a = world.node("A", start=False)
    a.argv = ["/bin/sh", "-c", 'ulimit -n 150; exec "$@"', "sh", *a.argv]
    a.start()
    found = Doctor(a).of("descriptors", "warn")
    assert found and "150" in found[0]["what"] and "ulimit" in found[0]["do"]


def test_a_syncthing_on_the_same_folder(world: World) -> None:
    theirs = world.syncthing()
    a = world.node("A")
    a.folder_add(world.dir("a"), "f1")
    a.folder_add(world.dir("b"), "f2")
    assert not Doctor(a).of("syncthing", "fail")
    theirs.folder_add("theirs", world.dir("a"), [])
    wait_until(lambda: Doctor(a).of("syncthing", "fail"), 20, "seen",
               alive=[a, theirs])
    found = Doctor(a).of("syncthing", "fail")
    assert [line["subject"] for line in found] == ["f1"]

"""The surface that others script against: commands, exit codes, JSON."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

from lib import bep, kinds, node, tree
from lib.bep import Identity
from lib.node import (ATTENTION, FAILED, NO_DAEMON, NOT_FOUND, OK, REFUSED,
                      STOPPED, TIMEOUT, USAGE, WORKING, Node)
from lib.peer import Peer
from lib.proc import SANITIZED, SLOW, Daemon, free_port, wait_until
from lib.world import FOLDER, Pair, World

ID_SHAPE = re.compile(r"([A-Z2-7]{7}-){7}[A-Z2-7]{7}")


@pytest.fixture
def alone(world: World) -> Node:
    """One node that is not started."""
    return world.node("A", start=False)


# ---- identity --------------------------------------------------------------

def test_id_makes_an_identity_once_and_keeps_it(alone: Node) -> None:
    assert ID_SHAPE.fullmatch(alone.id)
    assert bep.device_raw(alone.id)
    assert alone.ctl("id").out.strip() == alone.id
    alone.start()
    assert alone.ctl("id").out.strip() == alone.id
    wire = bep.dial(alone.addr, Identity.make())
    assert bep.device_id(wire.peer_raw) == alone.id
    wire.close()
    keys = [p for p in alone.home.rglob("*key*") if p.is_file()]
    assert keys
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_131_a_broken_key_is_refused_not_replaced(alone: Node) -> None:
    key = next(p for p in alone.home.rglob("key.pem"))
    good = key.read_bytes()
    for bad in (b"", good[:40], b"garbage" * 20):
        key.write_bytes(bad)
        alone.spawn()
        assert alone.proc is not None
        assert alone.proc.wait(10) != 0
        assert key.read_bytes() == bad
        assert alone.ctl("id", check=False).code != OK
    key.write_bytes(good)
    alone.start()
    assert alone.ctl("id").out.strip() == alone.id


# ---- usage and exit codes --------------------------------------------------

@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["device"], ["device", "nonsense"], ["device", "add"],
    ["device", "add", "AAAA"], ["folder", "add"],
    ["folder", "add", "/tmp/x"], ["status", "--nonsense"],
    ["status", "a", "b", "c"], ["wait", "--timeout", "soon"], ["explain"],
    ["config"], ["config", "set", "mesh.listen"], ["config", "frob", "x"],
    ["completion", "tcsh"], ["folder", "add", "/tmp/x", "--id", "x",
                             "--mode", "sideways"],
    ["conflict"], ["conflict", "frob"], ["id", "surplus"]],
    ids=lambda a: " ".join(a) or "nothing")
def test_wrong_usage_is_2_and_told_on_stderr(alone: Node,
                                             args: list[str]) -> None:
    told = alone.ctl(*args, check=False)
    assert told.code == USAGE, str(told)
    assert told.err.strip()


@pytest.mark.parametrize("args", [
    ["status"], ["status", "-q"], ["wait"], ["explain", "/tmp"],
    ["events"], ["conflict", "list"], ["folder", "scan", "f1"]],
    ids=" ".join)
def test_no_daemon_is_3(alone: Node, args: list[str]) -> None:
    alone.folder_add(alone.home.with_name("a"), FOLDER)
    told = alone.ctl(*args, check=False)
    assert told.code == NO_DAEMON, str(told)
    assert told.err.strip() or "-q" in args


@pytest.mark.parametrize("args", [
    ["status", "nobody"], ["wait", "nobody"],
    ["wait", "--with", "nobody"], ["folder", "show", "nobody"],
    ["folder", "scan", "nobody"], ["folder", "pause", "nobody"],
    ["folder", "remove", "nobody", "--yes"],
    ["folder", "share", "nobody", "X"], ["folder", "share", "f1", "X"],
    ["device", "show", "nobody"], ["device", "pause", "nobody"],
    ["device", "remove", "nobody", "--yes"],
    ["device", "rename", "nobody", "else"],
    ["explain", "/nowhere/at/all"]], ids=" ".join)
def test_unknown_names_are_9(world: World, args: list[str]) -> None:
    made = world.node("A")
    made.folder_add(world.dir("a"), FOLDER)
    told = made.ctl(*args, check=False)
    assert told.code == NOT_FOUND, str(told)
    assert "\n  next:  syncctl " in told.err, "what to type then"


def test_a_failure_is_a_document_when_json_is_asked_for(
        world: World) -> None:
    made = world.node("A")
    for args in (["status", "nobody"], ["whois", "nobody"],
                 ["explain", "/nowhere"], ["ping", "nobody"],
                 ["conflict", "list", "nobody"], ["plan", "nobody"],
                 ["wait", "nobody"], ["device", "diag", "nobody"]):
        told = made.ctl(*args, "--json", check=False)
        assert told.code == NOT_FOUND, str(told)
        document = told.json
        assert document["schema"] == "syncctl/1"
        assert document["exit"] == NOT_FOUND
        assert document["code"] and document["reason"] in told.err
        assert document["next"][0] in told.err


def test_help_and_version_are_there(alone: Node) -> None:
    version = alone.ctl("version")
    assert re.search(r"\d+\.\d+", version.out)
    for args in (["--help"], ["help"], ["device", "--help"]):
        told = alone.ctl(*args, check=False)
        assert told.code in (OK, USAGE) and (told.out + told.err).strip()
    syncd = node.find_program("syncd")
    assert syncd
    for arg in ("--help", "--version"):
        done = subprocess.run([syncd, arg], capture_output=True, timeout=10)
        assert done.returncode == 0 and done.stdout, arg
    done = subprocess.run([syncd, "--nonsense"], capture_output=True,
                          timeout=10)
    assert done.returncode == USAGE and done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_valid_for_its_shell(alone: Node, shell: str) -> None:
    script = alone.ctl("completion", shell).out
    try:
        done = subprocess.run([shell, "-n"], input=script.encode(),
                              capture_output=True, timeout=10)
    except FileNotFoundError:
        pytest.skip(f"no {shell}")
    assert done.returncode == 0, done.stderr.decode()


def test_bash_completes_and_runs_nothing(alone: Node) -> None:
    """Names come from others: none of them is a command."""
    alone.device_add(Identity.make().id, "lap top")
    alone.folder_add(alone.home.with_name("a"), "$(touch pwned)")
    (alone.home / "in").mkdir()

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", 'eval "$("$1" completion bash)"\n'
             'shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
             '_syncctl "$1"; printf "%s\\n" "${COMPREPLY[@]}"', "bash",
             str(alone.ctl_path), str(alone.ctl_path), "--home",
             str(alone.home), *words], capture_output=True, timeout=20,
            env=alone.env, cwd=alone.home / "in")
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout.decode().splitlines()

    assert completed("stat") == ["status"]
    assert completed("folder", "add", "/x", "--mode", "sendo") == ["sendonly"]
    assert completed("wait", "--with", "") == ["lap\\ top"]
    assert completed("wait", "--with", '"lap') == ["lap top"]
    assert completed("status", "") == ["\\$\\(touch\\ pwned\\)",
                                       "lap\\ top"]
    assert os.listdir(alone.home / "in") == [], "nothing was run"


# ---- configuration ---------------------------------------------------------

def config_path(made: Node) -> Path:
    """The file that `config set` wrote into."""
    for path in made.home.rglob("*"):
        if path.is_file() and b"[mesh]" in path.read_bytes():
            return path
    raise AssertionError("no configuration file")


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
def test_config_get_set_unset_list(alone: Node, up: bool) -> None:
    if up:
        alone.start()
    assert alone.ctl("config", "get", "mesh.listen").out.strip() == \
        alone.addr
    alone.config("log.level", "debug")
    assert alone.ctl("config", "get", "log.level").out.strip() == "debug"
    listed = alone.ctl("config", "list").out
    assert "mesh.announce" in listed and alone.addr in listed
    lines = [json.loads(line) for line in
             alone.ctl("config", "list", "--jsonl").out.splitlines()]
    assert {line["key"]: line["value"] for line in lines}["mesh.listen"] == \
        alone.addr
    alone.ctl("config", "unset", "log.level")
    told = alone.ctl("config", "get", "log.level", check=False)
    assert told.out.strip() in ("", "info")
    assert alone.ctl("config", "check").code == OK


def test_config_keeps_comments(alone: Node) -> None:
    path = config_path(alone)
    path.write_text("# mine, do not touch\n" + path.read_text()
                    + "; and this\n")
    alone.config("log.level", "warn")
    alone.device_add(Identity.make().id, "x")
    text = path.read_text()
    assert "# mine, do not touch" in text and "; and this" in text
    assert "warn" in text


@pytest.mark.parametrize("key,value", [
    ("mesh.listen", "nonsense"), ("mesh.listen", "tcp://1.2.3.4:99999"),
    ("mesh.announce", "maybe"), ("mesh.nonsense", "1"), ("nonsense", "1"),
    ("log.level", "loud"), ("device.x.id", "AAAA"),
    ("folder.f1.mode", "sideways"), ("folder.f1.path", "relative")])
def test_a_wrong_value_is_refused_with_what_is_allowed(
        alone: Node, key: str, value: str) -> None:
    alone.folder_add(alone.home.with_name("a"), FOLDER)
    before = config_path(alone).read_bytes()
    told = alone.ctl("config", "set", key, value, check=False)
    assert told.code in (USAGE, FAILED, NOT_FOUND), str(told)
    assert key.rsplit(".", 1)[0].split(".")[0] in told.err
    assert config_path(alone).read_bytes() == before


def test_137_mistakes_in_the_file_name_line_and_key(alone: Node) -> None:
    path = config_path(alone)
    good = path.read_text()
    line = good.count("\n") + 2
    path.write_text(good + "[mesh]\n\tannounce = perhaps\n")
    told = alone.ctl("config", "check", check=False)
    assert told.code != OK
    text = told.out + told.err
    assert f":{line}:" in text and "mesh.announce" in text, text
    assert "true" in text and "false" in text, "what is allowed"
    alone.spawn()
    assert alone.proc is not None
    assert alone.proc.wait(10) != 0, "syncd refuses to start"
    assert "mesh.announce" in alone.tail()
    path.write_text(good)
    alone.start()
    path.write_text(good + "[mesh]\n\tannounce = perhaps\n")
    alone.reload()
    time.sleep(0.5)
    alone.assert_alive()
    assert alone.ctl("status", "-q", check=False).code != NO_DAEMON


@pytest.mark.parametrize("bad", ["nested", "same", "root", "linked", "home"])
def test_137_folders_that_overlap_are_refused(world: World,
                                              bad: str) -> None:
    made = world.node("A", start=False)
    outer = world.dir("outer")
    made.folder_add(outer, FOLDER)
    (outer / "inner").mkdir()
    os.symlink(outer, world.base / "link")
    path = {"nested": outer / "inner", "same": outer, "root": Path("/"),
            "linked": world.base / "link", "home": made.home}[bad]
    told = made.ctl("folder", "add", str(path), "--id", "f2", check=False)
    assert told.code == REFUSED, str(told)
    assert told.err.strip()
    assert made.ctl("folder", "show", "f2", check=False).code == NOT_FOUND


def test_config_edit_runs_the_editor_and_checks(alone: Node) -> None:
    script = alone.home.with_name("editor")
    script.write_text("#!/bin/sh\nprintf '[log]\\n\\tlevel = warn\\n' >> "
                      "\"$1\"\n")
    script.chmod(0o755)
    env = {"EDITOR": str(script), "VISUAL": str(script)}
    alone.ctl("config", "edit", env=env)
    assert alone.ctl("config", "get", "log.level").out.strip() == "warn"
    script.write_text("#!/bin/sh\nprintf '[log]\\n\\tlevel = loud\\n' >> "
                      "\"$1\"\n")
    before = config_path(alone).read_bytes()
    assert alone.ctl("config", "edit", env=env, check=False).code != OK
    assert config_path(alone).read_bytes() == before


def test_140_two_writers_at_once_lose_nothing(alone: Node) -> None:
    argv = [str(alone.ctl_path), "--home", str(alone.home), "config", "set"]
    running = [subprocess.Popen(
        [*argv, f"folder.f{n}.path", f"/tmp/nowhere/{n}"], env=alone.env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for n in range(12)]
    for process in running:
        process.wait(30)
    assert [p.returncode for p in running] == [OK] * 12
    listed = alone.ctl("config", "list").out
    for n in range(12):
        assert f"/tmp/nowhere/{n}" in listed


# ---- devices and folders ---------------------------------------------------

@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
def test_devices_from_adding_to_removing(world: World, up: bool) -> None:
    made = world.node("A", start=up)
    other = Identity.make().id
    made.device_add(other, "laptop", "tcp://127.0.0.1:1",
                    "tcp://127.0.0.1:2")
    listed = made.ctl("device", "list").out
    assert "laptop" in listed
    shown = made.ctl("device", "show", "laptop").out
    assert other in shown and "tcp://127.0.0.1:2" in shown
    data = made.ctl("device", "list", "--json").json
    assert data["schema"] == "syncctl/1"
    assert any(d["name"] == "laptop" and d["id"] == other
               for d in data["devices"])
    lines = made.ctl("device", "list", "--jsonl").out.splitlines()
    assert any(json.loads(line)["name"] == "laptop" for line in lines)
    assert all(json.loads(line)["schema"] == "syncctl/1" for line in lines)
    # The shortest unique prefix of an ID works everywhere.
    assert other in made.ctl("device", "show", other[:7]).out
    again = made.ctl("device", "add", other, "--name", "twice", check=False)
    assert again.code == REFUSED, "one device, one name"
    again = made.ctl("device", "add", Identity.make().id, "--name",
                     "laptop", check=False)
    assert again.code == REFUSED, "one name, one device"
    made.device_add(Identity.make().id, "other")
    again = made.ctl("device", "rename", "other", "laptop", check=False)
    assert again.code == REFUSED, "one name, one device"
    again = made.ctl("config", "set", "device.other.id", other, check=False)
    assert again.code == REFUSED, "one ID, one device"
    made.ctl("device", "remove", "other")
    made.ctl("device", "pause", "laptop")
    assert "paused" in made.ctl("device", "show", "laptop").out
    made.ctl("device", "resume", "laptop")
    made.folder_add(world.dir("a"), FOLDER, "laptop")
    made.ctl("device", "rename", "laptop", "notebook")
    assert other in made.ctl("device", "show", "notebook").out
    assert "notebook" in made.ctl("folder", "show", FOLDER).out
    assert made.ctl("device", "show", "laptop", check=False).code == \
        NOT_FOUND
    made.ctl("device", "remove", "notebook", "--yes")
    assert "notebook" not in made.ctl("device", "list").out
    made.ctl("config", "check")


def test_a_device_id_with_a_wrong_digit_is_refused(alone: Node) -> None:
    good = Identity.make().id
    bad = good[:-1] + ("A" if good[-1] != "A" else "B")
    told = alone.ctl("device", "add", bad, "--name", "x", check=False)
    assert told.code in (USAGE, FAILED) and told.err.strip()
    typed = good.replace("-", " ").lower()
    alone.ctl("device", "add", typed, "--name", "x")
    assert good in alone.ctl("device", "show", "x").out
    told = alone.ctl("device", "add", alone.id, "--name", "me", check=False)
    assert told.code != OK, "oneself is no peer"


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
def test_folders_from_adding_to_removing(world: World, up: bool) -> None:
    made = world.node("A", start=up)
    made.device_add(Identity.make().id, "laptop")
    place = world.dir("a")
    tree.write(place / "file", b"1")
    made.ctl("folder", "add", str(place), "--id", FOLDER, "--name",
             "My papers", "--mode", "sendonly", "--share", "laptop")
    assert FOLDER in made.ctl("folder", "list").out
    shown = made.ctl("folder", "show", FOLDER).out
    for word in ("My papers", "sendonly", "laptop", str(place)):
        assert word in shown, word
    data = made.ctl("folder", "list", "--json").json
    assert data["schema"] == "syncctl/1"
    assert any(f["id"] == FOLDER for f in data["folders"])
    made.ctl("folder", "unshare", FOLDER, "laptop")
    assert "laptop" not in made.ctl("folder", "show", FOLDER).out
    made.ctl("folder", "share", FOLDER, "laptop")
    made.ctl("folder", "pause", FOLDER)
    assert "paused" in made.ctl("folder", "show", FOLDER).out
    made.ctl("folder", "resume", FOLDER)
    again = made.ctl("folder", "add", str(world.dir("b")), "--id", FOLDER,
                     check=False)
    assert again.code == REFUSED, "one ID, one folder"
    refused = made.ctl("folder", "remove", FOLDER, check=False)
    if refused.code != OK:
        made.ctl("folder", "remove", FOLDER, "--yes")
    assert made.ctl("folder", "show", FOLDER, check=False).code == NOT_FOUND
    assert (place / "file").read_bytes() == b"1", "files stay"
    made.ctl("config", "check")


def test_adding_a_folder_makes_its_directory_and_marker(
        world: World) -> None:
    made = world.node("A")
    place = world.base / "new/deep"
    made.ctl("folder", "add", str(place), "--id", FOLDER)
    wait_until(lambda: (place / ".stfolder").exists(), 10, "marker")
    wait_until(lambda: made.in_sync(FOLDER), 10, "in sync")


def test_pending_devices_and_folders_are_shown(world: World) -> None:
    made = world.node("A")
    stranger = Peer("stranger")
    try:
        stranger.connect(made.addr)
    except (bep.Closed, OSError):
        pass
    wait_until(lambda: stranger.id in made.ctl("device", "list",
                                               "--json").out
               or stranger.id in made.ctl("status", "--json",
                                          check=False).out,
               10, "the stranger is shown")
    stranger.close()
    made.device_add(stranger.id, "friend")
    stranger.folder("offered")
    stranger.connect(made.addr)
    wait_until(lambda: "offered" in made.ctl("folder", "list", "--json").out
               or "offered" in made.ctl("status", "--json", check=False).out,
               10, "the folder is shown")
    stranger.close()


def test_auto_accept_takes_an_offered_folder(world: World) -> None:
    made = world.node("A", start=False)
    person = world.dir("person")  # whose home is not the daemon's
    (person / "Sync/taken").mkdir(parents=True)
    made.env["HOME"] = str(person)
    made.start()
    friend = Peer("friend")
    made.device_add(friend.id, "friend")
    made.config("device.friend.auto-accept", "true")
    friend.put("offered", "hello", b"from a friend")
    friend.put("taken", "hello", b"what is there is somebody's")
    friend.connect(made.addr)
    try:
        wait_until(lambda: made.ctl("folder", "show", "offered",
                                    check=False).code == OK, 15, "accepted")
        friend.wait_adopted("offered", "hello")
        found = list(person.rglob("hello"))
        assert [p.read_bytes() for p in found] == [b"from a friend"]
        assert found[0].parent.parent == person / "Sync"
        # One that cannot be is for a person to decide.
        wait_until(lambda: ["taken"] == [
            f["id"] for f in made.status()["pending"]["folders"]], 15,
            lambda: made.status()["pending"])
    finally:
        friend.close()


def sources(listed: dict) -> dict:
    """Why each device is known."""
    return {d["name"]: (d["source"], d["introduced_by"])
            for d in listed["devices"]}


@pytest.mark.parametrize("taken", ["before", "after it was offered"])
def test_an_introducer_brings_its_devices(world: World, taken: str) -> None:
    made = world.node("A")
    friend, third = Peer("friend"), Identity.make()
    made.device_add(friend.id, "friend")
    made.config("device.friend.introducer", "true")
    if taken == "before":
        made.folder_add(world.dir("a"), FOLDER, "friend")
    friend.folder(FOLDER)
    config = friend.cluster_config

    def with_third() -> bep.Message:
        said = config()
        said["folders"][0]["devices"].append({
            "id": third.raw, "name": "third",
            "addresses": ["tcp://127.0.0.1:1"]})
        return said

    friend.cluster_config = with_third  # type: ignore[method-assign]
    friend.connect(made.addr)
    try:
        if taken != "before":
            wait_until(lambda: made.status()["pending"]["folders"], 15,
                       "offered")
            assert third.id not in made.ctl("device", "list", "--json").out
            made.folder_add(world.dir("a"), FOLDER, "friend")
        wait_until(lambda: third.id in made.ctl("device", "list",
                                                "--json").out,
                   15, "introduced")
        want = {"friend": ("config", None),
                "third": ("introducer", "friend")}
        wait_until(lambda: sources(json.loads(
            made.http("GET", "/v1/devices")[1])) == want, 15, "from where")
        assert sources(made.ctl("device", "list", "--json").json) == want
        assert "introducer: friend" in made.ctl("device", "show",
                                                "third").out
        wait_until(lambda: "third" in made.ctl("folder", "show",
                                               FOLDER).out, 5, "shared")
    finally:
        friend.close()


# ---- status, wait, explain, events -----------------------------------------

def test_status_of_nothing_is_in_order(world: World) -> None:
    made = world.node("A")
    told = made.ctl("status")
    assert "No problems." in told.out
    assert "\x1b" not in told.out, "no colour off a terminal"
    assert made.ctl("status", "-q").out == ""
    assert made.ctl("status", "-x").out.count("\n") <= 1


def check_status(data: dict, code: int) -> None:
    """The shape of FEATURES.md, E4."""
    assert data["schema"] == "syncctl/1"
    assert data["exit"] == code
    assert isinstance(data["node"], str) and data["node"]
    assert data["health"] in ("healthy", "working", "attention", "stopped",
                              "problem", "ok")
    for folder in data["folders"]:
        assert isinstance(folder["name"], str)
        assert folder["state"] in (
            "halted", "paused", "starting", "scanning", "receiving",
            "waiting", "in_sync")
        assert folder["need_bytes"] >= 0
        assert 0 <= folder["copies"]["have"] <= folder["copies"]["want"]
        assert isinstance(folder["conflicts"], int)
    for device in data["devices"]:
        assert isinstance(device["name"], str)
        assert device["path"] is None or "kind" in device["path"]
        assert device["behind_bytes"] >= 0
    for problem in data["problems"]:
        assert re.fullmatch(r"[a-z]+([.-][a-z]+)*", problem["code"])
        assert problem["severity"] in ("info", "warning", "stopped",
                                       "error", "critical")
        assert problem["subject"]
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", problem["since"])
        assert isinstance(problem["effect"], (dict, str))
        assert isinstance(problem["next"], list)


def test_status_when_all_is_well(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    pair.a.wait()
    told = pair.a.ctl("status")
    assert "in sync" in told.out and "No problems." in told.out
    assert re.search(r"FOLDER\s+MODE\s+STATE\s+FILES\s+SIZE\s+COPIES",
                     told.out)
    assert re.search(r"DEVICE\s+PATH", told.out)
    data = pair.a.ctl("status", "--json").json
    check_status(data, OK)
    folder = pair.a.folder(FOLDER)
    files = sum(1 for i in tree.snapshot(pair.dir_a).values()
                if i.kind == "file")
    assert folder["copies"] == {"have": 2, "want": 2}
    assert folder.get("files", files) == files
    one = pair.a.ctl("status", FOLDER)
    assert FOLDER in one.out
    assert pair.a.ctl("status", "B").code == OK


def test_status_while_a_peer_is_offline_is_4(pair: Pair) -> None:
    tree.write(pair.dir_a / "x", b"1")
    pair.settle()
    pair.b.stop()
    wait_until(lambda: not pair.a.connected("B"), 10, "gone")
    tree.write(pair.dir_a / "y", b"2")
    wait_until(lambda: pair.a.ctl("status", "-q", check=False).code
               == WORKING, 15, "4")
    check_status(pair.a.status(), WORKING)


def test_status_of_a_halted_folder_is_6(pair: Pair) -> None:
    tree.write(pair.dir_a / "x", b"1")
    pair.settle()
    (pair.dir_a / ".stfolder").rmdir() \
        if not os.listdir(pair.dir_a / ".stfolder") else \
        os.rename(pair.dir_a / ".stfolder", pair.dir_a.parent / "marker")
    wait_until(lambda: pair.a.ctl("status", "-q", check=False).code
               == STOPPED, 30, "6")
    told = pair.a.ctl("status", "-x", check=False)
    assert told.code == STOPPED
    for word in (f"{FOLDER}  HALTED  marker-missing", "What", "Effect",
                 "Do"):
        assert word in told.out, told.out
    check_status(pair.a.status(), STOPPED)
    assert pair.a.problem("marker-missing")
    assert pair.a.wait(check=False).code == STOPPED


def test_status_with_a_conflict_is_5(pair: Pair) -> None:
    tree.write(pair.dir_a / "notes", b"base")
    pair.settle()
    pair.b.stop()
    tree.write(pair.dir_a / "notes", b"A")
    tree.write(pair.dir_b / "notes", b"BB")
    pair.b.start()
    wait_until(lambda: tree.conflicts(pair.dir_a)
               and tree.conflicts(pair.dir_b), 20, "a copy")
    pair.settle()
    told = pair.a.ctl("status", "-x", check=False)
    assert told.code == ATTENTION, str(told)
    assert told.out.startswith(f"{FOLDER}  CONFLICT  "), told.out
    assert "\n1 warning. 1 folder is in sync.\n" in told.out
    listed = pair.a.ctl("conflict", "list", "--json").json
    assert listed["schema"] == "syncctl/1"
    copies = listed["conflicts"]
    assert len(copies) == 1 and "notes" in json.dumps(copies[0])
    for place in (pair.dir_a, pair.dir_b):
        for path in tree.conflicts(place):
            if (place / os.fsdecode(path)).exists():
                (place / os.fsdecode(path)).unlink()
    pair.settle()
    wait_until(lambda: pair.a.ctl("status", "-q", check=False).code == OK,
               10, "settled")
    assert "notes" not in pair.a.ctl("conflict", "list").out


def test_wait_returns_when_the_other_has_it(pair: Pair) -> None:
    """After 0 the trees are equal, at once: nothing else is polled."""
    for n in range(5):
        tree.write(pair.dir_a / f"dir{n}/file", tree.noise(300_000, n))
        pair.a.wait(FOLDER)
        assert tree.same(pair.dir_a, pair.dir_b), n
        tree.write(pair.dir_b / f"dir{n}/back", tree.noise(1000, n))
        pair.b.wait(FOLDER, timeout=20)
        tree.assert_same(pair.dir_a, pair.dir_b)
    pair.a.ctl("wait", "--with", "B", "--timeout", "20s")


def test_wait_ends_with_7_at_its_time(pair: Pair) -> None:
    tree.write(pair.dir_a / "x", b"1")
    pair.settle()
    pair.b.stop()
    tree.write(pair.dir_a / "y", b"2")
    told = pair.a.ctl("wait", "--timeout", "1s", check=False)
    assert told.code == TIMEOUT, str(told)
    assert 0.8 < told.seconds < 4


def test_explain_tells_state_and_why(pair: Pair) -> None:
    tree.write(pair.dir_a / "d/file", tree.noise(300_000))
    pair.settle()
    path = pair.dir_a / "d/file"
    told = pair.a.ctl("explain", str(path))
    assert "in sync" in told.out
    data = pair.a.ctl("explain", str(path), "--json").json
    assert data["schema"] == "syncctl/1"
    assert "B" in json.dumps(data)
    pair.b.stop()
    wait_until(lambda: not pair.a.connected("B"), 10, "gone")
    tree.write(path, b"changed")
    wait_until(lambda: pair.a.ctl("explain", str(path),
                                  check=False).code == WORKING, 10, "4")
    (pair.dir_a / ".stignore").write_text("secret*\n")
    tree.write(pair.dir_a / "secret.doc", b"x")
    wait_until(lambda: "secret*" in pair.a.ctl(
        "explain", str(pair.dir_a / "secret.doc"), check=False).out, 10,
        "the rule is named")
    assert "ignored" in pair.a.ctl(
        "explain", str(pair.dir_a / "secret.doc"), "--json",
        check=False).out


def test_explain_of_what_nobody_knows_is_9(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()
    for more in ([], ["--json"]):
        told = pair.a.ctl("explain", str(pair.dir_a / "nothing"), *more,
                          check=False)
        assert told.code == NOT_FOUND, str(told)
    assert told.json["known"] is False
    assert pair.a.ctl("explain", str(pair.dir_a / "file")).code == OK


def test_explain_of_a_name_that_cannot_be_says_why(pair: Pair) -> None:
    for name in (b"bad\xff", b"n" * 300):
        told = pair.a.ctl("explain", os.fsdecode(
            os.fsencode(pair.dir_a) + b"/" + name), "--json", check=False)
        assert told.code == ATTENTION, str(told)
        assert told.json["reason"]["code"] == "bad-name"
    told = pair.a.ctl("folder", "ignore", "test", FOLDER, "n" * 300,
                      check=False)
    assert told.code == USAGE, str(told)


def test_an_offer_goes_when_it_is_taken(pair: Pair) -> None:
    def offers() -> list[dict]:
        return pair.a.status()["pending"]["folders"]

    pair.a.ctl("folder", "unshare", FOLDER, "B")
    pair.a.ctl("device", "pause", "B")  # offers come with a connection
    pair.a.ctl("device", "resume", "B")
    wait_until(lambda: [f["known"] for f in offers()] == [True], 20, offers)
    told = pair.a.ctl("status", check=False).out
    assert f"syncctl folder share {FOLDER} B" in told
    pair.a.ctl("folder", "share", FOLDER, "B")
    wait_until(lambda: not offers(), 20, offers)
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()


def test_a_long_path_keeps_the_status_narrow(world: World) -> None:
    made = world.node("A", start=False)
    root = world.dir("a")
    made.folder_add(root, FOLDER)
    made.start()
    tree.write(root / "/".join(["ä" * 100] * 10) / "the-end", b"1")
    made.ctl("wait", "--timeout", "60s")
    wait_until(lambda: "…" in made.ctl("status").out, 20, "shown")
    line = next(s for s in made.ctl("status").out.splitlines()
                if s.startswith(FOLDER))
    assert "…ä" in line and len(line) < 160, line


def test_a_paused_folder_is_not_scanned(pair: Pair) -> None:
    pair.a.ctl("folder", "pause", FOLDER)
    told = pair.a.ctl("folder", "scan", FOLDER, check=False)
    assert told.code == REFUSED and "paused" in told.err, str(told)
    pair.a.ctl("folder", "resume", FOLDER)
    pair.settle()


def test_dry_run_tells_and_is_content(world: World) -> None:
    made = world.node("A", start=False)
    root = world.dir("a")
    made.folder_add(root, FOLDER, mode="receiveonly")
    made.start()
    tree.write(root / "mine", b"1")
    made.ctl("wait", "--timeout", "60s")
    wait_until(lambda: made.folder(FOLDER)["changed_here"] == 1, 20, "seen")
    assert "in sync  1 changed here" in made.ctl("status").out
    told = made.ctl("folder", "revert", FOLDER, check=False)
    assert told.code == REFUSED and "--yes" in told.err, str(told)
    told = made.ctl("folder", "revert", FOLDER, "--dry-run", "--yes")
    assert "1 item" in told.out and not told.err, str(told)
    assert (root / "mine").exists()
    assert made.ctl("trash", "empty", FOLDER, "--dry-run").code == OK


def test_events_name_folder_state_and_type(pair: Pair) -> None:
    def states() -> list[dict]:
        return pair.a.ctl("events", "--type", "folder.state",
                          "--json").json["events"]

    wait_until(lambda: [e["text"] for e in states()] == ["opening",
                                                         "running"],
               20, lambda: states())
    assert {e["folder"] for e in states()} == {FOLDER}
    types = {e["type"] for e in pair.a.ctl("events", "--type", "folder",
                                           "--json").json["events"]}
    assert types >= {"folder.state", "folder.scanned"}
    told = pair.a.ctl("events", "--type", "folder,foldr", check=False)
    assert told.code == USAGE and "foldr" in told.err, str(told)
    # An hour that is still to come is yesterday's.
    soon = time.strftime("%H:%M", time.localtime(time.time() + 7200))
    assert states() and pair.a.ctl("events", "--since", soon).out.strip()


def test_folder_ignore_list_and_test(pair: Pair) -> None:
    (pair.dir_a / ".stignore").write_text("*.tmp\n!/keep\n/k*\n")
    pair.a.scan(FOLDER)
    wait_until(lambda: "*.tmp" in pair.a.ctl("folder", "ignore", "list",
                                             FOLDER).out, 10, "listed")
    for path, rule in (("d/x.tmp", "*.tmp"), ("keep", "!/keep"),
                       ("kill", "/k*")):
        told = pair.a.ctl("folder", "ignore", "test",
                          str(pair.dir_a / path))
        assert rule in told.out and ".stignore" in told.out, str(told)


def test_folder_ignore_list_shows_included_files(pair: Pair) -> None:
    tree.write(pair.dir_a / "rules/more", b"*.inc\n")
    (pair.dir_a / ".stignore").write_text(
        "*.tmp\n// why\n#include rules/more\n!/keep\n")

    def listed() -> str:
        return pair.a.ctl("folder", "ignore", "list", FOLDER).out

    wait_until(lambda: "*.inc" in listed(), 10, listed)
    rules = [f"{pair.dir_a}/.stignore", ".stignore:1  *.tmp",
             "rules/more:1  *.inc", ".stignore:4  !/keep"]
    assert listed().splitlines() == rules
    told = pair.a.ctl("folder", "ignore", "list", FOLDER, "--json").json
    assert [(r["file"], r["line"]) for r in told["list"]] == \
        [(".stignore", 1), ("rules/more", 1), (".stignore", 4)]
    lines = pair.a.ctl("folder", "ignore", "list", FOLDER, "--jsonl").out
    assert [json.loads(line)["pattern"] for line in lines.splitlines()] == \
        [r["pattern"] for r in told["list"]]
    pair.a.stop()
    assert "#include rules/more" in listed(), "the file, without the daemon"
    assert pair.a.ctl("folder", "ignore", "list", FOLDER, "--json",
                      check=False).code == NO_DAEMON


def test_events_are_told_as_lines(pair: Pair) -> None:
    told = pair.b.home / "follower.jsonl"
    with told.open("wb") as out:
        follower = subprocess.Popen(
            [str(pair.b.ctl_path), "--home", str(pair.b.home), "events",
             "--follow", "--since", "1h", "--jsonl"], stdout=out,
            env=pair.b.env)
    try:
        tree.write(pair.dir_a / "seen.txt", b"1")
        pair.settle()
        wait_until(lambda: "seen.txt" in told.read_text(), 20, "told")
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(timeout=10)
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert any("seen.txt" in json.dumps(line) for line in lines)
    assert all("type" in line and "id" in line
               and line["schema"] == "syncctl/1" for line in lines)
    assert follower.returncode in (130, -signal.SIGINT)


def test_watching_the_status_ends_at_ctrl_c(pair: Pair) -> None:
    watch = subprocess.Popen(
        [str(pair.a.ctl_path), "--home", str(pair.a.home), "status",
         "--watch"], stdout=subprocess.PIPE, env=pair.a.env)
    time.sleep(1.5)
    watch.send_signal(signal.SIGINT)
    out, _ = watch.communicate(timeout=10)
    assert FOLDER.encode() in out
    assert watch.returncode in (130, -signal.SIGINT)


def test_progress_shows_rate_and_time(world: World) -> None:
    from lib.proxy import Proxy
    a, b = world.node("A"), world.node("B")
    proxy = Proxy(a.addr, 3e6)
    a.device_add(b.id, "B")
    b.device_add(a.id, "A", proxy.addr)
    tree.write(world.dir("a") / "big", tree.noise(20_000_000))
    a.folder_add(world.dir("a"), FOLDER, "B")
    b.folder_add(world.dir("b"), FOLDER, "A")
    wait_until(lambda: b.folder(FOLDER)["state"] == "receiving", 20,
               "receiving", alive=[a, b])
    time.sleep(2)
    told = b.ctl("status", check=False)
    assert told.code == WORKING
    assert re.search(r"receiving\s+\d+ ?%.*left.*/s", told.out), told.out
    proxy.rate = None
    wait_until(lambda: b.in_sync(FOLDER), 30, "done", alive=[a, b])
    proxy.close()


# ---- the daemon and its socket ---------------------------------------------

def test_whatever_is_shown_curl_can_get(world: World) -> None:
    made = world.node("A")
    made.folder_add(world.dir("a"), FOLDER)
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(made.socket),
         "http://localhost/v1/status"], capture_output=True, timeout=10)
    assert json.loads(done.stdout)["schema"] == "syncctl/1"
    assert stat.S_IMODE(made.socket.stat().st_mode) & 0o077 == 0
    code, _ = made.http("GET", "/v1/nonsense")
    assert code == 404
    code, _ = made.http("DELETE", "/v1/status")
    assert code == 405
    code, _ = made.http("GET", "/%2e%2e/%2e%2e/etc/passwd")
    assert code in (400, 404)


def test_135_hostile_http_is_borne(world: World) -> None:
    import socket as sockets
    made = world.node("A")
    for data in (b"\r\n" * 5000, b"GET / HTTP/9.9\r\n\r\n",
                 b"A" * 200_000, b"\x16\x03\x01" + bytes(500),
                 b"POST /v1/status HTTP/1.1\r\nContent-Length: "
                 b"99999999999\r\n\r\n" + b"x" * 100_000,
                 b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n"):
        with sockets.socket(sockets.AF_UNIX) as sock:
            sock.settimeout(3)
            sock.connect(str(made.socket))
            try:
                sock.sendall(data)
                sock.recv(1000)
            except OSError:
                pass
    made.assert_alive()
    assert made.ctl("status", "-q", check=False).code == OK


def test_76_a_second_daemon_in_one_home_refuses(world: World) -> None:
    made = world.node("A")
    second = Daemon("second", made.argv, made.log, {"HOME": str(made.home)})
    second.spawn()
    assert second.proc is not None
    assert second.proc.wait(10) != 0
    made.assert_alive()
    assert made.ctl("status", "-q", check=False).code == OK
    made.kill9()
    made.start()


def test_signals_stop_and_reload(world: World) -> None:
    made = world.node("A")
    made.folder_add(world.dir("a"), FOLDER)
    path = config_path(made)
    text = path.read_text() + f"""[folder "f2"]
\tpath = {world.dir("b")}
"""
    path.write_text(text)
    made.reload()
    wait_until(lambda: made.in_sync("f2"), 10, "reloaded", alive=[made])
    start = time.monotonic()
    assert made.end(signal.SIGTERM) == 0
    assert time.monotonic() - start < 5 * SLOW
    assert not made.socket.exists()
    made.start()
    assert made.end(signal.SIGINT) in (0, 130)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer takes it for a fault")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS])
def test_a_fault_that_is_no_indexs_ends_it_by_its_signal(
        world: World, number: signal.Signals) -> None:
    made = world.node("A")
    made.may_end = True
    made.send_signal(number)
    assert made.proc is not None
    assert made.proc.wait(30) == -number


def test_ready_is_told_to_systemd(world: World) -> None:
    import socket as sockets
    made = world.node("A", start=False)
    notify = world.base / "notify"
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as sock:
        sock.bind(str(notify))
        sock.settimeout(10)
        made.env["NOTIFY_SOCKET"] = str(notify)
        made.start()
        seen = b""
        while b"READY=1" not in seen:
            seen += sock.recv(4096) + b"\n"
        made.stop()
        while b"STOPPING=1" not in seen:
            seen += sock.recv(4096) + b"\n"


def test_138_no_key_in_logs_or_arguments(pair: Pair) -> None:
    tree.write(pair.dir_a / "x", b"1")
    pair.settle()
    pair.a.stop()
    key = next(pair.a.home.rglob("key.pem")).read_text()
    body = "".join(key.splitlines()[1:-1])[:30]
    assert body not in pair.a.log_text()
    assert "PRIVATE KEY" not in pair.a.log_text()


def test_139_a_loose_umask_leaves_nothing_open(world: World) -> None:
    old = os.umask(0)
    try:
        made = world.node("A")
        made.folder_add(world.dir("a"), FOLDER)
        wait_until(lambda: made.in_sync(FOLDER), 10, "in sync")
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.home.stat().st_mode) & 0o077 in (0, 0o077, 0o055)
    for path in made.home.rglob("*"):
        if path.is_file() and not path.is_symlink() \
                and path.suffix in (".pem", ".mdb"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_busy_port_is_told(world: World) -> None:
    first = world.node("A")
    second = world.node("B", start=False)
    second.ctl("config", "unset", "mesh.listen")
    second.config("mesh.listen", first.addr)
    second.may_end = True
    second.spawn()
    wait_until(lambda: (second.proc is not None
                        and second.proc.poll() is not None)
               or str(first.port) in second.log_text()
               and "in use" in second.log_text().lower(), 10,
               "the busy port is told")

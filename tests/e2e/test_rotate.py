"""A device gets another key, and so another ID: members follow by themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib import tree
from lib.domain import Coordinator, connected, joined, owner, sees
from lib.node import ATTENTION, NOT_FOUND, REFUSED, USAGE, Node
from lib.proc import free_port, wait_until
from lib.world import FOLDER, World, settle


@pytest.fixture
def coord(world: World) -> Coordinator:
    return Coordinator(world)


def own_id(node: Node) -> str:
    return node.ctl("key", "show", "--json").json["device"]


def id_of(node: Node, other: str) -> str:
    return next(d["id"] for d in node.status()["devices"]
                if d["name"] == other)


def folders(world: World, *nodes: Node) -> list[Path]:
    """The folder on each, shared with all others."""
    made = []
    for node in nodes:
        made.append(world.dir(f"{node.name}.d"))
        node.folder_add(made[-1], FOLDER,
                        *(n.name for n in nodes if n is not node))
    return made


def fill(at: Path) -> None:
    for i in range(50):
        tree.write(at / f"d{i % 5}" / f"f{i}", bytes([i]) * 3000)
    tree.write(at / "large", bytes(range(256)) * 8192)


def entries(node: Node, other: str, log: str) -> int:
    """Of the index, that came of `other` by this part of the node's log."""
    return sum(map(int, re.findall(
        rf"exchange came folder={FOLDER} device={other} entries=(\d+)", log)))


def with_all(*nodes: Node) -> None:
    for node in nodes:
        for other in nodes:
            if node is not other:
                wait_until(lambda: connected(node, other.name), 60,
                           f"{node.name} is with {other.name}", alive=nodes)


def rotated(node: Node, old: str) -> str:
    wait_until(lambda: own_id(node) != old, 60, "it has its new ID",
               alive=[node])
    return own_id(node)


def test_a_device_gets_another_key_and_nothing_is_sent_again(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    b, d = joined(world, a, "B"), joined(world, a, "D")
    with_all(a, b, d)
    dirs = folders(world, a, b, d)
    fill(dirs[0])
    settle([a, b, d], dirs, 60)
    old, key = a.id, (a.home / "key.pem").read_bytes()
    before = {n.name: len(n.log_text()) for n in (a, b, d)}
    told = a.ctl("device", "rotate", "--json").json
    assert told["signed"] and told["left_behind"] == []
    new = rotated(a, old)
    assert new == told["id"] and (a.home / "key.pem").read_bytes() != key
    assert not (a.home / "key.pem.next").exists()
    with_all(a, b, d)
    settle([a, b, d], dirs, 60)
    for node in (b, d):
        assert id_of(node, "A") == new
        sees(node, "A", "B", "D")
    # Then edits flow in all directions, and they alone were told of.
    tree.write(dirs[0] / "of A", b"after")
    tree.write(dirs[1] / "d1" / "f1", b"of B, after")
    tree.write(dirs[2] / "of D", b"after")
    settle([a, b, d], dirs, 60)
    for node, other in ((b, "A"), (d, "A"), (a, "B"), (a, "D")):
        log = node.log_text()[before[node.name]:]
        assert entries(node, other, log) < 20, (node.name, other)
    assert not list(dirs[0].glob("*conflict*"))
    last = a.ctl("domain", "log", "--json").json["entries"][-1]
    assert (last["kind"], last["device"], last["other"]) == \
        ("rotate", old, new)
    a.restart()
    with_all(a, b, d)


def test_who_was_away_hears_of_it_from_any_member(
        world: World, coord: Coordinator) -> None:
    """Without a coordinator; and an owner signs for who has no owner's key."""
    a = owner(world, coord)
    b, d = joined(world, a, "B"), joined(world, a, "D")
    with_all(a, b, d)
    dirs = folders(world, a, b, d)
    fill(dirs[0])
    settle([a, b, d], dirs, 60)
    assert coord.node.stop() == 0 and d.stop() == 0
    old = (b.home / "cert.pem").read_bytes(), (b.home / "key.pem").read_bytes()
    told = b.ctl("device", "rotate", "--json", check=False)
    assert told.code == ATTENTION and not told.json["signed"], told
    new = told.json["id"]
    assert b.ctl("device", "rotate", check=False).out.split()[-2:] == \
        ["'B'", new]
    assert own_id(b) == b.id, "nobody has signed it"
    assert a.ctl("device", "rotate", "B", new[:20], check=False).code == USAGE
    a.ctl("device", "rotate", "B", new)
    assert rotated(b, b.id) == new
    wait_until(lambda: connected(a, "B") and id_of(a, "B") == new, 60,
               "A has followed", alive=[a, b])
    assert a.stop() == 0
    tree.write(dirs[1] / "d1" / "f1", b"while A is away")
    before = len(d.log_text())
    assert b.stop() == 0
    d.start()
    a.start()
    wait_until(lambda: id_of(d, "B") == new, 60, "A has told D",
               alive=[a, d])
    b.start()
    with_all(a, b, d)
    settle([a, b, d], dirs, 60)
    assert entries(d, "B", d.log_text()[before:]) < 10
    # The key before is a stranger's.
    assert b.stop() == 0
    for name, what in zip(("cert.pem", "key.pem"), old):
        (b.home / name).write_bytes(what)
    before = len(d.log_text())
    b.start()
    wait_until(lambda: f"syncd stranger id={b.id}" in d.log_text()[before:],
               60, "D knows it no longer", alive=[b, d])
    assert not connected(d, "B") and not connected(a, "B")


def test_a_kill_leaves_a_key_that_others_know(world: World) -> None:
    """A serves as the coordinator itself, which others name by its ID."""
    a = world.node("A", start=False)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}?id={a.id}"
    for key, value in (("coord.serve", "true"), ("coord.open", "true"),
                       ("coord.listen", f"tcp://127.0.0.1:{port}"),
                       ("mesh.coordinator", url)):
        a.config(key, value)
    a.start()
    b, d = joined(world, a, "B"), joined(world, a, "D")
    with_all(a, b, d)
    dirs = folders(world, a, b, d)
    tree.write(dirs[0] / "one", b"one")
    settle([a, b, d], dirs)
    assert d.stop() == 0
    # Who is no member is named, and nothing is done.
    plain = world.node("P")
    a.ctl("device", "add", plain.id, "--name", "plain")
    refused = a.ctl("device", "rotate", check=False)
    assert refused.code == REFUSED and "plain" in refused.out, refused
    assert a.ctl("device", "rotate", "--dry-run", "--json").json[
        "left_behind"] == ["plain"]
    assert a.ctl("key", "show", "--json").json["successor"] == ""
    assert plain.ctl("device", "rotate", check=False).code == NOT_FOUND
    # Signed, and nobody has heard: a kill changes nothing of that.
    assert b.stop() == 0
    new = a.ctl("device", "rotate", "--yes", "--json").json["id"]
    a.kill9()
    a.start()
    shown = a.ctl("key", "show", "--json").json
    assert (shown["device"], shown["successor"]) == (a.id, new)
    assert shown["successor_signed"]
    b.start()
    assert rotated(a, a.id) == new
    with_all(a, b)
    wait_until(lambda: b.status()["coordinators"][0]["up"], 60,
               "it is the same coordinator", alive=[a, b])
    tree.write(dirs[1] / "two", b"two")
    settle([a, b], dirs[:2])
    # The certificate has its place, the key not yet.
    assert a.stop() == 0
    (a.home / "key.pem").rename(a.home / "key.pem.next")
    (a.home / "key.pem").write_bytes(b"the one before")
    (a.home / "key.pem").chmod(0o600)
    a.start()
    assert own_id(a) == new
    with_all(a, b)
    # Who reaches nobody else is told by hand; the log comes by that.
    assert b.stop() == 0
    d.start()
    d.ctl("device", "add", new, "--name", "A2", "--addr", a.addr)
    wait_until(lambda: id_of(a, "D") and connected(d, "A2"), 60, "they met",
               alive=[a, d])
    wait_until(lambda: {x["name"] for x in d.status()["devices"]} ==
               {"A2", "B"}, 60, "it is A", alive=[a, d])
    tree.write(dirs[2] / "three", b"three")
    settle([a, d], [dirs[0], dirs[2]])

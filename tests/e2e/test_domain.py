"""A domain with time: keys that change, owners, and no coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.domain import (Coordinator, connected, domain, invite, joined,
                        joiner, names, owner, sees)
from lib.node import ATTENTION, REFUSED, TIMEOUT, USAGE, Node
from lib.proc import wait_until
from lib.world import Pair, World


@pytest.fixture
def coord(world: World) -> Coordinator:
    return Coordinator(world)


def test_a_domain_goes_on_when_its_coordinator_is_gone(
        world: World, coord: Coordinator) -> None:
    """Who was away hears of a removal from another member than the owner."""
    a = owner(world, coord)
    b, d, e = (joined(world, a, n) for n in "BDE")
    for node, other in ((a, "B"), (b, "D"), (b, "E"), (d, "E")):
        wait_until(lambda: connected(node, other), 40,
                   f"{node.name} is with {other}")
    assert d.stop() == 0 and coord.node.stop() == 0
    a.ctl("device", "revoke", "E")
    sees(b, "A", "B", "D")
    wait_until(lambda: "E" not in {x["name"] for x in b.status()["devices"]},
               30, "B has cut it")
    assert a.stop() == 0
    d.start()
    wait_until(lambda: domain(d)["head"] == domain(b)["head"], 60,
               "B has told D")
    sees(d, "A", "B", "D")
    wait_until(lambda: "E" not in {x["name"] for x in d.status()["devices"]},
               30, "D has cut it")
    assert not connected(e, "B") and not connected(e, "D")


def owner_key(node: Node, name: str = "owner.key") -> Path:
    return node.home / "domain" / name


def put_key(node: Node, name: str, text: str) -> None:
    path = owner_key(node, name)
    path.write_text(text)
    path.chmod(0o600)


def test_the_owners_key_is_replaced(world: World, coord: Coordinator) -> None:
    """Members follow by themselves; the old key signs nothing any more."""
    a = owner(world, coord)
    b = joined(world, a, "B")
    old, shown = owner_key(a).read_text(), a.ctl("key", "show", "--json").json
    assert shown["counts"] and shown["device"] == a.id
    a.ctl("key", "rotate")
    new, after = owner_key(a).read_text(), a.ctl("key", "show", "--json").json
    assert new != old and not owner_key(a, "owner.next").exists()
    assert after["owner"] != shown["owner"] and after["counts"]
    a.ctl("device", "rename", "B", "laptop")
    sees(b, "A", "laptop")
    assert [e["kind"] for e in
            b.ctl("domain", "log", "--json").json["entries"]] == \
        ["found", "add", "add", "owners", "rename"]
    assert b.ctl("key", "rotate", check=False).code == REFUSED
    assert b.ctl("key", "show", "--json").json["owner"] == ""
    assert a.stop() == 0
    put_key(a, "owner.key", old)
    a.start()
    assert not a.ctl("key", "show", "--json").json["counts"]
    for what in (("device", "rename", "laptop", "x"), ("key", "rotate")):
        assert a.ctl(*what, check=False).code == REFUSED
    assert domain(a)["head"] == domain(b)["head"]


def test_a_cut_in_a_rotation_leaves_a_key_that_counts(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    invite(a)
    old = owner_key(a).read_text()
    a.ctl("key", "rotate")
    new = owner_key(a).read_text()
    # The entry is in the log, and the files are as they were before.
    assert a.stop() == 0
    put_key(a, "owner.key", old)
    put_key(a, "owner.next", new)
    a.start()
    assert owner_key(a).read_text() == new
    assert not owner_key(a, "owner.next").exists()
    assert a.ctl("key", "show", "--json").json["counts"]
    # A key was made, and there is no entry.
    assert a.stop() == 0
    put_key(a, "owner.next", old)
    a.start()
    assert owner_key(a).read_text() == new
    shown = a.ctl("key", "show", "--json").json
    assert shown["counts"] and shown["next"]
    a.ctl("key", "rotate")
    assert owner_key(a).read_text() not in (old, new)
    assert a.ctl("key", "show", "--json").json["next"] == ""
    invite(a)


def test_two_of_two_owners_must_sign(world: World, coord: Coordinator) -> None:
    """Below that nobody is let in; an owner less counts no more."""
    a = owner(world, coord)
    b = joined(world, a, "B")
    wait_until(lambda: connected(a, "B") and connected(b, "A"), 40,
               "they are together")
    key = b.ctl("key", "new", "-q").out.strip()
    assert key.startswith("HFO-") and not domain(b)["owner"]
    a.ctl("domain", "owner", "add", key)
    wait_until(lambda: domain(b)["owner"], 30, "B is an owner's, too")
    assert a.ctl("domain", "quorum", "3", check=False).code == USAGE
    b.ctl("domain", "quorum", "2")
    wait_until(lambda: domain(a)["need"] == 2, 30, "two must sign")
    d = joiner(world, "D")
    told = d.ctl("join", invite(a)["link"], "--json", check=False)
    assert (told.code, told.json["state"]) == (ATTENTION, "pending"), told
    wait_until(lambda: domain(b)["ballot"], 30, "B hears of it")
    for node, here in ((a, True), (b, False)):
        [waits] = domain(node)["ballot"]
        assert (waits["name"], waits["signed"], waits["need"],
                waits["signed_here"]) == ("D", 1, 2, here)
        assert names(node) == {"A", "B"}
    a.restart()
    assert [w["name"] for w in domain(a)["ballot"]] == ["D"]
    b.ctl("device", "approve", "D")
    for node in (a, b, d):
        sees(node, "A", "B", "D")
        wait_until(lambda: domain(node)["ballot"] == [], 30, "it is done")
    # Any change, and the other way round.
    wait_until(lambda: connected(a, "B") and connected(b, "A"), 40,
               "they are together again")
    assert b.ctl("device", "rename", "D", "laptop",
                 check=False).code == ATTENTION
    wait_until(lambda: domain(a)["ballot"], 30, "A hears of it")
    a.ctl("domain", "sign", domain(a)["ballot"][0]["id"])
    sees(b, "A", "B", "laptop")
    assert a.ctl("domain", "owner", "remove", key, check=False).code == USAGE
    assert a.ctl("domain", "quorum", "1", check=False).code == ATTENTION
    wait_until(lambda: domain(b)["ballot"], 30, "B hears of it")
    b.ctl("domain", "sign", domain(b)["ballot"][0]["id"])
    wait_until(lambda: domain(a)["need"] == 1, 30, "one is enough again")
    a.ctl("domain", "owner", "remove", key)
    wait_until(lambda: not domain(b)["owner"], 30, "B is none any more")
    assert b.ctl("device", "rename", "laptop", "x",
                 check=False).code == REFUSED


def may_ask(node: Node, other: str) -> bool:
    """Is it answered?  Refused is the only other thing that may be."""

    def ask() -> Any:
        result = node.ctl("ping", other, "-c", "1", "--json", check=False)
        return result if result.code in (0, REFUSED) else None

    result = wait_until(ask, 60, f"{other} answers {node.name}")
    [ping] = result.json["pings"]
    assert ping["refused"] == (result.code == REFUSED)
    return result.code == 0


def test_policy_says_who_may_ask_whom(world: World, coord: Coordinator) \
        -> None:
    """A rule holds on running nodes as soon as it is there."""
    a = owner(world, coord)
    b, d = joined(world, a, "B"), joined(world, a, "D")
    for node, other in ((a, "B"), (b, "A"), (b, "D"), (d, "B")):
        wait_until(lambda: connected(node, other), 40,
                   f"{node.name} is with {other}")
    assert may_ask(b, "A") and may_ask(b, "D") and may_ask(d, "B")
    there = b.ctl("device", "diag", "A", "--json").json["there"]
    assert there["name"] == "B" and there["seen"].startswith("127.0.0.1:")
    a.ctl("domain", "forbid", "B", "any", "diag")
    assert not may_ask(b, "A"), "at once where the owner is"
    wait_until(lambda: not may_ask(b, "D"), 30, "and where it is heard")
    assert "policy" in b.ctl("device", "diag", "A").out
    assert b.ctl("device", "diag", "A", "--json").json["refused"]
    assert may_ask(a, "B") and may_ask(d, "B"), "one way alone"
    a.ctl("domain", "allow", "B", "D", "diag")
    wait_until(lambda: may_ask(b, "D"), 30, "the newest rule decides")
    assert not may_ask(b, "A")
    # A device's own switch, whatever the owner allows.
    d.config("device.B.diag", "false")
    assert not may_ask(b, "D") and connected(b, "D")


def test_who_is_no_member_gets_silence(pair: Pair) -> None:
    pair.a.config("device.B.diag", "false")
    result = pair.b.ctl("ping", "A", "-c", "1", check=False)
    assert result.code == TIMEOUT and "no answer" in result.out, result
    assert pair.a.ctl("ping", "B", "-c", "1").code == 0

"""A domain: devices join by a code, are revoked, renamed, and recovered."""

from __future__ import annotations

import hashlib
import ssl
import struct

import pytest

from lib import bep
from lib import coord as liars
from lib.domain import (Coordinator, connected, domain, invite, join, joined,
                        joiner, names, owner, sees)
from lib.node import ATTENTION, NOT_FOUND, REFUSED, USAGE, Node
from lib.proc import free_port, wait_until
from lib.world import FOLDER, World


@pytest.fixture
def coord(world: World) -> Coordinator:
    return Coordinator(world)


def test_two_that_joined_sync_a_folder(world: World, coord: Coordinator) \
        -> None:
    """No line about a device is in either file, and no address."""
    a = owner(world, coord)
    told = invite(a)
    assert told["recovery"].startswith("HFR-"), "shown at the founding"
    b = joiner(world, "B")
    answer = join(b, told["link"])
    assert answer["state"] == "done", answer
    assert {m["name"] for m in answer["members"]} == {"A", "B"}
    assert "recovery" not in invite(a), "and never again"
    for node, other in ((a, "B"), (b, "A")):
        sees(node, "A", "B")
        listed = node.ctl("device", "list", "--json").json["devices"]
        assert [(d["name"], d["source"]) for d in listed] == \
            [(other, "member")]
        assert "device" not in (node.home / "config").read_text()
        node.folder_add(node.home.parent / f"{node.name}-d", FOLDER, other)
    wait_until(lambda: connected(a, "B") and connected(b, "A"), 30,
               "they have found each other")
    (a.home.parent / "A-d" / "hello").write_text("world")
    a.scan(FOLDER)
    wait_until(lambda: (b.home.parent / "B-d" / "hello").exists(), 30,
               "the file came")
    log = a.ctl("domain", "log", "--json").json["entries"]
    assert [e["kind"] for e in log] == ["found", "add", "add"]
    assert [e["by"] for e in log] == ["A"] * 3


def test_the_hub_that_coordinates_may_be_the_owner(world: World) -> None:
    """Two machines are enough: it holds a line to itself."""
    port = free_port()
    a = world.node("A", start=False)
    a.config("coord.serve", "true")
    a.config("coord.listen", f"tcp://127.0.0.1:{port}")
    a.config("mesh.coordinator", f"tcp://127.0.0.1:{port}?id={a.id}")
    a.start()
    b = joined(world, a, "B")
    sees(b, "A", "B")
    wait_until(lambda: connected(b, "A"), 30, "they are together")
    a.restart()
    wait_until(lambda: connected(b, "A"), 40, "they are together again")


def test_a_code_that_is_wrong_used_or_late_says_so(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    first = invite(a)
    b, c = joiner(world, "B"), joiner(world, "D")
    swap = {"0": "1"}.get(first["code"][-1], "0")
    wrong = first["link"].replace(first["code"], first["code"][:-1] + swap)
    for why in ("code-wrong", "code-wrong", "code-burnt"):
        result = c.ctl("join", wrong, "--json", check=False)
        assert (result.code, result.json["why"]) == (REFUSED, why), result
    result = b.ctl("join", first["link"], "--json", check=False)
    assert (result.code, result.json["why"]) == (REFUSED, "code-burnt")
    second = invite(a)
    assert join(b, second["link"])["state"] == "done"
    result = c.ctl("join", second["link"], check=False)
    assert result.code == REFUSED and "code-used" in result.err, result
    third = invite(a, "--expires", "1s")
    wait_until(lambda: all(i["state"] == "over"
                           for i in domain(a)["invites"]), 20, "it expired")
    result = c.ctl("join", third["link"], "--json", check=False)
    assert (result.code, result.json["why"]) == (REFUSED, "code-expired")
    result = c.ctl("join", "1-0000-0000", "--json", check=False)
    assert (result.code, result.json["why"]) == (REFUSED, "code-unknown")
    assert c.ctl("join", "no code", check=False).code == USAGE
    assert domain(c)["state"] == "none"
    assert b.ctl("join", third["link"], check=False).code == REFUSED, \
        "it is a member already"
    assert b.ctl("device", "invite", check=False).code == REFUSED, \
        "it has no owner's key"


def test_a_code_outlives_who_made_it_and_the_coordinator(
        world: World, coord: Coordinator) -> None:
    """Both are killed; wrong guesses count on, and it is good once."""
    a = owner(world, coord)
    told = invite(a)
    swap = {"0": "1"}.get(told["code"][-1], "0")
    wrong = told["link"].replace(told["code"], told["code"][:-1] + swap)
    b = joiner(world, "B")
    for n in range(2):
        assert join(b, wrong)["why"] == "code-wrong"
        for node in (a, coord.node):
            node.kill9()
            node.start()
        wait_until(lambda: coord.node.status()["coordinator"]["boxes"] == 1
                   and a.status()["coordinators"][0]["up"], 60,
                   "the box is there again", alive=[a, coord.node])
        made = domain(a)["invites"]
        assert [(i["state"], i["wrong"]) for i in made] == [("open", n + 1)]
    assert join(b, told["link"])["state"] == "done"
    a.kill9()
    a.start()
    assert domain(a)["invites"] == []


def test_a_device_waits_for_its_approval(world: World, coord: Coordinator) \
        -> None:
    a = owner(world, coord)
    b = joined(world, a, "B")
    c = joiner(world, "D")
    told = invite(a, "--approve")
    result = c.ctl("join", told["link"], "--json", check=False)
    assert (result.code, result.json["state"]) == (ATTENTION, "pending")
    assert [p["name"] for p in domain(a)["pending"]] == ["D"]
    assert names(a) == names(b) == {"A", "B"}, "nobody else hears of it"
    a.restart()
    c.restart()
    assert domain(c)["state"] == "pending"
    assert [p["name"] for p in domain(a)["pending"]] == ["D"]
    assert a.ctl("device", "approve", "X", check=False).code == NOT_FOUND
    a.ctl("device", "approve", "D")
    for node in (a, b, c):
        sees(node, "A", "B", "D")
    assert domain(c)["state"] == "member"
    assert domain(a)["pending"] == []


def test_who_is_revoked_is_cut_everywhere(world: World, coord: Coordinator) \
        -> None:
    """At once where the word arrives; on return where it could not."""
    a = owner(world, coord)
    b, d, e = (joined(world, a, n) for n in "BDE")
    wait_until(lambda: connected(b, "E") and connected(a, "E"), 30,
               "E is with both")
    assert d.stop() == 0
    a.folder_add(a.home.parent / "A-d", FOLDER, "E", "B")
    a.ctl("device", "revoke", "E")
    assert names(a) == {"A", "B", "D"}
    assert "E" not in {x["name"] for x in a.status()["devices"]}
    sees(b, "A", "B", "D")
    wait_until(lambda: "E" not in {x["name"] for x in b.status()["devices"]},
               20, "B has cut it")
    d.start()
    sees(d, "A", "B", "D")
    for node in (a, b, d):
        node.ctl("config", "check")
        node.restart()
        assert names(node) == {"A", "B", "D"}, "a restart brings nobody back"
    assert not connected(b, "E")
    # A new code brings it back, by a new entry.
    told = join(e, invite(a)["link"])
    assert told["state"] == "done", told
    sees(b, "A", "B", "D", "E")
    assert [x["name"] for x in domain(e)["members"]] == ["A", "B", "D", "E"]


def test_a_rename_is_everybodys(world: World, coord: Coordinator) -> None:
    """Folders shared with the old name stay shared."""
    a = owner(world, coord)
    b = joiner(world, "B")
    assert join(b, invite(a)["link"], "--name", "old")["state"] == "done"
    a.folder_add(a.home.parent / "A-d", FOLDER, "old")
    a.ctl("device", "rename", "old", "laptop")
    for node in (a, b):
        sees(node, "A", "laptop")
    assert a.ctl("device", "show", "old", check=False).code == NOT_FOUND
    shown = a.ctl("device", "show", "laptop", "--json").json
    assert shown["folders"] == [FOLDER] and shown["id"] == b.id
    a.ctl("device", "pause", "laptop")
    assert a.ctl("device", "show", "laptop", "--json").json["paused"]
    assert a.ctl("device", "remove", "laptop", check=False).code == REFUSED


def test_the_recovery_key_gives_the_domain_back(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    told = invite(a)
    b = joiner(world, "B")
    assert join(b, told["link"])["state"] == "done"
    assert b.ctl("domain", "recover", check=False,
                 stdin="nonsense\n").code == USAGE
    wrong = "HFR-" + a.id
    assert b.ctl("domain", "recover", check=False,
                 stdin=wrong + "\n").code == REFUSED
    b.ctl("domain", "recover", stdin=told["recovery"] + "\n")
    wait_until(lambda: domain(a)["seq"] == domain(b)["seq"], 20,
               "A has heard of it")
    assert a.ctl("device", "rename", "B", "x", check=False).code == REFUSED, \
        "the old key is worth nothing"
    b.ctl("device", "revoke", "A")
    sees(b, "B")
    wait_until(lambda: domain(a)["state"] == "removed" or names(a) == {"B"}
               or not a.status()["devices"], 20, "A is out")
    c = joined(world, b, "D")
    sees(c, "B", "D")
    key = b.home / "domain" / "owner.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_policy_is_applied_at_once(world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    b, d = joined(world, a, "B"), joined(world, a, "D")
    wait_until(lambda: connected(b, "D") and connected(a, "D"), 30,
               "all are together")
    a.ctl("domain", "forbid", "B", "D", "sync")
    wait_until(lambda: not connected(b, "D") and not connected(d, "B"), 20,
               "B and D have parted")
    shown = b.ctl("device", "show", "D", "--json").json
    assert shown["denied"] and shown["paused"]
    assert connected(a, "D") and connected(a, "B")
    a.ctl("domain", "allow", "B", "D", "sync")
    wait_until(lambda: connected(b, "D"), 30, "together again")
    assert a.ctl("domain", "allow", "B", "Z", check=False).code == NOT_FOUND
    assert a.ctl("domain", "allow", "B", "D", "fly", check=False).code == USAGE


def test_a_restart_needs_no_coordinator(world: World, coord: Coordinator) \
        -> None:
    """What was pinned stays, a torn tail is dropped, a shorter log is none."""
    a = owner(world, coord)
    b = joined(world, a, "B")
    wait_until(lambda: connected(a, "B"), 30, "they are together")
    assert a.stop() == 0 and b.stop() == 0 and coord.node.stop() == 0
    log = b.home / "domain" / "log"
    whole = log.read_bytes()
    log.write_bytes(whole + b"\x05\x00")
    a.start()
    b.start()
    assert log.read_bytes() == whole
    assert names(b) == {"A", "B"}
    wait_until(lambda: connected(a, "B"), 40, "they are together again")
    # An older log in its place: nothing of it counts before it has caught up.
    assert b.stop() == 0
    cut = whole[:len(whole) - 20]
    log.write_bytes(cut)
    b.start()
    assert [d["name"] for d in b.status()["devices"]] == ["A"]
    coord.node.start()
    sees(b, "A", "B")
    assert len(log.read_bytes()) == len(whole)


def entries_of(node: Node) -> list[bytes]:
    """What the node has of its domain's log: docs/formats.md."""
    data, out = (node.home / "domain" / "log").read_bytes(), []
    while data:
        size, number = struct.unpack("<IQ", data[:12])
        assert number == len(out) + 1
        out.append(data[12:12 + size])
        data = data[12 + size + 8:]
    return out


def forgeries(true: list[bytes]) -> list[tuple[int, list[bytes]]]:
    """Logs that a coordinator without the owner's key can make."""
    thief, stranger = liars.Log("home"), bep.Identity.make()
    body = next(value for number, value in liars.fields(true[-1])
                if number == 1)
    thief.entries, thief.head = list(true), hashlib.sha256(body).digest()
    more = liars.field(7, stranger.raw) + liars.field(9, "thief")
    added = thief.sign(thief.body(thief.ADD, more))
    bent = bytearray(true[-1])
    bent[-1] ^= 1
    return [
        (1, true + [added]),                     # signed by somebody else
        (len(true) + 1, [added]),
        (len(true) + 1, [true[-1]]),             # again, as another one
        (len(true), [bytes(bent)]),
        (1, liars.Log("home").add(stranger).entries),  # another domain
        (1, true[:2]),                           # as it was before B came
        (1, [b"", b"\xff" * 4096]),
    ]


def test_a_lying_coordinator_adds_nobody_and_removes_nobody(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    b = joined(world, a, "B")
    before = domain(b)
    true = entries_of(b)
    assert len(true) == before["seq"]
    secret = (a.home / "domain" / "owner.key").read_text().strip()
    for path in coord.node.home.rglob("*"):
        assert not path.is_file() or \
            secret.encode() not in path.read_bytes(), path
    told = []

    def script(line: ssl.SSLSocket) -> None:
        line.sendall(liars.frame(liars.WELCOME, version=1, idle=60, seq=99))
        for seq, entries in forgeries(true):
            line.sendall(liars.frame(liars.ENTRIES, seq=seq, entry=entries))
        line.sendall(liars.frame(liars.PING))
        while True:
            data = line.recv(65536)
            if not data:
                return
            if liars.frame(liars.PONG) in data:
                told.append(True)

    liar = liars.Liar(ssl.PEM_cert_to_DER_cert(
        (b.home / "cert.pem").read_text()), script)
    try:
        b.config("mesh.coordinator", liar.url)
        wait_until(lambda: told, 60, "B has heard all of it", alive=[b])
        after = domain(b)
        assert after["head"] == before["head"]
        assert after["members"] == before["members"]
        assert entries_of(b) == true
        assert "verdict=invalid" in b.log_text()
    finally:
        liar.close()
    b.restart()
    assert names(b) == {"A", "B"}

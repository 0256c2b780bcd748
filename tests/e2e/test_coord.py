"""Our coordinator against members, strangers and liars of our own making, and
our nodes against a coordinator that lies."""

from __future__ import annotations

import base64
import json
import random
import ssl
import time
from pathlib import Path
from typing import Callable

import pytest

from lib import bep, coord, strace, tree
from lib.node import Node
from lib.proc import free_port, wait_until
from lib.strace import Faults
from lib.world import FOLDER, World, settle
from test_path import own_network  # noqa: F401, a fixture



def serving(world: World, name: str = "R", **config: str) -> Node:
    """A node that is a coordinator, not started."""
    made = world.node(name, start=False)
    made.coord_addr = f"tcp://127.0.0.1:{free_port()}"
    made.config("coord.serve", "true")
    made.config("coord.listen", made.coord_addr)
    for key, value in config.items():
        made.config("coord." + key, value)
    return made


@pytest.fixture
def hub(world: World) -> Node:
    made = serving(world, open="true")
    made.start()
    return made


def founded(hub: Node, log: coord.Log, who: bep.Identity) -> coord.Client:
    """A member that has brought the domain."""
    client = coord.Client(hub.coord_addr, who)
    assert client.hello(log)["type"] == coord.WELCOME
    client.send(coord.ENTRIES, seq=1, entry=log.entries)
    client.sync()
    return client


def member(hub: Node, log: coord.Log, who: bep.Identity) -> coord.Client:
    client = coord.Client(hub.coord_addr, who)
    got = client.hello(log)
    assert got["type"] == coord.WELCOME, got
    assert got["seq"] == len(log.entries)
    return client


def audit(node: Node) -> list[str]:
    return [line["what"]
            for line in node.ctl("coord", "audit", "--json").json["lines"]]


def test_members_find_each_other_and_are_told_at_once(hub: Node) -> None:
    a, b = bep.Identity.make(), bep.Identity.make()
    log = coord.Log().add(a, b)
    first = founded(hub, log, a)
    second = member(hub, log, b)
    first.send(coord.WANT, device=[b.raw])
    assert first.expect(coord.WHERE).get("address") is None
    second.send(coord.PUBLISH, address=["tcp://10.1.2.3:22000"])
    got = first.expect(coord.WHERE)
    assert got["device"] == [b.raw] and got["here"] == 1
    assert got["address"] == [b"tcp://10.1.2.3:22000"]
    # Pushed, and not asked for: it comes by itself.
    second.send(coord.PUBLISH, address=["quic://10.9.9.9:1"])
    assert first.expect(coord.WHERE)["address"] == [b"quic://10.9.9.9:1"]
    second.send(coord.SIGNAL, device=a.raw, body=b"knock")
    got = first.expect(coord.SIGNAL)
    assert got["device"] == [b.raw] and got["body"] == b"knock"
    second.close()
    got = first.expect(coord.WHERE)
    assert not got.get("here")
    assert got["address"] == [b"quic://10.9.9.9:1"]
    status = hub.ctl("coord", "status", "--json").json["coordinator"]
    assert status["domains"][0]["members"] == 2
    assert status["domains"][0]["here"] == 1
    assert len(status["stun_ports"]) == 2


def test_who_is_no_member_gets_nothing(hub: Node) -> None:
    a, b, evil = (bep.Identity.make() for _ in range(3))
    log = coord.Log().add(a, b)
    first = founded(hub, log, a)
    first.send(coord.PUBLISH, address=["tcp://10.1.2.3:22000"])
    first.sync()
    stranger = coord.Client(hub.coord_addr, evil)
    got = stranger.hello(log)
    assert got["type"] == coord.REFUSED and got["code"] == coord.NOT_MEMBER
    assert stranger.ended()
    # With more entries than there are, it may show them, and asks in vain.
    stranger = coord.Client(hub.coord_addr, evil)
    assert stranger.hello(log, seq=99)["type"] == coord.WELCOME
    stranger.send(coord.WANT, device=[a.raw])
    stranger.send(coord.SIGNAL, device=a.raw, body=b"knock")
    assert stranger.expect(coord.REFUSED)["code"] == coord.NOT_MEMBER
    stranger.close()
    # Without a domain: letters alone.
    stranger = coord.Client(hub.coord_addr, evil)
    assert stranger.hello()["type"] == coord.WELCOME
    stranger.send(coord.WANT, device=[a.raw])
    assert stranger.expect(coord.REFUSED)["code"] == coord.NOT_MEMBER
    stranger.close()
    assert first.sync() == []
    assert "refuse-member" in audit(hub)


def test_two_domains_never_meet(hub: Node) -> None:
    a, x = bep.Identity.make(), bep.Identity.make()
    ours, theirs = coord.Log("ours").add(a), coord.Log("theirs").add(x)
    first, other = founded(hub, ours, a), founded(hub, theirs, x)
    other.send(coord.PUBLISH, address=["tcp://10.1.2.3:22000"])
    other.sync()
    first.send(coord.WANT, device=[x.raw])
    got = first.expect(coord.WHERE)
    assert got.get("address") is None and not got.get("here")
    first.send(coord.SIGNAL, device=x.raw, body=b"knock")
    assert first.expect(coord.REFUSED)["code"] == coord.NOT_HERE
    assert other.sync() == []


def test_forged_entries_are_refused_and_a_removed_device_is_cut(
        hub: Node) -> None:
    a, b, evil = (bep.Identity.make() for _ in range(3))
    log = coord.Log().add(a, b)
    first, second = founded(hub, log, a), member(hub, log, b)
    body = log.body(coord.Log.ADD, coord.field(7, evil.raw)
                    + coord.field(9, "evil"))
    forged = log.sign(body, coord.ed25519.Ed25519PrivateKey.generate())
    first.send(coord.ENTRIES, seq=len(log.entries) + 1, entry=[forged])
    assert first.expect(coord.REFUSED)["code"] == coord.BAD_ENTRY
    assert second.sync() == []
    log.remove(b)
    first.send(coord.ENTRIES, seq=len(log.entries), entry=log.entries[-1:])
    assert second.expect(coord.ENTRIES)["entry"] == log.entries[-1:]
    assert second.expect(coord.REFUSED)["code"] == coord.NOT_MEMBER
    assert second.ended()
    assert first.expect(coord.ENTRIES)["seq"] == len(log.entries)
    what = audit(hub)
    assert "refuse-entry" in what and "remove" in what and "cut" in what


def test_who_may_bring_a_domain(world: World) -> None:
    known, other = bep.Identity.make(), bep.Identity.make()
    closed = serving(world)
    closed.device_add(known.id, "known", "tcp://127.0.0.1:1")
    closed.start()
    client = coord.Client(closed.coord_addr, other)
    got = client.hello(coord.Log().add(other))
    assert got["type"] == coord.REFUSED and got["code"] == coord.NO_DOMAIN
    log = coord.Log().add(known, other)
    founded(closed, log, known)
    # Once it is here, whoever is in it may come.
    member(closed, log, other)
    assert "refuse-domain" in audit(closed)


def test_what_is_kept_is_public_and_survives(hub: Node, tmp_path: Path) -> None:
    a, b = bep.Identity.make(), bep.Identity.make()
    log = coord.Log("my things").add(a, b)
    founded(hub, log, a).send(coord.PUBLISH, address=["tcp://10.1.2.3:5"]) \
        .sync()
    hub.kill9()
    # The last record is torn, as by a power cut, and one is added.
    kept = hub.home / "coord" / (log.id.hex() + ".log")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-7])
    store = b"".join(p.read_bytes() for p in (hub.home / "coord").iterdir())
    key = (hub.home / "key.pem").read_bytes()
    secret = base64.b64decode(b"".join(key.splitlines()[1:-1]))
    for raw in (secret, secret[-32:], coord.serialization and
                log.key.private_bytes(
                    coord.serialization.Encoding.Raw,
                    coord.serialization.PrivateFormat.Raw,
                    coord.serialization.NoEncryption())):
        for form in (raw, raw.hex().encode(), base64.b64encode(raw)):
            assert form not in store
    assert b"my things" in store
    hub.start()
    # What was torn off, its members bring again.
    client = coord.Client(hub.coord_addr, a)
    assert client.hello(log)["seq"] == len(log.entries) - 1
    client.send(coord.ENTRIES, seq=len(log.entries), entry=log.entries[-1:])
    assert client.expect(coord.ENTRIES)["seq"] == len(log.entries)
    assert kept.read_bytes() == whole
    hub.restart()
    member(hub, log, b)


@pytest.mark.skipif(not strace.usable(), reason="no strace, or not root")
def test_an_entry_is_told_when_a_worker_has_flushed_it(hub: Node) -> None:
    """The disk takes half a second, and the loop does not wait for it."""
    a, b, c = (bep.Identity.make() for _ in range(3))
    log = coord.Log().add(a, b)
    first, second = founded(hub, log, a), member(hub, log, b)
    log.add(c)
    with Faults(hub, "fdatasync:delay_enter=500000") as faults:
        start = time.monotonic()
        first.send(coord.ENTRIES, seq=len(log.entries), entry=log.entries[-1:])
        hub.status()
        for client in (first, second):
            assert client.expect(coord.ENTRIES)["seq"] == len(log.entries)
        assert time.monotonic() - start >= 0.5
    lines = [line for line in faults.log.read_text().splitlines()
             if "fdatasync(" in line]
    assert lines and all(int(line.split()[0]) != hub.pid for line in lines)
    # Nothing is said twice or out of order afterwards.
    assert first.sync() == [] and second.sync() == []


def test_the_audit_log_shows_what_was_changed(hub: Node) -> None:
    a = bep.Identity.make()
    founded(hub, coord.Log().add(a), a)
    lines = hub.ctl("coord", "audit", "--json").json["lines"]
    assert [line["what"] for line in lines] == ["found", "found", "add"]
    assert all(line["actor"] == a.id and line["time"] for line in lines)
    good = hub.ctl("coord", "audit", "--verify", "--json").json
    assert good["good"] and good["head"] == lines[-1]["hash"]
    path = hub.home / "coord" / "audit.log"
    text = path.read_text()
    path.write_text(text.replace('"what":"add"', '"what":"del"'))
    bad = hub.ctl("coord", "audit", "--verify", "--json", check=False)
    assert bad.code == 1 and not bad.json["good"]
    path.write_text("".join(text.splitlines(True)[:1]
                            + text.splitlines(True)[2:]))
    assert hub.ctl("coord", "audit", "--verify", check=False).code == 1
    path.write_text(text)
    hub.ctl("coord", "audit", "--verify")


def test_floods_are_bounded(hub: Node) -> None:
    a, b = bep.Identity.make(), bep.Identity.make()
    log = coord.Log().add(a, b)
    first = founded(hub, log, a)
    # A member that says too much goes, and comes again.
    flood = member(hub, log, b)
    with pytest.raises((bep.Closed, OSError, AssertionError)):
        for _ in range(100_000):
            flood.send(coord.SIGNAL, device=a.raw, body=b"x" * 1000)
        assert flood.ended()
        raise bep.Closed("ended")
    assert sum(m["type"] == coord.SIGNAL for m in first.sync()) < 2000
    member(hub, log, b)
    # Boxes are not found by trying.
    tried = 0
    stranger = coord.Client(hub.coord_addr, bep.Identity.make())
    stranger.hello()
    try:
        for number in range(1000, 2000):
            stranger.send(coord.MAIL, box=number, body=b"?")
            stranger.expect(coord.REFUSED)
            tried += 1
    except (bep.Closed, OSError, AssertionError):
        pass
    assert tried < 10
    # Garbage, and lines that say nothing, change nothing for the others.
    dice = random.Random(4)
    for _ in range(5):
        junk = coord.Client(hub.coord_addr, bep.Identity.make())
        junk.raw(dice.randbytes(3000))
    huge = coord.Client(hub.coord_addr, bep.Identity.make())
    huge.raw(b"\xff\xff\xff\xff")
    assert huge.ended()
    first.send(coord.WANT, device=[b.raw])
    first.expect(coord.WHERE)
    assert hub.running


def test_a_coordinator_alone_needs_no_folder(world: World) -> None:
    alone = serving(world, open="true")
    alone.folder_add(world.dir("f"), FOLDER)
    alone.argv.append("--coordinator")
    alone.start()
    a = bep.Identity.make()
    founded(alone, coord.Log().add(a), a)
    status = alone.status()
    assert status["folders"] == [] or not status["listen"]
    assert status["listen"] == []
    assert status["coordinator"]["domain_count"] == 1


def line_of(node: Node) -> dict:
    return node.status()["coordinators"][0]


def test_bytes_to_a_coordinator_do_not_grow_with_files(world: World,
                                                       hub: Node) -> None:
    a, b = world.node("A", start=False), world.node("B", start=False)
    dirs = [world.dir("a"), world.dir("b")]
    for node, peer, path in ((a, b, dirs[0]), (b, a, dirs[1])):
        node.device_add(peer.id, peer.name, peer.addr)
        node.folder_add(path, FOLDER, peer.name)
        node.config("mesh.coordinator", f"{hub.coord_addr}?id={hub.id}")
        node.start()
    for node in (a, b):
        wait_until(lambda: line_of(node)["up"], 60, "a line",
                   alive=[node, hub])
    canary = b"canary-" + b"q" * 1000
    (dirs[0] / "secret-name").write_bytes(canary * 20_000)
    settle([a, b], dirs)
    for node in (a, b):
        line = line_of(node)
        assert line["bytes_in"] + line["bytes_out"] < 65536, line
    for path in (hub.home / "coord").iterdir():
        text = path.read_bytes()
        assert canary[:40] not in text and b"secret-name" not in text
    # It is gone: what is connected stays, and files go on.
    hub.kill9()
    wait_until(lambda: not line_of(a)["up"], 60, "the line is gone", alive=[a])
    assert line_of(a)["error"]
    (dirs[1] / "after").write_bytes(b"goes on")
    settle([a, b], dirs)
    hub.start()
    wait_until(lambda: line_of(a)["up"], 120, "a line again", alive=[a, hub])


Script = Callable[[ssl.SSLSocket], None]


def says(*frames: bytes) -> Script:
    def script(line: ssl.SSLSocket) -> None:
        for data in frames:
            line.sendall(data)
        while line.recv(65536):
            pass
    return script


def flood(line: ssl.SSLSocket) -> None:
    line.sendall(coord.frame(coord.WELCOME, version=1))
    while True:
        line.sendall(coord.frame(coord.MAIL, box=1, body=b"x" * 1200) * 100)


WELCOMED = coord.frame(coord.WELCOME, version=1, idle=1)
LIES = {
    "garbage": says(b"\x00\x00\x00\x05\xff\xff\xff\xff\xff"),
    "huge": says(b"\xff\xff\xff\xff" + b"x" * 1000),
    "early": says(coord.frame(coord.ENTRIES, seq=1, entry=[b"x"])),
    "twice": says(WELCOMED, WELCOMED),
    "box": says(WELCOMED, coord.frame(coord.BOX, box=7)),
    "where": says(WELCOMED, coord.frame(
        coord.WHERE, device=b"x" * 32, address=["tcp://127.0.0.1:9"])),
    "unwelcome": says(coord.frame(coord.REFUSED, code=1, of=1,
                                  text="\x1b[31mno")),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lying_coordinator_is_left_for_a_while(world: World,
                                                 lie: str) -> None:
    node = world.node("A", start=False)
    pem = (node.home / "cert.pem").read_text()
    liar = coord.Liar(ssl.PEM_cert_to_DER_cert(pem), LIES[lie])
    try:
        node.config("mesh.coordinator", liar.url)
        node.start()
        wait_until(lambda: liar.lines > 1, 60, "it comes again", alive=[node])
        wait_until(lambda: not line_of(node)["up"] and line_of(node)["error"],
                   60, "it says why", alive=[node])
        assert "\x1b" not in json.dumps(node.status())
        # With pauses that grow, not as fast as it is lied to.
        assert liar.lines < 100
    finally:
        liar.close()


def test_a_coordinator_that_floods_costs_no_memory(world: World) -> None:
    node = world.node("A", start=False)
    pem = (node.home / "cert.pem").read_text()
    liar = coord.Liar(ssl.PEM_cert_to_DER_cert(pem), flood)
    try:
        node.config("mesh.coordinator", liar.url)
        node.start()
        wait_until(lambda: node.status()["coordinators"][0]["bytes_in"]
                   > 5_000_000, 120, "it is flooded", alive=[node])
        rss = next(int(line.split()[1]) for line in
                   Path(f"/proc/{node.pid}/status").read_text().splitlines()
                   if line.startswith("VmRSS"))
        assert rss < 300_000
    finally:
        liar.close()


def test_only_the_coordinator_that_id_names_is_told_anything(
        world: World, hub: Node) -> None:
    node = world.node("A", start=False)
    node.config("mesh.coordinator",
                f"{hub.coord_addr}?id={bep.Identity.make().id}")
    node.start()
    wait_until(lambda: "another device" in line_of(node)["error"], 60,
               "another device", alive=[node, hub])
    assert line_of(node)["bytes_out"] == 0


def test_three_devices_follow_one_that_moves(world: World, hub: Node) -> None:
    """No address in any file; the coordinator goes, and what was heard of it
    is enough for a restart."""
    a = world.node("A", start=False)
    a.config("mesh.coordinator", f"{hub.coord_addr}?id={hub.id}")
    a.start()
    nodes = [a]
    for name in "BD":
        node = world.node(name)
        node.ctl("join", a.ctl("device", "invite", "--json").json["link"])
        nodes.append(node)

    def together() -> bool:
        return all(sum(d["connected"] for d in n.status()["devices"]) == 2
                   for n in nodes)

    def ways(node: Node) -> set[str]:
        return {w["address"] for w in node.device("A")["addresses"]}

    wait_until(together, 60, "all are together", alive=nodes)
    moved = f"tcp://127.0.0.1:{free_port()}"
    a.config("mesh.listen", moved)
    for node in nodes[1:]:
        wait_until(lambda: moved in ways(node), 60, "it hears of the move",
                   alive=nodes)
    wait_until(lambda: all((n.home / "where").exists() for n in nodes), 60,
               "it is written down", alive=nodes)
    hub.kill9()
    wait_until(lambda: not any(line_of(n)["up"] for n in nodes), 60,
               "the coordinator is gone", alive=nodes)
    assert together()
    for node in nodes:
        node.restart()
    wait_until(together, 60, "together without it", alive=nodes)
    assert not any(line_of(n)["up"] for n in nodes)


def test_scope_lan_lets_nobody_in_from_outside(
        world: World, own_network: list[str]) -> None:
    hub = world.node("R", start=False, wrapper=own_network)
    node = world.node("A", start=False, wrapper=own_network)
    port = free_port()
    hub.config("coord.serve", "true")
    hub.config("coord.listen", f"tcp://0.0.0.0:{port}")
    node.config("mesh.coordinator", f"tcp://192.0.2.1:{port}?id={hub.id}")
    for one in (hub, node):
        one.start()
    wait_until(lambda: line_of(node)["up"], 60, "a line", alive=[hub, node])
    hub.config("mesh.scope", "lan")
    wait_until(lambda: not line_of(node)["up"], 60, "it is cut",
               alive=[hub, node])
    assert line_of(hub)["up"], "its own line is of this machine"
    hub.config("mesh.scope", "any")
    node.ctl("refresh")
    wait_until(lambda: line_of(node)["up"], 120, "a line again",
               alive=[hub, node])

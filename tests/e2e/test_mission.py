"""Promises of docs/mission.md that no other file is about: from outside."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import ssl
from pathlib import Path
from typing import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives import serialization

from lib import bep, tree
from lib import coord as wire
from lib.domain import (Coordinator, connected, invite, join, joined, joiner,
                        owner, sees)
from lib.longway import LongWay
from lib.node import ATTENTION, NOT_FOUND, ROOT, Node
from lib.proc import SANITIZED, free_port, wait_until
from lib.proxy import Proxy
from lib.world import FOLDER, World, settle


@pytest.fixture
def coord(world: World) -> Coordinator:
    return Coordinator(world)


# ---- two steps, as they are written ----------------------------------------

def written_steps() -> list[list[str]]:
    """The commands of docs/coordinator.md, a list for each machine."""
    text = (ROOT / "docs/coordinator.md").read_text()
    part = text.split("## Two steps")[1].split("\n## ")[0]
    blocks, last = [], ""
    for line in part.splitlines():
        if line.startswith("    "):
            if not last.startswith("    "):
                blocks.append([])
            blocks[-1].append(line.split("#")[0].strip())
        last = line
    return blocks


def test_the_two_steps_work_as_they_are_written(world: World) -> None:
    at_hub, at_first, at_others = written_steps()
    hub, a, b = (world.node(n) for n in ("hub", "A", "B"))
    at = f"127.0.0.1:{free_port()}"
    hub.config("coord.listen", f"tcp://{at}")  # not 22075 on this machine
    said = {"HOST:22075": at, "FIRST-ID": a.id}

    def run(node: Node, line: str) -> str:
        for word, value in said.items():
            line = line.replace(word, value)
        program, *args = shlex.split(line)
        assert program == "syncctl", line
        return node.ctl(*args).out

    for line in at_hub:
        out = run(hub, line)
    said["DEVICE-ID"] = out.strip()
    for line in at_first:
        out = run(a, line)
    assert "HFR-" in out, "the recovery key"
    said["CODE"] = re.findall(r"'(holdfast:.*)'", out)[0]
    for line in at_others:
        run(b, line)
    for node, other in ((a, "B"), (b, "A")):
        wait_until(lambda: connected(node, other), 40, "they are together",
                   alive=[hub, a, b])
    assert "it knows where this device is" in a.ctl("doctor",
                                                    check=False).out


def test_a_coordinator_that_does_not_serve_says_what_to_do(
        world: World) -> None:
    hub, a = world.node("hub", start=False), world.node("A", start=False)
    at = f"tcp://127.0.0.1:{free_port()}"
    hub.config("coord.serve", "true")
    hub.config("coord.listen", at)
    a.config("mesh.coordinator", f"{at}?id={hub.id}")
    for node in (hub, a):
        node.start()
    told = a.ctl("device", "invite", check=False)
    assert told.code == 11 and "HFR-" in told.out
    assert "does not serve this domain" in told.err
    assert f"syncctl device add {a.id}" in told.err


# ---- keys ------------------------------------------------------------------

def test_a_copied_home_is_told_on_both_machines(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    b = joined(world, a, "B")
    assert b.id != a.id
    for node in (a, b):
        assert (node.home / "key.pem").stat().st_mode & 0o777 == 0o600
    before = b.id
    b.restart()
    assert b.status()["id"] == before
    wait_until(lambda: b.status()["coordinators"][0]["up"], 40, "a line",
               alive=[b])
    # One coordinator by two addresses: two lines, and one machine.
    second = Proxy(coord.url.split("?")[0])
    b.ctl("config", "set", "--add", "mesh.coordinator",
          f"{second.addr}?id={coord.node.id}")
    wait_until(lambda: b.log_text().count("coord lost") >= 4, 60,
               "they push each other off", alive=[a, b])
    assert b.problem("device.clone") is None
    b.config("mesh.coordinator", coord.url)
    second.close()
    lines = coord.node.ctl("coord", "audit", "--json").json["lines"]
    assert "clone" not in [x["what"] for x in lines]
    assert b.stop() == 0
    shutil.copytree(b.home, world.base / "copy.home")
    b.start()
    copy = world.node("copy")
    assert copy.id == b.id
    for node in (b, copy):
        wait_until(lambda: node.problem("device.clone"), 60,
                   f"{node.name} says so", alive=[a, b, copy])
    assert node.ctl("status", check=False).code == ATTENTION
    lines = coord.node.ctl("coord", "audit", "--json").json["lines"]
    assert [x["actor"] for x in lines if x["what"] == "clone"][0] == b.id
    assert a.problem("device.clone") is None


def forms(raw: bytes) -> set[bytes]:
    """A secret as it may be written."""
    return {raw, raw.hex().encode(), raw.hex().upper().encode(),
            base64.b64encode(raw).rstrip(b"="),
            base64.urlsafe_b64encode(raw).rstrip(b"=")}


def secrets_of(node: Node) -> set[bytes]:
    """Of a device: its key, and the owner's when it has it."""
    pem = (node.home / "key.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        number = key.private_numbers().private_value
        raw = number.to_bytes((key.key_size + 7) // 8, "big")
    else:
        raw = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
            serialization.NoEncryption())
    out = forms(raw) | set(pem.splitlines()[1:-1])
    path = node.home / "domain/owner.key"
    if path.exists():
        out.add(path.read_bytes().strip())
    return out


def memory_of(pid: int) -> bytes:
    """All that a process can write to."""
    out = []
    with open(f"/proc/{pid}/maps") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            first, last = (int(x, 16) for x in span.split("-"))
            if "rw" not in mode or "[v" in line:
                continue
            if last - first > 1 << 28:  # a sanitizer's shadow of it all
                continue
            try:
                mem.seek(first)
                out.append(mem.read(last - first))
            except (OSError, ValueError):
                continue
    return b"\0".join(out)


@pytest.mark.root
def test_relay_and_coordinator_hold_no_secret_and_no_name(
        world: World) -> None:
    """In their store, log and memory, and in all that is said with them."""
    r = world.node("R", start=False)
    ports = [free_port(), free_port()]
    for room, port in zip(("coord", "relay"), ports):
        r.config(f"{room}.serve", "true")
        r.config(f"{room}.open", "true")
        r.config(f"{room}.listen", f"tcp://127.0.0.2:{port}")
    r.config("coord.discovery", "true")
    r.start()
    # Sessions are joined at the port that the relay listens at.
    taps = [Proxy(f"tcp://127.0.0.2:{port}", port=port) for port in ports]
    for tap in taps:
        tap.heard = []
    relay = f"relay://127.0.0.1:{taps[1].port}/?id={r.id}"
    nodes = []
    try:
        for name in "ABD":
            node = world.node(name, start=False)
            node.config("mesh.listen", relay)
            node.config("mesh.discovery",
                        f"https://127.0.0.1:{taps[0].port}/?id={r.id}")
            if not nodes:
                node.config("mesh.coordinator",
                            f"tcp://127.0.0.1:{taps[0].port}?id={r.id}")
            node.start()
            if nodes:
                told = invite(nodes[0])
                assert join(node, told["link"])["state"] == "done"
            nodes.append(node)
        a, b, d = nodes
        for node in nodes:
            sees(node, "A", "B", "D")
            listed = node.ctl("device", "list", "--json").json["devices"]
            assert {x["name"] for x in listed} == {"A", "B", "D"} - {node.name}
        dirs = [world.dir("a"), world.dir("b")]
        canary = os.urandom(24).hex().encode()
        name, folder = (f"canary-{os.urandom(8).hex()}" for _ in range(2))
        for node, place, other in zip(nodes, dirs, "BA"):
            node.folder_add(place, folder, other)
        tree.write(dirs[0] / name, b"".join(
            canary + os.urandom(8) for _ in range(20_000)))
        settle([a, b], dirs, 90, folder)
        assert a.device("B")["path"]["kind"] == "relay"
        assert r.status()["relay"]["bytes"] > 20_000 * len(canary)
        # A sanitized program's is without end.
        memory = b"" if SANITIZED else memory_of(r.pid)
        assert SANITIZED or bep.device_raw(a.id) in memory, "where to look"
        hidden = {canary, name.encode(), folder.encode(),
                  told["code"].split("-", 1)[1].encode()}
        for node in nodes:
            hidden |= secrets_of(node)
    finally:
        for tap in taps:
            tap.close()
    assert r.stop() == 0
    stored = b"".join(p.read_bytes() for p in r.home.rglob("*")
                      if p.is_file())
    heard = [b"".join(tap.heard or []) for tap in taps]
    assert len(heard[1]) > 20_000 * len(canary) and len(heard[0]) < 300_000
    for what, where in (("memory", memory), ("store", stored),
                        ("log", r.log.read_bytes()),
                        ("line", heard[0]), ("relayed", heard[1])):
        for secret in hidden:
            assert secret not in where, f"{secret!r} in {what}"


# ---- the coordinator -------------------------------------------------------

def test_nobody_else_says_where_a_member_is(world: World,
                                            coord: Coordinator) -> None:
    a, b, evil = (bep.Identity.make() for _ in range(3))
    log = wire.Log().add(a, b)
    url = f"tcp://127.0.0.1:{coord.port}"
    first = wire.Client(url, a)
    assert first.hello(log)["type"] == wire.WELCOME
    first.send(wire.ENTRIES, seq=1, entry=log.entries).sync()
    first.send(wire.PUBLISH, address=["tcp://10.1.2.3:22000"]).sync()
    # As a stranger; as one that says it knows more; and for another device.
    for seq in (None, 99):
        forger = wire.Client(url, evil)
        assert forger.hello(log if seq else None, seq)["type"] == wire.WELCOME
        forger.send(wire.PUBLISH, address=["tcp://6.6.6.6:6"], device=[a.raw])
        forger.send(wire.WANT, device=[a.raw])
        if seq is None:
            assert forger.expect(wire.REFUSED)["code"] == wire.NOT_MEMBER
        forger.sync()
        forger.close()
    second = wire.Client(url, b)
    assert second.hello(log)["type"] == wire.WELCOME
    second.send(wire.PUBLISH, address=["tcp://6.6.6.6:6"], device=[a.raw])
    second.send(wire.WANT, device=[a.raw, evil.raw])
    found = {m["device"][0]: m for m in (second.expect(wire.WHERE),
                                         second.expect(wire.WHERE))}
    assert found[a.raw]["address"] == [b"tcp://10.1.2.3:22000"]
    assert found[evil.raw].get("address") is None


def test_what_an_owner_does_is_in_the_audit_log(
        world: World, coord: Coordinator) -> None:
    """With time and actor; and who is revoked is cut with the hearing."""
    a = owner(world, coord)
    b, d = joined(world, a, "B"), joiner(world, "D")
    # The short form, as one types it.
    d.config("mesh.coordinator", coord.url)
    typed = invite(a, "--approve")["code"].lower().replace("-", " ", 1)
    assert join(d, typed)["state"] == "pending"
    a.ctl("device", "approve", "D")
    sees(d, "A", "B", "D")
    wait_until(lambda: connected(b, "D"), 40, "B is with D")
    a.ctl("domain", "forbid", "B", "D", "diag")
    for old, new in (("D", "old-laptop"), ("old-laptop", "laptop")):
        a.ctl("device", "rename", old, new)
    sees(b, "A", "B", "laptop")
    # A name is the domain's: no resolver, and the old one is nobody.
    assert b.ctl("ping", "old-laptop", "-c", "1", check=False).code == NOT_FOUND
    assert "laptop" in b.ctl("device", "diag", "laptop", check=False).out
    a.ctl("device", "revoke", "laptop")
    sees(b, "A", "B")
    assert {x["name"] for x in b.status()["devices"]} == {"A"}
    shown = coord.node.ctl("coord", "audit", "--json").json
    mine = [x["what"] for x in shown["lines"] if x["actor"] == a.id]
    assert mine == ["found", "found", "add", "invite", "add", "invite",
                    "add", "allow", "rename", "rename", "remove"], mine
    assert all(x["time"].endswith("Z") and x["from"] for x in shown["lines"])
    coord.node.ctl("coord", "audit", "--verify")


def test_two_domains_at_one_coordinator_know_nothing_of_each_other(
        world: World, coord: Coordinator) -> None:
    a = owner(world, coord)
    b = joined(world, a, "B")
    x = world.node("X", start=False)
    x.config("mesh.coordinator", coord.url)
    x.start()
    y = joined(world, x, "Y")
    wait_until(lambda: connected(a, "B") and connected(x, "Y"), 40,
               "each with its own", alive=[a, b, x, y])
    assert coord.node.status()["coordinator"]["domain_count"] == 2
    for node, own in ((a, {"A", "B"}), (b, {"A", "B"}),
                      (x, {"X", "Y"}), (y, {"X", "Y"})):
        sees(node, *own)
        listed = node.ctl("device", "list", "--json").json["devices"]
        assert {d["name"] for d in listed} == own - {node.name}
    # Who knows where it is, and dials, gets no answer.
    x.device_add(a.id, "A", a.addr)
    wait_until(lambda: any(
        w["reason"] == "dial-unwanted" for w in x.device("A")["addresses"]),
        40, lambda: f"{x.device('A')}", alive=[a, x])
    assert not x.connected("A")
    assert {d["name"] for d in a.status()["devices"]} == {"B"}


# ---- ways ------------------------------------------------------------------

class Mangler(Proxy):
    """Does harm once to each connection that carries much; then passes."""

    def __init__(self, target: str, port: int, *harm: str):
        self.harm = list(harm)
        self.done: list[str] = []
        super().__init__(target, port=port)

    def _pump(self, source, sink, name) -> None:
        super()._pump(Spoilt(source, self), sink, name)


class Spoilt:
    """A socket whose bytes come otherwise than they were sent."""

    QUIET = 200_000  # more than a handshake, or a relay's own words

    def __init__(self, sock, mangler: Mangler):
        self.sock, self.mangler, self.seen = sock, mangler, 0
        self.kept: list[bytes] = []

    def recv(self, size: int) -> bytes:
        if self.kept:
            return self.kept.pop(0)
        data = self.sock.recv(size)
        self.seen += len(data)
        if self.seen < self.QUIET or len(data) < 4096 \
                or not self.mangler.harm:
            return data
        how = self.mangler.harm.pop(0)
        self.mangler.done.append(how)
        self.seen = -1 << 60  # once for each connection
        half = len(data) // 2
        if how == "flip":
            return data[:half] + bytes([data[half] ^ 1]) + data[half + 1:]
        if how == "reorder":
            return data[half:] + data[:half]
        if how == "replay":
            return data + data
        assert how == "drop"
        return data[:half]

    def __getattr__(self, name: str):
        return getattr(self.sock, name)


def test_a_relay_that_changes_bytes_ends_sessions_and_no_more(
        world: World) -> None:
    """Flipped, reordered, replayed, left out: never a wrong file."""
    r = world.node("R", start=False)
    port = free_port()
    for key, value in (("serve", "true"), ("open", "true"),
                       ("listen", f"tcp://127.0.0.2:{port}")):
        r.config("relay." + key, value)
    r.start()
    kinds = ["flip", "reorder", "replay", "drop"]
    bad = Mangler(f"tcp://127.0.0.2:{port}", port, *kinds)
    url = f"relay://127.0.0.1:{bad.port}/?id={r.id}"
    a, b = (world.node(n, start=False) for n in "AB")
    dirs = [world.dir("a"), world.dir("b")]
    try:
        a.config("mesh.listen", url)
        for node, other, place, at in ((a, b, dirs[0], []),
                                       (b, a, dirs[1], [url])):
            node.device_add(other.id, other.name, *at)
            node.folder_add(place, FOLDER, other.name)
        tree.write(dirs[0] / "file", tree.noise(30_000_000, 5))
        a.start()
        wait_until(lambda: a.status()["relays"][0]["joined"], 60, "a place",
                   alive=[a, r])
        b.start()

        def whole() -> bool:
            for node in (a, b):
                node.http("POST", "/v1/refresh")
            return tree.same(*dirs)

        wait_until(whole, 120, lambda: f"{bad.done}", alive=[a, b, r])
        settle([a, b], dirs, 60)
        assert bad.done == kinds
    finally:
        bad.close()
    assert not tree.conflicts(dirs[0]) and not tree.conflicts(dirs[1])


def test_a_file_goes_on_when_hub_and_coordinator_die(
        world: World, coord: Coordinator) -> None:
    """Nobody but its two ends is needed; it comes straight from the other,
    is encrypted once, and is read by nobody between."""
    a, b, hub = (world.node(n, start=False) for n in ("A", "B", "H"))
    way = Proxy(b.addr, rate=1e6)
    way.heard = []
    far = Proxy(hub.addr, rate=3e5)
    nodes, dirs = [a, b, hub], [world.dir(n) for n in "abh"]
    canary = os.urandom(24).hex().encode()
    data = b"".join(canary + os.urandom(4000) for _ in range(6000))
    try:
        for node, place in zip(nodes, dirs):
            node.config("mesh.coordinator", coord.url)
            for other in nodes:
                if other is not node:
                    at = way.addr if (node, other) == (a, b) else \
                        far.addr if other is hub else "dynamic"
                    node.device_add(other.id, other.name, at)
            node.folder_add(place, FOLDER, *(n.name for n in nodes
                                             if n is not node))
            node.start()
        wait_until(lambda: all(
            sum(d["connected"] for d in n.status()["devices"]) == 2
            and n.status()["coordinators"][0]["up"] for n in nodes), 60,
            "all are together", alive=nodes)
        tree.write(dirs[0] / "file", data)
        wait_until(lambda: b.device("A")["bytes_in"] > 2_000_000, 60,
                   "it flows", alive=nodes)
        coord.node.kill9()
        hub.kill9()
        assert not (dirs[1] / "file").exists(), "in the middle of it"
        way.rate = None
        settle([a, b], dirs[:2], 90)
        # The way through the hub is longer.
        assert b.device("A")["bytes_in"] > 0.8 * len(data)
        assert 0.8 * len(data) < way.up < 1.1 * len(data)
    finally:
        way.close()
        far.close()
    assert canary not in b"".join(way.heard)


def test_ping_measures_a_way_that_is_long(world: World) -> None:
    """Sixty milliseconds each way, through a way of the test's own."""
    a, b = world.node("A"), world.node("B")
    host, _, port = b.addr.partition("://")[2].rpartition(":")
    way = LongWay(world.base, "tcp", f"{host}:{port}", "-d", "60")
    world.daemons.append(way)
    way.start()
    a.device_add(b.id, "B", f"tcp://{host}:{way.port}")
    b.device_add(a.id, "A")
    wait_until(lambda: a.connected("B"), 30, "connected", alive=[a, b])

    def pinged() -> dict:
        return a.ctl("ping", "B", "-c", "1", "--json").json["pings"][0]

    assert all(pinged()["rtt_us"] >= 120_000 for _ in range(3))
    # A busy machine may add to it, but not always.
    wait_until(lambda: pinged()["rtt_us"] < 230_000, 60, "no more than that",
               alive=[a, b])
    assert pinged()["path"]["kind"] == "direct"


@pytest.fixture
def quic(world: World) -> Iterator[list[Node]]:
    nodes = [world.node(n, start=False) for n in "AB"]
    for node in nodes:
        node.addr = f"quic://127.0.0.1:{node.port}"
        node.config("mesh.listen", f"quic://:{node.port}")
    a, b = nodes
    a.device_add(b.id, "B", b.addr)
    b.device_add(a.id, "A")
    for node in nodes:
        node.start()
    wait_until(lambda: a.connected("B") and b.connected("A"), 60,
               "connected", alive=nodes)
    yield nodes


def udp_sockets(pid: int) -> int:
    """How many of this process are open."""
    inodes = set()
    for family in ("udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text() \
                .splitlines()[1:]:
            inodes.add(f"socket:[{line.split()[9]}]")
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(fd))
        except OSError:
            pass  # closed meanwhile
    return sum(link in inodes for link in links)


def test_whois_knows_flows_of_udp(quic: list[Node]) -> None:
    """And all of them are of one socket."""
    for node, other in (quic, quic[::-1]):
        at = node.device(other.name)["path"]["address"]
        told = node.ctl("whois", at).out
        assert told.startswith(f"{other.name}  {other.id}  direct quic {at}")
        host, _, port = at.rpartition(":")
        assert udp_sockets(node.pid) == 1
        foreign = f"{host}:{1 + int(port) % 65535}"
        result = node.ctl("whois", foreign, check=False)
        assert result.code == NOT_FOUND and "unknown" in result.err


class Recorder(Proxy):
    """Keeps what the dialler said."""

    def __init__(self, target: str):
        self.said: list[bytes] = []
        super().__init__(target)

    def _pump(self, source, sink, name) -> None:
        super()._pump(Listened(source, self.said) if name == "up" else source,
                      sink, name)


class Listened:
    def __init__(self, sock, said: list[bytes]):
        self.sock, self.said = sock, said

    def recv(self, size: int) -> bytes:
        data = self.sock.recv(size)
        self.said.append(data)
        return data

    def __getattr__(self, name: str):
        return getattr(self.sock, name)


def client_hello(alpn: str, version: ssl.TLSVersion) -> bytes:
    """How a client of some other kind begins."""
    context = bep.client_context(None, (alpn,), version)
    ours = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), ours).do_handshake()
    return ours.read()


def test_a_handshake_in_vain_is_silent_and_counted(world: World) -> None:
    """Not TLS, no certificate, or what was said before: no byte of ours, no
    event, no name; one counter goes up."""
    a, b = world.node("A"), world.node("B", start=False)
    tap = Recorder(a.addr)
    try:
        b.device_add(a.id, "A", tap.addr)
        a.device_add(b.id, "B")
        b.start()
        wait_until(lambda: a.connected("B") and b.connected("A"), 30,
                   "connected", alive=[a, b])
        assert b.stop() == 0
        wait_until(lambda: not a.connected("B"), 30, "it left", alive=[a])
    finally:
        tap.close()
    replayed = b"".join(tap.said)
    assert len(replayed) > 1000

    def refused() -> int:
        return a.status()["connections"]["refused"]

    def events() -> list[dict]:
        return a.ctl("events", "--json").json["events"]

    before, happened = refused(), len(events())
    answers = []
    new, old = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", bytes(600),
                 client_hello("h2", new), client_hello("bep/1.0", old),
                 replayed):
        with bep.tcp(a.addr) as sock:
            sock.settimeout(30)
            answer = b""
            try:
                sock.sendall(data)
                while some := sock.recv(4096):
                    answer += some
            except ConnectionError:
                pass
            answers.append(answer)
    # Who asks for something else gets nothing; the last one no more than a
    # ServerHello that it cannot use, and what nobody can read.
    assert answers[:5] == [b""] * 5
    for word in (a.id.encode(), b"holdfast", b"syncthing"):
        assert word not in answers[5]
    with pytest.raises((ssl.SSLError, OSError, bep.Closed)):
        with bep.tcp(a.addr) as sock, \
                bep.client_context(None).wrap_socket(sock) as line:
            line.settimeout(30)
            assert line.recv(1) != b""  # it was closed
            raise AssertionError("something was said")
    wait_until(lambda: refused() == before + 7, 30,
               lambda: f"{before} {refused()}", alive=[a])
    assert len(events()) == happened
    assert a.status()["pending"]["devices"] == []


# ---- others ----------------------------------------------------------------

def test_nothing_is_written_that_nobody_accepted(world: World) -> None:
    """A known device offers a folder: it is told once, and that is all."""
    a, b = world.node("A"), world.node("B")
    a.device_add(b.id, "B", b.addr)
    b.device_add(a.id, "A")
    before = sorted(p.name for p in world.base.iterdir())
    a.folder_add(world.dir("a"), "offered", "B")
    tree.write(world.base / "a/file", b"not yours yet")
    offers = wait_until(
        lambda: [p for p in b.status()["pending"]["folders"]
                 if p["id"] == "offered"],
        40, lambda: f"{b.status()['pending']}", alive=[a, b])
    assert len(offers) == 1
    assert b.status()["folders"] == []
    assert sorted(p.name for p in world.base.iterdir()) == \
        sorted([*before, "a"])
    assert not any(b"not yours yet" in p.read_bytes()
                   for p in b.home.rglob("*") if p.is_file())
    # With a consent it comes.
    b.folder_add(world.dir("b"), "offered", "A")
    settle([a, b], [world.dir("a"), world.dir("b")], 40, "offered")


def offer(node: Node, who: bep.Identity, prefix: str, count: int) -> bep.Wire:
    """A connection that offers folders without end."""
    line = bep.dial(node.addr, who)
    line.hello()
    line.send(bep.CLUSTER_CONFIG, {"folders": [
        {"id": f"{prefix}-{n}", "devices": [
            {"id": bep.device_raw(node.id)}, {"id": who.raw}]}
        for n in range(count)]})
    return line


def test_folders_that_come_by_themselves_are_few_an_hour(
        world: World) -> None:
    a, friend = world.node("A"), bep.Identity.make()
    a.device_add(friend.id, "friend")
    a.config("device.friend.auto-accept", "true")
    line = offer(a, friend, "gift", 100)
    wait_until(lambda: len(a.status()["folders"]) == 32
               and len(a.status()["pending"]["folders"]) == 64, 60,
               lambda: f"{len(a.status()['folders'])} taken, "
               f"{len(a.status()['pending']['folders'])} wait", alive=[a])
    line.close()
    wait_until(lambda: not a.connected("friend"), 30, "gone", alive=[a])
    offer(a, friend, "gift", 100).close()
    wait_until(lambda: not a.connected("friend"), 30, "gone", alive=[a])
    assert len(list((a.home / "Sync").iterdir())) == 32
    assert len(a.status()["folders"]) == 32


def test_a_thousand_offers_are_bounded_and_told_in_few_words(
        world: World) -> None:
    """Of one device, again and again: memory, list and log stay small."""
    a, evil = world.node("A"), bep.Identity.make()
    a.device_add(evil.id, "evil")
    logged = len(a.log_text().splitlines())
    for turn in range(5):
        line = offer(a, evil, f"offer-{turn}", 1000)
        wait_until(lambda: a.status()["pending"]["folders"], 30, "heard",
                   alive=[a])
        line.close()
        wait_until(lambda: not a.connected("evil"), 30, "gone", alive=[a])
    assert len(a.status()["pending"]["folders"]) == 64
    assert len(a.ctl("events", "--type", "pending.folder",
                     "--json").json["events"]) == 64
    lines = a.log_text().splitlines()[logged:]
    assert len([x for x in lines if "no more of them are listed" in x]) == 1
    assert len(lines) < 2000
    # Somebody else is heard all the same.
    b = world.node("B")
    b.device_add(a.id, "A", a.addr)
    a.device_add(b.id, "B")
    b.folder_add(world.dir("b"), "another", "A")
    wait_until(lambda: "another" in [
        p["id"] for p in a.status()["pending"]["folders"]], 30, "B's offer",
        alive=[a, b])

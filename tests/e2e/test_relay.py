"""Through a relay: Debian's strelaysrv, and one that lies."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Callable, Union

import pytest

from lib import bep, tree
from lib.longway import LongWay
from lib.node import Node, find_program
from lib.proc import free_port, open_fds, smaps, wait_until
from lib.proxy import Proxy
from lib.servers import Relay
from lib.world import FOLDER, World, settle


class OurRelay:
    """A node that serves, and syncs nothing itself."""

    def __init__(self, world: World, *options: tuple[str, str],
                 open_to_all: bool = True, name: str = "R",
                 host: str = "127.0.0.1", port: int = 0):
        self.port = port or free_port()
        self.node = world.node(name, start=False)
        self.node.config("relay.serve", "true")
        self.node.config("relay.listen", f"tcp://{host}:{self.port}")
        self.node.config("relay.open", str(open_to_all).lower())
        for key, value in options:
            self.node.config(key, value)
        self.node.start()
        self.url = f"relay://127.0.0.1:{self.port}/?id={self.node.id}"

    def end(self) -> None:
        assert self.node.stop() == 0

    def start(self) -> None:
        self.node.start()

    def state(self) -> dict:
        return self.node.status()["relay"]


@pytest.fixture(params=["strelaysrv", "ours"])
def relay(world: World, request: pytest.FixtureRequest) \
        -> Union[Relay, OurRelay]:
    """Every test here is through Debian's relay and through ours."""
    if request.param == "ours":
        return OurRelay(world)
    made = Relay(world.base / "relay")
    world.daemons.append(made)
    made.start()
    return made


AnyRelay = Union[Relay, OurRelay]


def joined(node: Node) -> bool:
    return all(r["joined"] for r in node.status()["relays"])


def path_of(node: Node, name: str) -> dict:
    return node.device(name)["path"]


def hidden(world: World, name: str, *relays: str) -> Node:
    """A node that can be reached through relays alone."""
    made = world.node(name, start=False)
    made.ctl("config", "unset", "mesh.listen")
    made.config("mesh.listen", f"tcp://127.0.0.1:{made.port}")
    for url in relays:
        made.ctl("config", "set", "--add", "mesh.listen", url)
    return made


MakeRelayed = Callable[..., tuple[list[Node], list[Path]]]


@pytest.fixture
def make_relayed(world: World) -> MakeRelayed:
    def make(url: str) -> tuple[list[Node], list[Path]]:
        """A waits at the relay, B asks for it there."""
        a, b = hidden(world, "A", url), hidden(world, "B")
        dirs = [world.dir("a"), world.dir("b")]
        a.device_add(b.id, "B")
        b.device_add(a.id, "A", url)
        a.folder_add(dirs[0], FOLDER, "B")
        b.folder_add(dirs[1], FOLDER, "A")
        a.start()
        wait_until(lambda: joined(a), 60, "A has a place", alive=[a])
        b.start()
        wait_until(lambda: a.connected("B") and b.connected("A"), 60,
                   "connected", alive=[a, b])
        return [a, b], dirs

    return make


def test_two_of_ours_meet_at_a_relay(make_relayed: MakeRelayed,
                                     relay: AnyRelay) -> None:
    nodes, dirs = make_relayed(relay.url)
    tree.write(dirs[0] / "down", tree.noise(3_000_000, 1))
    tree.write(dirs[1] / "up", tree.noise(3_000_000, 2))
    settle(nodes, dirs, 60)
    for node, other in zip(nodes, "BA"):
        path = path_of(node, other)
        assert path["kind"] == "relay", path
        assert path["why"] == "no-direct-way", path
        assert f"relay 127.0.0.1:{relay.port}" in node.ctl(
            "status", check=False).out
    assert path_of(nodes[1], "A")["dialled"]
    assert "others can ask for this device" in nodes[0].ctl(
        "doctor", check=False).out


@pytest.mark.slow
@pytest.mark.parametrize("asks", ["ours", "theirs"])
def test_a_syncthing_meets_us_at_a_relay(world: World, relay: AnyRelay,
                                         asks: str) -> None:
    """The one that asks waits nowhere, so the other one is invited."""
    options = {"relaysEnabled": "true", "relayReconnectIntervalM": "1"}
    if asks == "ours":
        options["listenAddress"] = relay.url
    theirs = world.syncthing(options=options)
    ours = hidden(world, "A", *([relay.url] if asks == "theirs" else []))
    dirs = [world.dir("a"), world.dir("b")]
    ours.device_add(theirs.id, "S",
                    *([relay.url] if asks == "ours" else []))
    ours.folder_add(dirs[0], FOLDER, "S")
    ours.start()
    wait_until(lambda: joined(ours), 60, "a place", alive=[ours])
    theirs.folder_add(FOLDER, dirs[1], [ours.id])
    theirs.device_add(ours.id, "A",
                      relay.url if asks == "theirs" else "dynamic")
    theirs.folder_set(FOLDER, devices=[{"deviceID": theirs.id},
                                       {"deviceID": ours.id}])
    tree.write(dirs[0] / "ours", tree.noise(1_000_000, 1))
    tree.write(dirs[1] / "theirs", tree.noise(1_000_000, 2))
    wait_until(lambda: ours.connected("S"), 90, "connected",
               alive=[ours, theirs])
    assert path_of(ours, "S")["kind"] == "relay"
    assert path_of(ours, "S")["dialled"] == (asks == "ours")
    wait_until(lambda: tree.same(*dirs), 60, "the same",
               alive=[ours, theirs])


def test_a_direct_way_takes_the_relays_place(
        make_relayed: MakeRelayed, relay: AnyRelay) -> None:
    """In the middle of a file, and nothing of it is lost or torn."""
    (a, b), dirs = make_relayed(relay.url)
    tree.write(dirs[0] / "big", tree.noise(60_000_000, 3))
    wait_until(lambda: b.device("A")["bytes_in"] > 1_000_000, 60, "it flows",
               alive=[a, b])
    b.ctl("config", "set", "--add", "device.A.address", a.addr)
    wait_until(lambda: path_of(b, "A")["kind"] == "direct"
               and path_of(a, "B")["kind"] == "direct", 60, "direct",
               alive=[a, b])
    settle([a, b], dirs, 90)
    assert not tree.conflicts(dirs[1])


def test_a_file_goes_on_when_its_way_ends(world: World) -> None:
    """Direct, then relayed, then direct again: and nothing comes twice."""
    size = 40_000_000
    relay = OurRelay(world, ("relay.rate", "6M"))
    a, b = hidden(world, "A", relay.url), hidden(world, "B")
    direct = Proxy(a.addr, rate=6e6)
    dirs = [world.dir("a"), world.dir("b")]
    try:
        a.device_add(b.id, "B")
        b.device_add(a.id, "A", direct.addr, relay.url)
        a.folder_add(dirs[0], FOLDER, "B")
        b.folder_add(dirs[1], FOLDER, "A")
        a.start()
        wait_until(lambda: joined(a), 60, "A has a place", alive=[a])
        b.start()
        wait_until(lambda: path_of(b, "A")["kind"] == "direct", 60, "direct",
                   alive=[a, b])

        def came() -> int:
            return b.device("A")["bytes_in"]

        tree.write(dirs[0] / "big", tree.noise(size, 4))
        wait_until(lambda: came() > 6_000_000, 60, "it flows", alive=[a, b])
        direct.cut(refuse=True)
        wait_until(lambda: path_of(b, "A")["kind"] == "relay", 60, "relayed",
                   alive=[a, b])
        wait_until(lambda: came() > 14_000_000, 60, "it flows on",
                   alive=[a, b])
        direct.mend()
        b.ctl("refresh")
        wait_until(lambda: path_of(b, "A")["kind"] == "direct", 60,
                   "direct again", alive=[a, b])
        settle([a, b], dirs, 90)
        # What was on its way is asked for again; what came is not.
        assert size < came() < size * 1.1
        assert not tree.conflicts(dirs[1])
    finally:
        direct.close()


def relays_of(node: Node) -> list[dict]:
    """What netcheck knows of them: the nearest comes first."""
    status, answer = node.http("GET", "/v1/netcheck")
    assert status == 200
    return json.loads(answer)["relays"]


@pytest.mark.skipif(find_program("longway") is None, reason="no longway built")
def test_of_two_relays_the_nearer_one_is_used(world: World) -> None:
    """S33; and when it is gone the other, until it is back."""
    ways, relays = {}, {}
    for name, ms in (("near", 5), ("far", 100)):
        # Its sessions are at the same port: they pass there, too.
        way = LongWay(world.base, "tcp", "", "-d", str(ms))
        way.argv[-1] = f"127.0.0.2:{way.port}"
        world.daemons.append(way)
        relays[name] = OurRelay(world, name=name, host="127.0.0.2",
                                port=way.port)
        ways[name] = way.start()
    urls = {name: relay.url for name, relay in relays.items()}
    a, b = hidden(world, "A", *urls.values()), hidden(world, "B",
                                                      *urls.values())
    dirs = [world.dir("a"), world.dir("b")]
    a.device_add(b.id, "B")
    b.device_add(a.id, "A", urls["far"], urls["near"])
    a.folder_add(dirs[0], FOLDER, "B")
    b.folder_add(dirs[1], FOLDER, "A")
    for node in (a, b):
        node.start()

    def goes(name: str) -> bool:
        via = f"127.0.0.1:{ways[name].port}"
        if path_of(b, "A").get("via") == via == path_of(a, "B").get("via"):
            return True
        for node in (a, b):
            node.http("POST", "/v1/refresh")
        time.sleep(0.5)
        return False

    def told() -> bool:
        if not goes("near") or not joined(a) or not joined(b):
            return False
        for node, other in ((a, "B"), (b, "A")):
            found = relays_of(node)
            by_port = {int(r["address"].rpartition(":")[2]): r for r in found}
            near, far = (by_port[ways[n].port] for n in ("near", "far"))
            assert near["rtt_ms"] >= 10 and far["rtt_ms"] >= 200
            assert found == sorted(found, key=lambda r: r["rtt_ms"])
            assert near["waits"] and far["waits"]
            # A busy machine may think otherwise, for a moment.
            if near["used_by"] != [other] or far["used_by"] != [] \
                    or f"used by {other}" not in node.ctl(
                        "netcheck", check=False).out \
                    or f"relay 127.0.0.1:{ways['near'].port}" \
                    not in node.ctl("device", "show", other).out:
                return False
        return True

    wait_until(told, 90, "by the nearer one, and told so", alive=[a, b])
    ways["near"].kill9()
    wait_until(lambda: goes("far"), 90, "by the other", alive=[a, b])
    tree.write(dirs[0] / "down", tree.noise(100_000, 1))
    settle([a, b], dirs, 60)
    ways["near"].start()
    wait_until(lambda: goes("near"), 90, "nearer again", alive=[a, b])
    settle([a, b], dirs, 60)


def test_ping_goes_through_the_relay(make_relayed: MakeRelayed,
                                     relay: AnyRelay) -> None:
    (a, b), _ = make_relayed(relay.url)
    one = a.ctl("ping", "B", "-c", "1", "--json").json["pings"][0]
    assert one["by"] == "echo" and one["rtt_us"] > 0
    assert one["path"]["kind"] == "relay"
    assert one["path"]["why"] == "no-direct-way"
    result = b.ctl("ping", "A", "--until-direct", "--timeout", "1",
                   check=False)
    assert result.code == 12, result
    assert f"A: relay 127.0.0.1:{relay.port} (no-direct-way)" in result.out
    assert a.status()["connections"]["relayed"] == 1
    # The flow to the relay is B's.
    assert a.ctl("whois", f"127.0.0.1:{relay.port}").out.startswith("B  ")
    b.ctl("config", "set", "--add", "device.A.address", a.addr)
    assert "direct tcp" in b.ctl("ping", "A", "--until-direct").out


def test_the_relay_is_the_way_when_nothing_answers(
        make_relayed: MakeRelayed, relay: AnyRelay) -> None:
    (a, b), dirs = make_relayed(relay.url)
    b.ctl("config", "set", "--add", "device.A.address",
          f"tcp://127.0.0.1:{free_port()}")
    wait_until(lambda: path_of(b, "A").get("why") == "direct-failed", 60,
               "it says why", alive=[a, b])
    tree.write(dirs[0] / "still", b"here")
    settle([a, b], dirs, 60)


def test_a_relay_that_ends_is_found_again(make_relayed: MakeRelayed,
                                          relay: AnyRelay) -> None:
    (a, b), dirs = make_relayed(relay.url)
    relay.end()
    wait_until(lambda: not a.connected("B") and not joined(a), 60, "lost",
               alive=[a, b])
    relay.start()

    def back() -> bool:
        for node in (a, b):
            node.http("POST", "/v1/refresh")
        return joined(a) and a.connected("B") and b.connected("A")

    wait_until(back, 90, "back", alive=[a, b])
    tree.write(dirs[0] / "again", b"here")
    settle([a, b], dirs, 60)


def test_what_passes_the_relay_tells_nothing(
        world: World, make_relayed: MakeRelayed) -> None:
    """No content and no name, in all that the relay hears and says."""
    port = free_port()
    tap = Proxy(f"tcp://127.0.0.1:{port}")
    tap.heard = []
    relay = Relay(world.base / "relay", "-ext-address",
                  f"127.0.0.1:{tap.port}", port=port)
    world.daemons.append(relay)
    relay.start()
    canary = os.urandom(24).hex().encode()
    name = "canary-" + os.urandom(8).hex()
    try:
        nodes, dirs = make_relayed(
            f"relay://127.0.0.1:{tap.port}/?id={relay.id}")
        tree.write(dirs[0] / name, b"".join(
            canary + os.urandom(8) for _ in range(2000)))
        settle(nodes, dirs, 60)
        assert path_of(nodes[0], "B")["kind"] == "relay"
    finally:
        tap.close()
    wire = b"".join(tap.heard)
    assert len(wire) > 2000 * len(canary)
    assert canary not in wire and name.encode() not in wire
    assert b"bep-relay" in wire  # it is looked at as it was sent


# ---- a relay that lies -----------------------------------------------------

MAGIC = 0x9E79BC40


def message(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">III", MAGIC, kind, len(payload)) + payload


def opaque(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def invitation(who: str, port: int, ip: bytes = b"") -> bytes:
    return message(6, opaque(bep.device_raw(who)) + opaque(os.urandom(32))
                   + opaque(ip) + struct.pack(">II", port, 1))


class LyingRelay:
    """Takes everyone in, then says what it was told to."""

    def __init__(self, lie: Callable[[], bytes], times: int = 1):
        self.identity = bep.Identity.make()
        self.lie, self.times = lie, times
        self.joins = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["bep-relay"])
        self.identity.load(self.context)
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(64)
        self.port = self.sock.getsockname()[1]
        self.url = f"relay://127.0.0.1:{self.port}/?id={self.identity.id}"
        self.plain: list[bytes] = []  # what came that was no TLS
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,),
                             daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            raw.settimeout(60)
            first = raw.recv(12, socket.MSG_PEEK)
            if first[:1] != b"\x16":
                self.plain.append(first)
                raw.recv(1 << 16)
                raw.sendall(message(4, struct.pack(">I", 1) + opaque(b"")))
                raw.close()
                return
            sock = self.context.wrap_socket(raw, server_side=True)
            sock.recv(1 << 12)
            self.joins += 1
            sock.sendall(message(4, struct.pack(">I", 0) + opaque(b"")))
            for _ in range(self.times):
                sock.sendall(self.lie())
            while sock.recv(1 << 12):
                pass
        except OSError:
            pass

    def close(self) -> None:
        self.sock.close()


@pytest.mark.parametrize("lie", [
    lambda: os.urandom(4096),
    lambda: message(6, b"\xff" * 64),
    lambda: struct.pack(">III", MAGIC, 6, 1 << 30),
    lambda: message(5, opaque(bytes(32))),
    lambda: message(7)], ids=["noise", "damaged", "huge", "wrong", "full"])
def test_a_relay_that_lies_is_left(world: World,
                                   lie: Callable[[], bytes]) -> None:
    liar = LyingRelay(lie)
    try:
        made = hidden(world, "A", liar.url).start()
        wait_until(lambda: liar.joins and not joined(made)
                   and made.status()["relays"][0]["error"], 60, "it left",
                   alive=[made])
        assert not made.ctl("doctor", check=False).out.count(
            "others can ask for this device")
    finally:
        liar.close()


def test_a_relay_of_another_name_is_told_nothing(world: World) -> None:
    liar = LyingRelay(lambda: b"")
    try:
        other = bep.Identity.make().id
        made = hidden(world, "A", liar.url.split("?")[0] + f"?id={other}")
        made.start()
        wait_until(lambda: "not the relay" in
                   made.status()["relays"][0]["error"], 60, "refused",
                   alive=[made])
        assert liar.joins == 0
    finally:
        liar.close()


def test_invitations_lead_to_the_relay_and_nowhere_else(
        world: World) -> None:
    """Ten thousand of them, to a service of somebody else's."""
    victim = socket.socket()
    victim.bind(("127.0.0.5", 0))
    victim.listen(8)
    victim.settimeout(1)
    stranger = bep.Identity.make().id
    port = victim.getsockname()[1]
    liar = LyingRelay(
        lambda: invitation(stranger, port, bytes([127, 0, 0, 5])), 10000)
    try:
        a, b = hidden(world, "A", liar.url), world.node("B")
        a.device_add(b.id, "B", b.addr)
        b.device_add(a.id, "A")
        a.start()
        wait_until(lambda: liar.joins > 0, 60, "joined", alive=[a])
        wait_until(lambda: a.connected("B"), 60, "B all the same", alive=[a])
        assert open_fds(a.pid) < 200
        with pytest.raises(socket.timeout):
            victim.accept()
    finally:
        liar.close()
        victim.close()


# ---- our relay, and who comes to it ----------------------------------------


def tls_to(port: int, identity: bep.Identity,
           alpn: str = "bep-relay") -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), 20)
    sock = bep.client_context(identity, (alpn,)).wrap_socket(raw)
    sock.settimeout(20)
    return sock


def answer(sock: socket.socket) -> tuple[int, bytes]:
    """One message: its type and payload."""
    head = b""
    while len(head) < 12:
        got = sock.recv(12 - len(head))
        if not got:
            raise ConnectionError("ended")
        head += got
    magic, kind, size = struct.unpack(">III", head)
    assert magic == MAGIC
    body = b""
    while len(body) < size:
        body += sock.recv(size - len(body))
    return kind, body


def code_of(sock: socket.socket) -> int:
    kind, body = answer(sock)
    assert kind == 4, kind
    return struct.unpack(">I", body[:4])[0]


def test_our_relay_serves_its_own_devices_alone(world: World) -> None:
    relay = OurRelay(world, open_to_all=False)
    known, stranger = bep.Identity.make(), bep.Identity.make()
    relay.node.device_add(known.id, "K")

    def join(who: bep.Identity) -> tuple[ssl.SSLSocket, int]:
        sock = tls_to(relay.port, who)
        sock.sendall(message(2))
        return sock, code_of(sock)

    waits, code = join(known)
    assert code == 0
    assert join(known)[1] == 2  # once is enough
    assert join(stranger)[1] == 3
    asks = tls_to(relay.port, stranger)
    asks.sendall(message(5, opaque(known.raw)))
    assert code_of(asks) == 1
    asks = tls_to(relay.port, known)
    asks.sendall(message(5, opaque(stranger.raw)))
    assert code_of(asks) == 1
    assert relay.state()["members"] == 1
    waits.sendall(message(0))
    assert answer(waits)[0] == 1
    waits.close()
    wait_until(lambda: relay.state()["members"] == 0, 60, "gone",
               alive=[relay.node])


def pair_at(relay: OurRelay) -> tuple[socket.socket, socket.socket]:
    """Both ends of a new session between two new devices."""
    a, b = bep.Identity.make(), bep.Identity.make()
    waits, asks = tls_to(relay.port, a), tls_to(relay.port, b)
    waits.sendall(message(2))
    assert code_of(waits) == 0
    asks.sendall(message(5, opaque(a.raw)))
    ends = []
    for sock in (asks, waits):
        kind, body = answer(sock)
        assert kind == 6
        size, = struct.unpack(">I", body[36:40])
        end = socket.create_connection(("127.0.0.1", relay.port), 20)
        end.settimeout(30)
        end.sendall(message(3, opaque(body[40:40 + size])))
        assert code_of(end) == 0
        ends.append(end)
    asks.close()
    waits.close()
    return ends[0], ends[1]


def test_our_relay_forwards_every_byte_before_it_hangs_up(
        world: World) -> None:
    relay = OurRelay(world)
    one, two = pair_at(relay)
    data = tree.noise(3_000_000, 1)
    got = bytearray()

    def read() -> None:
        while True:
            some = two.recv(1 << 16)
            if not some:
                return
            got.extend(some)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    one.sendall(data)
    one.close()
    reader.join(60)
    assert bytes(got) == data
    wait_until(lambda: relay.state()["sessions"] == 0, 60, "over",
               alive=[relay.node])
    assert relay.state()["bytes"] >= len(data)


def test_our_relay_holds_no_more_than_its_buffers(world: World) -> None:
    """One end that reads nothing, the other that does not stop."""
    relay = OurRelay(world)
    before = smaps(relay.node.pid)["Rss"]
    one, two = pair_at(relay)
    other = pair_at(relay)
    one.setblocking(False)
    sent = 0
    while True:  # until all that lies between is full
        try:
            sent += one.send(bytes(1 << 20))
        except BlockingIOError:
            if select.select([], [one], [], 2)[1]:
                continue
            break
        assert sent < 256 << 20
    assert smaps(relay.node.pid)["Rss"] - before < 16 << 20
    # Nobody else is held up by it.
    other[0].sendall(b"all the same")
    assert other[1].recv(64) == b"all the same"
    got = 0
    while got < sent:
        got += len(two.recv(1 << 20))
    assert got == sent


def test_floods_and_slow_bytes_at_our_relay_are_bounded(
        world: World) -> None:
    relay = OurRelay(world)
    known = bep.Identity.make()
    waits = tls_to(relay.port, known)
    waits.sendall(message(2))
    assert code_of(waits) == 0
    fds = open_fds(relay.node.pid)
    held = []
    for n in range(400):
        sock = socket.socket()
        sock.connect(("127.0.0.1", relay.port))
        held.append(sock)
        try:
            sock.sendall([b"", b"\x16", b"\x9e\x79",
                          message(3, opaque(os.urandom(32))),
                          os.urandom(64)][n % 5])
        except OSError:
            pass  # turned away already
    wait_until(lambda: open_fds(relay.node.pid) <= fds + 80, 60, "bounded",
               alive=[relay.node])
    # Who has a place keeps it.
    waits.sendall(message(0))
    assert answer(waits)[0] == 1
    # What says nothing more is gone after ten seconds.
    wait_until(lambda: open_fds(relay.node.pid) <= fds, 60, "gone",
               alive=[relay.node])
    for sock in held:
        sock.close()


def test_our_relay_keeps_to_its_rate(world: World) -> None:
    relay = OurRelay(world, ("relay.rate", "1M"))
    one, two = pair_at(relay)
    data = bytes(3 << 20)
    threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
    start, got = time.monotonic(), 0
    while got < len(data):
        got += len(two.recv(1 << 16))
    # The first second's worth comes at once; slow machines take longer.
    assert time.monotonic() - start > 1.5

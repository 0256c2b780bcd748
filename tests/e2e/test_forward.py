"""syncctl forward: TCP connections carried between two devices."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from lib import bep
from lib.bep import Identity, Wire
from lib.domain import Coordinator, connected, joined, owner
from lib.node import NOT_FOUND, OFFLINE, REFUSED, USAGE, Node
from lib.proc import free_port, wait_until
from lib.world import Pair, World

MIB = 1 << 20
FORWARD = 2006
# Field 2047 of a Hello: "Hold", version 1, feature bit 5.
HOLDFAST = bep.field_bytes(2047, bep.field_varint(1, 0x486F6C64)
                           + bep.field_varint(2, 1)
                           + bep.field_varint(3, 1 << 5))


class Service:
    """A TCP server on loopback: `handle` gets each connection, in a thread."""

    def __init__(self, handle: Callable[[socket.socket], None]):
        self.handle = handle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.guests: list[socket.socket] = []
        self.errors: list[BaseException] = []
        self._spawn(self._accept)

    def _spawn(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                guest, _ = self.listener.accept()
            except OSError:
                return
            self.guests.append(guest)
            self._spawn(self._serve, guest)

    def _serve(self, guest: socket.socket) -> None:
        try:
            with guest:
                self.handle(guest)
        except OSError as error:
            self.errors.append(error)

    def end(self) -> None:
        if self.listener.fileno() < 0:
            return
        # Else accept() in the other thread keeps it.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for guest in self.guests:
            try:
                guest.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(handle: Callable[[socket.socket], None]) -> Service:
        made.append(Service(handle))
        return made[-1]

    yield make
    for one in made:
        one.end()


def argv(node: Node, *args: str) -> list[str]:
    return [str(node.ctl_path), "--home", str(node.home), "forward", *args]


class Forward:
    """A running `syncctl forward`, by its JSON events."""

    def __init__(self, node: Node, to: str):
        self.proc = subprocess.Popen(
            argv(node, "--json", "0", to),
            stdout=subprocess.PIPE, text=True)
        assert self.proc.stdout is not None
        self.events: list[dict[str, Any]] = []
        first = json.loads(self.proc.stdout.readline())
        assert first["event"] == "listening", first
        assert first["address"] == "127.0.0.1"
        self.port: int = first["port"]
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.proc.stdout is not None
        for line in self.proc.stdout:
            self.events.append(json.loads(line))

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.settimeout(120)
        return made

    def event(self, name: str, nth: int = 0) -> dict[str, Any]:
        """The nth event of that name, when it is there."""
        def found() -> list[dict[str, Any]]:
            return [e for e in self.events if e["event"] == name]
        wait_until(lambda: len(found()) > nth, 60,
                   lambda: f"no {name}: {self.events}")
        return found()[nth]

    def end(self) -> None:
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait(30)
        self.thread.join(30)
        assert self.proc.stdout is not None
        self.proc.stdout.close()


@pytest.fixture
def forward() -> Iterator[Callable[[Node, str], Forward]]:
    made: list[Forward] = []

    def make(node: Node, to: str) -> Forward:
        made.append(Forward(node, to))
        return made[-1]

    yield make
    for one in made:
        one.end()


def allow(node: Node, device: str, port: int) -> None:
    node.ctl("config", "set", "--add", f"device.{device}.forward", str(port))


def ends(sock: socket.socket) -> None:
    """Closed or reset, without a byte."""
    try:
        assert sock.recv(1) == b""
    except ConnectionError:
        pass


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo(guest: socket.socket) -> None:
    while part := guest.recv(65536):
        guest.sendall(part)
    guest.shutdown(socket.SHUT_WR)


def swap(guest: socket.socket, data: bytes, got: list[bytes]) -> None:
    """Send all of data, take all there is; both ways at once."""
    def send() -> None:
        guest.sendall(data)
        guest.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    got.append(read_all(guest))
    sender.join(120)


def test_bytes_go_both_ways_and_arrive_whole(
        pair: Pair, service: Any, forward: Any) -> None:
    """32 MiB each way at once, over one connection; each half ends alone."""
    there, here = os.urandom(32 * MIB), os.urandom(32 * MIB)
    got: list[bytes] = []
    server = service(lambda guest: swap(guest, there, got))
    allow(pair.b, "A", server.port)
    tunnel = forward(pair.a, f"B:{server.port}")
    back: list[bytes] = []
    with tunnel.connect() as sock:
        swap(sock, here, back)
    assert [hashlib.sha256(b).digest() for b in back] == [
        hashlib.sha256(there).digest()]
    closed = tunnel.event("closed")
    assert closed["well"] and closed["sent"] == closed["received"] == 32 * MIB
    assert got == [here]
    # The folder goes on as before.
    (pair.dir_a / "beside").write_bytes(b"x" * 100000)
    pair.settle()


def test_many_at_once_and_one_by_one(
        pair: Pair, service: Any, forward: Any) -> None:
    server = service(echo)
    allow(pair.b, "A", server.port)
    own = pair.b.status()["private"]["v6"]
    tunnel = forward(pair.a, f"[{own}]:localhost:{server.port}")
    socks = [tunnel.connect() for _ in range(20)]
    for i, sock in enumerate(socks):
        sock.sendall(b"%d" % i * 1000)
        sock.shutdown(socket.SHUT_WR)
    for i, sock in enumerate(socks):
        assert read_all(sock) == b"%d" % i * 1000
        sock.close()
    tunnel.event("closed", 19)
    assert all(e["well"] for e in tunnel.events if e["event"] == "closed")


def test_nothing_is_reachable_that_was_not_allowed(
        pair: Pair, service: Any, forward: Any) -> None:
    server = service(echo)
    tunnel = forward(pair.a, f"B:{server.port}")

    def refused(nth: int, code: str, exit_code: int) -> dict[str, Any]:
        with tunnel.connect() as sock:
            ends(sock)
        event = tunnel.event("refused", nth)
        assert (event["code"], event["exit"]) == (code, exit_code), event
        return event

    event = refused(0, "forward-denied", REFUSED)
    assert f"device.A.forward {server.port}" in event["next"]
    # Another port is another port.
    allow(pair.b, "A", free_port())
    refused(1, "forward-denied", REFUSED)
    assert server.guests == []
    allow(pair.b, "A", server.port)
    with tunnel.connect() as sock:
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        # Not any more: what is open ends, too.
        pair.b.ctl("config", "unset", "device.A.forward")
        ends(sock)
    assert tunnel.event("broken")["code"] == "forward-denied"
    refused(2, "forward-denied", REFUSED)
    server.end()
    allow(pair.b, "A", server.port)
    refused(3, "forward-nobody", NOT_FOUND)


def test_a_peer_that_dies_takes_its_connections_along(
        pair: Pair, service: Any, forward: Any) -> None:
    server = service(echo)
    allow(pair.b, "A", server.port)
    tunnel = forward(pair.a, f"B:{server.port}")
    with tunnel.connect() as sock:
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        pair.b.kill9()
        ends(sock)
    assert tunnel.event("broken")["code"] == "forward-lost"
    wait_until(lambda: not pair.a.connected("B"), 30, "gone")
    with tunnel.connect() as sock:
        ends(sock)
    event = tunnel.event("refused")
    assert (event["code"], event["exit"]) == ("offline", OFFLINE)
    # It listens on; the next one is carried.
    pair.b.start()
    wait_until(lambda: pair.a.connected("B"), 60, "back")
    with tunnel.connect() as sock:
        sock.sendall(b"again")
        assert sock.recv(5, socket.MSG_WAITALL) == b"again"


def test_who_does_not_read_stops_the_sender_and_nobody_else(
        pair: Pair, service: Any, forward: Any) -> None:
    stop = threading.Event()
    sent = [0]

    def pour(guest: socket.socket) -> None:
        guest.settimeout(0.2)
        block = bytes(65536)
        while not stop.is_set():
            try:
                sent[0] += guest.send(block)
            except TimeoutError:
                pass

    server, quick = service(pour), service(echo)
    for one in (server, quick):
        allow(pair.b, "A", one.port)
    slow = forward(pair.a, f"B:{server.port}")
    beside = forward(pair.a, f"B:{quick.port}")
    try:
        with slow.connect() as sock:
            assert sock.recv(1) == b"\0"
            slow.event("open")

            def still() -> bool:
                was = sent[0]
                time.sleep(1)
                return sent[0] == was
            wait_until(still, 60, "the sender waits")
            # Sockets' buffers and two windows; never what it has to give.
            assert sent[0] < 64 * MIB
            with beside.connect() as other:
                other.sendall(b"x" * MIB)
                other.shutdown(socket.SHUT_WR)
                assert len(read_all(other)) == MIB
            (pair.dir_b / "beside").write_bytes(os.urandom(3 * MIB))
            pair.settle()
    finally:
        stop.set()


def test_standard_input_and_output(pair: Pair, service: Any) -> None:
    """As ssh's ProxyCommand uses it."""
    server = service(echo)
    words = argv(pair.a, "--stdio", f"B:{server.port}")

    def run(data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(words, input=data, capture_output=True,
                              timeout=120, check=False)

    done = run(b"hello")
    assert done.returncode == REFUSED and done.stdout == b"", done
    assert f"device.A.forward {server.port}".encode() in done.stderr
    allow(pair.b, "A", server.port)
    data = os.urandom(MIB)
    done = run(data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data


def test_words_that_are_wrong_are_told(pair: Pair) -> None:
    for args, code in ((("0", "B"), USAGE), (("0", "B:0"), USAGE),
                       (("0", "B:65536"), USAGE), (("x", "B:22"), USAGE),
                       (("0", "nobody:22"), NOT_FOUND),
                       (("0", "B:elsewhere:22"), NOT_FOUND),
                       (("--stdio", "0", "B:22"), USAGE), (("0",), USAGE)):
        result = pair.a.ctl("forward", *args, check=False)
        assert result.code == code, (args, result)


def test_a_carried_port_is_of_loopback_alone(
        pair: Pair, service: Any, forward: Any) -> None:
    server = service(echo)
    allow(pair.b, "A", server.port)
    tunnel = forward(pair.a, f"B:{server.port}")
    table = [line.split() for name in ("tcp", "tcp6")
             for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    at = [row[1].split(":")[0] for row in table if row[3] == "0A"
          and int(row[1].split(":")[1], 16) == tunnel.port]
    assert "0100007F" in at and not {"0" * 8, "0" * 32} & set(at), at


def test_policy_forbids_what_a_device_allows(
        world: World, service: Any, forward: Any) -> None:
    """The owner's rule closes forward, and nothing else."""
    a = owner(world, Coordinator(world))
    b = joined(world, a, "B")
    for node, other in ((a, "B"), (b, "A")):
        wait_until(lambda: connected(node, other), 60,
                   f"{node.name} is with {other}")
    server = service(echo)
    allow(a, "B", server.port)
    tunnel = forward(b, f"A:{server.port}")
    with tunnel.connect() as sock:
        sock.sendall(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        a.ctl("domain", "forbid", "B", "A", "forward")
        ends(sock)
    assert tunnel.event("broken")["code"] == "forward-denied"
    with tunnel.connect() as sock:
        ends(sock)
    assert tunnel.event("refused")["code"] == "forward-denied"
    assert b.ctl("ping", "A", "-c", "1").code == 0 and connected(a, "B")
    # A rule alone opens nothing.
    a.ctl("domain", "allow", "B", "A", "forward")
    with tunnel.connect() as sock:
        sock.sendall(b"again")
        assert sock.recv(5, socket.MSG_WAITALL) == b"again"
    a.ctl("config", "unset", "device.B.forward")
    with tunnel.connect() as sock:
        ends(sock)
    assert tunnel.event("refused", 1)["code"] == "forward-denied"


def hold(number: int, **fields: int) -> bytes:
    """A Forward message's body: docs/protocol.md, section 12."""
    numbers = {"channel": 2, "own": 3, "port": 4, "credit": 5}
    return bep.field_varint(1, number) + b"".join(
        bep.field_varint(numbers[k], v) for k, v in fields.items())


def test_a_peer_that_breaks_the_rules_is_dropped(
        world: World, service: Any) -> None:
    def wait(guest: socket.socket) -> None:
        guest.recv(1)

    server = service(wait)
    evil = Identity.make()
    node = world.node("A", start=False)
    node.device_add(evil.id, "evil")
    allow(node, "evil", server.port)
    node.start()

    def session() -> Wire:
        wire = bep.dial(node.addr, evil)
        wire.send_raw(bep.hello_frame(
            bep.encode("Hello", {"device_name": "evil"}) + HOLDFAST))
        wire.read_hello()
        wire.send(bep.CLUSTER_CONFIG, {"folders": []})
        return wire

    opened = hold(1, channel=1, own=1, port=server.port, credit=1000)
    for words, why in (
            ([opened, opened], "not a new one"),
            ([opened, hold(3, channel=1, own=1)], "without a byte"),
            ([hold(3, channel=9, own=1) + bep.field_bytes(7, b"x")],
             "never was")):
        wire = session()
        for word in words:
            wire.send(FORWARD, word)
        assert why in wire.until_closed(60), why
        wait_until(lambda: not node.connected("evil"), 30, "gone")
    # So many are open, and no more; each of the others is told.
    wire = session()
    for n in range(1, 1001):
        wire.send(FORWARD, hold(1, channel=n, own=1, port=server.port,
                                credit=1000))
    accepted = busy = 0
    while accepted + busy < 1000:
        got = wire.receive(60)
        if got.kind != FORWARD:
            continue
        # ACCEPT, or RESET with "too many" at its end.
        accepted += got.body.startswith(b"\x08\x02")
        busy += got.body.startswith(b"\x08\x06") and got.body.endswith(b"\x05")
    assert (accepted, busy) == (64, 936)
    wait_until(lambda: len(server.guests) >= 64, 30, "they came")
    assert len(server.guests) <= 66 and node.running
    wire.close()

"""Many, slow and greedy: strangers and peers who want to keep us busy.

In each case an honest peer is served all the while, and what the daemon holds
stays below a bound.  The limits are those of docs/protocol.md, "Limits".  The
strangers come from many loopback addresses, so that no limit on one address
saves us, or from one, where it is that limit which is tested.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import threading
import time
from typing import Iterator, Sequence

import pytest

from lib import bep, proc, tree
from lib.bep import Closed, Identity
from lib.node import Node
from lib.peer import Peer
from lib.proc import wait_until
from lib.world import FOLDER, World

pytestmark = pytest.mark.slow

MIB = 1 << 20
TLS_S, HELLO_S = 10, 20  # LIMIT_TLS_NS, LIMIT_HELLO_NS


class Served:
    """A daemon, and an honest peer whose files must arrive."""

    def __init__(self, world: World, wrapper: Sequence[str] = (),
                 log_level: str = "info", patience: float = 5.0):
        self.good, self.evil = Peer("good"), Identity.make()
        self.root = world.dir("root")
        self.node: Node = world.node("A", start=False,
                                     log_level=log_level, wrapper=wrapper)
        self.node.device_add(self.good.id, "good")
        self.node.device_add(self.evil.id, "evil")
        self.node.folder_add(self.root, FOLDER, "good", "evil")
        tree.write(self.root / "large", tree.noise(40 * MIB))
        self.node.start(10 + patience)
        self.good.folder(FOLDER)
        self.good.connect(self.node.addr)
        self.good.wait_remote(FOLDER, "large")
        self.round = 0
        self.beat(patience)
        self.rss0, self.fds0 = self.rss(), proc.open_fds(self.node.pid)

    def rss(self) -> int:
        return proc.smaps(self.node.pid)["Anonymous"]

    def beat(self, timeout: float = 5.0) -> float:
        """A new file of the honest peer arrives; after how long?"""
        self.round += 1
        start, text = time.monotonic(), b"round %d" % self.round
        self.good.put(FOLDER, "heartbeat", text)
        if self.round == 1:
            self.good.announce_all(FOLDER)
        wait_until(lambda: (self.root / "heartbeat").read_bytes() == text,
                   timeout, "the honest peer is served", alive=[self.node])
        assert self.good.alive, self.good.closed
        return time.monotonic() - start

    def grown(self) -> int:
        return self.rss() - self.rss0 - proc.HOARD

    def session(self) -> bep.Wire:
        wire = bep.dial(self.node.addr, self.evil)
        wire.hello("evil")
        wire.send(bep.CLUSTER_CONFIG, {"folders": [{
            "id": FOLDER, "devices": [
                {"id": self.evil.raw, "max_sequence": 1, "index_id": 7},
                {"id": bep.device_raw(self.node.id)}]}]})
        wire.receive()
        return wire


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    made = Served(world)
    yield made
    made.beat()
    made.good.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def source(number: int) -> str:
    return f"127.0.{4 + number // 250}.{1 + number % 250}"


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def test_a_thousand_idle_connections(served: Served) -> None:
    """Most are turned away at once, the rest at the deadline."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(
            bep.tcp(served.node.addr, 5, source(n // 4)))
            for n in range(1000)]
        for _ in range(3):
            served.beat()
        assert proc.open_fds(served.node.pid) <= served.fds0 + 64 + 4
        assert served.grown() < 24 * MIB
        # Not the honest peer's connection was one too many, nor a new one.
        served.session().close()
        wait_until(lambda: not any(map(is_open, socks)), TLS_S + 5,
                   "silent ones are ended", alive=[served.node])
    wait_until(lambda: proc.open_fds(served.node.pid) <= served.fds0 + 2, 5,
               "descriptors are given back")


def test_descriptors_run_out(world: World) -> None:
    """It neither spins nor gives up: what it has goes on."""
    made = Served(world, ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
    with contextlib.ExitStack() as stack:
        for n in range(150):
            stack.enter_context(bep.tcp(made.node.addr, 5, source(n)))
        cpu = proc.cpu_seconds(made.node.pid)
        time.sleep(3)
        assert proc.cpu_seconds(made.node.pid) - cpu < 1.5, "it spins"
        made.node.assert_alive()
    made.beat(20)
    made.good.close()


def test_bytes_that_trickle_into_the_handshake(served: Served) -> None:
    """A byte now and then does not move the deadline."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(501)
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(bep.tcp(served.node.addr, 5, source(n)))
                 for n in range(40)]
        alive, at = list(socks), 0
        while alive and time.monotonic() - start < TLS_S + 10:
            for sock in list(alive):
                try:
                    if not is_open(sock):
                        raise OSError
                    sock.send(hello[at:at + 1])
                except OSError:
                    alive.remove(sock)
            at += 1
            time.sleep(0.2)
            if at % 10 == 0:
                served.beat()
        assert not alive, f"{len(alive)} live"
        assert time.monotonic() - start > TLS_S - 2
    assert served.grown() < 24 * MIB


def test_bytes_that_trickle_within_tls(served: Served) -> None:
    """The same after the handshake: there the Hello has a deadline."""
    start = time.monotonic()
    hello = bep.hello_frame(bep.encode("Hello", {
        "device_name": "slow" * 100, "client_name": "x",
        "client_version": "1"}))
    with contextlib.ExitStack() as stack:
        wires = []
        for n in range(12):
            sock = bep.tcp(served.node.addr, 5, source(n))
            wires.append(stack.enter_context(bep.client_context(
                Identity.make()).wrap_socket(sock)))
        alive, at = list(wires), 0
        while alive and time.monotonic() - start < HELLO_S + 15:
            for sock in list(alive):
                try:
                    sock.setblocking(True)
                    sock.send(hello[at:at + 1])
                    sock.setblocking(False)
                    if not sock.recv(100):
                        raise OSError
                except ssl.SSLWantReadError:
                    pass
                except OSError:
                    alive.remove(sock)
            at += 1
            time.sleep(0.5)
            if at % 8 == 0:
                served.beat()
        assert not alive, f"{len(alive)} live"
        assert time.monotonic() - start > HELLO_S - 2
    assert served.grown() < 24 * MIB


@pytest.mark.parametrize("places", [1, 50], ids=["one address", "many"])
def test_a_flood_of_hellos(served: Served, places: int) -> None:
    """Strangers who do all that is asked of them, again and again."""
    ids = [Identity.make() for _ in range(4)]
    contexts = [bep.client_context(i) for i in ids]
    stop = threading.Event()
    done, through = [0] * len(ids), [0] * len(ids)

    def run(which: int) -> None:
        hello = bep.hello_frame(bep.encode("Hello", {
            "device_name": "stranger", "client_name": "x",
            "client_version": "1"}))
        n = which
        while not stop.is_set():
            n += 4
            try:
                with bep.tcp(served.node.addr, 2, source(n % places)) as raw, \
                        contexts[which].wrap_socket(raw) as sock:
                    through[which] += 1
                    sock.sendall(hello)
                    while sock.recv(4096):
                        pass
            except OSError:
                time.sleep(0.001)
            done[which] += 1

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    log0 = served.node.log.stat().st_size
    cpu0 = proc.cpu_seconds(served.node.pid)
    for thread in threads:
        thread.start()
    try:
        start = time.monotonic()
        beats = []
        while time.monotonic() - start < 12:
            beats.append(served.beat(8))
            time.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    seconds = time.monotonic() - start
    cpu = proc.cpu_seconds(served.node.pid) - cpu0
    print(f"{sum(done)} connections in {seconds:.0f} s, "
          f"{sum(through)} of them with TLS, "
          f"{cpu:.1f} s of work, slowest file {max(beats):.2f} s")
    assert sum(done) > 200, "a flood"
    if places == 1:  # LIMIT_KNOCKS at once, then 16 a second
        assert sum(through) < 256 + 16 * seconds + 50
    assert served.grown() < 32 * MIB
    assert served.node.log.stat().st_size - log0 < 256 << 10
    # The person sees whom they may let in, not a flood.
    pending = served.node.status()["pending"]["devices"]
    assert len(pending) <= 64


def test_requests_that_are_never_read(served: Served) -> None:
    """The largest blocks, asked for without end, and nothing read."""
    wires = []
    size = 16 * MIB
    ask = b"".join(bep.frame(bep.REQUEST, bep.encode("Request", {
        "id": n, "folder": FOLDER, "name": "large", "offset": 0,
        "size": size})) for n in range(1500))
    wire = served.session()
    wires.append(wire)
    wire.sock.settimeout(0.5)
    most = 0
    for _ in range(8):
        try:
            wire.send_raw(ask)
        except (Closed, OSError):
            pass
        served.beat()
        most = max(most, served.grown())
    # LIMIT_SERVE_WINDOW being read, LIMIT_SENDQ_LEN waiting to go.
    assert most < 160 * MIB, most >> 20
    wire.close()
    wait_until(lambda: served.grown() < 80 * MIB, 30, "memory is given back")


def index_update(first: int, count: int, rest: bytes) -> bytes:
    """An IndexUpdate of `count` entries that differ in name and sequence."""
    parts = [bep.field_bytes(1, FOLDER.encode())]
    for n in range(first, first + count):
        parts.append(bep.field_bytes(2, bep.field_bytes(
            1, b"many/%d/%d" % (n // 1000, n)) + rest
            + bep.field_varint(10, n)))
    return b"".join(parts)


class Peak(threading.Thread):
    """The most memory the daemon held while this ran."""

    def __init__(self, served: Served):
        super().__init__()
        self.served, self.most = served, 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.most = max(self.most, self.served.grown())

    def __enter__(self) -> "Peak":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def test_an_index_without_end(served: Served) -> None:
    """Entries as fast as they can be sent: memory does not grow with them."""
    gone = bep.encode("FileInfo", {"deleted": True, "modified_s": 1,
                                   "version": bep.vector({5: 1})})
    wire = served.session()
    wire.sock.settimeout(60)
    with Peak(served) as peak:
        for part in range(20):
            wire.send(bep.INDEX_UPDATE,
                      index_update(1 + part * 25_000, 25_000, gone))
            served.beat(20)
    print(f"500000 entries, {peak.most >> 20} MiB at most")
    assert peak.most < 100 * MIB
    wire.close()


@pytest.mark.skipif(proc.SANITIZED,
                    reason="the sanitizer is slower than the slow disk")
def test_an_index_on_a_slow_disk(world: World) -> None:
    """What is not on the disk yet is bounded: peers are read no further."""
    made = Served(world, (
        "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e",
        "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=3000000"),
        "debug", 40.0)
    wide = bep.encode("FileInfo", {
        "size": 131_072 * 30, "modified_s": 1, "version": bep.vector({5: 1}),
        "blocks": [{"offset": k * 131_072, "size": 131_072,
                    "hash": b"%032d" % k} for k in range(30)]})
    wire = made.session()
    wire.sock.settimeout(120)
    with Peak(made) as peak:
        for part in range(12):
            wire.send(bep.INDEX_UPDATE,
                      index_update(1 + part * 10_000, 10_000, wide))
        wait_until(lambda: "syncd go-on" in made.node.log_text(), 60,
                   "it was held up and went on", alive=[made.node])
    print(f"120000 entries of 1.5 kB, {peak.most >> 20} MiB at most")
    assert peak.most < 160 * MIB
    wire.close()

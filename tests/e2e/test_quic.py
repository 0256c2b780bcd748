"""QUIC: our pair, Debian's Syncthing both ways, a network that moves."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
from pathlib import Path

import pytest

from lib import tree
from lib.node import Node
from lib.proc import free_port, wait_until
from lib.syncthing import SyncthingNode
from lib.world import FOLDER, World


class UdpProxy:
    """Forwards datagrams to `target`, as a router with NAT does.

    move() gives the inner side a new outer port, as a router that forgot, or
    another network; `loss` drops that part of the datagrams each way.
    """

    def __init__(self, target: int, loss: float = 0.0):
        self._target = ("127.0.0.1", target)
        self._loss = loss
        self._rng = random.Random(7)
        self.port = free_port()
        self.up = self.down = self.moves = 0
        self._inner = self._socket(self.port)
        self._outer = self._socket(0)
        self._peer = None
        self._wanted = 0
        self._end = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def _socket(port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 1 << 22)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        return sock

    def move(self) -> None:
        self._wanted += 1

    def close(self) -> None:
        self._end = True
        self._thread.join(10)
        self._inner.close()
        self._outer.close()

    def _run(self) -> None:
        while not self._end:
            if self.moves < self._wanted:
                self._outer.close()
                self._outer = self._socket(0)
                self.moves += 1
            ready, _, _ = select.select([self._inner, self._outer], [], [],
                                        0.05)
            for sock in ready:
                self._forward(sock)

    def _forward(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                data, peer = sock.recvfrom(65536)
            except OSError:
                return
            if sock is self._inner:
                self._peer = peer
                self.up += len(data)
            else:
                self.down += len(data)
            if self._rng.random() < self._loss:
                continue
            try:
                if sock is self._inner:
                    self._outer.sendto(data, self._target)
                elif self._peer is not None:
                    self._inner.sendto(data, self._peer)
            except OSError:
                pass


def quic_node(world: World, name: str) -> Node:
    """A node that listens on QUIC alone."""
    node = world.node(name, start=False)
    node.addr = f"quic://127.0.0.1:{node.port}"
    node.config("mesh.listen", node.addr)
    return node.start()


def quic_pair(world: World, port: int | None = None) -> tuple[Node, Node]:
    a, b = quic_node(world, "A"), quic_node(world, "B")
    b.device_add(a.id, "A")
    a.device_add(b.id, "B", f"quic://127.0.0.1:{port or b.port}")
    return a, b


def path_of(node: Node, device: str) -> dict:
    return node.device(device)["path"]


def settle(a: Node, b: Node, dir_a: Path, dir_b: Path,
           timeout: float = 120.0) -> None:
    wait_until(lambda: tree.same(dir_a, dir_b) and a.in_sync(FOLDER)
               and b.in_sync(FOLDER), timeout, "both trees are the same",
               alive=[a, b])


def share(world: World, a: Node, b: Node) -> tuple[Path, Path]:
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    return dir_a, dir_b


def test_a_pair_over_quic_alone(world: World) -> None:
    a, b = quic_pair(world)
    dir_a, dir_b = share(world, a, b)
    (dir_a / "one").write_bytes(os.urandom(5_000_000))
    (dir_b / "two").write_text("from b")
    settle(a, b, dir_a, dir_b)
    for node, other, dialled in ((a, "B", True), (b, "A", False)):
        path = path_of(node, other)
        assert path["transport"] == "quic" and path["dialled"] == dialled
        assert path["tls"].startswith("TLS1.3 ")
        assert "quic)" in node.ctl("status").out
    # Gone at once when one goes, and back when it is back.
    b.restart()
    (dir_a / "three").write_text("while b was away")
    settle(a, b, dir_a, dir_b)


def test_a_transfer_survives_new_ports_and_loss(world: World) -> None:
    far = free_port()
    proxy = UdpProxy(far, loss=0.01)
    try:
        b = world.node("B", start=False)
        b.config("mesh.listen", f"quic://127.0.0.1:{far}")
        b.start()
        a = quic_node(world, "A")
        b.device_add(a.id, "A")
        a.device_add(b.id, "B", f"quic://127.0.0.1:{proxy.port}")
        dir_a, dir_b = share(world, a, b)
        wait_until(lambda: a.connected("B") and b.connected("A"), 60,
                   "connected", alive=[a, b])
        since = path_of(b, "A")["since"]
        (dir_a / "big").write_bytes(os.urandom(24_000_000))
        for part in (1, 2, 3):
            wait_until(lambda: proxy.up > part * 4_000_000, 120,
                       f"part {part} is through", alive=[a, b])
            proxy.move()
            wait_until(lambda: proxy.moves == part, 20, "moved")
        settle(a, b, dir_a, dir_b)
        # One connection did it all.
        assert path_of(b, "A")["since"] == since
    finally:
        proxy.close()


def test_noise_on_the_port_changes_nothing(world: World) -> None:
    a, b = quic_pair(world)
    dir_a, dir_b = share(world, a, b)
    wait_until(lambda: a.connected("B"), 60, "connected", alive=[a, b])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rng = random.Random(1)
    for i in range(3000):
        data = bytearray(rng.randbytes(rng.randrange(0, 1500)))
        if data and i % 2:
            data[0] |= 0xc0  # a long header
        if len(data) > 20 and i % 4 == 1:
            data[1:6] = b"\x00\x00\x00\x01\x08"
            data[14] = 8
        sock.sendto(bytes(data), ("127.0.0.1", b.port))
    sock.close()
    (dir_a / "after").write_text("the noise")
    settle(a, b, dir_a, dir_b)
    assert a.connected("B")


@pytest.mark.parametrize("dial", ["ours", "theirs"])
def test_syncthing_over_quic(world: World, dial: str) -> None:
    theirs: SyncthingNode = world.syncthing(scheme="quic")
    ours = quic_node(world, "A")
    dir_a, dir_b = world.dir("a"), world.dir("b")
    (dir_a / "ours").write_bytes(os.urandom(3_000_000))
    (dir_b / "theirs").write_bytes(os.urandom(3_000_000))
    ours.device_add(theirs.id, "S", *([theirs.addr] if dial == "ours" else []))
    theirs.device_add(ours.id, "A",
                      ours.addr if dial == "theirs" else "dynamic")
    ours.folder_add(dir_a, FOLDER, "S")
    theirs.folder_add(FOLDER, dir_b, [ours.id])
    wait_until(lambda: tree.same(dir_a, dir_b) and ours.in_sync(FOLDER)
               and theirs.in_sync(FOLDER, ours.id), 120,
               "the same on both sides", alive=[ours, theirs])
    path = path_of(ours, "S")
    assert path["transport"] == "quic"
    assert path["dialled"] == (dial == "ours")
    kind = theirs.get("/rest/system/connections")["connections"][ours.id]
    assert kind["type"].startswith("quic"), kind

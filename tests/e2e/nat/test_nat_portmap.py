"""Ports that the router opens: Debian's miniupnpd, and one that lies."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import threading
import time
from typing import Iterator

import pytest

from lib.igd import Igd
from lib.natpair import Couple, Town
from lib.netlab import KINDS, Home
from lib.node import Node
from lib.proc import wait_until

pytestmark = [pytest.mark.root]


def ports(node: Node) -> list[dict]:
    return node.status()["portmap"]


def all_open(node: Node) -> bool:
    return len(ports(node)) == 2 and all(p["open"] for p in ports(node))


def igd_of(town: Town, home: Home, speaks: str, **options) -> Igd:
    made = Igd(town.world.base / "igd", home, speaks, **options)
    town.world.daemons.append(made)
    return made.start()


def open_node(town: Town, home: Home, igd: Igd) -> Node:
    node = town.node("A", home).start()
    wait_until(lambda: all_open(node), 60, lambda: f"{ports(node)}",
               alive=[node, igd])
    return node


@pytest.mark.parametrize("speaks", ["pcp", "nat-pmp", "upnp"])
def test_a_port_is_opened_and_given_back(town: Town, speaks: str) -> None:
    home = town.internet.home(KINDS["symmetric"])
    igd = igd_of(town, home, speaks)
    node = open_node(town, home, igd)
    assert {p["method"] for p in ports(node)} == {speaks}
    assert {p["address"] for p in ports(node)} == {
        f"tcp://{home.public}:22000", f"quic://{home.public}:22000"}
    assert len(igd.mapped()) == 2
    assert node.stop() == 0
    assert not igd.mapped()


@pytest.mark.parametrize("speaks", [
    "pcp", pytest.param("nat-pmp", marks=pytest.mark.matrix)])
def test_a_router_that_starts_anew_is_asked_at_once(
        town: Town, speaks: str) -> None:
    """It says so to all on its LAN; to wait for would be ten minutes."""
    home = town.internet.home(KINDS["port"])
    igd = igd_of(town, home, speaks)
    open_node(town, home, igd)
    # Its clock of mappings must have gone on, or it did not go back.
    time.sleep(4)
    igd.forget()
    assert not igd.mapped()
    igd.start()
    wait_until(lambda: len(igd.mapped()) == 2, 60, "asked again",
               alive=[igd])


@pytest.mark.matrix
@pytest.mark.parametrize("speaks", ["pcp", "nat-pmp", "upnp"])
def test_a_lease_is_renewed_before_it_ends(town: Town, speaks: str) -> None:
    home = town.internet.home(KINDS["port"])
    igd = igd_of(town, home, speaks, longest_s=50)
    node = open_node(town, home, igd)
    end = time.monotonic() + 75
    while time.monotonic() < end:
        assert len(igd.mapped()) == 2
        assert all_open(node)
        time.sleep(2)


def test_two_hard_routers_meet_at_a_port_that_was_opened(
        town: Town) -> None:
    homes = [town.internet.home(KINDS["symmetric"]) for _ in range(2)]
    igd = igd_of(town, homes[0], "upnp")
    couple = Couple(town, *homes)
    couple.a.start()
    wait_until(lambda: all_open(couple.a), 60, lambda: f"{ports(couple.a)}",
               alive=[couple.a, igd])
    couple.b.start()
    wait_until(lambda: couple.kinds() == {"direct"}, 90,
               lambda: f"{couple.paths()}", alive=couple.nodes)
    assert couple.paths()[1]["address"].startswith(homes[0].public)
    (couple.dirs[0] / "file").write_bytes(os.urandom(1_000_000))
    couple.settle()


@pytest.mark.parametrize("why", ["nobody to tell", "not wanted"])
def test_a_router_is_asked_for_nothing_when_it_is_of_no_use(
        town: Town, why: str) -> None:
    home = town.internet.home(KINDS["port"])
    assert home.router is not None
    home.router.nft("""table inet count {
        counter asked { }
        chain c { type filter hook prerouting priority raw;
            iifname "lan" udp dport { 5351, 1900 } counter name asked; }; }
        """)
    node = town.node("A", home)
    if why == "not wanted":
        node.config("mesh.portmap", "false")
    else:
        node.ctl("config", "unset", "mesh.discovery")
    node.start()
    wait_until(lambda: all(r["joined"] for r in node.status()["relays"]), 60,
               "it has been busy", alive=[node])
    assert ports(node) == []
    assert home.router.counter("asked") == 0
    # The counter counts.
    if why == "not wanted":
        node.config("mesh.portmap", "true")
        wait_until(lambda: home.router.counter("asked") > 0, 60, "it asks",
                   alive=[node])


@pytest.mark.matrix
def test_behind_two_routers_a_port_of_the_first_is_told_to_nobody(
        town: Town) -> None:
    home = town.internet.home(KINDS["double"])
    igd = igd_of(town, home, "pcp")
    node = town.node("A", home).start()
    # miniupnpd may refuse by itself; another would grant what is of no use.
    wait_until(lambda: ports(node) and all(p["error"] for p in ports(node)),
               60, lambda: f"{ports(node)}", alive=[node, igd])
    assert not any(p["open"] for p in ports(node))


# ---- a router that lies ----------------------------------------------------


class Liar:
    """Answers to everything, in the namespace of a router."""

    def __init__(self, home: Home, how: str):
        assert home.router is not None
        self.how = how
        self.rng = random.Random(5)
        self.heard: set[str] = set()
        self.pmp = home.router.udp("192.168.1.1", 5351)
        with home.router.inside():
            self.ssdp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.http = socket.socket()
        self.ssdp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.ssdp.bind(("", 1900))
        self.ssdp.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton("239.255.255.250")
            + socket.inet_aton("192.168.1.1"))
        self.http.bind(("192.168.1.1", 0))
        self.http.listen(16)
        self.threads = [threading.Thread(target=run, daemon=True)
                        for run in (self._pmp, self._ssdp, self._http)]
        self.end = False
        for thread in self.threads:
            thread.start()

    def _pmp(self) -> None:
        while not self.end:
            if not select.select([self.pmp], [], [], 0.2)[0]:
                continue
            data, peer = self.pmp.recvfrom(2048)
            self.heard.add("pcp" if data[:1] == b"\2" else "nat-pmp")
            for _ in range(3):
                self.pmp.sendto(self._lie(data), peer)

    def _lie(self, data: bytes) -> bytes:
        """Noise, or what was asked with something wrong in it."""
        if self.how == "noise":
            return self.rng.randbytes(self.rng.randrange(0, 1200))
        if data[:1] == b"\2":
            # Granted for ever, at an address that is nobody's.
            return (data[:1] + b"\x81\0\0" + b"\xff" * 4 + os.urandom(4)
                    + bytes(12) + data[24:42] + b"\0\0" + bytes(10)
                    + b"\xff\xff" + bytes(4))
        return struct.pack(">BBHIHHI", 0, 0x80 | data[1], 0, 1, 0, 0, 0)

    def _ssdp(self) -> None:
        url = f"http://192.168.1.1:{self.http.getsockname()[1]}/x"
        while not self.end:
            if not select.select([self.ssdp], [], [], 0.2)[0]:
                continue
            data, peer = self.ssdp.recvfrom(2048)
            self.heard.add("ssdp")
            st = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
            self.ssdp.sendto(self.rng.randbytes(900), peer)
            self.ssdp.sendto(
                f"HTTP/1.1 200 OK\r\nST: {st}\r\nUSN: uuid:1::{st}\r\n"
                f"LOCATION: {url}\r\n\r\n".encode(), peer)

    def _http(self) -> None:
        while not self.end:
            if not select.select([self.http], [], [], 0.2)[0]:
                continue
            sock, _ = self.http.accept()
            self.heard.add("http")
            try:
                if self.how == "noise":
                    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n<root><device>"
                                 + self.rng.randbytes(1 << 16))
                else:
                    # A byte a second, for as long as anybody waits.
                    sock.sendall(b"HTTP/1.1 200 OK\r\n"
                                 b"Content-Length: 99999\r\n\r\n")
                    while not self.end:
                        sock.sendall(b"<")
                        time.sleep(1)
            except OSError:
                pass
            sock.close()

    def close(self) -> None:
        self.end = True
        for thread in self.threads:
            thread.join(10)
        for sock in (self.pmp, self.ssdp, self.http):
            sock.close()


@pytest.fixture(params=[
    "lies", pytest.param("noise", marks=pytest.mark.matrix)])
def liar(town: Town, request: pytest.FixtureRequest) \
        -> Iterator[tuple[Home, Liar]]:
    home = town.internet.home(KINDS["port"])
    made = Liar(home, request.param)
    yield home, made
    made.close()


def test_a_router_that_lies_opens_nothing_and_breaks_nothing(
        town: Town, liar: tuple[Home, Liar]) -> None:
    home, lies = liar
    node = town.node("A", home).start()
    wait_until(lambda: lies.heard == {"pcp", "nat-pmp", "ssdp", "http"}, 90,
               lambda: f"{lies.heard}", alive=[node])
    assert not any(p["open"] for p in ports(node))
    # It goes on asking: each time somebody says that the network changed.
    for _ in range(10):
        node.http("POST", "/v1/refresh")
        assert not any(p["open"] for p in ports(node))
    # However slowly the router speaks: nobody waits for it at the end.
    start = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - start < 15


@pytest.mark.matrix
def test_a_neighbour_that_says_it_is_the_router_is_not_asked(
        town: Town) -> None:
    """Two on one LAN; the other answers the search."""
    one, other = town.internet.homes_behind_one(KINDS["port"])
    asked = []
    with other.space.inside():
        ssdp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        http = socket.socket()
    ssdp.bind(("", 1900))
    ssdp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                    socket.inet_aton("239.255.255.250")
                    + socket.inet_aton(other.address))
    http.bind((other.address, 8080))
    http.listen(8)
    node = town.node("A", one).start()
    try:
        ssdp.settimeout(60)
        data, peer = ssdp.recvfrom(2048)
        asked.append(data)
        st = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
        for at in (f"{other.address}:8080", f"192.168.1.1@{other.address}:8080",
                   "192.168.1.1x:8080"):
            ssdp.sendto(f"HTTP/1.1 200 OK\r\nST: {st}\r\nUSN: uuid:1::{st}"
                        f"\r\nLOCATION: http://{at}/x\r\n\r\n".encode(), peer)
        wait_until(lambda: ports(node) and all(
            "UPnP" in p["error"] for p in ports(node)), 60,
            lambda: f"{ports(node)}", alive=[node])
        assert not select.select([http], [], [], 0)[0]
    finally:
        ssdp.close()
        http.close()

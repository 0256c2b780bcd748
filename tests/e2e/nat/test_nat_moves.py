"""Ways that change in the middle of a file, and what others see of it."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from lib import tree
from lib.natpair import PORT, Couple, Town, path_of
from lib.netlab import KINDS, Home, Space
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, settle

pytestmark = [pytest.mark.root]


class Capture:
    """Every frame that passes "wan" of a namespace."""

    def __init__(self, space: Space):
        with space.inside():
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                       socket.htons(3))
        self._sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # RCVBUFFORCE
        self._sock.bind(("wan", 0))
        self._sock.settimeout(0.2)
        self._end = False
        self.frames: list[bytes] = []
        self.times: list[float] = []  # of each frame
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end:
            try:
                self.frames.append(self._sock.recv(1 << 17))
                self.times.append(time.monotonic())
            except socket.timeout:
                continue

    @property
    def size(self) -> int:
        return sum(len(frame) for frame in self.frames)

    def close(self) -> bytes:
        self._end = True
        self._thread.join(10)
        self._sock.close()
        return b"".join(self.frames)


def relayed(town: Town) -> Couple:
    """A at a public address; B where only TCP port 443 goes out."""
    couple = Couple(town, town.internet.home(KINDS["none"]),
                    town.internet.home(KINDS["noudp"]))
    couple.meet("relay", 90)
    return couple


def test_relay_and_hub_learn_nothing_of_a_file(town: Town) -> None:
    """A canary, in all that the two hear and say (S1, S31)."""
    couple = relayed(town)
    canary = os.urandom(24).hex().encode()
    name = "canary-" + os.urandom(8).hex()
    data = b"".join(canary + os.urandom(40) for _ in range(50_000))
    taps = [Capture(town.relay), Capture(town.hub)]
    tree.write(couple.dirs[0] / name, data)
    couple.settle()
    wires = [tap.close() for tap in taps]
    for wire in wires:
        assert canary not in wire and name.encode() not in wire
    # It went through the one; to the other it makes no difference.
    assert len(wires[0]) > len(data)
    assert len(wires[1]) < 200_000


def test_the_tap_of_this_test_sees_what_is_not_hidden(town: Town) -> None:
    tap = Capture(town.relay)
    sock = town.internet.space.udp(town.internet.host(5))
    sock.sendto(b"plain words", (town.internet.host(town.internet.RELAY), 9))
    wait_until(lambda: any(b"plain words" in f for f in tap.frames), 30,
               "it is seen")
    sock.close()
    tap.close()


def test_a_way_that_opens_is_taken_in_the_middle_of_a_file(
        town: Town) -> None:
    """All but TCP 443 was dropped; then it is not (S30, S34)."""
    couple = relayed(town)
    town.relay_node.config("relay.rate", "2M")
    town.relay_node.reload()
    tree.write(couple.dirs[0] / "big", tree.noise(40_000_000, 3))
    wait_until(lambda: couple.b.device("A")["bytes_in"] > 2_000_000, 60,
               "it flows", alive=couple.nodes)
    router = couple.homes[1].router
    assert router is not None
    router.nft("delete table ip fence")
    wait_until(lambda: couple.kinds() == {"direct"}, 120,
               lambda: f"{couple.paths()}", alive=couple.nodes)
    couple.settle()
    assert not tree.conflicts(couple.dirs[1])


def quic_pair(town: Town, home_a: Home, home_b: Home) \
        -> tuple[list[Node], list]:
    """B dials A, which has a public address, by QUIC alone."""
    listen = f"quic://:{PORT}"
    nodes = [town.node(name, home, listen)
             for name, home in (("A", home_a), ("B", home_b))]
    nodes[0].device_add(nodes[1].id, "B")
    nodes[1].device_add(nodes[0].id, "A",
                        f"quic://{home_a.address}:{PORT}")
    dirs = [town.world.dir("a"), town.world.dir("b")]
    for node, place, other in zip(nodes, dirs, "BA"):
        node.folder_add(place, FOLDER, other)
        node.config("mesh.portmap", "false")
        node.start()
    wait_until(lambda: all(n.connected(o) for n, o in zip(nodes, "BA")), 60,
               "connected", alive=nodes)
    return nodes, dirs


def change(space: Space, link: str, old: str, new: str, via: str) -> None:
    """Another address, and the way out that went with the old one."""
    space.ip("addr", "add", f"{new}/24", "dev", link)
    space.ip("addr", "del", f"{old}/24", "dev", link)
    space.ip("addr", "replace", f"{new}/24", "dev", link)
    space.ip("route", "replace", "default", "via", via)


@pytest.mark.parametrize("who", [
    "router", pytest.param("device", marks=pytest.mark.matrix)])
def test_a_new_address_in_the_middle_of_a_file(town: Town, who: str) -> None:
    """Of the device in its LAN, or of its router: one session (S28)."""
    home = town.internet.home(KINDS["port"])
    router, public = home.router, town.internet.home(KINDS["none"])
    assert router is not None
    # Slow enough that the change is in the middle; and who sends is counted.
    router.nft("""table ip slow { chain c {
        type filter hook forward priority filter + 1;
        iifname "lan" meta l4proto udp \
            limit rate over 4 mbytes/second burst 256 kbytes drop; }; }""")
    watch, moved, name = (router, "192.168.1.99", "lan") if who == "device" \
        else (public.space, "11.0.0.200", "wan")
    watch.nft(f"""table inet count {{ counter moved {{ }};
        chain c {{ type filter hook prerouting priority raw;
            iifname "{name}" ip saddr {moved} counter name moved; }}; }}""")
    nodes, dirs = quic_pair(town, public, home)
    since = path_of(nodes[1], "A")["since"]
    tree.write(dirs[1] / "big", tree.noise(30_000_000, 4))
    wait_until(lambda: nodes[0].device("B")["bytes_in"] > 2_000_000, 60,
               "it flows", alive=nodes)
    if who == "device":
        change(home.space, "eth0", home.address, moved, "192.168.1.1")
    else:
        change(router, "wan", home.public, moved, "11.0.0.1")
    settle(nodes, dirs, 120)
    assert path_of(nodes[1], "A")["since"] == since
    assert watch.counter("moved") > 5_000_000


def datagrams(tap: Capture, source: str) -> list[tuple[float, bytes]]:
    """When what of UDP came from that address, without headers."""
    host = socket.inet_aton(source)
    out = []
    for when, frame in zip(tap.times, tap.frames):
        packet = frame[14:]
        if frame[12:14] == b"\x08\x00" and packet[9] == 17 \
                and packet[12:16] == host:
            out.append((when, packet[(packet[0] & 15) * 4 + 8:]))
    return out


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_an_idle_link_outlives_a_router_that_forgets_after_30_s(
        town: Town) -> None:
    """Five minutes: no gap over 25 s, and no new handshake after it (S26)."""
    home = town.internet.home(KINDS["symmetric"])
    assert home.router is not None
    for key in ("udp_timeout", "udp_timeout_stream"):
        home.router.sysctl(f"net.netfilter.nf_conntrack_{key}", 30)
    outside = town.internet.home(KINDS["none"])
    nodes, dirs = quic_pair(town, outside, home)
    before = path_of(nodes[0], "B")
    tap = Capture(outside.space)
    begin = time.monotonic()
    time.sleep(300)
    tree.write(dirs[0] / "late", b"from outside")
    settle(nodes, dirs, 60)
    tap.close()
    after = path_of(nodes[0], "B")
    assert (after["since"], after["address"]) == \
        (before["since"], before["address"])
    seen = datagrams(tap, home.public)
    times = [begin, *(when for when, _ in seen)]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) > 300 / 25 and max(gaps) <= 25, gaps
    # A handshake's packets have long headers.
    assert not any(data[0] & 0x80 for _, data in seen)

"""Two behind NATs with nobody between them but a coordinator."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib import tree
from lib.natpair import PORT, path_of
from lib.netlab import KINDS, Home, Internet
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root]

COORD = 22075


@dataclass
class Domain:
    """A coordinator, and two members behind routers of their own."""

    coordinator: Node
    a: Node
    b: Node
    homes: list[Home]

    def kinds(self) -> list[str]:
        return [str(path_of(node, other).get("kind"))
                for node, other in ((self.a, "B"), (self.b, "A"))]

    def until(self, kind: str) -> None:
        wait_until(lambda: self.kinds() == [kind, kind], 90,
                   lambda: f"{self.a.device('B')}\n{self.b.device('A')}",
                   alive=[self.a, self.b, self.coordinator])

    def share(self, world: World) -> list[Path]:
        dirs = [world.dir("a"), world.dir("b")]
        for node, other, path in ((self.a, "B", dirs[0]),
                                  (self.b, "A", dirs[1])):
            node.folder_add(path, FOLDER, other)
        return dirs


def make_domain(world: World, internet: Internet, *options: tuple[str, str],
                kind: str = "port") -> Domain:
    """No relay, no discovery server, no announcement, no address: what leads
    them to each other is what the coordinator passes on, and its STUN."""
    hub = internet.service(internet.HUB)
    coordinator = world.node("C", start=False, wrapper=hub.wrapper)
    coordinator.ctl("config", "unset", "mesh.listen")
    coordinator.config("coord.serve", "true")
    coordinator.config("coord.open", "true")
    coordinator.config("coord.listen", f"tcp://0.0.0.0:{COORD}")
    coordinator.start()
    url = (f"tcp://{internet.host(internet.HUB)}:{COORD}"
           f"?id={coordinator.id}")

    homes: list[Home] = []

    def at_home(name: str) -> Node:
        home = internet.home(KINDS[kind])
        homes.append(home)
        made = world.node(name, start=False, wrapper=home.space.wrapper)
        made.ctl("config", "unset", "mesh.listen")
        for scheme in ("tcp", "quic"):
            made.ctl("config", "set", "--add", "mesh.listen",
                     f"{scheme}://:{PORT}")
        made.config("mesh.coordinator", url)
        for key, value in options:
            made.config(key, value)
        return made.start()

    a, b = at_home("A"), at_home("B")
    code = a.ctl("device", "invite", "--json").json["link"]
    answer = b.ctl("join", code, "--json").json
    assert answer["state"] == "done", answer
    return Domain(coordinator, a, b, homes)


def test_a_signal_of_the_coordinator_opens_both_nats(
        world: World, internet: Internet) -> None:
    domain = make_domain(world, internet)
    domain.until("direct")
    a, b = domain.a, domain.b
    for node, other in ((a, "B"), (b, "A")):
        assert path_of(node, other)["address"].startswith("11.0.0.10")
        assert path_of(node, other)["transport"] == "quic"
        assert node.status()["relays"] == []
        assert node.status()["discovery"] == []
    # It is not needed for what is open.
    domain.coordinator.kill9()
    dirs = domain.share(world)
    tree.write(dirs[0] / "hello", b"through")
    settle([a, b], dirs, 60)


def count_datagrams(domain: Domain, internet: Internet) -> None:
    """What goes from one home to the other, at each router."""
    hub = internet.host(internet.HUB)
    for home in domain.homes:
        assert home.router is not None
        home.router.nft(f"""table inet count {{ counter away {{ }};
            chain f {{ type filter hook forward priority filter - 4;
                oifname "wan" meta l4proto udp ip daddr != {hub} \
                    counter name away; }}; }}""")


def counted(domain: Domain) -> list[int]:
    return [home.router.counter("away")
            for home in domain.homes if home.router is not None]


def test_an_idle_link_sleeps_and_is_woken(world: World,
                                          internet: Internet) -> None:
    """By a change here, one there, and when the coordinator is lost."""
    domain = make_domain(world, internet, ("mesh.sleep", "3s"))
    a, b = domain.a, domain.b
    dirs = domain.share(world)
    tree.write(dirs[0] / "first", b"byte")
    settle([a, b], dirs, 90)
    for number, side in enumerate((0, 1)):
        domain.until("asleep")
        for node, other in ((a, "B"), (b, "A")):
            device = node.device(other)
            assert device["connected"] and device["state"] == "in_sync"
            assert device["path"]["reason"] == "asleep"
            assert "asleep" in node.ctl("status", check=False).out
        tree.write(dirs[side] / f"woken-{number}", b"by this")
        settle([a, b], dirs, 60)
        assert "mesh woken device=" in a.log_text()
        assert "mesh woken device=" in b.log_text()
    domain.until("asleep")
    # Paused in its sleep, it is connected again when it is resumed.
    a.ctl("device", "pause", "B")
    wait_until(lambda: not a.connected("B"), 60, "paused", alive=[a, b])
    a.ctl("device", "resume", "B")
    wait_until(lambda: a.connected("B"), 90, "resumed", alive=[a, b])
    domain.until("asleep")
    domain.coordinator.kill9()
    # Nobody could wake them now: they hold on to each other, or know better.
    wait_until(lambda: "asleep" not in domain.kinds(), 60, "awake",
               alive=[a, b])


@pytest.mark.matrix
@pytest.mark.timeout(1200)
def test_ten_minutes_without_a_packet_and_then_within_two_seconds(
        world: World, internet: Internet) -> None:
    """S27: behind routers that have long forgotten."""
    domain = make_domain(world, internet, ("mesh.sleep", "20s"))
    a, b = domain.a, domain.b
    dirs = domain.share(world)
    tree.write(dirs[0] / "first", b"byte")
    settle([a, b], dirs, 90)
    domain.until("asleep")
    time.sleep(5)  # the last words
    count_datagrams(domain, internet)
    time.sleep(600)
    assert domain.kinds() == ["asleep", "asleep"]
    assert counted(domain) == [0, 0]
    begin = time.monotonic()
    tree.write(dirs[1] / "late", b"the first in ten minutes")
    wait_until(lambda: (dirs[0] / "late").exists(), 60, "it is there",
               alive=[a, b])
    took = time.monotonic() - begin
    print(f"first byte after {took:.2f} s")
    assert took < 2
    settle([a, b], dirs, 60)
    assert min(counted(domain)) > 0

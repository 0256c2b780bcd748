"""Promises of docs/mission.md that need networks: firewalls, no DNS, a LAN."""

from __future__ import annotations

import ipaddress
import socket
from typing import Optional

import pytest

from lib import tree
from lib.natpair import PORT, Town, path_of
from lib.netlab import KINDS, SAME, Internet, Space
from lib.node import ROOT, Node
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root]

COORD = 22075
_DNS = """table inet count { counter dns { };
    chain o { type filter hook output priority filter - 1;
        meta l4proto { tcp, udp } th dport { 53, 853, 5353 } \
            counter name dns; }; }"""


def written_firewall() -> str:
    """The rules of docs/coordinator.md."""
    text = (ROOT / "docs/coordinator.md").read_text()
    part = text.split("## A firewall that lets nothing in")[1]
    return "\n".join(line for line in part.split("\n## ")[0].splitlines()
                     if line.startswith("    "))


def anywhere(node: Node) -> Node:
    node.ctl("config", "unset", "mesh.listen")
    for scheme in ("tcp", "quic"):
        node.ctl("config", "set", "--add", "mesh.listen",
                 f"{scheme}://:{PORT}")
    return node


def host_of(path: dict) -> str:
    return path["address"].rpartition(":")[0].strip("[]")


def lets_in(internet: Internet, host: str, port: int) -> bool:
    """Does a stranger get any answer there?"""
    v6 = ":" in host
    with internet.space.inside():
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
    with sock:
        sock.settimeout(2)
        try:
            sock.connect((host, port))
        except socket.timeout:
            return False
        except ConnectionRefusedError:
            pass
        return True


def serving(world: World, internet: Internet, v6: bool) -> tuple[Node, str]:
    """All that there is of services, on one host of ours."""
    space = internet.service(internet.HUB)
    host = internet.host(internet.HUB, v6)
    host = f"[{host}]" if v6 else host
    hub = world.node("R", start=False, wrapper=space.wrapper)
    for room, port in (("coord", COORD), ("relay", 443)):
        hub.config(f"{room}.serve", "true")
        hub.config(f"{room}.open", "true")
        hub.config(f"{room}.listen", f"tcp://{host}:{port}")
    return hub.start(), f"tcp://{host}:{COORD}?id={hub.id}"


def together(a: Node, b: Node, *alive: Node) -> None:
    kinds = [path_of(n, o).get("kind") for n, o in ((a, "B"), (b, "A"))]
    wait_until(lambda: [path_of(n, o).get("kind") for n, o in
                        ((a, "B"), (b, "A"))] == ["direct", "direct"], 90,
               lambda: f"{kinds}: {a.device('B')}\n{b.device('A')}",
               alive=[a, b, *alive])


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_all_of_it_works_behind_firewalls_and_without_dns(
        world: World, internet: Internet, family: str) -> None:
    """One family, own hardware alone, no resolver, no port open (S15, S24,
    S29, S43)."""
    v6 = family == "ipv6"
    hub, url = serving(world, internet, v6)
    spaces = [internet.service(number) for number in (21, 22)]
    hosts = [internet.host(number, v6) for number in (21, 22)]
    other = [internet.host(number, not v6) for number in (21, 22)]
    nodes = []
    for name, space, gone in zip("AB", spaces, other):
        space.ip("addr", "del", f"{gone}/{24 if v6 else 64}", "dev", "wan")
        space.nft(_DNS)
        node = world.node(name, start=False, wrapper=space.wrapper)
        nodes.append(anywhere(node))
    a, b = nodes
    a.config("mesh.coordinator", url)
    for node in nodes:
        node.start()
    # A stranger gets an answer, until the rules of the manual are in force.
    wait_until(lambda: all(lets_in(internet, host, PORT) for host in hosts),
               30, "they are open", alive=nodes)
    for space in spaces:
        space.nft(written_firewall())
    told = b.ctl("join", a.ctl("device", "invite", "--json").json["link"],
                 "--json").json
    assert told["state"] == "done", told
    together(a, b, hub)
    dirs = [world.dir("a"), world.dir("b")]
    for node, place, name in zip(nodes, dirs, "BA"):
        node.folder_add(place, FOLDER, name)
    tree.write(dirs[0] / "file", tree.noise(2_000_000, 1))
    settle(nodes, dirs, 60)
    assert not any(lets_in(internet, host, PORT) for host in hosts)
    for node, name, host in ((a, "B", hosts[1]), (b, "A", hosts[0])):
        assert host_of(path_of(node, name)) == host
        assert ipaddress.ip_address(host).compressed == host
        assert node.ctl("ping", name, "-c", "1").code == 0
        assert host in node.ctl("device", "show", name).out
    assert [space.counter("dns") for space in spaces] == [0, 0]
    # What is counted here is counted.
    probe = spaces[0].udp("::" if v6 else "")
    probe.sendto(b"?", (internet.host(1, v6), 53))
    probe.close()
    assert spaces[0].counter("dns") > 0


def test_netcheck_says_what_the_router_is(town: Town) -> None:
    """Address and mapping, each behind a router that is known (S22)."""
    want = {"none": "none", "port": "endpoint-independent",
            "symmetric": "address-and-port-dependent"}
    homes = {name: town.internet.home(KINDS[name]) for name in want}
    nodes = {name: town.node(name, home) for name, home in homes.items()}
    for node in nodes.values():
        node.start()
    for name, node in nodes.items():
        def told() -> Optional[dict]:
            found = node.ctl("netcheck", "--json", check=False).json
            return found if found["udp"] else None

        found = wait_until(told, 60, f"{name} is checked",
                           alive=list(nodes.values()))
        assert found["ipv4"]["mapping"] == want[name], (name, found)
        host, _, port = found["ipv4"]["mapped"].rpartition(":")
        assert host == homes[name].public
        assert (port == str(PORT)) == (name != "symmetric"), found
        assert host in node.ctl("netcheck").out


def move(space: Space, number: int) -> None:
    """Another LAN: another address, and nothing of the old one."""
    space.ip("addr", "flush", "dev", "eth0")
    space.ip("addr", "add", f"10.9.8.{number}/24", "brd", "+", "dev", "eth0")


def test_two_of_a_domain_meet_on_a_lan_when_home_is_off(
        world: World, internet: Internet) -> None:
    """Coordinator and relay are gone, and every address is new (S74)."""
    hub, url = serving(world, internet, False)
    homes = internet.homes_behind_one(SAME)
    nodes = []
    for name, home in zip("AB", homes):
        node = anywhere(world.node(name, start=False,
                                   wrapper=home.space.wrapper))
        node.config("mesh.announce", "true")
        nodes.append(node)
    a, b = nodes
    a.config("mesh.coordinator", url)
    for node in nodes:
        node.start()
    told = b.ctl("join", a.ctl("device", "invite", "--json").json["link"],
                 "--json").json
    assert told["state"] == "done", told
    together(a, b, hub)
    dirs = [world.dir("a"), world.dir("b")]
    for node, place, name in zip(nodes, dirs, "BA"):
        node.folder_add(place, FOLDER, name)
    hub.kill9()
    for node, home, number in zip(nodes, homes, (3, 4)):
        assert node.stop() == 0
        move(home.space, number)
    tree.write(dirs[0] / "file", b"from the hotspot")
    for node in nodes:
        node.start()
    settle(nodes, dirs, 90)
    assert {host_of(path_of(a, "B")), host_of(path_of(b, "A"))} == \
        {"10.9.8.3", "10.9.8.4"}
    assert not any(n.status()["coordinators"][0]["up"] for n in nodes)

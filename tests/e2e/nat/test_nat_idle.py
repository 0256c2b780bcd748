"""Devices that have nothing to do, and what they send all the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lib import tree
from lib.natpair import HUB, Town, path_of
from lib.netlab import KINDS, Home, Internet, Space
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root, pytest.mark.matrix]

NODES, MINUTES = 10, 10


def counters(space: Space, link: str) -> None:
    """Bytes in and out of a namespace, by `link`."""
    space.nft(f"""table inet count {{ counter in {{ }}; counter out {{ }};
        chain i {{ type filter hook input priority filter;
            iifname "{link}" counter name in; }};
        chain o {{ type filter hook output priority filter;
            oifname "{link}" counter name out; }}; }}""")


def line_up(node: Node) -> bool:
    return any(line["up"] for line in node.status()["coordinators"])


@pytest.mark.timeout(MINUTES * 60 + 900)
def test_ten_idle_nodes_say_little_to_their_coordinator(
        world: World, internet: Internet) -> None:
    """Less than 1 kB a node and minute, in ten minutes (S3)."""
    hub = internet.service(internet.HUB)
    street = internet.service(20)
    at = f"tcp://{internet.host(internet.HUB)}:443"
    coordinator = world.node("R", start=False, wrapper=hub.wrapper)
    for key, value in (("serve", "true"), ("listen", at), ("open", "true")):
        coordinator.config("coord." + key, value)
    coordinator.argv.append("--coordinator")
    coordinator.start()
    nodes: list[Node] = []
    for number in range(NODES):
        node = world.node(f"N{number}", start=False, wrapper=street.wrapper)
        node.ctl("config", "unset", "mesh.listen")
        for scheme in ("tcp", "quic"):
            node.ctl("config", "set", "--add", "mesh.listen",
                     f"{scheme}://0.0.0.0:{node.port}")
        if not nodes:
            node.config("mesh.coordinator", f"{at}?id={coordinator.id}")
        node.start()
        if nodes:
            link = nodes[0].ctl("device", "invite", "--json").json["link"]
            node.ctl("join", link)
        nodes.append(node)
    wait_until(lambda: all(
        line_up(n) and sum(d["connected"] for d in n.status()["devices"])
        == NODES - 1 for n in nodes), 120, "all are together", alive=nodes)
    time.sleep(30)  # what was begun may end
    counters(hub, "wan")
    time.sleep(MINUTES * 60)
    told, heard = hub.counter("in"), hub.counter("out")
    print(f"{told / NODES / MINUTES:.0f} B a node and minute to it, "
          f"{heard / NODES / MINUTES:.0f} B from it")
    assert all(line_up(n) for n in nodes)
    assert 0 < told / NODES / MINUTES < 1000


def family(node: Node) -> dict[str, Any]:
    """What it knows of its NAT, without asking anybody."""
    status, answer = node.http("GET", "/v1/netcheck")
    assert status == 200
    return json.loads(answer)["ipv4"]


@pytest.mark.timeout(900)
def test_the_life_of_a_mapping_is_measured(town: Town) -> None:
    """What is said once lives 10 s here, a conversation 30 s."""
    home = town.internet.home(KINDS["symmetric"])
    assert home.router is not None
    for key, seconds in (("udp_timeout", 10), ("udp_timeout_stream", 30)):
        home.router.sysctl(f"net.netfilter.nf_conntrack_{key}", seconds)
    inside = town.node("A", home).start()
    outside = town.node("B", town.internet.home(KINDS["none"])).start()
    life = wait_until(lambda: family(inside)["life"], 600, "measured",
                      alive=[inside, outside])
    assert 20 <= life["kept_s"] <= 30 <= life["forgotten_s"] <= 36, life
    assert "unused, it is kept for" in inside.ctl("netcheck").out
    # Without a NAT there is nothing to measure.
    assert family(outside)["mapping"] == "none"
    assert family(outside)["life"] is None


# Whatever is not a LAN's own: private, link-local, or for all of one link.
_FENCE = """table inet count { counter away { };
    chain o { type filter hook output priority filter; oifname "lo" accept;
        ip daddr != { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
            169.254.0.0/16, 255.255.255.255 } counter name away;
        ip6 daddr != { fe80::/10, fc00::/7, ff02::/16, ff12::/16 } \
            counter name away; }; }"""
_GATE = """table inet count { counter away { };
    chain f { type filter hook forward priority filter - 4;
        oifname "wan" counter name away; }; }"""


def tempted(town: Town, name: str, home: Home) -> Node:
    """Told of every service outside; its resolver is outside, too."""
    node = town.node(name, home)
    (Path("/etc/netns") / home.space.name / "resolv.conf").write_text(
        f"nameserver {town.internet.host(town.internet.ELSEWHERE)}\n")
    hub = town.internet.host(town.internet.HUB)
    for host in (HUB, hub):
        node.ctl("config", "set", "--add", "mesh.coordinator",
                 f"tcp://{host}:9443?id={town.relay_node.id}")
    node.config("mesh.portmap", "true")
    node.config("mesh.scope", "lan")
    node.device_add(town.relay_node.id, "X", "dynamic", town.relay_url,
                    f"tcp://{hub}:22000", f"quic://{hub}:22000",
                    "tcp://nobody.example:22000")
    return node


def test_with_scope_lan_no_packet_leaves_private_addresses(
        town: Town) -> None:
    """S35: counted at the devices and where their router leads out."""
    homes = town.internet.homes_behind_one(KINDS["port"])
    router = homes[0].router
    assert router is not None
    dirs = [town.world.dir("a"), town.world.dir("b")]
    nodes = [tempted(town, name, home) for name, home in zip("AB", homes)]
    router.nft(_GATE)
    places = [router]
    for n, (node, home) in enumerate(zip(nodes, homes)):
        home.space.nft(_FENCE)
        places.append(home.space)
        node.device_add(nodes[1 - n].id, nodes[1 - n].name, "dynamic",
                        town.relay_url)
        node.folder_add(dirs[n], FOLDER, nodes[1 - n].name)
        node.start()
    tree.write(dirs[0] / "here", b"stays here")
    settle(nodes, dirs, 90)
    assert path_of(nodes[0], "B")["kind"] in ("lan", "direct")
    for node in nodes:
        node.ctl("refresh")
    time.sleep(65)  # it looks around every half minute
    for node in nodes:
        node.ctl("netcheck", check=False)
        node.ctl("ping", "X", "-c", "1", "--timeout", "1", check=False)
    assert [place.counter("away") for place in places] == [0, 0, 0]
    # What is counted here is counted: without the scope they go out.
    for node in nodes:
        node.config("mesh.scope", "any")
        node.ctl("refresh")
    wait_until(lambda: all(place.counter("away") > 0 for place in places),
               60, "they go out now", alive=nodes)

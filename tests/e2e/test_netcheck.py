"""netcheck: what stands between a node and the net, by servers of others."""

from __future__ import annotations

import json
import socket

import pytest

from lib.node import ATTENTION, OK, USAGE, Node
from lib.proc import free_port, wait_until
from lib.servers import Turn
from lib.world import World


@pytest.fixture
def turn(world: World) -> Turn:
    server = Turn(world.base / "turn")
    world.daemons.append(server)
    server.spawn()
    return server


def wild_node(world: World, *stun: str) -> Node:
    """A node that listens on QUIC at no address in particular."""
    node = world.node("A", start=False)
    node.config("mesh.listen", f"quic://:{node.port}")
    for url in stun:
        node.ctl("config", "set", "mesh.stun", url, "--add")
    return node.start()


def netcheck(node: Node, code: int = OK) -> dict:
    done = node.ctl("netcheck", "--json", check=False, timeout=60)
    assert done.code == code, done
    return done.json


def known(node: Node) -> dict:
    """What it knows, without asking anybody."""
    status, answer = node.http("GET", "/v1/netcheck")
    assert status == 200
    return json.loads(answer)


def test_coturn_tells_our_address(world: World, turn: Turn) -> None:
    node = wild_node(world, turn.url)
    found = wait_until(
        lambda: (lambda o: o if o["udp"] else None)(netcheck(node)), 60,
        "coturn answers", alive=[node, turn])
    assert found["listens"] and not found["running"]
    # It has another address and another port, and was asked there, too.
    assert found["ipv4"]["asked"] == found["ipv4"]["answered"] == 3
    assert found["ipv4"]["mapped"].endswith(f":{node.port}")
    assert found["ipv4"]["mapping"] == "none"
    assert found["ipv4"]["varies"] is False
    assert found["ipv6"]["asked"] == 0 and found["ipv6"]["mapped"] is None
    for server in found["servers"]:
        assert server["answered"] and server["rtt_ms"] < 5000
    text = node.ctl("netcheck").out
    assert "UDP    yes" in text and "no NAT" in text


def test_our_own_server_says_what_coturn_says(world: World,
                                              turn: Turn) -> None:
    """A coordinator answers STUN at two ports; who holds a line to it asks
    there without being told."""
    hub = world.node("hub", start=False)
    port = free_port()
    hub.config("coord.serve", "true")
    hub.config("coord.listen", f"tcp://127.0.0.1:{port}")
    hub.start()
    ports = hub.status()["coordinator"]["stun_ports"]
    assert len(set(ports)) == 2
    node = wild_node(world, turn.url,
                     *(f"stun://127.0.0.1:{port}" for port in ports))

    def agreed() -> bool:
        found = netcheck(node)
        return found["ipv4"]["answered"] == 5 \
            and len({s["mapped"] for s in found["servers"]}) == 1

    wait_until(agreed, 60, "five addresses answer the same",
               alive=[hub, node, turn])
    line = world.node("line", start=False)
    line.config("mesh.listen", f"quic://:{line.port}")
    line.config("mesh.coordinator",
                f"tcp://127.0.0.1:{port}?id={hub.id}")
    line.start()
    wait_until(lambda: {s["address"] for s in known(line)["servers"]
                        if s["answered"]}
               == {f"127.0.0.1:{port}" for port in ports}, 60,
               "the coordinator's ports answer", alive=[hub, line])
    wait_until(lambda: known(line)["coordinators"][0]["up"], 60,
               "the coordinator is listed", alive=[hub, line])


def test_a_server_that_is_silent_is_told(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        node = wild_node(world,
                         f"stun://127.0.0.1:{mute.getsockname()[1]}")
        found = netcheck(node, ATTENTION)
    assert found["udp"] is False
    assert found["ipv4"] == {"asked": 1, "answered": 0, "mapped": None,
                             "mapping": None, "varies": None,
                             "hairpin": None, "life": None, "rtt_ms": None,
                             "age_s": None}
    assert not found["servers"][0]["answered"]


def test_nobody_is_asked_unless_configured(world: World) -> None:
    node = wild_node(world)
    found = netcheck(node)
    assert found["udp"] is None and found["servers"] == []
    assert "No server was asked" in node.ctl("netcheck").out
    # Taken back and forth while it runs; a wrong one is refused.
    node.config("mesh.stun", f"stun://127.0.0.1:{free_port()}")
    wait_until(lambda: len(known(node)["servers"]) == 1, 30,
               "the server is asked", alive=[node])
    node.ctl("config", "unset", "mesh.stun")
    wait_until(lambda: known(node)["servers"] == [], 30,
               "it is asked no more", alive=[node])
    refused = node.ctl("config", "set", "mesh.stun", "https://x",
                       check=False)
    assert refused.code in (USAGE, 1) and "stun://HOST:PORT" in refused.err


def test_without_quic_it_says_so(world: World) -> None:
    node = world.node("A")
    found = netcheck(node, ATTENTION)
    assert not found["listens"]
    assert "Nothing listens on QUIC" in node.ctl("netcheck",
                                                 check=False).out

"""ping, whois, refresh and device diag: the way to a device."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import Iterator

import pytest

from lib.node import NOT_FOUND, OFFLINE, TIMEOUT, Node
from lib.proc import free_port, wait_until
from lib.world import Pair, World

NO_DIRECT = 12


def remote(node: Node, name: str) -> str:
    """The flow's other end, as the node's own socket has it."""
    return node.device(name)["path"]["address"]


def test_ping_measures_the_way_that_is_in_use(pair: Pair) -> None:
    out = pair.a.ctl("ping", "B", "-c", "2").out.splitlines()
    assert len(out) == 2
    for line in out:
        assert line.startswith("B: direct tcp 127.0.0.1:"), line
        assert line.rstrip().endswith(("ms", "µs", "s")), line
    answer = pair.a.ctl("ping", "B", "-c", "1", "--json").json
    assert answer["schema"] == "syncctl/1" and answer["lost"] == 0
    one, = answer["pings"]
    assert one["by"] == "echo" and one["rtt_us"] > 0
    assert one["path"]["kind"] == "direct" and one["path"]["why"] is None
    assert answer["min_us"] == answer["max_us"] == one["rtt_us"]
    # What is direct already is at once.
    assert pair.b.ctl("ping", "A", "--until-direct").code == 0
    assert pair.a.ctl("ping", "nobody", check=False).code == NOT_FOUND
    assert pair.a.ctl("ping", "B", "-c", "0", check=False).code == 2
    # The beginning of an ID is a name, too.
    assert pair.a.ctl("ping", pair.b.id[:7], "-c", "1").code == 0


def test_ping_says_when_nobody_is_there(pair: Pair) -> None:
    pair.b.stop()
    wait_until(lambda: not pair.a.connected("B"), 30, "gone")
    for args in (["-c", "1"], ["--until-direct", "--timeout", "1"]):
        result = pair.a.ctl("ping", "B", *args, check=False)
        assert result.code == OFFLINE, result
        assert "not connected" in result.err


def test_ping_of_one_that_does_not_answer(pair: Pair) -> None:
    """A stopped process is no lost connection, for a while."""
    pair.b.send_signal(signal.SIGSTOP)
    try:
        result = pair.a.ctl("ping", "B", "-c", "1", check=False)
        assert result.code == TIMEOUT and "no answer" in result.out, result
    finally:
        pair.b.send_signal(signal.SIGCONT)
    wait_until(lambda: pair.a.ctl("ping", "B", "-c", "1",
                                  check=False).code == 0, 30, "back")


def test_ping_of_a_syncthing_is_the_transports(world: World) -> None:
    theirs = world.syncthing()
    ours = world.node("A")
    ours.device_add(theirs.id, "S", theirs.addr)
    theirs.device_add(ours.id, "A", "dynamic")
    wait_until(lambda: ours.connected("S"), 60, "connected",
               alive=[ours, theirs])
    wait_until(lambda: ours.ctl("ping", "S", "-c", "1",
                                check=False).code == 0, 30, "measured",
               alive=[ours, theirs])
    one = ours.ctl("ping", "S", "-c", "1", "--json").json["pings"][0]
    assert one["by"] == "transport" and one["rtt_us"] > 0


def test_a_private_address_stays_and_names_its_device(pair: Pair) -> None:
    own = pair.b.status()["private"]
    assert own["v4"].startswith("100.") and own["v6"].startswith("fd6b:e6d7:")
    show = pair.a.ctl("device", "show", "B", "--json").json
    assert show["private"] == own == pair.a.device("B")["private"]
    text = pair.a.ctl("device", "show", own["v4"]).out
    # What it shows of the way is what the socket has.
    assert own["v6"] in text and remote(pair.a, "B") in text
    assert own["v4"] in pair.a.ctl("device", "list").out
    for name in own.values():
        assert pair.a.ctl("ping", name, "-c", "1").code == 0
        assert pair.a.ctl("whois", name).out.startswith("B  ")
    pair.b.stop()
    pair.b.start()
    assert pair.b.status()["private"] == own
    pair.a.ctl("device", "remove", "B", "--yes")
    pair.a.device_add(pair.b.id, "again", pair.b.addr)
    assert pair.a.device("again")["private"] == own


def test_whois_names_who_is_at_the_other_end(pair: Pair) -> None:
    at = remote(pair.a, "B")
    answer = pair.a.ctl("whois", at, "--json").json
    device, = answer["devices"]
    assert (device["device"], device["id"]) == ("B", pair.b.id)
    assert device["path"]["address"] == at
    line = pair.a.ctl("whois", at).out
    assert line == f"B  {pair.b.id}  direct tcp {at} (lan)\n"
    # One of the two called, from a port that was given by chance.
    assert pair.b.ctl("whois", remote(pair.b, "A")).out.startswith("A  ")
    for who in ("B", pair.b.id, pair.b.id[:7], "127.0.0.1"):
        assert pair.a.ctl("whois", who).out.startswith("B  ")
    # A flow that is there, and is none of a device's.
    foreign = socket.create_connection(("127.0.0.1", pair.a.port))
    own = "127.0.0.1:%d" % foreign.getsockname()[1]
    for who in (own, "192.0.2.7:22000", "nobody"):
        result = pair.a.ctl("whois", who, check=False)
        assert result.code == NOT_FOUND and "unknown" in result.err, result
    foreign.close()


def test_diag_tells_of_every_way(world: World) -> None:
    a, b = world.node("A"), world.node("B", start=False)
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))  # does not listen: refuses
    wrong = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
    mixed = world.node("C")
    a.device_add(b.id, "B", wrong, mixed.addr,
                 f"quic://127.0.0.1:{free_port()}")

    def ways() -> dict:
        return {w["address"]: w for w in
                a.ctl("device", "diag", "B", "--json",
                      check=False).json["addresses"]}

    wait_until(lambda: ways()[wrong]["reason"] == "dial-refused", 30,
               "refused", alive=[a])
    # C shows a certificate of its own.
    wait_until(lambda: ways()[mixed.addr]["reason"] == "dial-other-device",
               30, "another device", alive=[a])
    result = a.ctl("device", "diag", "B", check=False)
    assert result.code == OFFLINE
    assert "not connected" in result.out
    assert "dial-refused: " in result.out and "again in" in result.out
    assert "configured" in result.out
    failed = a.status()["connections"]["failed"]
    assert failed["dial-refused"] > 0 and failed["dial-other-device"] > 0
    # It comes up, and the way to it is shown as the one.
    b.config("mesh.listen", wrong)
    b.device_add(a.id, "A")
    silent.close()
    b.start()
    assert "tried now" in a.ctl("refresh").out
    wait_until(lambda: a.connected("B"), 60, "connected", alive=[a, b])
    result = a.ctl("device", "diag", "B")
    assert f"B: direct tcp 127.0.0.1:{wrong.rpartition(':')[2]}" in result.out
    assert ways()[wrong]["in_use"] and ways()[wrong]["reason"] is None
    assert a.status()["connections"]["direct"] == 1
    shown = a.ctl("device", "show", "B").out
    assert f"path         direct tcp {wrong[6:]} (lan)" in shown
    assert a.ctl("device", "diag", "nobody", check=False).code == NOT_FOUND


def test_scope_lan_leaves_out_what_is_not_private(world: World) -> None:
    a, b = world.node("A", start=False), world.node("B")
    outside = ["tcp://192.0.2.9:22000", "quic://[2001:db8::9]:22000",
               "tcp://hub.example:22000",
               f"relay://192.0.2.8:22067/?id={b.id}"]
    a.config("mesh.scope", "lan")
    a.ctl("config", "set", "--add", "mesh.discovery",
          f"https://192.0.2.7/?id={b.id}")
    a.device_add(b.id, "B", *outside, b.addr)
    b.device_add(a.id, "A")
    a.start()
    wait_until(lambda: a.connected("B"), 30, "connected", alive=[a, b])
    ways = a.ctl("device", "diag", "B", "--json").json["addresses"]
    for way in ways:
        left_out = way["address"].split("/?")[0] in \
            [o.split("/?")[0] for o in outside]
        assert (way["reason"] == "outside-scope") == left_out, way
        assert not left_out or way["tried"] is None, way
    assert a.status()["discovery"] == []
    assert "what=discovery address=https://192.0.2.7" in a.log_text()
    assert a.ctl("config", "set", "mesh.scope", "world",
                 check=False).code == 2


@pytest.fixture
def own_network() -> Iterator[list[str]]:
    """A command that enters a network where 192.0.2.1 is this machine."""
    try:
        holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c",
             "ip link set lo up && ip addr add 192.0.2.1/32 dev lo &&"
             " echo ready && exec sleep 600"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError as error:
        pytest.skip(f"no network namespaces: {error}")
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        holder.kill()
        pytest.skip("no network namespaces here")
    yield ["nsenter", "-t", str(holder.pid), "-n"]
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("scheme", ["tcp", "quic"])
def test_scope_lan_ends_what_is_outside(world: World, scheme: str,
                                        own_network: list[str]) -> None:
    """Both ends: who called, and who was called."""
    nodes = [world.node(n, start=False, wrapper=own_network) for n in "AB"]
    for node in nodes:
        node.addr = f"{scheme}://192.0.2.1:{node.port}"
        node.config("mesh.listen", f"{scheme}://0.0.0.0:{node.port}")
    a, b = nodes
    a.device_add(b.id, "B", b.addr)
    b.device_add(a.id, "A")
    for node in nodes:
        node.start()
    for narrow, other, name in ((a, b, "B"), (b, a, "A")):
        wait_until(lambda: a.connected("B") and b.connected("A"), 60,
                   "connected", alive=nodes)
        narrow.config("mesh.scope", "lan")
        wait_until(lambda: not narrow.connected(name), 30, "it left",
                   alive=nodes)
        if narrow is a:
            way, = a.ctl("device", "diag", "B", "--json",
                         check=False).json["addresses"]
            assert way["reason"] == "outside-scope"
            assert not way["dialling"]
        else:
            # It calls again, and is not let in.
            wait_until(lambda: a.device("B")["addresses"][0]["error"] != "",
                       60, "a call in vain", alive=nodes)
            assert not b.connected("A")
        narrow.config("mesh.scope", "any")
        narrow.ctl("refresh")
        other.ctl("refresh")
    wait_until(lambda: a.connected("B") and b.connected("A"), 60,
               "connected again", alive=nodes)

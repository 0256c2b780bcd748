"""Found by a discovery server: Debian's stdiscosrv, and one that lies."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, Iterator, Optional

import pytest

from lib import bep, tree
from lib.node import Node
from lib.proc import free_port, wait_until
from lib.servers import Disco
from lib.world import FOLDER, World, settle


HERE = "10.78.0.1"  # a discovery server passes no loopback address on


def ip(*args: str, check: bool = True) -> None:
    subprocess.run(["ip", *args], check=check, capture_output=True)


@pytest.fixture
def space() -> Iterator[str]:
    """A network namespace with an address of its own; gone afterwards."""
    name = f"hf{os.getpid()}d"
    try:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name",
           "eth1")
        ip("-n", name, "addr", "add", f"{HERE}/24", "brd", "+", "dev", "eth0")
        for link in ("eth0", "eth1"):
            ip("-n", name, "link", "set", link, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        ip("netns", "delete", name, check=False)
        pytest.skip(f"no network namespaces: {error}")
    yield name
    ip("netns", "delete", name, check=False)


def inside(space: str) -> list[str]:
    return ["ip", "netns", "exec", space]


@pytest.fixture
def disco(world: World, space: str) -> Disco:
    made = Disco(world.base / "disco", HERE, inside(space))
    world.daemons.append(made)
    made.start()
    return made


def discovery(node: Node) -> dict:
    return node.status()["discovery"][0]


def announced(node: Node) -> bool:
    return bool(discovery(node)["announced"])


def node_at(world: World, name: str, *servers: str,
            space: Optional[str] = None) -> Node:
    made = world.node(name, start=False,
                      wrapper=inside(space) if space else ())
    if space:
        made.ctl("config", "unset", "mesh.listen")
        made.config("mesh.listen", f"tcp://0.0.0.0:{made.port}")
    for server in servers:
        made.ctl("config", "set", "--add", "mesh.discovery", server)
    return made


def test_nobody_is_asked_by_default(world: World) -> None:
    made = world.node("A")
    assert made.status()["discovery"] == []


@pytest.mark.root
def test_two_of_ours_find_each_other_by_a_server(
        world: World, disco: Disco, space: str) -> None:
    a, b = (node_at(world, name, disco.url, space=space) for name in "AB")
    dirs = world.dir("a"), world.dir("b")
    a.start()
    a.device_add(b.id, "B")
    a.folder_add(dirs[0], FOLDER, "B")
    wait_until(lambda: announced(a), 60, "A is announced", alive=[a])
    b.device_add(a.id, "A")
    b.folder_add(dirs[1], FOLDER, "A")
    tree.write(dirs[0] / "hello", b"found")
    b.start()
    settle([a, b], list(dirs), 60)
    way = b.device("A")["addresses"]
    assert [w["found"] for w in way] == [True], way
    wait_until(lambda: announced(b), 60, "B is announced", alive=[b])
    doctor = b.ctl("doctor", check=False).out
    assert "it knows where this device is" in doctor, doctor


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_syncthing_is_found_and_finds_us(
        world: World, disco: Disco, space: str, first: str) -> None:
    """Who came first is found by the other; nobody has an address."""
    ours = node_at(world, "A", disco.url, space=space)
    theirs = world.syncthing(start=False, options={
        "globalAnnounceServer": disco.url,
        "listenAddress": "tcp://0.0.0.0:22000"})
    # Its REST is inside the namespace: configure it outside, then move it.
    theirs.start()
    theirs.device_add(ours.id, "A")
    theirs.rest("PATCH", "/rest/config/options",
                {"globalAnnounceEnabled": True})
    theirs.stop()
    theirs.argv = [*inside(space), *theirs.argv]
    ours.device_add(theirs.id, "S")
    if first == "ours":
        ours.start()
        wait_until(lambda: announced(ours), 60, "A is announced",
                   alive=[ours])
        theirs.spawn()
    else:
        theirs.spawn()
        asker = node_at(world, "C", disco.url + "&noannounce", space=space)
        asker.device_add(theirs.id, "S")
        asker.start()

        def told() -> bool:
            asker.http("POST", "/v1/refresh")
            return bool(asker.device("S")["addresses"])

        wait_until(told, 60, "the server knows the Syncthing",
                   alive=[theirs, asker])
        asker.stop()
        ours.start()
    wait_until(lambda: ours.connected("S"), 90, "connected",
               alive=[ours, theirs])
    assert ours.device("S")["path"]["dialled"] == (first == "theirs")


# ---- a server that lies ----------------------------------------------------


class Liar:
    """Answers every question with what it was told to."""

    def __init__(self, port: int, identity: bep.Identity):
        self.answer: Callable[[], tuple[int, dict[str, str], bytes]]
        self.answer = lambda: (404, {}, b"")
        self.asked: list[str] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                self.rfile.read(size)
                liar.asked.append(f"{self.command} {self.path}")
                code, headers, body = liar.answer()
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(body)))
                    for key, value in headers.items():
                        self.send_header(key, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # it has heard enough

            do_GET = do_POST = reply

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        identity.load(context)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{port}/?id={identity.id}"
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def gets(self) -> int:
        return sum(line.startswith("GET") for line in self.asked)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar(free_port(), bep.Identity.make())
    yield made
    made.close()


def error_of(node: Node) -> str:
    return str(discovery(node)["error"])


def addresses(*text: str) -> Callable[[], tuple[int, dict[str, str], bytes]]:
    body = json.dumps({"addresses": text, "seen": "now"}).encode()
    return lambda: (200, {}, body)


@pytest.mark.parametrize("what", ["garbage", "array", "deep", "huge",
                                  "numbers"])
def test_a_hostile_answer_is_an_error_and_no_more(
        world: World, liar: Liar, what: str) -> None:
    body = {"garbage": b"\xff\x00{", "array": b"[1]",
            "deep": b"[" * 60000, "huge": b" " * (8 << 20),
            "numbers": b'{"addresses": 7}'}[what]
    liar.answer = lambda: (200, {}, body)
    made = node_at(world, "A", liar.url + "&noannounce")
    made.device_add(bep.Identity.make().id, "gone")
    made.start()
    why = "longer than" if what == "huge" else "not one of a discovery server"
    wait_until(lambda: why in error_of(made), 60, "it says why",
               alive=[made])
    assert made.device("gone")["addresses"] == []
    assert why in made.ctl("doctor", check=False).out


def test_only_addresses_that_can_be_dialled_are_believed(
        world: World, liar: Liar) -> None:
    good = [f"tcp://127.0.0.1:{free_port()}", "tcp://127.0.0.2:9"]
    liar.answer = addresses(
        "", "tcp://", "tcp://0.0.0.0:22000", "tcp://224.0.0.1:1",
        "tcp://[ff02::1]:22000", "gopher://a", "dynamic", "tcp://127.0.0.1:0",
        "tcp://" + "a" * 5000, "tcp://ho st:1", *good, good[0],
        *(f"tcp://127.0.0.3:{n}" for n in range(1, 300)))
    made = node_at(world, "A", liar.url)
    made.device_add(bep.Identity.make().id, "gone")
    made.start()
    wait_until(lambda: made.device("gone")["addresses"], 60, "told",
               alive=[made])
    found = [w["address"] for w in made.device("gone")["addresses"]]
    assert set(good) <= set(found), found
    assert len(found) <= 8, found
    assert all(a in good or a.startswith("tcp://127.0.0.3:")
               for a in found), found


def test_a_server_of_another_name_is_told_nothing(world: World,
                                                  liar: Liar) -> None:
    other = bep.Identity.make().id
    made = node_at(world, "A", liar.url.split("?")[0] + f"?id={other}")
    made.device_add(bep.Identity.make().id, "gone")
    made.start()
    wait_until(lambda: "not the server" in error_of(made), 60,
               "it is refused", alive=[made])
    assert liar.asked == []


def test_without_a_pin_the_authorities_are_asked(world: World,
                                                 liar: Liar) -> None:
    made = node_at(world, "A", liar.url.split("?")[0])
    made.start()
    wait_until(lambda: error_of(made), 60, "it is refused", alive=[made])
    assert liar.asked == []


def test_a_server_that_is_down_is_found_again(world: World) -> None:
    identity, port = bep.Identity.make(), free_port()
    up: Optional[Liar] = None
    made = node_at(world, "A",
                   f"https://127.0.0.1:{port}/?id={identity.id}")
    made.start()
    wait_until(lambda: error_of(made), 60, "it is down", alive=[made])
    try:
        up = Liar(port, identity)
        up.answer = lambda: (204, {"Reannounce-After": "3600"}, b"")

        def told() -> bool:
            made.http("POST", "/v1/refresh")
            return announced(made)

        wait_until(told, 60, "announced", alive=[made])
        assert error_of(made) == ""
        assert len(up.asked) == 1, up.asked
    finally:
        if up is not None:
            up.close()


def test_a_server_that_says_later_is_left_alone(world: World,
                                                liar: Liar) -> None:
    liar.answer = lambda: (429, {"Retry-After": "600"}, b"")
    made = node_at(world, "A", liar.url + "&noannounce")
    made.device_add(bep.Identity.make().id, "gone")
    made.start()
    wait_until(lambda: "429" in error_of(made), 60, "it heard", alive=[made])
    for _ in range(20):
        made.http("POST", "/v1/refresh")
    assert liar.gets() == 1, liar.asked

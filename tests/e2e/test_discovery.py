"""Found by a discovery server: Debian's stdiscosrv, ours, and one that lies."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, Iterator, Optional

import pytest

from lib import bep, coord, tree
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


# ---- a server of ours ------------------------------------------------------


def serving(world: World, **config: str) -> Node:
    """A coordinator that is a discovery server too, started; loopback is
    passed on, to those on this machine."""
    made = world.node("R", start=False)
    made.coord_port = free_port()
    for key, value in {"serve": "true", "discovery": "true",
                       "listen": f"tcp://127.0.0.1:{made.coord_port}",
                       **config}.items():
        made.config("coord." + key, value)
    made.start()
    made.url = f"https://127.0.0.1:{made.coord_port}/?id={made.id}"
    return made


def knows(server: Node) -> int:
    return int(server.status()["coordinator"]["discovery"]["devices"])


def request(server: Node, method: str, path: str,
            who: Optional[bep.Identity] = None, body: Optional[bytes] = None,
            **headers: str) -> tuple[int, dict[str, str], bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if who is not None:
        who.load(context)
    line = http.client.HTTPSConnection("127.0.0.1", server.coord_port,
                                       context=context, timeout=60)
    try:
        line.request(method, path, body, headers)
        answer = line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        line.close()


def announce(server: Node, who: Optional[bep.Identity], *text: str,
             **headers: str) -> int:
    body = json.dumps({"addresses": text}).encode()
    return request(server, "POST", "/v2/", who, body, **headers)[0]


def lookup(server: Node, device: str) -> Optional[list[str]]:
    status, headers, body = request(server, "GET", f"/v2/?device={device}")
    assert status in (200, 404), (status, body)
    if status == 404:
        assert int(headers["Retry-After"]) > 0
        return None
    assert headers["Content-Type"] == "application/json"
    return list(json.loads(body)["addresses"])


@pytest.mark.slow
def test_a_syncthing_finds_us_by_our_server(world: World) -> None:
    server = serving(world, open="true")
    ours = node_at(world, "A", server.url + "&nolookup")
    theirs = world.syncthing(start=False, options={
        "globalAnnounceEnabled": "true", "globalAnnounceServer": server.url})
    ours.device_add(theirs.id, "S")
    ours.start()
    wait_until(lambda: announced(ours), 60, "A is announced", alive=[ours])
    theirs.start()
    theirs.device_add(ours.id, "A")
    wait_until(lambda: ours.connected("S"), 120, "connected",
               alive=[ours, theirs, server])
    assert not ours.device("S")["path"]["dialled"]


@pytest.mark.slow
def test_we_find_a_syncthing_by_our_server(world: World) -> None:
    server = serving(world, open="true")
    ours = node_at(world, "A", server.url + "&noannounce")
    theirs = world.syncthing(options={
        "globalAnnounceEnabled": "true", "globalAnnounceServer": server.url})
    theirs.device_add(ours.id, "A")
    wait_until(lambda: knows(server), 120, "the Syncthing is announced",
               alive=[theirs, server])
    assert lookup(server, theirs.id) == [theirs.addr]
    ours.device_add(theirs.id, "S")
    ours.start()
    wait_until(lambda: ours.connected("S"), 120, "connected",
               alive=[ours, theirs, server])
    assert ours.device("S")["path"]["dialled"]


def test_our_server_hears_who_shows_who_it_is(world: World) -> None:
    server = serving(world, open="true")
    a, b = bep.Identity.make(), bep.Identity.make("p256")
    assert announce(server, None, "tcp://192.0.2.1:1") == 403
    assert lookup(server, a.id) is None
    # What a header says of who it is or where it is counts for nothing.
    assert announce(server, a, "tcp://:22000", "tcp://192.0.2.1:1",
                    "tcp://[fe80::1]:1", **{
                        "X-Forwarded-For": "192.0.2.66",
                        "X-SSL-Cert": b.cert_pem.decode().replace("\n", "")}
                    ) == 204
    assert lookup(server, a.id) == ["tcp://127.0.0.1:22000",
                                    "tcp://192.0.2.1:1"]
    assert lookup(server, b.id) is None
    assert announce(server, b, "tcp://192.0.2.2:2") == 204
    assert knows(server) == 2
    for method, path, body, want in (
            ("POST", "/", b"{", 400), ("GET", "/", None, 400),
            ("GET", "/?device=AAAA", None, 400), ("PUT", "/", b"", 405),
            ("POST", "/", b"x" * 100_000, 413)):
        try:
            status = request(server, method, path, b, body)[0]
        except OSError:
            assert want == 413  # it did not read on
            continue
        assert status == want, (method, path)
    # And nothing of that keeps a coordinator's guest away.
    coord.Client(f"tcp://127.0.0.1:{server.coord_port}", a).hello()
    text = server.ctl("coord", "status").out
    assert "discovery server: 2 devices" in text, text


def test_our_server_is_for_those_it_knows(world: World) -> None:
    known, member, other = (bep.Identity.make() for _ in range(3))
    server = serving(world)
    server.device_add(known.id, "known")
    log = coord.Log().add(known, member)
    client = coord.Client(f"tcp://127.0.0.1:{server.coord_port}", known)
    client.hello(log)
    client.send(coord.ENTRIES, seq=1, entry=log.entries)
    client.sync()
    assert announce(server, known, "tcp://192.0.2.1:1") == 204
    assert announce(server, member, "tcp://192.0.2.1:2") == 204
    assert announce(server, other, "tcp://192.0.2.1:3") == 403
    # Who is removed may tell no more.
    log.remove(member)
    client.send(coord.ENTRIES, seq=len(log.entries), entry=log.entries[-1:])
    client.sync()
    assert announce(server, member, "tcp://192.0.2.1:2") == 403
    # Without coord.discovery nobody speaks HTTP there.
    server.ctl("config", "set", "coord.discovery", "false")
    wait_until(lambda: server.status()["coordinator"]["discovery"] is None,
               30, "it is none", alive=[server])
    with pytest.raises((OSError, http.client.HTTPException)):
        announce(server, known, "tcp://192.0.2.1:1")
    client.sync()


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

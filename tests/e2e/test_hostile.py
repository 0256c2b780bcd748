"""A peer that lies: RELIABILITY.md 4, parts A, B, C and J.

One daemon serves an honest peer, `good`, while `evil`, which has a valid key
and shares the same folder, sends one hostile thing after another.  After each
the daemon must be alive, the honest peer served as before, the tree as it was
and the canary outside the folder untouched.  The number in a case's name is
that of the catalogue.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Union

import pytest

from lib import bep, proc, tree
from lib.bep import Closed, Identity, Message, Wire
from lib.node import Node
from lib.peer import Peer
from lib.proc import HOARD, wait_until
from lib.world import FOLDER, World

SECRET = b"canary: never leaves, never changes"
OPEN, CLOSED, ANY = "stays open", "is closed", "open or closed"


class Victim:
    """The daemon under attack, an honest peer, and what must not change."""

    def __init__(self, base: Path):
        self.base = base
        self.root = base / "root"
        self.outside = base / "outside"
        tree.write(self.outside / "canary", SECRET)
        self.evil, self.good = Identity.make(), Peer("good")
        self.node = Node(base / "A.home", "A", log_level="info")
        self.node.device_add(self.evil.id, "evil")
        self.node.device_add(self.good.id, "good")
        self.node.folder_add(self.root, FOLDER, "evil", "good")
        tree.write(self.root / "keep.txt", b"kept")
        tree.write(self.root / "d/keep.bin", tree.noise(300_000))
        tree.write(self.root / "hidden.tmp", SECRET)
        (self.root / ".stignore").write_text("*.tmp\n")
        os.symlink(self.outside, self.root / "way-out")
        self.expected = tree.snapshot(self.root)
        self.round = 0
        self.good.folder(FOLDER)

    def up(self) -> None:
        """Start what is not running; a case must not suffer for another."""
        if not self.node.running:
            self.node.start()
        if not self.good.alive:
            self.good.connect(self.node.addr)
            self.good.wait_remote(FOLDER, "d/keep.bin")

    # -- ways in -------------------------------------------------------------

    def session(self, identity: Optional[Identity] = None,
                config: Optional[Message] = None) -> Wire:
        """A connection on which Hello and ClusterConfig went both ways."""
        who = identity or self.evil
        wire = bep.dial(self.node.addr, who)
        wire.hello("evil")
        wire.send(bep.CLUSTER_CONFIG,
                  self.cluster_config(who) if config is None else config)
        wire.receive()
        return wire

    def cluster_config(self, who: Optional[Identity] = None) -> Message:
        return {"folders": [{"id": FOLDER, "devices": [
            {"id": (who or self.evil).raw, "max_sequence": 1,
             "index_id": random.getrandbits(62) | 1},
            {"id": bep.device_raw(self.node.id)}]}]}

    def peer(self) -> Peer:
        """`evil` with good manners, until a hook says otherwise."""
        made = Peer("evil", self.evil)
        made.folder(FOLDER)
        made.connect(self.node.addr)
        made.wait_remote(FOLDER, "d/keep.bin")
        return made

    # -- judging -------------------------------------------------------------

    def check(self) -> None:
        """Nobody but the liar has suffered."""
        self.node.assert_alive()
        self.round += 1
        text = b"round %d" % self.round
        self.good.put(FOLDER, "heartbeat", text)
        if not self.good.folder(FOLDER).announced:
            self.good.announce_all(FOLDER)
        wait_until(lambda: (self.root / "heartbeat").read_bytes() == text,
                   15, "the honest peer is served", alive=[self.node])
        assert (self.outside / "canary").read_bytes() == SECRET
        assert os.listdir(self.outside) == ["canary"]
        assert sorted(os.listdir(self.base)) == self.listing()
        now = tree.snapshot(self.root)
        for path, item in self.expected.items():
            assert now.get(path) == item, f"{path!r} changed"

    def listing(self) -> list[str]:
        return sorted(["A.home", "A.home.log", "outside", "root"])

    def names(self) -> set[bytes]:
        return set(tree.snapshot(self.root, content=False))

    def rss(self) -> int:
        return proc.smaps(self.node.pid)["Rss"]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    made = Victim(tmp_path_factory.mktemp("hostile"))
    yield made
    made.good.close()
    made.node.kill9()


@pytest.fixture
def victim(arena: Victim,
           request: pytest.FixtureRequest) -> Iterator[Victim]:
    """The daemon, checked before and after each case."""
    request.node.daemons = [arena.node]
    arena.up()
    yield arena
    arena.check()


def judge(wire: Wire, outcome: str, timeout: float = 15.0) -> None:
    """Is the connection as it should be now?"""
    if outcome == CLOSED:
        wire.until_closed(timeout)
        return
    try:
        wire.send(bep.REQUEST, {
            "id": 77, "folder": FOLDER, "name": "keep.txt", "size": 4,
            "hash": hashlib.sha256(b"kept").digest()})
        while True:
            got = wire.receive(timeout)
            if got.kind == bep.RESPONSE and got.message()["id"] == 77:
                assert got.message()["data"] == b"kept"
                break
    except Closed:
        assert outcome == ANY, "closed, but should stay open"
    finally:
        wire.close()


# ---- A. framing and parsing ------------------------------------------------

def lz4_raw(kind: int, declared: int, block: bytes) -> bytes:
    header = bep.encode("Header", {"type": kind, "compression": 1})
    body = struct.pack(">I", declared & 0xFFFFFFFF) + block
    return struct.pack(">H", len(header)) + header \
        + struct.pack(">I", len(body)) + body


def bomb(size: int) -> bytes:
    """An LZ4 block that grows to `size` zeros, 255 to 1."""
    count = size - 1 - 4 - 15 - 5
    return b"\x1f\x00\x01\x00" + b"\xff" * (count // 255) \
        + bytes([count % 255]) + b"\x50" + bytes(5)


def index(*infos: Message, kind: int = bep.INDEX,
          folder: str = FOLDER) -> bytes:
    return bep.frame(kind, bep.encode(
        "Index", {"folder": folder, "files": infos}))


def config_frame(body: Union[Message, bytes]) -> bytes:
    if not isinstance(body, bytes):
        body = bep.encode("ClusterConfig", body)
    return bep.frame(bep.CLUSTER_CONFIG, body)


FRAMES: dict[str, tuple[Callable[[Victim], bytes], str]] = {
    "1 header length negative": (
        lambda v: b"\x80\x00" + bytes(200), CLOSED),
    "1 header length 32767": (
        lambda v: b"\x7f\xff" + b"\xff" * 33000, CLOSED),
    "1 message length 2^32-1": (
        lambda v: b"\x00\x00\xff\xff\xff\xff" + bytes(50), CLOSED),
    "1 message length 2^31": (
        lambda v: b"\x00\x00\x80\x00\x00\x00" + bytes(50), CLOSED),
    "1 message length 2^31-1": (
        lambda v: b"\x00\x00\x7f\xff\xff\xff" + bytes(50), CLOSED),
    "1 message length 500000001": (
        lambda v: b"\x00\x00" + struct.pack(">I", 500_000_001), CLOSED),
    "5 unknown type 42": (lambda v: bep.frame(42, b"whatever"), OPEN),
    "5 unknown type, empty": (lambda v: bep.frame(200, b""), OPEN),
    "5 unknown type, compressed": (
        lambda v: bep.frame(99, b"x" * 5000, 1), OPEN),
    "5 unknown type 2^31-1": (
        lambda v: bep.frame(2 ** 31 - 1, b"whatever"), OPEN),
    "5 type -1": (lambda v: bep.frame(-1, b"whatever"), ANY),
    "5 our own type without consent": (
        lambda v: bep.frame(2001, b"\x08\x01"), OPEN),
    "5 unknown header field": (
        lambda v: bep.frame(bep.PING, b"", header=b"\x08\x06"
                            + bep.field_bytes(3, b"new")), OPEN),
    "5 header is garbage": (
        lambda v: bep.frame(bep.PING, b"", header=b"\xff" * 9), CLOSED),
    "5 unknown field in an index": (
        lambda v: index(dict(bep.file_info(".stfolder/x"),
                             _raw=bep.field_bytes(2000, b"x" * 100),
                             invalid=True)), ANY),
    "5 ping with a body": (
        lambda v: bep.frame(bep.PING, b"\x08\x01"), ANY),
    "5 compression 2 without consent": (
        lambda v: bep.frame(bep.PING, b"x", header=bep.encode(
            "Header", {"type": bep.PING, "compression": 2})), CLOSED),
    "5 compression 7": (
        lambda v: bep.frame(bep.PING, b"x", header=bep.encode(
            "Header", {"type": bep.PING, "compression": 7})), CLOSED),
    "7 bomb, honest length": (
        lambda v: lz4_raw(bep.INDEX, 400_000_000,
                          bomb(400_000_000)), CLOSED),
    "7 bomb, small declared length": (
        lambda v: lz4_raw(bep.INDEX, 1000, bomb(100_000_000)), CLOSED),
    "7 bomb, length 2^32-1": (
        lambda v: lz4_raw(bep.INDEX, 0xFFFFFFFF, bomb(1_000_000)), CLOSED),
    "8 declared length too small": (
        lambda v: lz4_raw(bep.PING, 3, bep.lz4_compress(b"x" * 100)),
        CLOSED),
    "8 declared length too large": (
        lambda v: lz4_raw(42, 5000, bep.lz4_compress(b"x" * 100)), ANY),
    "8 compressed, three bytes": (
        lambda v: bep.frame(bep.PING, b"abc", header=bep.encode(
            "Header", {"type": bep.PING, "compression": 1})), CLOSED),
    "8 compressed garbage": (
        lambda v: lz4_raw(bep.INDEX, 1000, tree.noise(900)), CLOSED),
    "8 match before the start": (
        lambda v: lz4_raw(bep.INDEX, 100, b"\x14a\xff\xff\x50hello"),
        CLOSED),
    "9 a million folders": (
        lambda v: config_frame(b"\x0a\x00" * 1_000_000), ANY),
    "9 a million addresses": (
        lambda v: config_frame(bep.field_bytes(1, bep.encode(
            "Folder", {"id": "x"}) + bep.field_bytes(
            16, bep.field_bytes(1, v.evil.raw) + b"\x1a\x00" * 1_000_000))),
        ANY),
    "9 a million counters": (
        lambda v: index(bep.file_info("x", b"x", version={
            n: 1 for n in range(1, 100_000)})), ANY),
    "10 an index of nothing": (lambda v: index(), OPEN),
    "10 a million empty entries": (
        lambda v: bep.frame(bep.INDEX, bep.field_bytes(1, b"f1")
                            + b"\x12\x00" * 1_000_000), ANY),
    "12 index of a folder never offered": (
        lambda v: index(bep.file_info("x", b"x"), folder="other"), CLOSED),
    "12 index update before any index": (
        lambda v: index(kind=bep.INDEX_UPDATE), OPEN),
    "12 close, then more": (
        lambda v: bep.frame(bep.CLOSE, bep.encode(
            "Close", {"reason": "\x1b[31mbye\n"})) + index(), CLOSED),
    "13 the cluster config twice": (
        lambda v: config_frame(v.cluster_config()) * 2, OPEN),
    "15 answers to nothing": (
        lambda v: b"".join(bep.frame(bep.RESPONSE, bep.encode(
            "Response", {"id": n, "data": b"x" * 100}))
            for n in (0, 1, 5, -1, 2 ** 31 - 1)) * 2, OPEN),
    "16 garbage": (lambda v: tree.noise(100_000, 5), CLOSED),
    "index cut inside": (
        lambda v: bep.frame(bep.INDEX, index(
            bep.file_info("x", b"x"))[6:-7]), CLOSED),
    "index with a field of the wrong wire type": (
        lambda v: bep.frame(bep.INDEX, bep.field_varint(1, 5)), ANY),
    "text that is not UTF-8": (
        lambda v: bep.frame(bep.INDEX, bep.field_bytes(1, b"\xff\xfe")),
        CLOSED),
    "varint without end": (
        lambda v: bep.frame(bep.REQUEST, b"\x08" + b"\xff" * 30), CLOSED),
    "field number 0": (
        lambda v: bep.frame(bep.REQUEST, b"\x02\x01x"), ANY),
    "groups of protobuf 1": (
        lambda v: bep.frame(bep.REQUEST, b"\x0b" * 5000), ANY),
    "device ID of 5 bytes": (
        lambda v: config_frame({"folders": [{"id": FOLDER, "devices": [
            {"id": b"12345"}]}]}), CLOSED),
    "device ID empty": (
        lambda v: config_frame({"folders": [{"id": FOLDER, "devices": [
            {"name": "nobody"}]}]}), CLOSED),
    "cluster config without the sender": (
        lambda v: config_frame({"folders": [{"id": FOLDER, "devices": [
            {"id": bep.device_raw(v.node.id)}]}]}), CLOSED),
    "cluster config without the receiver": (
        lambda v: config_frame({"folders": [{"id": FOLDER, "devices": [
            {"id": v.evil.raw}]}]}), CLOSED),
    "one folder twice": (
        lambda v: config_frame({"folders":
                                v.cluster_config()["folders"] * 2}), ANY),
    "folder ID of 60000 bytes": (
        lambda v: config_frame({"folders": [{
            "id": "x" * 60_000, "label": "y" * 60_000,
            "devices": v.cluster_config()["folders"][0]["devices"]}]}), ANY),
    "progress of nonsense": (
        lambda v: bep.frame(bep.PROGRESS, bep.encode("DownloadProgress", {
            "folder": FOLDER, "updates": [{
                "name": "../x", "block_indexes": [-1, 2 ** 31 - 1, 0] * 999,
                "block_size": -5}] * 50})), ANY),
    "progress of a strange folder": (
        lambda v: bep.frame(bep.PROGRESS, bep.encode(
            "DownloadProgress", {"folder": "nope"})), OPEN),
}


@pytest.mark.parametrize("case", FRAMES)
def test_frame(victim: Victim, case: str) -> None:
    make, outcome = FRAMES[case]
    before = victim.rss()
    wire = victim.session()
    try:
        wire.sock.settimeout(15)
        wire.send_raw(make(victim))
    except Closed:
        assert outcome != OPEN
    judge(wire, outcome)
    wire.close()
    assert victim.rss() - before - HOARD < 160 << 20, "memory for a lie"


@pytest.mark.parametrize("first,outcome", [
    (index(bep.file_info("x", b"x")), CLOSED),
    (bep.frame(bep.REQUEST, bep.encode("Request", {
        "folder": FOLDER, "name": "keep.txt", "size": 4})), CLOSED),
    (bep.frame(bep.RESPONSE, b""), CLOSED),
    (bep.frame(bep.PROGRESS, b""), CLOSED),
    (bep.frame(42, b"new"), OPEN),
], ids=["index", "request", "response", "progress", "unknown"])
def test_12_something_before_the_cluster_config(
        victim: Victim, first: bytes, outcome: str) -> None:
    wire = bep.dial(victim.node.addr, victim.evil)
    wire.hello("evil")
    wire.send_raw(first)
    try:
        wire.send(bep.CLUSTER_CONFIG, victim.cluster_config())
    except Closed:
        pass
    judge(wire, outcome)


def recorded_session(victim: Victim) -> bytes:
    """What an honest peer would write after its Hello."""
    return (config_frame(victim.cluster_config())
            + index(bep.file_info("never/installed", b"data", invalid=True))
            + bep.frame(bep.PING, b"")
            + bep.frame(bep.REQUEST, bep.encode("Request", {
                "folder": FOLDER, "name": "keep.txt", "size": 4,
                "hash": hashlib.sha256(b"kept").digest()})))


@pytest.mark.slow
def test_2_a_session_cut_at_any_byte(victim: Victim) -> None:
    whole = recorded_session(victim)
    for cut in range(0, len(whole), 3):
        wire = bep.dial(victim.node.addr, victim.evil)
        wire.send_raw(bep.hello_frame(b"") + whole[:cut])
        wire.close()
    victim.node.assert_alive()


@pytest.mark.slow
def test_6_a_session_with_any_flipped_bit(victim: Victim,
                                          seed: int) -> None:
    whole = recorded_session(victim)
    bits = random.Random(seed).sample(range(len(whole) * 8), 250)
    for bit in bits:
        bent = bytearray(whole)
        bent[bit // 8] ^= 1 << bit % 8
        wire = bep.dial(victim.node.addr, victim.evil)
        try:
            wire.send_raw(bep.hello_frame(b"") + bytes(bent))
            wire.receive(0.02)
        except (Closed, TimeoutError, bep.Malformed):
            pass
        wire.close()
    victim.node.assert_alive()
    # The flip of "invalid" makes it an honest wish: its directory may come.
    assert b"never/installed" not in victim.names()


def test_2_hello_and_handshake_cut_anywhere(victim: Victim) -> None:
    frame = bep.hello_frame(bep.encode("Hello", {"device_name": "evil"}))
    for cut in range(len(frame)):
        wire = bep.dial(victim.node.addr, victim.evil)
        wire.send_raw(frame[:cut])
        wire.close()
    for size in (0, 1, 5, 6, 100):
        sock = bep.tcp(victim.node.addr)
        sock.sendall(bytes([22, 3, 1, 2, 0, 1])[:size]
                     + bytes(max(0, size - 6)))
        sock.close()


def test_9_ten_thousand_folders_in_a_config(victim: Victim) -> None:
    """Many folders, all well formed: pending ones are bounded too."""
    devices = victim.cluster_config()["folders"][0]["devices"]
    wire = victim.session(config={"folders": [
        {"id": f"folder-{n}", "devices": devices} for n in range(10_000)]})
    judge(wire, ANY)


def test_14_ten_thousand_requests_and_no_reading(victim: Victim) -> None:
    before = victim.rss()
    data = tree.noise(300_000)[:131_072]
    wire = victim.session()
    wire.sock.settimeout(3)
    ask = b"".join(bep.frame(bep.REQUEST, bep.encode("Request", {
        "id": n, "folder": FOLDER, "name": "d/keep.bin", "size": 131_072,
        "hash": hashlib.sha256(data).digest()})) for n in range(10_000))
    try:
        for at in range(0, len(ask), 65536):
            wire.send_raw(ask[at:at + 65536])
    except Closed:
        pass
    time.sleep(1)
    assert victim.rss() - before - HOARD < 160 << 20
    victim.check()
    wire.close()


# ---- 16, 121, 122: on the way in -------------------------------------------

@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tree.noise(5000), bytes(5000),
    b"\x16\x03\x01\xff\xff" + bytes(70000), b"SSH-2.0-OpenSSH\r\n",
    bep.hello_frame(b"")], ids=["http", "noise", "zeros", "record", "ssh",
                                "hello without tls"])
def test_16_something_else_than_tls(victim: Victim, data: bytes) -> None:
    with bep.tcp(victim.node.addr) as sock:
        sock.settimeout(25)
        try:
            sock.sendall(data)
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass


@pytest.mark.parametrize("hello", [
    b"\x9f\x79\xbc\x40" + bytes(100), b"\x00\x01\x00\x00" + bytes(100),
    bep.MAGIC + b"\xff\xff" + bytes(70000),
    bep.hello_frame(b"\xff" * 40),
    bep.hello_frame(bep.field_bytes(1, b"\xff\xfe\xfd"))],
    ids=["old magic", "older magic", "length", "garbage", "no utf-8"])
def test_16_a_hello_that_is_none(victim: Victim, hello: bytes) -> None:
    wire = bep.dial(victim.node.addr, victim.evil)
    try:
        wire.send_raw(hello)
        wire.read_hello()
    except Closed:
        pass
    wire.until_closed()


@pytest.mark.parametrize("hello", [
    b"", bep.encode("Hello", {"device_name": "x" * 30_000}),
    bep.encode("Hello", {"device_name": "\x1b[2J\n\u202e",
                         "num_connections": -7, "timestamp": -1}),
    bep.field_bytes(2000, b"new") + bep.field_varint(1875, 3),
    bep.field_bytes(2047, tree.noise(50)),
    bep.field_varint(2047, 1 << 63)],
    ids=["empty", "long", "odd", "unknown", "our field 1", "our field 2"])
def test_odd_hellos_are_borne(victim: Victim, hello: bytes) -> None:
    wire = bep.dial(victim.node.addr, victim.evil)
    wire.send_raw(bep.hello_frame(hello))
    wire.read_hello()
    wire.send(bep.CLUSTER_CONFIG, victim.cluster_config())
    wire.receive()
    judge(wire, OPEN)


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "p521",
                                  "rsa2048", "rsa3072", "expired",
                                  "not yet valid", "name by SAN"])
def test_every_key_type_is_accepted(world: World, kind: str) -> None:
    identity = {
        "expired": lambda: Identity.make(starts=-100, days=10),
        "not yet valid": lambda: Identity.make(starts=100, days=10),
        "name by SAN": lambda: Identity.make(name="other"),
    }.get(kind, lambda: Identity.make(kind))()
    node = world.node("A")
    node.device_add(identity.id, "peer")
    wire = bep.dial(node.addr, identity)
    wire.hello()
    wire.send(bep.CLUSTER_CONFIG)
    assert wire.receive().kind == bep.CLUSTER_CONFIG
    wire.close()


def test_a_certificate_of_another_name_is_refused(world: World) -> None:
    identity = Identity.make(name="other", san=None)
    node = world.node("A")
    node.device_add(identity.id, "peer")
    wire = bep.dial(node.addr, identity)
    try:
        wire.hello()
        wire.send(bep.CLUSTER_CONFIG)
    except Closed:
        return
    wire.until_closed()


def test_122_a_certificate_of_a_megabyte_is_refused(victim: Victim) -> None:
    before = victim.rss()
    identity = Identity.make(padding=1 << 20)
    try:
        wire = bep.dial(victim.node.addr, identity)
        wire.hello()
        wire.until_closed()
    except Closed:
        pass
    assert victim.rss() - before - HOARD < 64 << 20


def test_122_no_certificate_or_old_tls_is_refused(victim: Victim) -> None:
    for context in (
            bep.client_context(None),
            bep.client_context(victim.evil, ("h2",)),
            bep.client_context(victim.evil,
                               version=ssl.TLSVersion.TLSv1_2)):
        sock = bep.tcp(victim.node.addr)
        try:
            wire = Wire(context.wrap_socket(sock))
            wire.hello(timeout=10)
            wire.until_closed()
        except (Closed, OSError, ssl.SSLError, TimeoutError):
            pass
        finally:
            sock.close()


def test_121_a_stranger_learns_nothing(victim: Victim) -> None:
    stranger = Identity.make()
    wire = bep.dial(victim.node.addr, stranger)
    seen = b""
    try:
        wire.hello("stranger")
        seen = repr(wire.peer_hello).encode()
        assert wire.peer_hello["device_name"] == ""
        wire.send(bep.CLUSTER_CONFIG, victim.cluster_config(stranger))
        wire.receive()
        raise AssertionError("a stranger got a frame")
    except Closed:
        pass
    for secret in (FOLDER, "keep", "good", "evil"):
        assert secret.encode() not in seen
    told = victim.node.ctl("status", "--json", check=False).out \
        + victim.node.ctl("device", "list", "--json", check=False).out
    assert stranger.id in told, "it waits to be approved"


@pytest.mark.slow
def test_3_silent_connections_end_and_block_nobody(victim: Victim) -> None:
    """Some from each of many addresses, so that no one limit saves us."""
    silent = [bep.tcp(victim.node.addr, source=f"127.0.1.{1 + n // 4}")
              for n in range(48)]
    start = time.monotonic()
    try:
        victim.check()
        other = victim.session()
        assert time.monotonic() - start < 3, "others are accepted meanwhile"
        other.close()
        slow = bep.dial(victim.node.addr, victim.evil)
        for sock in silent:
            sock.settimeout(max(1.0, 40 - (time.monotonic() - start)))
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
        slow.send_raw(b"\x2e")
        slow.until_closed(40)
    except Closed:
        pass
    finally:
        for sock in silent:
            sock.close()


# ---- B. content and blocks -------------------------------------------------

def file_of(name: str, data: bytes, sequence: int = 9,
            **override: Any) -> Message:
    info = bep.file_info(name, data, sequence=sequence, version={5: 1})
    info.update(override)
    return info


def spoil(**change: Callable[[bytes], bytes]) -> Callable[[Message],
                                                          Message]:
    """A server that answers with changed data."""

    def answer(request: Message) -> Message:
        return {"id": request["id"], "data": change["data"](
            tree.noise(request["size"], 3))}

    return answer


BLOCKS: dict[str, Callable[[Message], Optional[Message]]] = {
    "17 wrong content": spoil(data=lambda d: d),
    "19 shorter": spoil(data=lambda d: d[:-1]),
    "19 longer": spoil(data=lambda d: d + b"x"),
    "19 much longer": spoil(data=lambda d: d * 200),
    "19 nothing": spoil(data=lambda d: b""),
    "error": lambda r: {"id": r["id"], "code": bep.GENERIC},
    "no such file": lambda r: {"id": r["id"], "code": bep.NO_SUCH_FILE},
    "unknown error": lambda r: {"id": r["id"], "code": 99},
    "15 another id": lambda r: {"id": r["id"] + 1000, "data": b"x"},
    "28 silence": lambda r: None,
}


@pytest.mark.parametrize("case", BLOCKS)
def test_a_lying_source_never_reaches_the_name(victim: Victim,
                                               case: str) -> None:
    """Nothing wrong is installed, and the honest source is asked."""
    name = f"lied {case}"
    data = tree.noise(400_000, hash(case) & 0xFFFF)
    evil = victim.peer()
    try:
        evil.on_request = BLOCKS[case]
        info = file_of(name, data)
        evil.folder(FOLDER).data[name] = data
        evil.announce(FOLDER, [info])
        time.sleep(1.5)
        assert not (victim.root / name).exists()
        held = victim.good.folder(FOLDER)
        held.sequence += 1
        held.entries[name] = dict(info, sequence=held.sequence)
        held.data[name] = data
        victim.good.announce(FOLDER, [held.entries[name]])
        if case == "28 silence":
            # Silence lasts until the liar's connection ends or a deadline.
            time.sleep(2)
            victim.check()
            evil.close()
        wait_until(lambda: (victim.root / name).read_bytes() == data, 90,
                   "the honest source is used", alive=[victim.node])
    finally:
        evil.close()


def sizes(**fields: Any) -> Callable[[str], Message]:
    return lambda name: file_of(name, b"x" * 200_000, **fields)


def raw_blocks(*pairs: tuple[int, int]) -> list[Message]:
    return [{"offset": o, "size": s, "hash": hashlib.sha256(b"x").digest()}
            for o, s in pairs]


ENTRIES: dict[str, Callable[[str], Message]] = {
    "20 size larger than the blocks": sizes(size=300_000),
    "20 size smaller than the blocks": sizes(size=100),
    "20 size negative": sizes(size=-1),
    "20 size 2^63-1": sizes(size=2 ** 63 - 1),
    "21 2^50 bytes in two blocks": sizes(size=1 << 50),
    "20 block of negative size": sizes(
        blocks=raw_blocks((0, 131_072), (131_072, -5))),
    "20 block of 2^31-1 bytes": sizes(
        size=2 ** 31 - 1, blocks=raw_blocks((0, 2 ** 31 - 1))),
    "20 offsets negative": sizes(
        blocks=raw_blocks((-131_072, 131_072), (0, 68_928))),
    "20 offsets overlap": sizes(
        blocks=raw_blocks((0, 131_072), (0, 68_928))),
    "20 offsets at the end of the world": sizes(
        blocks=raw_blocks((2 ** 63 - 1, 131_072), (2 ** 63 - 2, 68_928))),
    "20 hash of 5 bytes": lambda name: file_of(
        name, b"x", blocks=[{"size": 1, "hash": b"12345"}]),
    "20 hash of 5000 bytes": lambda name: file_of(
        name, b"x", blocks=[{"size": 1, "hash": b"x" * 5000}]),
    "25 block size 0": sizes(block_size=0),
    "25 block size negative": sizes(block_size=-131_072),
    "25 block size 3": sizes(block_size=3),
    "25 block size 2^31-1": sizes(block_size=2 ** 31 - 1),
    "25 irregular blocks": sizes(
        blocks=raw_blocks((0, 5), (5, 131_072), (131_077, 68_923))),
    "file without blocks": sizes(blocks=[]),
    "deleted with blocks": sizes(deleted=True),
    "directory with blocks": sizes(type=bep.DIRECTORY, size=0),
    "directory with a size": sizes(type=bep.DIRECTORY, blocks=[], size=999),
    "symlink with blocks": sizes(type=bep.SYMLINK, symlink_target=b"x"),
    "46 symlink without a target": sizes(type=bep.SYMLINK, blocks=[],
                                         size=0),
    "46 symlink target with NUL": sizes(
        type=bep.SYMLINK, blocks=[], size=0, symlink_target=b"a\0b"),
    "46 symlink target of 5 KiB": sizes(
        type=bep.SYMLINK, blocks=[], size=0, symlink_target=b"x" * 5120),
    "type 2": sizes(type=2),
    "type 5": sizes(type=5),
    "type -1": sizes(type=-1),
    "no version": sizes(version=None),
    "112 counter 2^64-1": sizes(version=bep.vector({5: 2 ** 64 - 1})),
    "112 counters unsorted": sizes(version={"counters": [
        {"id": 9, "value": 1}, {"id": 3, "value": 1}]}),
    "112 counter twice": sizes(version={"counters": [
        {"id": 9, "value": 1}, {"id": 9, "value": 2}]}),
    "112 counter 0": sizes(version={"counters": [{"id": 9, "value": 0}]}),
    "89 mtime at the end of time": sizes(modified_s=2 ** 63 - 1),
    "89 mtime before time": sizes(modified_s=-2 ** 63),
    "89 nanoseconds negative": sizes(modified_ns=-1),
    "89 nanoseconds 2^31-1": sizes(modified_ns=2 ** 31 - 1),
    "110 sequence 0": sizes(sequence=0),
    "110 sequence negative": sizes(sequence=-9),
    "110 sequence 2^63-1": sizes(sequence=2 ** 63 - 1),
    "encrypted field": sizes(encrypted=b"x" * 5000),
    "platform garbage": sizes(platform=tree.noise(3000)),
}


def offer(victim: Victim, info: Message, data: bytes) -> set[bytes]:
    """Let `evil` announce one entry; what is new on the disk then."""
    before = victim.names()
    evil = victim.peer()
    try:
        name = info["name"]
        text = name if isinstance(name, str) \
            else name.decode("utf-8", "replace")
        evil.folder(FOLDER).data[text] = data
        try:
            evil.announce(FOLDER, [info], full=True)
            mark = file_of(f"mark {victim.round}", b"m", sequence=11)
            evil.folder(FOLDER).data[mark["name"]] = b"m"
            evil.announce(FOLDER, [mark])
        except Closed:
            pass
        wait_until(lambda: evil.closed
                   or (victim.root / f"mark {victim.round}").exists(), 15,
                   "refused, or the next one is taken", alive=[victim.node])
        time.sleep(0.2)
    finally:
        evil.close()
    return victim.names() - before - {b"mark %d" % victim.round}


@pytest.mark.parametrize("case", ENTRIES)
def test_entry(victim: Victim, case: str) -> None:
    """A hostile entry is refused, or taken whole and by the rule."""
    name = f"entry {case}".replace("/", "_")
    data = b"x" * 200_000
    new = offer(victim, ENTRIES[case](name), data)
    path = victim.root / name
    if os.fsencode(name) in new and path.is_file() \
            and not path.is_symlink():
        assert path.read_bytes() in (data, b"x")
    assert victim.rss() - HOARD < 400 << 20


def test_21_a_claim_of_a_petabyte_takes_no_disk(victim: Victim) -> None:
    blocks = [{"offset": n << 24, "size": 1 << 24,
               "hash": hashlib.sha256(b"%d" % n).digest()}
              for n in range(1 << 12)]
    size = len(blocks) << 24
    disk = os.statvfs(victim.root)
    offer(victim, file_of("huge", b"", size=size, blocks=blocks,
                          block_size=1 << 24), b"")
    now = os.statvfs(victim.root)
    assert (disk.f_bfree - now.f_bfree) * disk.f_frsize < 1 << 30


def test_11_two_entries_of_one_name(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.folder(FOLDER).data["twice"] = b"second"
        evil.announce(FOLDER, [
            file_of("twice", b"first", 5),
            bep.file_info("twice", b"second", sequence=6,
                          version={5: 2})])
        wait_until(lambda: evil.closed
                   or (victim.root / "twice").read_bytes() == b"second", 15,
                   "the last wins")
    finally:
        evil.close()


# ---- requests we must not answer -------------------------------------------

REQUESTS: dict[str, Message] = {
    "22 beyond the end": {"name": "keep.txt", "offset": 100, "size": 4},
    "22 offset negative": {"name": "keep.txt", "offset": -4, "size": 4},
    "22 offset 2^63-1": {"name": "keep.txt", "offset": 2 ** 63 - 1,
                         "size": 4},
    "22 size negative": {"name": "keep.txt", "size": -4},
    "22 size 2^31-1": {"name": "keep.txt", "size": 2 ** 31 - 1},
    "22 size 33 MiB": {"name": "d/keep.bin", "size": 33 << 20},
    "23 size zero": {"name": "keep.txt", "size": 0},
    "24 ignored": {"name": "hidden.tmp", "size": len(SECRET)},
    "24 unshared folder": {"name": "keep.txt", "size": 4,
                           "folder": "other"},
    "24 empty folder": {"name": "keep.txt", "size": 4, "folder": ""},
    "24 marker": {"name": ".stfolder", "size": 4},
    "24 below the marker": {"name": ".stfolder/x", "size": 4},
    "24 ignore file": {"name": ".stignore", "size": 4},
    "24 versions": {"name": ".stversions/x", "size": 4},
    "24 temporary": {"name": ".syncthing.keep.txt.tmp", "size": 4},
    "24 from temporary": {"name": "keep.txt", "size": 4,
                          "from_temporary": True, "hash": b"x" * 32},
    "directory": {"name": "d", "size": 4},
    "symlink": {"name": "way-out", "size": 4},
    "44 through a symlink": {"name": "way-out/canary",
                             "size": len(SECRET)},
    "30 dot dot": {"name": "../outside/canary", "size": len(SECRET)},
    "30 dot dot inside": {"name": "d/../../outside/canary",
                          "size": len(SECRET)},
    "30 absolute": {"name": "/etc/hostname", "size": 4},
    "30 empty": {"name": "", "size": 4},
    "30 double slash": {"name": "d//keep.bin", "size": 4},
    "30 trailing slash": {"name": "keep.txt/", "size": 4},
    "31 NUL": {"name": "keep.txt\0", "size": 4},
    "31 no utf-8": {"name": b"\xff\xfe", "size": 4},
    "32 long": {"name": "x" * 5000, "size": 4},
    "32 deep": {"name": "/".join("x" * 2000), "size": 4},
    "missing": {"name": "missing", "size": 4},
    "wrong hash": {"name": "keep.txt", "size": 4, "hash": b"x" * 32},
    "short hash": {"name": "keep.txt", "size": 4, "hash": b"x"},
}


@pytest.mark.parametrize("case", REQUESTS)
def test_request(victim: Victim, case: str) -> None:
    """Refused with a code or by closing; no secret byte, no hang."""
    wire = victim.session()
    wire.send(bep.REQUEST, {"id": 5, "folder": FOLDER,
                            "hash": hashlib.sha256(SECRET).digest(),
                            **REQUESTS[case]})
    try:
        while True:
            got = wire.receive(15)
            if got.kind == bep.RESPONSE:
                break
    except Closed:
        return
    finally:
        wire.close()
    answer = got.message()
    assert answer["id"] == 5
    assert SECRET[:6] not in answer["data"]
    if case.startswith("23"):
        assert answer["data"] == b""
    else:
        assert answer["code"] != bep.NO_ERROR, answer


def test_request_ids_may_be_any(victim: Victim) -> None:
    wire = victim.session()
    wanted = {0, -1, 7, 2 ** 31 - 1, -2 ** 31}
    for number in wanted:
        wire.send(bep.REQUEST, {
            "id": number, "folder": FOLDER, "name": "keep.txt", "size": 4,
            "hash": hashlib.sha256(b"kept").digest()})
    seen = set()
    while seen != wanted:
        got = wire.receive(15)
        if got.kind == bep.RESPONSE:
            assert got.message()["data"] == b"kept"
            seen.add(got.message()["id"])
    wire.close()


# ---- C. names --------------------------------------------------------------

REFUSED_NAMES: dict[str, Union[str, bytes]] = {
    "30 dot dot": "../escaped", "30 far dot dot": "a/../../escaped",
    "30 trailing dot dot": "a/..", "30 dot": ".", "30 dot inside": "a/./b",
    "30 empty": "", "30 absolute": "/tmp/holdfast-escaped",
    "30 two slashes": "//escaped", "30 slash slash": "a//b",
    "30 trailing slash": "a/", "30 only dot dot": "..",
    "31 NUL": "a\0b", "31 not UTF-8": b"bad-\xff\xfe",
    "31 surrogate": b"bad-\xed\xa0\x80", "31 overlong": b"bad-\xc0\xaf",
    "32 component of 256": "n" * 256, "32 path of 5000":
        "/".join(["p" * 200] * 25), "32 depth 10000": "/".join("d" * 10_000),
    "33 marker": ".stfolder", "33 below the marker": ".stfolder/x",
    "33 ignore file": ".stignore", "33 versions": ".stversions/x",
    "33 temporary": ".syncthing.keep.txt.tmp",
    "33 other temporary": "d/~syncthing~x.tmp",
    "41 through a symlink": "way-out/escaped",
    "41 below a file": "keep.txt/below",
}


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "delete"])
@pytest.mark.parametrize("case", REFUSED_NAMES)
def test_name(victim: Victim, case: str, kind: str) -> None:
    """Such a name is never made, changed or removed, as whatever kind."""
    name = REFUSED_NAMES[case]
    info = {
        "file": lambda: bep.file_info(name, b"evil", sequence=9,
                                      version={5: 2 ** 40}),
        "directory": lambda: bep.file_info(
            name, sequence=9, type=bep.DIRECTORY, blocks=[], block_size=0,
            version={5: 2 ** 40}),
        "symlink": lambda: bep.file_info(
            name, sequence=9, type=bep.SYMLINK, blocks=[], block_size=0,
            symlink_target=os.fsencode(victim.outside),
            version={5: 2 ** 40}),
        "delete": lambda: bep.file_info(
            name, sequence=9, deleted=True, blocks=[],
            version={5: 2 ** 40}),
    }[kind]()
    new = offer(victim, info, b"evil")
    parents = {b"a", b"p" * 200, b"d", b"bad-", b"n" * 255}
    assert not {n for n in new if n.split(b"/")[0] not in parents}, new
    for place in victim.root.rglob("*"):
        if place.is_file() and not place.is_symlink():
            assert place.read_bytes() != b"evil", place
    assert (victim.root / ".stignore").read_text() == "*.tmp\n"
    assert (victim.root / ".stfolder").exists()
    assert not Path("/tmp/holdfast-escaped").exists()


KEPT_NAMES = ["new\nline", "bell\a", "esc\x1b[31m", "del\x7f",
              "rtl\u202eexe", "CON", "a:b", "dot.", "space ", "back\\slash",
              "*?", "x" * 255, ".git/config", ".bashrc", "d2/.stignore",
              "d2/.stfolder/x", "a.sync-conflict-20200101-000000-ABCDEFG.b"]


def test_31_37_odd_but_legal_names_are_stored_exactly(
        victim: Victim) -> None:
    evil = victim.peer()
    try:
        for number, name in enumerate(KEPT_NAMES):
            evil.put(FOLDER, name, b"%d" % number, announce=False)
        evil.announce_all(FOLDER)
        for number, name in enumerate(KEPT_NAMES):
            wait_until(lambda: (victim.root / name).read_bytes()
                       == b"%d" % number, 20, repr(name))
        assert "\x1b" not in victim.node.log_text()
        for name in ("esc\x1b[31m", "new\nline"):
            told = victim.node.ctl("explain", str(victim.root / name),
                                   check=False)
            assert "\x1b" not in told.out + told.err
        for name in KEPT_NAMES:
            evil.remove(FOLDER, name)
        wait_until(lambda: not any((victim.root / n).exists()
                                   for n in KEPT_NAMES), 20, "removed")
    finally:
        evil.close()


def test_36_two_forms_of_a_name_lose_nothing(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.put(FOLDER, "caf\u00e9", b"composed", announce=False)
        evil.put(FOLDER, "cafe\u0301", b"decomposed", announce=False)
        evil.announce_all(FOLDER)
        wait_until(lambda: (victim.root / "caf\u00e9").exists(), 15, "NFC")
    finally:
        evil.close()


def test_39_a_file_and_something_below_it(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.put(FOLDER, "both", b"a file", announce=False)
        evil.put(FOLDER, "both/below", b"below it", announce=False)
        evil.announce_all(FOLDER)
        wait_until(lambda: evil.closed or (victim.root / "both").exists(),
                   15, "one of them")
        time.sleep(0.5)
    finally:
        evil.close()


def test_40_a_conflict_copy_of_a_long_name(victim: Victim) -> None:
    name = "l" * 251 + ".txt"
    evil = victim.peer()
    try:
        evil.put(FOLDER, name, b"first")
        if not evil.folder(FOLDER).announced:
            evil.announce_all(FOLDER)
        wait_until(lambda: (victim.root / name).exists(), 15, "there")
        evil.close()
        tree.write(victim.root / name, b"edited here")
        victim.node.scan(FOLDER)
        evil = Peer("evil", victim.evil)
        evil.folder(FOLDER)
        # A version of its own, newer by the clock and concurrent.
        evil._store(FOLDER, name, b"edited there", False, dict(
            size=12, blocks=bep.blocks_of(b"edited there"),
            block_size=131072, version=bep.vector({5: 99, 6: 99}),
            modified_s=int(time.time()) + 100))
        evil.connect(victim.node.addr)
        wait_until(lambda: (victim.root / name).read_bytes()
                   == b"edited there", 20, "the newer wins")
        words = {p.read_bytes() for p in victim.root.iterdir()
                 if p.is_file() and not p.is_symlink()}
        assert b"edited here" in words
    finally:
        evil.close()


def test_109_setuid_bits_are_not_taken(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.put(FOLDER, "suid", b"#!/bin/sh\n", permissions=0o7777,
                 announce=False)
        evil.put_dir(FOLDER, "sgid", permissions=0o7777, announce=False)
        evil.announce_all(FOLDER)
        wait_until(lambda: (victim.root / "suid").exists()
                   and (victim.root / "sgid").exists(), 15, "there")
        assert (victim.root / "suid").stat().st_mode & 0o7000 == 0
        assert (victim.root / "sgid").stat().st_mode & 0o7000 == 0
    finally:
        evil.close()


def test_48_a_directory_deleted_with_a_way_out_inside(
        victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.put_dir(FOLDER, "gone", announce=False)
        evil.put_link(FOLDER, "gone/link", os.fsencode(victim.outside),
                      announce=False)
        evil.announce_all(FOLDER)
        wait_until(lambda: (victim.root / "gone/link").is_symlink(), 15,
                   "there")
        evil.remove(FOLDER, "gone/link/canary")
        evil.remove(FOLDER, "gone/link")
        evil.remove(FOLDER, "gone")
        wait_until(lambda: not os.path.lexists(victim.root / "gone"), 15,
                   "removed")
    finally:
        evil.close()


@pytest.mark.slow
def test_43_a_directory_that_turns_into_a_way_out(victim: Victim) -> None:
    """A local program swaps a directory for a symlink while we write."""
    import threading
    stop = threading.Event()
    place = victim.root / "swapped"

    def swap() -> None:
        real, link = victim.base / "root/.real", place
        while not stop.is_set():
            try:
                os.rename(place, real)
                os.symlink(victim.outside, place)
                os.unlink(place)
                os.rename(real, link)
            except OSError:
                pass

    evil = victim.peer()
    evil.put_dir(FOLDER, "swapped", announce=False)
    evil.announce_all(FOLDER)
    wait_until(lambda: place.is_dir(), 15, "there")
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for n in range(300):
            evil.put(FOLDER, f"swapped/{n % 40}", b"%d" % n)
            if n % 7 == 0:
                evil.remove(FOLDER, f"swapped/{n % 40}")
            assert evil.alive, evil.closed
            time.sleep(0.005)
    finally:
        stop.set()
        thread.join()
        evil.close()
    assert os.listdir(victim.outside) == ["canary"]


# ---- J. a peer that lies about history -------------------------------------

def test_110_sequences_of_all_sorts(victim: Victim) -> None:
    evil = victim.peer()
    try:
        for number, sequence in enumerate((5, 5, 3, 1, 900, 2 ** 62, 7)):
            name = f"sequence {number}"
            evil.folder(FOLDER).data[name] = b"s%d" % number
            evil.announce(FOLDER, [file_of(name, b"s%d" % number,
                                           sequence)])
        wait_until(lambda: evil.closed or all(
            (victim.root / f"sequence {n}").exists() for n in range(7)), 20,
            "no lost updates")
    finally:
        evil.close()


def test_111_an_old_index_after_a_new_one(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.announce_all(FOLDER)
        old = evil.put(FOLDER, "replayed", b"old")
        evil.wait_adopted(FOLDER, "replayed")
        evil.put(FOLDER, "replayed", b"new")
        evil.wait_adopted(FOLDER, "replayed")
        evil.announce(FOLDER, [old])
        evil.announce(FOLDER, [old], full=True)
        time.sleep(1)
        assert (victim.root / "replayed").read_bytes() == b"new"
    finally:
        evil.close()


def test_113_a_peer_edits_our_counter(victim: Victim) -> None:
    own = bep.short_id(bep.device_raw(victim.node.id))
    evil = victim.peer()
    try:
        evil.folder(FOLDER).data["ours"] = b"as if by us"
        evil.announce(FOLDER, [bep.file_info(
            "ours", b"as if by us", sequence=3,
            version={own: 2 ** 40, 5: 1})])
        wait_until(lambda: evil.closed or (victim.root / "ours").exists(),
                   15, "taken or refused")
        if (victim.root / "ours").exists():
            tree.write(victim.root / "ours", b"edited here")
            info = evil.wait_remote(
                FOLDER, "ours", lambda i: i["size"] == 11
                and i["blocks"][0]["hash"]
                == hashlib.sha256(b"edited here").digest())
            assert bep.counters(info["version"])[own] > 2 ** 40
    finally:
        evil.close()


def test_116_a_name_that_flaps_between_kinds(victim: Victim) -> None:
    evil = victim.peer()
    try:
        evil.announce_all(FOLDER)
        for n in range(150):
            (lambda: evil.put(FOLDER, "flap", b"%d" % n),
             lambda: evil.put_dir(FOLDER, "flap"),
             lambda: evil.put_link(FOLDER, "flap", b"x"),
             lambda: evil.remove(FOLDER, "flap"))[n % 4]()
        evil.put(FOLDER, "flap", b"in the end")
        wait_until(lambda: (victim.root / "flap").read_bytes()
                   == b"in the end", 30, "converges", alive=[victim.node])
    finally:
        evil.close()


def test_117_two_contents_for_one_version(victim: Victim) -> None:
    """Equivocation: whoever is believed, no mixture is installed."""
    one, two = tree.noise(300_000, 21), tree.noise(300_000, 22)
    evil = victim.peer()
    try:
        evil.folder(FOLDER).data["equal"] = one
        evil.announce(FOLDER, [file_of("equal", one)])
        held = victim.good.folder(FOLDER)
        held.sequence += 1
        held.data["equal"] = two
        held.entries["equal"] = file_of("equal", two, held.sequence)
        victim.good.announce(FOLDER, [held.entries["equal"]])
        wait_until(lambda: (victim.root / "equal").read_bytes()
                   in (one, two), 30, "one of them")
    finally:
        evil.close()


def test_13_two_connections_of_one_device(victim: Victim) -> None:
    first = victim.session()
    try:
        second: Optional[Wire] = victim.session()
    except Closed:
        second = None
    judge(first, ANY)
    if second is not None:
        judge(second, ANY)


@pytest.mark.slow
def test_124_many_connections_at_once(victim: Victim) -> None:
    before = proc.open_fds(victim.node.pid)
    socks: list[socket.socket] = []
    for _ in range(400):
        try:
            socks.append(bep.tcp(victim.node.addr, 2, "127.0.2.1"))
        except OSError:
            break
    try:
        victim.check()
        victim.session().close()
    finally:
        for sock in socks:
            sock.close()
    wait_until(lambda: proc.open_fds(victim.node.pid) < before + 20, 40,
               "descriptors are given back")


def test_119_a_removed_device_is_refused(world: World) -> None:
    node, identity = world.node("A"), Identity.make()
    node.device_add(identity.id, "peer")
    node.folder_add(world.dir("a"), FOLDER, "peer")
    wire = bep.dial(node.addr, identity)
    wire.hello()
    wire.send(bep.CLUSTER_CONFIG)
    assert wire.receive().kind == bep.CLUSTER_CONFIG
    removed = node.ctl("device", "remove", "peer", check=False)
    if removed.code:
        node.ctl("device", "remove", "peer", "--yes")
    wire.until_closed(10)
    again = bep.dial(node.addr, identity)
    try:
        again.hello()
    except Closed:
        return
    again.until_closed(10)

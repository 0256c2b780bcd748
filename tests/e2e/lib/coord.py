"""The coordinator's wire and membership logs in our own Python, written from
docs/protocol.md 6 and nothing else: a client that can lie, a server that does.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
import time
from typing import Any, Callable, Iterator, Optional

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from . import bep

ALPN = "holdfast-coord/1"

HELLO, WELCOME, REFUSED, PING, PONG, ENTRIES, PUBLISH, WANT, WHERE, SIGNAL, \
    BOX, MAIL = range(1, 13)
NOT_MEMBER, NO_DOMAIN, BAD_ENTRY, NOT_HERE, NO_BOX, TOO_MUCH = range(1, 7)

FIELDS = {1: "type", 2: "version", 3: "domain", 4: "seq", 5: "head",
          6: "seen", 7: "stun", 8: "idle", 9: "code", 10: "of", 11: "text",
          12: "entry", 13: "device", 14: "address", 15: "here", 16: "body",
          17: "box", 18: "close", 19: "stranger"}
NUMBERS = {name: number for number, name in FIELDS.items()}
MANY = {"stun", "entry", "device", "address"}


# ---- protobuf --------------------------------------------------------------

def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number: int, value: Any) -> bytes:
    if isinstance(value, (list, tuple)):
        return b"".join(field(number, v) for v in value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(int(value))


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    def take() -> int:
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    at = 0
    while at < len(data):
        key = take()
        if key & 7 == 0:
            yield key >> 3, take()
            continue
        assert key & 7 == 2, key
        size = take()
        yield key >> 3, data[at:at + size]
        at += size


def frame(kind: int, **more: Any) -> bytes:
    body = field(1, kind) + b"".join(
        field(NUMBERS[name], value) for name, value in more.items())
    return struct.pack(">I", len(body)) + body


def parse(body: bytes) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for number, value in fields(body):
        name = FIELDS[number]
        if name in MANY:
            out.setdefault(name, []).append(value)
        else:
            out[name] = value
    return out


# ---- membership ------------------------------------------------------------

class Log:
    """A domain: its owner's key and the entries signed with it."""

    FOUND, ADD, REMOVE = 1, 2, 3

    def __init__(self, name: str = "home"):
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.entries: list[bytes] = []
        self.head = b""
        self._append(self.FOUND, field(9, name) + field(11, self.public)
                     + field(12, 1) + field(13, bytes(range(32))))
        self.id = self.head

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, body: bytes,
             key: Optional[ed25519.Ed25519PrivateKey] = None) -> bytes:
        key = key or self.key
        public = key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        signed = key.sign(b"holdfast membership entry\0" + body)
        return field(1, body) + field(2, field(1, public) + field(2, signed))

    def body(self, kind: int, more: bytes) -> bytes:
        out = field(1, 1) + field(2, kind) + field(3, len(self.entries) + 1)
        if self.entries:
            out += field(4, self.head)
        return out + field(5, int(time.time())) + more

    def _append(self, kind: int, more: bytes) -> None:
        body = self.body(kind, more)
        self.entries.append(self.sign(body))
        self.head = hashlib.sha256(body).digest()

    def add(self, *identities: bep.Identity) -> "Log":
        for number, identity in enumerate(identities):
            self._append(self.ADD, field(7, identity.raw)
                         + field(9, f"device {len(self.entries)}-{number}"))
        return self

    def remove(self, identity: bep.Identity) -> "Log":
        self._append(self.REMOVE, field(7, identity.raw))
        return self


# ---- a client --------------------------------------------------------------

class Client:
    """One connection to a coordinator."""

    def __init__(self, addr: str, identity: bep.Identity):
        self.identity = identity
        context = bep.client_context(identity, (ALPN,))
        raw = bep.tcp(addr, 20)
        try:
            self.sock = context.wrap_socket(raw)
        except (OSError, ssl.SSLError) as error:
            raw.close()
            raise bep.Closed(f"handshake: {error}") from None
        self.sock.settimeout(60)
        self.bytes_in = self.bytes_out = 0

    def send(self, kind: int, **more: Any) -> "Client":
        self.raw(frame(kind, **more))
        return self

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.bytes_out += len(data)

    def _take(self, size: int) -> bytes:
        out = b""
        while len(out) < size:
            try:
                got = self.sock.recv(size - len(out))
            except (ConnectionError, ssl.SSLError) as error:
                raise bep.Closed(str(error)) from None
            if not got:
                raise bep.Closed("end")
            out += got
        self.bytes_in += size
        return out

    def recv(self) -> dict[str, Any]:
        """The next message that is not a pong."""
        while True:
            size, = struct.unpack(">I", self._take(4))
            got = parse(self._take(size))
            if got["type"] != PONG:
                return got

    def expect(self, kind: int) -> dict[str, Any]:
        got = self.recv()
        assert got["type"] == kind, got
        return got

    def sync(self) -> list[dict[str, Any]]:
        """What came before the answer to a ping."""
        self.send(PING)
        out = []
        while True:
            size, = struct.unpack(">I", self._take(4))
            got = parse(self._take(size))
            if got["type"] == PONG:
                return out
            out.append(got)

    def hello(self, log: Optional[Log] = None,
              seq: Optional[int] = None) -> dict[str, Any]:
        """Say who we are; WELCOME or REFUSED."""
        if log is None:
            self.send(HELLO, version=1)
        else:
            seq = len(log.entries) if seq is None else seq
            self.send(HELLO, version=1, domain=log.id, seq=seq,
                      head=log.head if seq == len(log.entries)
                      else b"\0" * 32)
        return self.recv()

    def ended(self) -> bool:
        """It hangs up; whatever it says before that."""
        try:
            while True:
                self.recv()
        except (bep.Closed, TimeoutError):
            return True

    def close(self) -> None:
        self.sock.close()


# ---- a server that lies ----------------------------------------------------

class Liar:
    """Accepts one node's lines and lets `script` speak on each."""

    def __init__(self, accept_der: bytes,
                 script: Callable[[ssl.SSLSocket], None]):
        self.identity = bep.Identity.make()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols([ALPN])
        self.identity.load(self.context)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.verify_flags |= ssl.VerifyFlags(0x80000)  # PARTIAL_CHAIN
        self.context.load_verify_locations(
            cadata=ssl.DER_cert_to_PEM_cert(accept_der))
        self.script = script
        self.lines = 0
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(8)
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}?id={self.identity.id}"

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self.sock.accept()
            except OSError:
                return
            raw.settimeout(20)
            try:
                with self.context.wrap_socket(raw, server_side=True) as line:
                    self.lines += 1
                    line.recv(65536)  # its HELLO
                    self.script(line)
            except (OSError, ssl.SSLError):
                pass

    def close(self) -> None:
        self.sock.close()

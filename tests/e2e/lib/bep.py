"""BEP v1 in our own Python, written from the schema table and nothing else.

Three layers, each usable alone, so that a test can be honest on one and lie
on the next: protobuf (`encode`, `decode`), frames (`frame`, `Wire`), and TLS
with self-made certificates (`Identity`, `dial`, `Listener`).  The peer that
holds a folder is in peer.py.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import select
import socket
import ssl
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# ---- device IDs ------------------------------------------------------------

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _check_digit(group: str) -> str:
    factor, total = 1, 0
    for char in group:
        addend = factor * _BASE32.index(char)
        factor = 3 - factor
        total += addend // 32 + addend % 32
    return _BASE32[-total % 32]


def device_id(raw: bytes) -> str:
    """The text form of a raw 32-byte device ID."""
    assert len(raw) == 32
    text = base64.b32encode(raw).decode().rstrip("=")
    groups = [text[i:i + 13] for i in range(0, 52, 13)]
    full = "".join(g + _check_digit(g) for g in groups)
    return "-".join(full[i:i + 7] for i in range(0, 56, 7))


def device_raw(text: str) -> bytes:
    """The raw form; ValueError when the check digits are wrong."""
    text = re.sub(r"[-\s]", "", text).rstrip("=").upper()
    text = text.translate(str.maketrans("018", "OIB"))
    if len(text) == 56:
        groups = [text[i:i + 14] for i in range(0, 56, 14)]
        for group in groups:
            if _check_digit(group[:13]) != group[13]:
                raise ValueError(f"check digit of {group}")
        text = "".join(g[:13] for g in groups)
    if len(text) != 52:
        raise ValueError(f"length {len(text)}")
    return base64.b32decode(text + "====")


def short_id(raw: bytes) -> int:
    return int.from_bytes(raw[:8], "big")


# ---- protobuf --------------------------------------------------------------

# number name kind, "*" for repeated; kinds in capitals are messages.
_TABLE = """
Hello: 1 device_name string, 2 client_name string, 3 client_version string,
    4 num_connections int, 5 timestamp int
Header: 1 type int, 2 compression int
ClusterConfig: 1 folders *Folder, 2 secondary bool
Folder: 1 id string, 2 label string, 3 type int, 4 ignore_permissions bool,
    5 ignore_delete bool, 6 disable_temp_indexes bool, 7 stop_reason int,
    16 devices *Device
Device: 1 id bytes, 2 name string, 3 addresses *string, 4 compression int,
    5 cert_name string, 6 max_sequence int, 7 introducer bool,
    8 index_id uint, 9 skip_introduction_removals bool,
    10 encryption_password_token bytes
Index: 1 folder string, 2 files *FileInfo, 3 last_sequence int
IndexUpdate: 1 folder string, 2 files *FileInfo, 3 last_sequence int,
    4 prev_sequence int
FileInfo: 1 name string, 2 type int, 3 size int, 4 permissions uint,
    5 modified_s int, 6 deleted bool, 7 invalid bool, 8 no_permissions bool,
    9 version Vector, 10 sequence int, 11 modified_ns int, 12 modified_by uint,
    13 block_size int, 14 platform bytes, 16 blocks *BlockInfo,
    17 symlink_target bytes, 18 blocks_hash bytes, 19 encrypted bytes,
    20 previous_blocks_hash bytes
BlockInfo: 1 offset int, 2 size int, 3 hash bytes, 4 weak_hash uint
Vector: 1 counters *Counter
Counter: 1 id uint, 2 value uint
Request: 1 id int, 2 folder string, 3 name string, 4 offset int, 5 size int,
    6 hash bytes, 7 from_temporary bool, 8 weak_hash uint, 9 block_no int
Response: 1 id int, 2 data bytes, 3 code int
DownloadProgress: 1 folder string, 2 updates *ProgressUpdate
ProgressUpdate: 1 update_type int, 2 name string, 3 version Vector,
    4 block_indexes *int, 5 block_size int
Ping:
Close: 1 reason string
Announce: 1 id bytes, 2 addresses *string, 3 instance_id int
"""


@dataclass(frozen=True)
class _Field:
    number: int
    name: str
    kind: str
    repeated: bool


def _parse_table(text: str) -> dict[str, list[_Field]]:
    table: dict[str, list[_Field]] = {}
    for line in re.split(r"\n(?=\w)", text.strip()):
        name, _, rest = line.partition(":")
        table[name] = []
        for item in filter(None, (i.strip() for i in rest.split(","))):
            number, field, kind = item.split()
            table[name].append(_Field(int(number), field, kind.lstrip("*"),
                                      kind.startswith("*")))
    return table


SCHEMA = _parse_table(_TABLE)
Message = dict[str, Any]


class Malformed(ValueError):
    """Bytes that are no message of the schema."""


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(number: int, data: bytes) -> bytes:
    """One length-delimited field, for what the schema does not know."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def field_varint(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def encode(kind: str, message: Message) -> bytes:
    """A message's bytes.  Defaults vanish, as proto3 asks.

    A text may be given as bytes, to send what is not UTF-8; the key "_raw"
    holds bytes that are appended as they are, for unknown fields; "_zero"
    names scalar fields to write although they are zero.
    """
    out = bytearray()
    zeros = message.get("_zero", ())
    known = {f.name for f in SCHEMA[kind]} | {"_raw", "_zero", "_unknown"}
    assert message.keys() <= known, message.keys() - known
    for field in SCHEMA[kind]:
        value = message.get(field.name)
        for one in (value or ()) if field.repeated else (value,):
            if one is None:
                continue
            if field.kind in SCHEMA:
                out += field_bytes(field.number, encode(field.kind, one))
            elif field.kind in ("string", "bytes"):
                data = one.encode() if isinstance(one, str) else one
                if data or field.repeated or field.name in zeros:
                    out += field_bytes(field.number, data)
            elif one or field.repeated or field.name in zeros:
                out += field_varint(field.number, int(one))
    return bytes(out) + message.get("_raw", b"")


def _take_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _scalar(kind: str, value: int) -> Union[int, bool]:
    if kind == "bool":
        return bool(value)
    return value if kind == "uint" else _signed(value)


def decode(kind: str, data: bytes) -> Message:
    """Bytes to a message, every known field present.  Strict: a peer that
    sends what the schema does not allow gets Malformed."""
    fields = {f.number: f for f in SCHEMA[kind]}
    out: Message = {"_unknown": []}
    for field in SCHEMA[kind]:
        out[field.name] = [] if field.repeated else (
            "" if field.kind == "string" else b"" if field.kind == "bytes"
            else None if field.kind in SCHEMA else False
            if field.kind == "bool" else 0)
    at = 0
    while at < len(data):
        tag, at = _take_varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, at = _take_varint(data, at)
        elif wire == 2:
            size, at = _take_varint(data, at)
            if at + size > len(data):
                raise Malformed(f"{kind}.{number}: cut")
            value, at = data[at:at + size], at + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if at + size > len(data):
                raise Malformed(f"{kind}.{number}: cut")
            value, at = data[at:at + size], at + size
        else:
            raise Malformed(f"{kind}.{number}: wire type {wire}")
        field = fields.get(number)
        if field is None:
            out["_unknown"].append((number, wire, value))
            continue
        text = field.kind in ("string", "bytes") or field.kind in SCHEMA
        if field.repeated and not text and wire == 2:  # packed
            inner = 0
            while inner < len(value):
                one, inner = _take_varint(value, inner)
                out[field.name].append(_scalar(field.kind, one))
            continue
        if (wire == 2) != text:
            raise Malformed(f"{kind}.{field.name}: wire type {wire}")
        if field.kind in SCHEMA:
            value = decode(field.kind, value)
        elif field.kind == "string":
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise Malformed(f"{kind}.{field.name}: {error}") from None
        elif field.kind != "bytes":
            value = _scalar(field.kind, value)
        if field.repeated:
            out[field.name].append(value)
        else:
            out[field.name] = value
    return out


# ---- LZ4 blocks ------------------------------------------------------------

def _lz4_length(value: int) -> bytes:
    """The bytes after a token's 15."""
    return b"\xff" * (value // 255) + bytes([value % 255])


def lz4_compress(data: bytes) -> bytes:
    """A raw LZ4 block; greedy, with 4-byte matches found by a table."""
    out = bytearray()
    table: dict[bytes, int] = {}
    at = anchor = 0
    last_match = len(data) - 12

    def sequence(literal: bytes, offset: int, match: int) -> None:
        out.append(min(len(literal), 15) << 4 | (min(match - 4, 15)
                                                 if match else 0))
        if len(literal) >= 15:
            out.extend(_lz4_length(len(literal) - 15))
        out.extend(literal)
        if match:
            out.extend(struct.pack("<H", offset))
            if match - 4 >= 15:
                out.extend(_lz4_length(match - 4 - 15))

    while at < last_match:
        key = data[at:at + 4]
        seen = table.get(key)
        table[key] = at
        if seen is None or at - seen > 65535:
            at += 1
            continue
        end = at + 4
        while end < len(data) - 5 and data[end] == data[seen + end - at]:
            end += 1
        sequence(data[anchor:at], at - seen, end - at)
        at = anchor = end
    sequence(data[anchor:], 0, 0)
    return bytes(out)


def lz4_decompress(data: bytes, limit: int) -> bytes:
    """A raw LZ4 block's content, at most `limit` bytes."""
    out = bytearray()
    at = 0

    def more(value: int) -> int:
        nonlocal at
        if value == 15:
            while True:
                byte = data[at]
                at += 1
                value += byte
                if byte != 255:
                    break
        return value

    try:
        while True:
            token = data[at]
            at += 1
            count = more(token >> 4)
            if at + count > len(data):
                raise Malformed("lz4: literals")
            out += data[at:at + count]
            at += count
            if at == len(data):
                break
            offset, = struct.unpack_from("<H", data, at)
            at += 2
            if offset == 0 or offset > len(out):
                raise Malformed("lz4: offset")
            count = more(token & 15) + 4
            if len(out) + count > limit:
                raise Malformed("lz4: too long")
            start = len(out) - offset
            if offset >= count:
                out += out[start:start + count]
            else:
                unit = bytes(out[start:])
                out += (unit * (count // offset + 1))[:count]
    except (IndexError, struct.error):
        raise Malformed("lz4: cut") from None
    if len(out) > limit:
        raise Malformed("lz4: too long")
    return bytes(out)


# ---- frames ----------------------------------------------------------------

MAGIC = bytes.fromhex("2EA7D90B")
(CLUSTER_CONFIG, INDEX, INDEX_UPDATE, REQUEST, RESPONSE, PROGRESS, PING,
 CLOSE) = range(8)
TYPE_NAMES = ("ClusterConfig", "Index", "IndexUpdate", "Request", "Response",
              "DownloadProgress", "Ping", "Close")

FILE, DIRECTORY, SYMLINK = 0, 1, 4
NO_ERROR, GENERIC, NO_SUCH_FILE, INVALID_FILE = range(4)

EMPTY_HASH = hashlib.sha256(b"").digest()


def hello_frame(body: bytes) -> bytes:
    return MAGIC + struct.pack(">H", len(body)) + body


def frame(kind: int, body: bytes, compression: int = 0,
          header: Optional[bytes] = None) -> bytes:
    """One frame.  `body` is compressed here when `compression` is 1."""
    if header is None:
        header = encode("Header", {"type": kind, "compression": compression})
    if compression == 1:
        body = struct.pack(">I", len(body)) + lz4_compress(body)
    return struct.pack(">H", len(header)) + header \
        + struct.pack(">I", len(body)) + body


def block_size(size: int) -> int:
    """The block size BEP gives a file of that size."""
    length = 128 << 10
    while length < 16 << 20 and size >= 2000 * length:
        length *= 2
    return length


def blocks_of(data: bytes, length: Optional[int] = None) -> list[Message]:
    """The block list of a content; one empty block for an empty file."""
    length = length or block_size(len(data))
    return [{"offset": at, "size": len(data[at:at + length]),
             "hash": hashlib.sha256(data[at:at + length]).digest()}
            for at in range(0, max(len(data), 1), length)]


def file_info(name: Union[str, bytes], data: bytes = b"", *,
              sequence: int = 1, by: int = 1, mtime_ns: int = 10 ** 18,
              mode: int = 0o644, version: Optional[dict[int, int]] = None,
              **override: Any) -> Message:
    """A regular file as a peer announces it; any field may be overridden."""
    info: Message = {
        "name": name, "type": FILE, "size": len(data), "permissions": mode,
        "modified_s": mtime_ns // 10 ** 9, "modified_ns": mtime_ns % 10 ** 9,
        "modified_by": by, "sequence": sequence,
        "block_size": block_size(len(data)), "blocks": blocks_of(data),
        "version": vector(version or {by: 1})}
    info.update(override)
    return info


def vector(counters: dict[int, int]) -> Message:
    return {"counters": [{"id": i, "value": v}
                         for i, v in sorted(counters.items())]}


def counters(message: Optional[Message]) -> dict[int, int]:
    return {c["id"]: c["value"]
            for c in (message or {"counters": []})["counters"]}


# ---- TLS -------------------------------------------------------------------

@dataclass
class Identity:
    """A key and a self-signed certificate; the ID is the digest of it."""

    der: bytes
    key_pem: bytes

    @property
    def raw(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def id(self) -> str:
        return device_id(self.raw)

    @property
    def short(self) -> int:
        return short_id(self.raw)

    @property
    def cert_pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    @staticmethod
    def make(kind: str = "ed25519", name: str = "syncthing",
             san: Optional[str] = "syncthing", days: int = 7300,
             starts: int = -1, padding: int = 0) -> "Identity":
        """A new identity, valid for `days` from `starts` days from now."""
        key: Any
        if kind == "ed25519":
            key = ed25519.Ed25519PrivateKey.generate()
        elif kind.startswith("p"):
            curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1,
                     "p521": ec.SECP521R1}[kind]
            key = ec.generate_private_key(curve())
        else:
            key = rsa.generate_private_key(65537, int(kind[3:]))
        start = datetime.datetime.utcnow() \
            + datetime.timedelta(days=starts)
        subject = x509.Name([
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "e2e"),
            x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder().subject_name(subject)
            .issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH,
                 ExtendedKeyUsageOID.CLIENT_AUTH]), False))
        if san is not None:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(san)]), False)
        if padding:
            builder = builder.add_extension(x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"),
                b"x" * padding), False)
        cert = builder.sign(key, None if kind == "ed25519"
                            else hashes.SHA256())
        return Identity(
            cert.public_bytes(serialization.Encoding.DER),
            key.private_bytes(serialization.Encoding.PEM,
                              serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()))

    def load(self, context: ssl.SSLContext) -> None:
        """Give the context this certificate and key."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "both.pem"
            path.write_bytes(self.cert_pem + self.key_pem)
            context.load_cert_chain(path)


class Closed(ConnectionError):
    """The other side ended the connection; `reason` is its Close's text."""

    def __init__(self, why: str, reason: str = ""):
        super().__init__(f"{why}{': ' + reason if reason else ''}")
        self.reason = reason


@dataclass
class Frame:
    """One frame as received, its body decompressed."""

    kind: int
    compression: int
    body: bytes

    @property
    def name(self) -> str:
        return TYPE_NAMES[self.kind] if 0 <= self.kind < len(TYPE_NAMES) \
            else f"type {self.kind}"

    def message(self) -> Message:
        return decode(TYPE_NAMES[self.kind], self.body)


def _address(addr: str) -> tuple[str, int]:
    host, _, port = addr.partition("://")[2].rpartition(":")
    return host, int(port)


def tcp(addr: str, timeout: float = 10.0,
        source: str = "127.0.0.1") -> socket.socket:
    """A bare TCP connection to tcp://HOST:PORT, from `source`."""
    sock = socket.create_connection(_address(addr), timeout, (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def client_context(identity: Optional[Identity],
                   alpn: tuple[str, ...] = ("bep/1.0",),
                   version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
                   ) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if identity is not None:
        identity.load(context)
    return context


class Wire:
    """One TLS connection and its frames.  Nothing is checked when sending."""

    def __init__(self, sock: ssl.SSLSocket):
        self.sock = sock
        self.buffer = bytearray()
        self.peer_hello: Message = {}
        self.bytes_in = self.bytes_out = 0

    @property
    def peer_raw(self) -> bytes:
        der = self.sock.getpeercert(binary_form=True)
        assert der is not None
        return hashlib.sha256(der).digest()

    def send_raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
            self.bytes_out += len(data)
        except (OSError, ssl.SSLError) as error:
            raise Closed(f"send: {error}") from None

    def send(self, kind: int, message: Union[Message, bytes, None] = None,
             compression: int = 0) -> None:
        if not isinstance(message, bytes):
            message = encode(TYPE_NAMES[kind], message or {})
        self.send_raw(frame(kind, message, compression))

    def _fill(self, end: float) -> None:
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no frame in time")
            if not self.sock.pending() and \
                    not select.select([self.sock], [], [], left)[0]:
                continue
            self.sock.settimeout(max(left, 0.01))
            try:
                data = self.sock.recv(1 << 18)
            except (socket.timeout, ssl.SSLWantReadError):
                continue
            except (OSError, ssl.SSLError) as error:
                raise Closed(f"receive: {error}") from None
            finally:
                try:
                    self.sock.settimeout(60)
                except OSError:
                    pass
            if not data:
                raise Closed("end of stream")
            self.bytes_in += len(data)
            self.buffer += data
            return

    def _take(self, size: int, end: float) -> bytes:
        while len(self.buffer) < size:
            self._fill(end)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def hello(self, name: str = "peer", timeout: float = 20.0,
              **fields: Any) -> Message:
        """Send our Hello and read theirs."""
        self.send_raw(hello_frame(encode("Hello", {
            "device_name": name, "client_name": "e2e",
            "client_version": "v1.0.0", "num_connections": 1,
            "timestamp": time.time_ns(), **fields})))
        return self.read_hello(timeout)

    def read_hello(self, timeout: float = 20.0) -> Message:
        end = time.monotonic() + timeout
        magic = self._take(4, end)
        if magic != MAGIC:
            raise Malformed(f"hello magic {magic.hex()}")
        size, = struct.unpack(">H", self._take(2, end))
        self.peer_hello = decode("Hello", self._take(size, end))
        return self.peer_hello

    def receive(self, timeout: float = 20.0) -> Frame:
        """The next frame.  TimeoutError when there is none; Closed at the
        end of the stream.  A cut frame stays buffered for the next call."""
        end = time.monotonic() + timeout
        while len(self.buffer) < 2:
            self._fill(end)
        head, = struct.unpack_from(">H", self.buffer)
        while len(self.buffer) < 2 + head + 4:
            self._fill(end)
        size, = struct.unpack_from(">I", self.buffer, 2 + head)
        while len(self.buffer) < 2 + head + 4 + size:
            self._fill(end)
        data = self._take(2 + head + 4 + size, end)
        header = decode("Header", data[2:2 + head])
        body = data[2 + head + 4:]
        if header["compression"] == 1:
            length, = struct.unpack_from(">I", body)
            body = lz4_decompress(body[4:], length)
        elif header["compression"]:
            raise Malformed(f"compression {header['compression']}")
        got = Frame(header["type"], header["compression"], body)
        if got.kind == CLOSE:
            raise Closed("closed by peer", got.message()["reason"])
        return got

    def until_closed(self, timeout: float = 20.0) -> str:
        """Read on until the other side ends it; its reason, if it told one.

        AssertionError when the connection is still open in the end.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                self.receive(max(end - time.monotonic(), 0.01))
            except Closed as closed:
                return closed.reason or str(closed)
            except TimeoutError:
                raise AssertionError(
                    f"still open after {timeout:g} s") from None

    def close(self) -> None:
        try:
            self.sock.close()
        except OSError:
            pass


def dial(addr: str, identity: Identity, timeout: float = 10.0,
         alpn: tuple[str, ...] = ("bep/1.0",)) -> Wire:
    """TLS to a daemon's listener, with our certificate."""
    context = client_context(identity, alpn)
    raw = tcp(addr, timeout)
    try:
        sock = context.wrap_socket(raw)
    except (OSError, ssl.SSLError) as error:
        raw.close()
        raise Closed(f"handshake: {error}") from None
    sock.settimeout(60)
    return Wire(sock)


class Listener:
    """A listening peer.  Python's ssl asks for a client certificate only to
    verify it, so the one certificate to accept must be known beforehand."""

    def __init__(self, identity: Identity, accept_der: bytes, port: int):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["bep/1.0"])
        identity.load(self.context)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.verify_flags |= ssl.VerifyFlags(0x80000)  # PARTIAL_CHAIN
        self.context.load_verify_locations(
            cadata=ssl.DER_cert_to_PEM_cert(accept_der))
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(8)
        self.addr = f"tcp://127.0.0.1:{port}"

    def accept(self, timeout: float = 30.0) -> Wire:
        self.sock.settimeout(timeout)
        raw, _ = self.sock.accept()
        raw.settimeout(10)
        sock = self.context.wrap_socket(raw, server_side=True)
        sock.settimeout(60)
        return Wire(sock)

    def close(self) -> None:
        self.sock.close()

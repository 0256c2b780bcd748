"""A well-behaved BEP peer that holds folders in memory.

It answers requests, keeps what the other side announced, and can fetch.  A
thread reads; every method may be called from the test's thread.  Hooks let a
test make it lie about one thing while it stays honest about the rest.
"""

from __future__ import annotations

import hashlib
import random
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from . import bep
from .bep import Closed, Identity, Message, Wire
from .proc import wait_until


@dataclass
class MemoryFolder:
    """One folder: our entries with their data, and the peer's entries."""

    id: str
    index_id: int = field(
        default_factory=lambda: random.SystemRandom().getrandbits(63) | 1)
    sequence: int = 0
    entries: dict[str, Message] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)
    remote: dict[str, Message] = field(default_factory=dict)
    remote_index_id: int = 0
    remote_sequence: int = 0
    announced: bool = False
    index_messages: int = 0
    update_messages: int = 0


class Peer:
    """One device with any number of folders, and one connection at a time."""

    def __init__(self, name: str = "py", identity: Optional[Identity] = None):
        self.name = name
        self.identity = identity or Identity.make()
        self.folders: dict[str, MemoryFolder] = {}
        self.wire: Optional[Wire] = None
        self.remote_raw = b""
        self.closed: Optional[Exception] = None
        self.cluster_configs: list[Message] = []
        self.frames: list[tuple[float, str]] = []
        self.requests: list[Message] = []
        self.progress: list[Message] = []  # updates, as they came
        # Hook: gets the Request, gives the Response, None to keep silent.
        self.on_request: Callable[[Message], Optional[Message]] = self.serve
        self._lock = threading.RLock()
        self._send_lock = threading.Lock()
        self._responses: dict[int, Message] = {}
        self._next_id = 0
        self._thread: Optional[threading.Thread] = None

    @property
    def id(self) -> str:
        return self.identity.id

    def folder(self, name: str) -> MemoryFolder:
        return self.folders.setdefault(name, MemoryFolder(name))

    # -- connection ----------------------------------------------------------

    def connect(self, addr: str, timeout: float = 20.0) -> "Peer":
        """Dial, say Hello and announce the folders."""
        return self.attach(bep.dial(addr, self.identity, timeout))

    def attach(self, wire: Wire) -> "Peer":
        self.wire = wire
        self.remote_raw = wire.peer_raw
        self.closed = None
        for held in self.folders.values():
            held.announced = False
        wire.hello(self.name)
        self.send(bep.CLUSTER_CONFIG, self.cluster_config())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def cluster_config(self) -> Message:
        """What we say of every folder: ourselves and the peer."""
        return {"folders": [{
            "id": f.id, "label": f.id, "devices": [
                {"id": self.identity.raw, "name": self.name,
                 "addresses": ["dynamic"], "max_sequence": f.sequence,
                 "index_id": f.index_id},
                {"id": self.remote_raw, "addresses": ["dynamic"],
                 "max_sequence": f.remote_sequence,
                 "index_id": f.remote_index_id}]}
            for f in self.folders.values()]}

    def close(self) -> None:
        """End the connection without a word."""
        if self.wire is not None:
            try:
                self.wire.sock.shutdown(2)
            except OSError:
                pass
            if self._thread is not None:
                self._thread.join(10)
            self.wire.close()
            self.wire = None

    def send(self, kind: int, message: Optional[Message] = None,
             compression: int = 0) -> None:
        assert self.wire is not None, "not connected"
        with self._send_lock:
            self.wire.send(kind, message, compression)

    @property
    def alive(self) -> bool:
        return self.wire is not None and self.closed is None

    # -- what we hold --------------------------------------------------------

    def put(self, folder: str, name: str, data: bytes = b"",
            announce: bool = True, **fields: Any) -> Message:
        """Create or change a file of ours."""
        return self._store(folder, name, data, announce, dict(
            size=len(data), blocks=bep.blocks_of(data),
            block_size=bep.block_size(len(data)), **fields))

    def put_dir(self, folder: str, name: str, announce: bool = True,
                **fields: Any) -> Message:
        return self._store(folder, name, b"", announce, dict(
            type=bep.DIRECTORY, size=0, blocks=[], block_size=0,
            **{"permissions": 0o755, **fields}))

    def put_link(self, folder: str, name: str, target: bytes,
                 announce: bool = True, **fields: Any) -> Message:
        return self._store(folder, name, b"", announce, dict(
            type=bep.SYMLINK, size=0, blocks=[], block_size=0,
            symlink_target=target, no_permissions=True, permissions=0,
            **fields))

    def remove(self, folder: str, name: str, announce: bool = True,
               **fields: Any) -> Message:
        with self._lock:
            old = self.folder(folder).entries.get(name) \
                or self.folder(folder).remote.get(name) or {}
        return self._store(folder, name, b"", announce, dict(
            type=old.get("type", bep.FILE), size=0, blocks=[],
            deleted=True, **fields))

    def _store(self, folder: str, name: str, data: bytes, announce: bool,
               fields: Message) -> Message:
        now = time.time_ns()
        with self._lock:
            held = self.folder(folder)
            merged: dict[int, int] = {}
            for known in (held.entries.get(name), held.remote.get(name)):
                for who, count in bep.counters(
                        known and known["version"]).items():
                    merged[who] = max(merged.get(who, 0), count)
            own = self.identity.short
            merged[own] = max(merged.get(own, 0) + 1, now // 10 ** 9)
            held.sequence += 1
            info: Message = {
                "name": name, "type": bep.FILE, "permissions": 0o644,
                "modified_s": now // 10 ** 9, "modified_ns": now % 10 ** 9,
                "modified_by": own, "sequence": held.sequence,
                "version": bep.vector(merged)}
            info.update(fields)
            held.entries[name] = info
            held.data[name] = data
        if announce and held.announced:
            self.announce(folder, [info])
        return info

    def announce(self, folder: str, infos: list[Message],
                 full: bool = False, compression: int = 0) -> None:
        """Tell the peer of these entries."""
        self.send(bep.INDEX if full else bep.INDEX_UPDATE,
                  {"folder": folder, "files": infos}, compression)

    def announce_all(self, folder: str) -> None:
        """Send our whole index, in the order of our sequence."""
        with self._lock:
            held = self.folder(folder)
            held.announced = True
            infos = sorted(held.entries.values(),
                           key=lambda i: i["sequence"])
        for at in range(0, len(infos), 1000):
            self.announce(folder, infos[at:at + 1000], full=at == 0)

    def serve(self, request: Message) -> Message:
        """The honest answer to a Request."""
        with self._lock:
            held = self.folders.get(request["folder"])
            data = held and held.data.get(request["name"])
        if data is None:
            return {"id": request["id"], "code": bep.NO_SUCH_FILE}
        part = data[request["offset"]:request["offset"] + request["size"]]
        if request["hash"] and \
                hashlib.sha256(part).digest() != request["hash"]:
            return {"id": request["id"], "code": bep.NO_SUCH_FILE}
        return {"id": request["id"], "data": part}

    # -- reading -------------------------------------------------------------

    def _read(self) -> None:
        wire = self.wire
        assert wire is not None
        last_ping = time.monotonic()
        while True:
            try:
                got = wire.receive(1.0)
            except TimeoutError:
                if time.monotonic() - last_ping > 45:
                    last_ping = time.monotonic()
                    try:
                        self.send(bep.PING)
                    except Closed as error:
                        self.closed = error
                        return
                continue
            except (Closed, OSError, ValueError, ssl.SSLError) as error:
                self.closed = error
                return
            with self._lock:
                self.frames.append((time.monotonic(), got.name))
            try:
                self._handle(got)
            except (Closed, bep.Malformed) as error:
                self.closed = error
                return

    def _handle(self, got: bep.Frame) -> None:
        if got.kind == bep.CLUSTER_CONFIG:
            self._on_cluster_config(got.message())
        elif got.kind in (bep.INDEX, bep.INDEX_UPDATE):
            self._on_index(got.message(), got.kind == bep.INDEX)
        elif got.kind == bep.REQUEST:
            request = got.message()
            with self._lock:
                self.requests.append(request)
            answer = self.on_request(request)
            if answer is not None:
                self.send(bep.RESPONSE, answer)
        elif got.kind == bep.RESPONSE:
            response = got.message()
            with self._lock:
                self._responses[response["id"]] = response
        elif got.kind == bep.PROGRESS:
            with self._lock:
                self.progress += got.message()["updates"]

    def _on_cluster_config(self, config: Message) -> None:
        send_full = []
        send_delta = []
        with self._lock:
            self.cluster_configs.append(config)
            for shared in config["folders"]:
                held = self.folders.get(shared["id"])
                if held is None or shared["stop_reason"]:
                    continue
                for device in shared["devices"]:
                    if device["id"] == self.remote_raw:
                        if device["index_id"] != held.remote_index_id:
                            held.remote.clear()
                            held.remote_sequence = 0
                        held.remote_index_id = device["index_id"]
                    elif device["id"] == self.identity.raw:
                        known = device["index_id"] == held.index_id \
                            and 0 < device["max_sequence"] <= held.sequence
                        if known:
                            send_delta.append((held, device["max_sequence"]))
                        else:
                            send_full.append(held)
        for held in send_full:
            self.announce_all(held.id)
        for held, since in send_delta:
            held.announced = True
            infos = sorted((i for i in held.entries.values()
                            if i["sequence"] > since),
                           key=lambda i: i["sequence"])
            for at in range(0, len(infos), 1000):
                self.announce(held.id, infos[at:at + 1000])

    def _on_index(self, index: Message, full: bool) -> None:
        with self._lock:
            held = self.folder(index["folder"])
            if full:
                held.index_messages += 1
                held.remote.clear()
                held.remote_sequence = 0
            else:
                held.update_messages += 1
            for info in index["files"]:
                held.remote[info["name"]] = info
                held.remote_sequence = max(held.remote_sequence,
                                           info["sequence"])

    # -- asking --------------------------------------------------------------

    def wait_remote(self, folder: str, name: str,
                    check: Callable[[Message], bool] = lambda info: True,
                    timeout: float = 20.0) -> Message:
        """Wait until the peer has announced `name` so that `check` holds."""

        def look() -> Optional[Message]:
            with self._lock:
                info = self.folder(folder).remote.get(name)
            assert self.closed is None, f"connection ended: {self.closed}"
            return info if info is not None and check(info) else None

        return wait_until(look, timeout, lambda: (
            f"{name} announced; last {self.folder(folder).remote.get(name)}"
        ))

    def wait_adopted(self, folder: str, name: str,
                     timeout: float = 20.0) -> Message:
        """Wait until the peer has our version of `name`."""
        with self._lock:
            ours = self.folder(folder).entries[name]
        want = bep.counters(ours["version"])
        return self.wait_remote(
            folder, name, lambda info:
            bep.counters(info["version"]) == want
            and info["deleted"] == bool(ours.get("deleted"))
            and not info["invalid"], timeout)

    def request(self, folder: str, name: str, offset: int, size: int,
                digest: bytes = b"", block_no: int = 0,
                timeout: float = 20.0, **fields: Any) -> Message:
        """One Request and its Response."""
        with self._lock:
            number = self._next_id
            self._next_id += 1
        self.send(bep.REQUEST, {
            "id": number, "folder": folder, "name": name, "offset": offset,
            "size": size, "hash": digest, "block_no": block_no, **fields})

        def look() -> Optional[Message]:
            assert self.closed is None, f"connection ended: {self.closed}"
            with self._lock:
                return self._responses.pop(number, None)

        return wait_until(look, timeout, f"answer for {name}@{offset}")

    def fetch(self, folder: str, name: str, timeout: float = 20.0) -> bytes:
        """The content of the peer's file, every block verified."""
        info = self.wait_remote(folder, name, lambda i: not i["deleted"],
                                timeout)
        out = bytearray()
        for number, block in enumerate(info["blocks"]):
            if block["size"] == 0:
                continue
            answer = self.request(folder, name, block["offset"],
                                  block["size"], block["hash"], number)
            assert answer["code"] == bep.NO_ERROR, \
                f"{name} block {number}: code {answer['code']}"
            assert hashlib.sha256(answer["data"]).digest() == block["hash"]
            out += answer["data"]
        assert len(out) == info["size"]
        return bytes(out)

"""Blocks of unfinished files: told, served and fetched (BEP-FACTS 7.3)."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Optional

from lib import bep, tree
from lib.bep import Message
from lib.peer import Peer
from lib.proc import wait_until
from lib.world import FOLDER, World

BLOCK = 128 * 1024
BLOCKS = 30
FORGET = 1


class Half(Peer):
    """Answers for some blocks at once, for the others when it may."""

    def __init__(self, name: str, count: int):
        super().__init__(name)
        self.count = count
        self.kept: list[Message] = []
        self.on_request = self.some

    def some(self, request: Message) -> Optional[Message]:
        if request["offset"] // BLOCK < self.count:
            return self.serve(request)
        self.kept.append(request)
        return None

    def serve_the_rest(self) -> None:
        self.on_request = self.serve
        for request in self.kept:
            self.send(bep.RESPONSE, self.serve(request))


def told(peer: Peer) -> set[int]:
    return {number for update in list(peer.progress)
            if update["update_type"] != FORGET
            for number in update["block_indexes"]}


def digest(data: bytes, number: int) -> bytes:
    return hashlib.sha256(data[number * BLOCK:][:BLOCK]).digest()


def test_what_is_here_of_a_file_is_told_and_served(world: World) -> None:
    data = tree.noise(BLOCKS * BLOCK)
    node, root = world.node("A"), world.dir("a")
    peer = Half("half", 12)
    node.device_add(peer.id, "half")
    node.folder_add(root, FOLDER, "half")
    info = peer.put(FOLDER, "big", data)
    peer.connect(node.addr)
    try:
        wait_until(lambda: told(peer) == set(range(12)), 15, "it is told")
        for update in peer.progress:
            assert update["name"] == "big"
            assert update["block_size"] == BLOCK
            assert bep.counters(update["version"]) == \
                bep.counters(info["version"])
        # Served from the temporary, each block against its hash.
        for number in (0, 7, 11):
            got = peer.request(FOLDER, "big", number * BLOCK, BLOCK,
                               digest(data, number), number,
                               from_temporary=True)
            assert got["code"] == bep.NO_ERROR
            assert got["data"] == data[number * BLOCK:][:BLOCK]
        for number, want in ((20, digest(data, 20)), (3, digest(data, 4))):
            got = peer.request(FOLDER, "big", number * BLOCK, BLOCK, want,
                               number, from_temporary=True)
            assert got["code"] == bep.NO_SUCH_FILE
        assert not (root / "big").exists()
        peer.serve_the_rest()
        wait_until(lambda: (root / "big").exists(), 15, "the file")
        assert (root / "big").read_bytes() == data
        wait_until(lambda: peer.progress[-1]["update_type"] == FORGET, 15,
                   "it is taken back")
        assert sum(len(u["block_indexes"]) for u in peer.progress) == \
            len(told(peer)), "each block is told once"
    finally:
        peer.close()


def test_blocks_come_from_the_unfinished_file_of_another(
        world: World) -> None:
    data = tree.noise(BLOCKS * BLOCK)
    node, root = world.node("A"), world.dir("a")
    full, other = Half("full", 12), Peer("other")
    asked = threading.Event()

    def lies_first(request: Message) -> Message:
        answer = other.serve(request)
        if not asked.is_set():
            asked.set()
            answer["data"] = bytes(len(answer["data"]))
        return answer

    other.on_request = lies_first
    for peer in (full, other):
        node.device_add(peer.id, peer.name)
    node.folder_add(root, FOLDER, "full", "other")
    info = full.put(FOLDER, "big", data)
    other.folder(FOLDER).data["big"] = data
    other.connect(node.addr)
    full.connect(node.addr)
    tell = {"folder": FOLDER, "updates": [{
        "name": "big", "version": info["version"], "block_size": BLOCK,
        "block_indexes": list(range(BLOCKS))}]}
    try:
        wait_until(lambda: len(full.kept) > 0, 15, "it waits for the rest")
        other.send(bep.PROGRESS, tell)
        got = other.request(FOLDER, "none", 0, BLOCK)  # it has read it
        assert got["code"] == bep.NO_SUCH_FILE
        assert not other.requests, "the one with the whole file is asked"
        full.close()
        wait_until(asked.is_set, 15, "the other is asked")
        assert all(r["from_temporary"] for r in other.requests)
        # It gave something else: no more of its temporary, and no harm.
        full.on_request = full.serve
        full.connect(node.addr)
        wait_until(lambda: (root / "big").exists(), 30, "the file")
        assert (root / "big").read_bytes() == data
    finally:
        full.close()
        other.close()


def test_who_does_not_give_is_not_asked_all_the_time(world: World) -> None:
    node, root = world.node("A"), world.dir("a")
    peer = Peer("mean")
    peer.on_request = lambda r: {"id": r["id"], "code": bep.NO_SUCH_FILE}
    node.device_add(peer.id, "mean")
    node.folder_add(root, FOLDER, "mean")
    peer.put(FOLDER, "file", b"bytes")
    peer.connect(node.addr)
    try:
        wait_until(lambda: len(peer.requests) > 0, 15, "it is asked")
        time.sleep(4)
        assert 2 <= len(peer.requests) <= 8
        peer.on_request = peer.serve
        wait_until(lambda: (root / "file").exists(), 20, "asked again")
    finally:
        peer.close()


def test_nonsense_about_temporaries_harms_nothing(
        world: World) -> None:
    node, root = world.node("A"), world.dir("a")
    peer = Peer("loud")
    node.device_add(peer.id, "loud")
    node.folder_add(root, FOLDER, "loud")
    peer.put(FOLDER, "good", b"good")
    peer.connect(node.addr)
    try:
        wait_until(lambda: (root / "good").exists(), 15, "good")
        for i in range(3):
            peer.send(bep.PROGRESS, {"folder": FOLDER, "updates": [{
                "name": f"f{i}-{n}", "version": bep.vector({1: 1}),
                "block_indexes": [2 ** 31 - 1, 1 << 20, (1 << 20) - 1, -1],
                "block_size": -5} for n in range(2000)]})
        got = peer.request(FOLDER, "good", 0, 4)
        assert got["data"] == b"good"
        assert node.running
    finally:
        peer.close()

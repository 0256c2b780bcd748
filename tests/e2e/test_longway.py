"""longway, the bench's long way: late, lost, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest

from lib import tree
from lib.longway import LongWay
from lib.node import find_program
from lib.proc import Daemon, free_port

pytestmark = [pytest.mark.tools, pytest.mark.skipif(
    find_program("longway") is None, reason="no longway built")]

HOST = "127.0.0.1"


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[list[Daemon]]:
    made: list[Daemon] = []
    yield made
    for daemon in made:
        daemon.kill9()


def through(way: LongWay, target: int, count: int) -> list[int]:
    """Which of `count` datagrams of many lengths come through."""
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far, near:
        far.bind((HOST, target))
        far.settimeout(0.2)
        way.start()
        sent, came = [], []
        for number in range(count):
            sent.append(time.monotonic())
            near.sendto(bytes([number]) * (number + 9), (HOST, way.port))
        while True:  # they keep their order: an END ends it
            try:
                data = far.recv(4096)
            except socket.timeout:
                near.sendto(b"END", (HOST, way.port))
                continue
            if data == b"END":
                return came
            assert time.monotonic() - sent[data[0]] >= 0.03
            assert data == bytes([data[0]]) * (data[0] + 9)
            came.append(data[0])


def test_datagrams_are_late_and_some_are_lost(tmp_path: Path,
                                              ends: list[Daemon]) -> None:
    came = []
    for _ in range(2):
        target = free_port()
        way = LongWay(tmp_path, "udp", f"{HOST}:{target}", "-d", "30", "-l",
                      "20", "-s", "7")
        ends.append(way)
        came.append(through(way, target, 200))
        assert way.end() == 0
    # By the seed it is the same ever.
    assert came[0] == came[1] == sorted(came[0])
    assert 100 < len(came[0]) < 190
    assert way.told("up", "lost") >= 200 - len(came[0])
    assert way.told("up", "slow") == way.told("up", "full") == 0


def test_bytes_of_a_connection_are_late_and_all_there(
        tmp_path: Path, ends: list[Daemon]) -> None:
    target = free_port()
    way = LongWay(tmp_path, "tcp", f"{HOST}:{target}", "-d", "30")
    ends.append(way)
    data = tree.noise(3_000_000, 1)
    with socket.create_server((HOST, target)) as server:
        way.start()

        def echo() -> None:
            sock, _ = server.accept()
            with sock:
                while True:
                    some = sock.recv(1 << 16)
                    if not some:
                        return
                    sock.sendall(some)

        threading.Thread(target=echo, daemon=True).start()
        with socket.create_connection((HOST, way.port), 60) as near:
            start = time.monotonic()
            sender = threading.Thread(target=near.sendall, args=(data,),
                                      daemon=True)
            sender.start()
            got = bytearray()
            while len(got) < len(data):
                some = near.recv(1 << 16)
                assert some, "it ended early"
                if not got:
                    assert time.monotonic() - start >= 0.06
                got += some
            near.shutdown(socket.SHUT_WR)
            assert near.recv(1) == b""  # the end comes through, too
        assert bytes(got) == data
    assert way.end() == 0
    assert way.told("up", "bytes") == way.told("down", "bytes") == len(data)

"""A LAN of two network namespaces: finding each other, and losing the cable."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import Iterator

import pytest

from lib import tree
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root, pytest.mark.slow]


def ip(*args: str, check: bool = True) -> None:
    subprocess.run(["ip", *args], check=check, capture_output=True)


@pytest.fixture
def lan() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable; gone afterwards."""
    names = (f"hf{os.getpid()}a", f"hf{os.getpid()}b")

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "eth0", "netns", names[0], "type", "veth",
           "peer", "name", "eth0", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24",
               "brd", "+", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for name in names:
            ip("netns", "delete", name, check=False)
        pytest.skip(f"no network namespaces: {error}")
    yield names
    for name in names:
        ip("netns", "delete", name, check=False)


def node_in(world: World, name: str, space: str) -> Node:
    """A node that lives in that namespace and listens to all of it."""
    made = world.node(name, start=False,
                      wrapper=["ip", "netns", "exec", space])
    made.ctl("config", "unset", "mesh.listen")
    made.config("mesh.listen", f"tcp://0.0.0.0:{made.port}")
    return made


def test_two_of_ours_find_each_other_on_a_lan(
        world: World, lan: tuple[str, str]) -> None:
    nodes, dirs = [], []
    for name, space in zip("AB", lan):
        made = node_in(world, name, space)
        made.config("mesh.announce", "true")
        nodes.append(made)
        dirs.append(world.dir(name.lower()))
    for this, that, place in ((nodes[0], nodes[1], dirs[0]),
                              (nodes[1], nodes[0], dirs[1])):
        this.device_add(that.id, that.name)
        this.folder_add(place, FOLDER, that.name)
    tree.write(dirs[0] / "hello", b"over the air")
    for made in nodes:
        made.start()
    wait_until(lambda: (dirs[1] / "hello").exists(), 60, "found",
               alive=nodes)


def test_a_syncthing_on_the_lan_finds_us(world: World,
                                         lan: tuple[str, str]) -> None:
    ours = node_in(world, "A", lan[0])
    ours.config("mesh.announce", "true")
    theirs = world.syncthing(start=False, options={
        "localAnnounceEnabled": "true",
        "listenAddress": "tcp://0.0.0.0:22000"})
    dir_a, dir_b = world.dir("a"), world.dir("b")
    ours.device_add(theirs.id, "S")
    ours.folder_add(dir_a, FOLDER, "S")
    # Its REST is inside the namespace: configure it outside, then move it.
    theirs.start()
    theirs.device_add(ours.id, "A")
    theirs.folder_add(FOLDER, dir_b, [ours.id])
    theirs.stop()
    theirs.argv = ["ip", "netns", "exec", lan[1], *theirs.argv]
    tree.write(dir_a / "ours", b"1")
    tree.write(dir_b / "theirs", b"2")
    ours.start()
    theirs.spawn()
    wait_until(lambda: (dir_b / "ours").exists()
               and (dir_a / "theirs").exists(), 90, "both arrived",
               alive=[ours, theirs])


def test_a_cut_cable_is_noticed_in_60_s_and_forgiven(
        world: World, lan: tuple[str, str]) -> None:
    nodes = [node_in(world, name, space) for name, space in zip("AB", lan)]
    dirs = [world.dir("a"), world.dir("b")]
    for n, this in enumerate(nodes):
        that = nodes[1 - n]
        this.device_add(that.id, that.name,
                        f"tcp://10.77.0.{2 - n}:{that.port}")
        this.folder_add(dirs[n], FOLDER, that.name)
        this.start()
    tree.write(dirs[0] / "before", b"1")
    settle(nodes, dirs)
    ip("-n", lan[1], "link", "set", "eth0", "down")
    start = time.monotonic()
    tree.write(dirs[0] / "during", b"2")
    for this, that in ((nodes[0], "B"), (nodes[1], "A")):
        wait_until(lambda: not this.connected(that), 75, "noticed",
                   alive=nodes)
    assert time.monotonic() - start < 66
    ip("-n", lan[1], "link", "set", "eth0", "up")
    settle(nodes, dirs, 90)


def test_a_copied_home_is_heard_on_the_lan(
        world: World, lan: tuple[str, str]) -> None:
    """No coordinator, nobody else: each hears its own ID from the other."""
    nodes = [node_in(world, "A", lan[0])]
    shutil.copytree(nodes[0].home, world.base / "copy.home")
    nodes.append(node_in(world, "copy", lan[1]))
    assert nodes[0].id == nodes[1].id
    for made in nodes:
        made.config("mesh.announce", "true")
    nodes[0].start()
    wait_until(lambda: nodes[0].status()["announcing"], 30, "it announces",
               alive=nodes[:1])
    assert nodes[0].problem("device.clone") is None
    nodes[1].start()
    for made in nodes:
        told = wait_until(lambda: made.problem("device.clone"), 90,
                          f"{made.name} says so", alive=nodes)
        assert "10.77.0." in told["what"] or "fe80::" in told["what"]

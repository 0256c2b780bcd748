"""Nodes that are one person's: a coordinator, an owner, and who joins."""

from __future__ import annotations

from typing import Any

from .node import Node
from .proc import free_port, wait_until
from .world import World


class Coordinator:
    """A node that serves, and syncs nothing itself."""

    def __init__(self, world: World):
        self.port = free_port()
        self.node = world.node("C", start=False)
        self.node.config("coord.serve", "true")
        self.node.config("coord.listen", f"tcp://127.0.0.1:{self.port}")
        self.node.config("coord.open", "true")
        self.node.start()
        self.url = f"tcp://127.0.0.1:{self.port}?id={self.node.id}"


def domain(node: Node) -> dict[str, Any]:
    return node.ctl("domain", "status", "--json", check=False).json


def names(node: Node) -> set[str]:
    return {m["name"] for m in domain(node)["members"]}


def owner(world: World, coord: Coordinator) -> Node:
    node = world.node("A", start=False)
    node.config("mesh.coordinator", coord.url)
    return node.start()


def joiner(world: World, name: str) -> Node:
    return world.node(name)


def invite(node: Node, *args: str) -> dict[str, Any]:
    return node.ctl("device", "invite", "--json", *args).json


def join(node: Node, link: str, *args: str) -> dict[str, Any]:
    return node.ctl("join", link, "--json", *args, check=False).json


def joined(world: World, a: Node, name: str) -> Node:
    node = joiner(world, name)
    told = join(node, invite(a)["link"])
    assert told["state"] == "done", told
    return node


def sees(node: Node, *want: str) -> None:
    wait_until(lambda: names(node) == set(want), 20,
               f"{node.name} knows {want}")


def connected(node: Node, other: str) -> bool:
    return any(d["name"] == other and d["connected"]
               for d in node.status()["devices"])

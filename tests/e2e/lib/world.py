"""A test's world: its directory, its daemons, and two nodes that agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import syncthing as theirs
from . import tree
from .node import Node
from .proc import Daemon, wait_until
from .syncthing import SyncthingNode

FOLDER = "f1"


class World:
    """A test's directory and the daemons in it."""

    def __init__(self, base: Path, request: pytest.FixtureRequest):
        self.base = base
        self.daemons: list[Daemon] = []
        request.node.daemons = self.daemons

    def dir(self, name: str) -> Path:
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def node(self, name: str, start: bool = True, **options) -> Node:
        made = Node(self.base / f"{name}.home", name, **options)
        self.daemons.append(made)
        return made.start() if start else made

    def syncthing(self, name: str = "syncthing",
                  start: bool = True, **options) -> SyncthingNode:
        if not theirs.installed():
            pytest.skip("no syncthing installed")
        made = SyncthingNode(self.base / f"{name}.home", name, **options)
        self.daemons.append(made)
        return made.start() if start else made

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.kill9()

    def end_cleanly(self) -> None:
        """Ask every node of ours to stop: only then are leaks told."""
        for daemon in self.daemons:
            if isinstance(daemon, Node) and daemon.running:
                daemon.stop()


class Pair:
    """Two of our nodes sharing one folder."""

    def __init__(self, a: Node, b: Node, dir_a: Path, dir_b: Path):
        self.a, self.b = a, b
        self.dir_a, self.dir_b = dir_a, dir_b

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until both trees are the same and both nodes say so."""
        settle([self.a, self.b], [self.dir_a, self.dir_b], timeout)


def settle(nodes: list[Node], dirs: list[Path], timeout: float = 30.0,
           folder: str = FOLDER) -> None:
    """Wait until the trees are equal and every node calls itself in sync."""

    def why() -> str:
        try:
            first = tree.snapshot(dirs[0])
            diff = [f"{dirs[0].name} | {d.name}: {line}" for d in dirs[1:]
                    for line in tree.differences(first, tree.snapshot(d))]
            states = {n.name: n.folder(folder) for n in nodes}
        except (OSError, AssertionError) as error:
            return f"settle: {error}"
        return "settle:\n  " + "\n  ".join(diff) + f"\n{states}"

    wait_until(lambda: all(tree.same(dirs[0], d) for d in dirs[1:])
               and all(n.in_sync(folder) for n in nodes),
               timeout, why, alive=nodes)

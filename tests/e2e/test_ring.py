"""Three devices in a ring, ours, Syncthing, ours, and restless people."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lib import node, tree
from lib.proc import holds_for, wait_until
from lib.storm import Storm
from lib.world import FOLDER, World


class Ring:
    """A (ours), S (Syncthing), C (ours), each connected to both others."""

    def __init__(self, world: World):
        self.a, self.c = world.node("A"), world.node("C")
        self.s = world.syncthing("S")
        self.dirs = [world.dir(n) for n in "asc"]
        node.pair_up(self.a, self.c)
        for ours in (self.a, self.c):
            ours.device_add(self.s.id, "S", self.s.addr)
            self.s.device_add(ours.id, ours.name, ours.addr)
        self.a.folder_add(self.dirs[0], FOLDER, "C", "S")
        self.c.folder_add(self.dirs[2], FOLDER, "A", "S")
        self.s.folder_add(FOLDER, self.dirs[1], [self.a.id, self.c.id])
        self.all = [self.a, self.s, self.c]
        wait_until(lambda: self.s.connected(self.a.id)
                   and self.s.connected(self.c.id)
                   and self.a.connected("C"), 60, "the ring is closed",
                   alive=self.all)

    def storms(self, seed: int, own_names: bool = False) -> list[Storm]:
        """One on each disk; with `own_names` none touches another's."""
        return [Storm(d, seed + n, f"{'asc'[n]}-" if own_names else "",
                      case_renames=False, own_sizes=n == 1)
                for n, d in enumerate(self.dirs)]

    def settle(self, timeout: float = 90.0) -> None:
        self.s.scan(FOLDER)

        def why() -> str:
            try:
                trees = [tree.snapshot(d) for d in self.dirs]
                return "\n  ".join(
                    ["A | S:"] + tree.differences(trees[0], trees[1])
                    + ["A | C:"] + tree.differences(trees[0], trees[2])
                    + [str(self.a.folder(FOLDER)), str(self.c.folder(FOLDER)),
                       str(self.s.db_status(FOLDER)),
                       str(self.s.errors(FOLDER))])
            except (OSError, AssertionError) as error:
                return str(error)

        first, second, third = self.dirs
        wait_until(lambda: tree.same(first, second)
                   and tree.same(first, third) and self.a.in_sync(FOLDER)
                   and self.c.in_sync(FOLDER)
                   and self.s.in_sync(FOLDER, self.a.id, self.c.id),
                   timeout, why, alive=self.all)

    def stays_quiet(self, seconds: float) -> None:
        """Nobody's index moves, and nearly nothing is sent."""
        time.sleep(2)
        sequence = self.s.sequences(FOLDER)
        wire = self.s.wire_bytes()
        trees = [tree.snapshot(d, content=False) for d in self.dirs]
        holds_for(lambda: self.s.sequences(FOLDER) == sequence
                  and self.s.wire_bytes() - wire < 600, seconds,
                  "no side keeps re-sending")
        assert trees == [tree.snapshot(d, content=False) for d in self.dirs]


@pytest.mark.slow
def test_one_restless_person_a_device(world: World, seed: int) -> None:
    """Each edits below a name of their own: no conflict is possible."""
    ring = Ring(world)
    storms = ring.storms(seed, own_names=True)
    for _ in range(8):
        for storm in storms:
            storm.run(15)
        time.sleep(0.5)
    ring.settle()
    for place in ring.dirs:
        assert not tree.conflicts(place)
    # Syncthing keeps those of files that changed while it fetched them.
    for ours in (ring.dirs[0], ring.dirs[2]):
        assert not tree.temporaries(ours)
    ring.stays_quiet(6)


@pytest.mark.slow
def test_everybody_edits_everything(world: World, seed: int) -> None:
    """All edit the same tree at once: conflicts, but one state in the end."""
    ring = Ring(world)
    storms = ring.storms(seed)
    for _ in range(8):
        for storm in storms:
            storm.run(10)
        time.sleep(0.7)
    ring.settle(150)
    ring.stays_quiet(6)


@pytest.mark.slow
def test_edits_while_one_is_away(world: World, seed: int) -> None:
    """Syncthing, then one of ours, misses a part and catches up."""
    ring = Ring(world)
    storms = ring.storms(seed, own_names=True)
    for storm in storms:
        storm.run(30)
    ring.settle()
    ring.s.stop()
    for storm in storms:
        storm.run(20)
    ring.s.start()
    ring.settle()
    ring.c.kill9()
    for storm in storms:
        storm.run(20)
    ring.c.start()
    ring.settle()
    ring.stays_quiet(4)


def test_a_file_passes_on_by_whoever_has_it(world: World) -> None:
    ring = Ring(world)
    tree.write(ring.dirs[0] / "from A", tree.noise(500_000))
    tree.write(ring.dirs[1] / "from S", tree.noise(500_000, 2))
    tree.write(ring.dirs[2] / "from C", tree.noise(500_000, 3))
    ring.settle(60)
    ring.a.stop()
    tree.write(ring.dirs[1] / "from S", b"edited")
    (ring.dirs[2] / "from A").unlink()
    Path(ring.dirs[0] / "while away").write_bytes(b"found at the start")
    wait_until(lambda: not (ring.dirs[1] / "from A").exists()
               and (ring.dirs[2] / "from S").read_bytes() == b"edited", 40,
               "S and C agree")
    ring.a.start()
    ring.settle(60)
    assert (ring.dirs[1] / "while away").exists()

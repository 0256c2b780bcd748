"""The tools judged by themselves and by Syncthing, before they judge us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib import syncthing as theirs
from lib import tree
from lib.proc import wait_until
from lib.storm import Storm
from lib.world import FOLDER, World

pytestmark = pytest.mark.tools


def test_tree_sees_every_kind_of_difference(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for side in (a, b):
        tree.write(side / "d/file", b"same", 0o640, 1_000_000_001)
        os.symlink("x", side / "link")
        (side / ".stfolder").mkdir()
    tree.assert_same(a, b)
    tree.write(a / ".stignore", b"internal")
    tree.write(a / ".syncthing.file.tmp", b"internal")
    tree.assert_same(a, b)

    def differs() -> bool:
        return bool(tree.differences(tree.snapshot(a), tree.snapshot(b)))

    os.utime(b / "d/file", ns=(0, 1_000_000_002))
    assert differs()
    os.utime(b / "d/file", ns=(0, 1_000_000_001))
    assert not differs()
    (b / "d/file").chmod(0o600)
    assert differs()
    (b / "d/file").chmod(0o640)
    tree.write(b / "d/file", b"sbme", 0o640, 1_000_000_001)
    assert differs() and not tree.same(a, b)
    tree.write(b / "d/file", b"same", 0o640, 1_000_000_001)
    (b / "link").unlink()
    os.symlink("y", b / "link")
    assert differs()


def test_storm_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    logs = []
    for side in (a, b):
        side.mkdir()
        storm = Storm(side, 7)
        storm.run(150)
        logs.append(storm.log)
    assert logs[0] == logs[1]
    left, right = tree.snapshot(a), tree.snapshot(b)
    assert {p: i.digest for p, i in left.items()} == \
        {p: i.digest for p, i in right.items()}
    assert len({line.split()[1] for line in logs[0]}) > 10


@pytest.mark.slow
def test_two_syncthings_agree_after_a_storm(world: World, seed: int) -> None:
    a, b = world.syncthing("st-a"), world.syncthing("st-b")
    theirs.pair_up(a, b)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(FOLDER, dir_a, [b.id])
    b.folder_add(FOLDER, dir_b, [a.id])
    wait_until(lambda: a.connected(b.id), 30, "connected", alive=[a, b])
    Storm(dir_a, seed, "a-", case_renames=False).run(120)
    a.wait_sync(FOLDER, b.id)
    wait_until(lambda: tree.same(dir_a, dir_b), 60, lambda: str(
        tree.differences(tree.snapshot(dir_a), tree.snapshot(dir_b)))
        + str(b.errors(FOLDER)), alive=[a, b])

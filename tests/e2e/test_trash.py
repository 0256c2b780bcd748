"""The trash can: what other devices delete or replace can be had back."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from lib import node, tree
from lib.node import FAILED, NOT_FOUND, OK, PARTLY, REFUSED
from lib.proc import wait_until
from lib.world import FOLDER, Pair, World


def trash(place: Path) -> dict[str, bytes]:
    """What is in a folder's trash can: path, bytes."""
    top = place / ".stversions"
    return {str(p.relative_to(top)): p.read_bytes()
            for p in sorted(top.rglob("*")) if p.is_file()}


def test_what_a_peer_takes_away_is_kept_and_restored(pair: Pair) -> None:
    tree.write(pair.dir_a / "plain.txt", b"first")
    tree.write(pair.dir_a / "d/e/deep", tree.noise(300_000))
    tree.write(pair.dir_a / "d/f", b"also", 0o640)
    (pair.dir_a / "link").symlink_to("plain.txt")
    pair.settle()
    (pair.dir_a / "plain.txt").write_bytes(b"second")
    (pair.dir_a / "link").unlink()
    shutil.rmtree(pair.dir_a / "d")
    pair.settle()
    want = {"plain.txt": b"first", "d/e/deep": tree.noise(300_000),
            "d/f": b"also"}
    wait_until(lambda: trash(pair.dir_b) == want, 10,
               lambda: f"in the trash can: {list(trash(pair.dir_b))}")
    assert not (pair.dir_a / ".stversions").exists(), \
        "what a person deletes here is theirs to keep"
    assert pair.b.folder(FOLDER)["trash"] == {
        "files": 3, "bytes": 300_000 + 9}
    assert "In its trash can: 3 files" in pair.b.ctl(
        "status", FOLDER, check=False).out
    listed = pair.b.ctl("trash", "list", FOLDER, "--json").json["files"]
    assert [f["path"] for f in listed] == sorted(want)
    # A whole directory comes back, and goes out again as a new file.
    pair.b.ctl("trash", "restore", FOLDER, "d")
    pair.settle()
    assert (pair.dir_a / "d/e/deep").read_bytes() == want["d/e/deep"]
    assert (pair.dir_a / "d/f").stat().st_mode & 0o777 == 0o640
    # What is there is not written over; beside it is fine.
    said = pair.b.ctl("trash", "restore", FOLDER, "plain.txt", check=False)
    assert said.code == FAILED and "something is there" in said.err
    assert pair.b.ctl("trash", "restore", FOLDER, "d",
                      check=False).code == FAILED
    os.unlink(pair.dir_b / "d/f")
    assert pair.b.ctl("trash", "restore", FOLDER, "d",
                      check=False).code == PARTLY
    pair.b.ctl("trash", "restore", FOLDER, "plain.txt", "--to",
               str(pair.dir_b / "old.txt"))
    assert (pair.dir_b / "old.txt").read_bytes() == b"first"
    assert pair.b.ctl("trash", "restore", FOLDER, "never",
                      check=False).code == NOT_FOUND
    assert pair.b.ctl("trash", "restore", FOLDER, "../a",
                      check=False).code == node.USAGE
    pair.settle()


def test_emptied_only_with_yes(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"text")
    pair.settle()
    (pair.dir_a / "file").unlink()
    pair.settle()
    wait_until(lambda: trash(pair.dir_b) == {"file": b"text"}, 10, "kept")
    said = pair.b.ctl("trash", "empty", FOLDER, check=False)
    assert said.code == REFUSED and "1 file" in said.out
    assert trash(pair.dir_b)
    assert pair.b.ctl("trash", "empty", FOLDER, "--yes").code == OK
    wait_until(lambda: not trash(pair.dir_b), 10, "emptied")
    assert pair.b.folder(FOLDER)["trash"]["files"] == 0


def test_switched_off_it_keeps_nothing(pair: Pair) -> None:
    pair.b.config(f"folder.{FOLDER}.trash", "false")
    tree.write(pair.dir_a / "file", b"text")
    pair.settle()
    (pair.dir_a / "file").unlink()
    pair.settle()
    assert not (pair.dir_b / ".stversions").exists()
    assert pair.b.folder(FOLDER)["trash"] is None


def test_old_things_go_when_the_daemon_starts(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"text")
    pair.settle()
    (pair.dir_a / "file").unlink()
    pair.settle()
    wait_until(lambda: trash(pair.dir_b) == {"file": b"text"}, 10, "kept")
    stamped = pair.dir_b / ".stversions/file~20240102-030405"
    stamped.write_bytes(b"another program's")
    pair.b.restart()
    pair.settle()
    assert "file" in trash(pair.dir_b), "it is younger than 30 days"
    pair.b.stop()
    pair.b.config(f"folder.{FOLDER}.trash-age", "1s")
    time.sleep(1.1)
    pair.b.start()
    wait_until(lambda: list(trash(pair.dir_b)) == [stamped.name], 10,
               lambda: f"left: {list(trash(pair.dir_b))}")


def test_killed_on_the_way_nothing_is_lost(pair: Pair) -> None:
    pair.b.config(f"folder.{FOLDER}.brake", "0")
    names = [f"d{i % 7}/f{i}" for i in range(400)]
    for name in names:
        tree.write(pair.dir_a / name, name.encode())
    pair.settle(60)
    for i, name in enumerate(names):
        if i % 2:
            (pair.dir_a / name).unlink()
        else:
            (pair.dir_a / name).write_bytes(b"new " + name.encode())
    for pause in (0.05, 0.1, 0.2, 0.4):
        time.sleep(pause)
        pair.b.kill9()
        pair.b.start()
    pair.settle(60)
    want = {name: name.encode() for name in names}
    wait_until(lambda: trash(pair.dir_b) == want, 20, lambda: str(
        [n for n in want if trash(pair.dir_b).get(n) != want[n]][:5]))
    assert not tree.temporaries(pair.dir_b)


def test_syncthing_finds_in_it_what_it_would_have_kept(world: World) -> None:
    """Ours and a Syncthing see the same changes of a third device."""
    theirs = world.syncthing()
    a, b = world.node("A"), world.node("B")
    dirs = {n: world.dir(n) for n in "abs"}
    node.pair_up(a, b)
    a.device_add(theirs.id, "S", theirs.addr)
    theirs.device_add(a.id, "A")
    a.folder_add(dirs["a"], FOLDER, "B", "S")
    b.folder_add(dirs["b"], FOLDER, "A")
    theirs.folder_add(FOLDER, dirs["s"], [a.id],
                      versioning={"type": "trashcan",
                                  "params": {"cleanoutDays": "0"}})

    def settle() -> None:
        wait_until(lambda: tree.same(dirs["a"], dirs["b"])
                   and tree.same(dirs["a"], dirs["s"])
                   and b.in_sync(FOLDER)
                   and theirs.in_sync(FOLDER, a.id), 60,
                   "all three are the same", alive=[a, b, theirs])

    tree.write(dirs["a"] / "top.txt", b"one")
    tree.write(dirs["a"] / "d/e/deep.tar.gz", tree.noise(200_000))
    tree.write(dirs["a"] / "d/.hidden", b"h")
    tree.write(dirs["a"] / "spaces and ü", b"name")
    settle()
    (dirs["a"] / "top.txt").write_bytes(b"two")
    settle()
    (dirs["a"] / "top.txt").write_bytes(b"three")
    (dirs["a"] / "spaces and ü").unlink()
    shutil.rmtree(dirs["a"] / "d")
    settle()
    want = trash(dirs["s"])
    assert set(want) == {"top.txt", "d/e/deep.tar.gz", "d/.hidden",
                         "spaces and ü"}
    wait_until(lambda: trash(dirs["b"]) == want, 10, lambda: str(
        [n for n in want if trash(dirs["b"]).get(n) != want[n]]))
    # And Syncthing restores from ours as from its own.
    shutil.rmtree(dirs["s"] / ".stversions")
    shutil.copytree(dirs["b"] / ".stversions", dirs["s"] / ".stversions",
                    symlinks=True)
    found = theirs.get("/rest/folder/versions", folder=FOLDER)
    assert set(found) == set(want)
    # 1.19.2 says "no such file" of each that is not there any more, with its
    # own trash can as well, and restores it all the same.
    theirs.post("/rest/folder/versions", {
        name: versions[0]["versionTime"] for name, versions in found.items()
        if name != "top.txt"}, folder=FOLDER)
    wait_until((dirs["a"] / "spaces and ü").exists, 30, "restored")
    settle()
    assert (dirs["b"] / "d/e/deep.tar.gz").read_bytes() == \
        tree.noise(200_000)
    assert (dirs["b"] / "d/.hidden").read_bytes() == b"h"

"""The brake: a device that deletes or rewrites much of a folder is held."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable

from lib import tree
from lib.node import NOT_FOUND, OK, REFUSED, STOPPED, Node
from lib.proc import wait_until
from lib.world import FOLDER, Pair, World

FILES = 400


def fill(place: Path) -> dict[str, bytes]:
    made = {f"d{i % 9}/file {i}": f"{i}".encode() * 40 for i in range(FILES)}
    for name, data in made.items():
        tree.write(place / name, data)
    return made


def left(place: Path) -> int:
    return sum(1 for p in place.glob("d*/file *"))


def held(node: Node) -> list[dict]:
    return node.folder(FOLDER)["held"]


def wait_held(node: Node, total: int = FILES) -> dict:
    """Held, and as many as these are known of: they may come in parts."""

    def known() -> bool:
        return any(h["deletes"] + h["rewrites"] + h["done"] == total
                   for h in held(node))

    wait_until(known, 30, lambda: str(node.folder(FOLDER)), alive=[node])
    return held(node)[0]


def wipe(place: Path) -> None:
    for sub in place.glob("d*"):
        shutil.rmtree(sub)


def test_a_mass_delete_waits_until_it_is_confirmed(pair: Pair) -> None:
    made = fill(pair.dir_a)
    pair.settle(60)
    wipe(pair.dir_a)
    tree.write(pair.dir_a / "new", b"goes on")
    found = wait_held(pair.b)
    assert found["device"] == "A" and found["files"] >= FILES
    assert left(pair.dir_b) == found["deletes"] > FILES - 100
    wait_until((pair.dir_b / "new").exists, 20, "new files come")
    tree.write(pair.dir_b / "other", b"goes back")
    wait_until((pair.dir_a / "other").exists, 20, "and go")
    said = pair.b.ctl("status", check=False)
    assert said.code == STOPPED and "HELD" in said.out, said
    assert "mass-change" in said.out and "syncctl plan f1" in said.out
    assert pair.b.ctl("wait", FOLDER, "--timeout", "20",
                      check=False).code == STOPPED
    plan = pair.b.ctl("plan", FOLDER, "--held", "--json").json
    files = [e for e in plan["entries"] if e["type"] == "file"]
    assert len(files) == found["deletes"]
    assert {e["action"] for e in plan["entries"]} == {"delete"}
    assert {e["device"] for e in files} == {"A"}
    assert all(e["held"] and e["reason"] == "mass-change" for e in files)
    lines = pair.b.ctl("plan", FOLDER, "--jsonl").out.splitlines()
    assert [json.loads(li)["path"] for li in lines] == \
        [e["path"] for e in plan["entries"]]
    said = pair.b.ctl("plan", FOLDER)
    assert f"delete    HELD  A             {files[0]['path']}" in said.out
    assert "syncctl folder confirm f1" in said.out
    some = pair.dir_b / files[0]["path"]
    assert "mass-change" in pair.b.ctl("explain", some, "--json",
                                       check=False).out
    assert any(e["type"] == "folder.held" for e in pair.b.ctl(
        "events", "--json").json["events"])
    # It survives a restart.
    pair.b.restart()
    assert wait_held(pair.b)["deletes"] == found["deletes"]
    assert left(pair.dir_b) == found["deletes"]
    assert pair.b.ctl("folder", "confirm", FOLDER,
                      check=False).code == REFUSED
    assert held(pair.b)
    pair.b.ctl("folder", "confirm", FOLDER, "--yes")
    pair.settle(60)
    assert left(pair.dir_b) == 0 and not held(pair.b)
    kept = pair.dir_b / ".stversions"
    wait_until(lambda: sum(1 for p in kept.rglob("file *")) == FILES, 20,
               "all of it is in the trash can")
    assert all((kept / n).read_bytes() == d for n, d in made.items())
    assert pair.b.ctl("folder", "confirm", FOLDER).code == OK
    assert pair.b.ctl("plan", FOLDER).out == "Nothing is to be done.\n"
    assert pair.b.ctl("plan", "nope", check=False).code == NOT_FOUND


def test_a_mass_rewrite_is_rejected(pair: Pair) -> None:
    made = fill(pair.dir_a)
    pair.settle(60)
    for name in made:
        (pair.dir_a / name).write_bytes(b"pay me for " + name.encode())
    found = wait_held(pair.b)
    assert found["done"] <= 100, "no more than the limit was done"
    pair.b.ctl("folder", "reject", FOLDER, "--yes")
    # To the one who rewrote them it is a mass rewrite as well.
    assert wait_held(pair.a, found["rewrites"])["device"] == "B"
    pair.a.ctl("folder", "confirm", FOLDER, "--yes")
    pair.settle(60)
    assert not held(pair.b)
    back = [n for n, d in made.items()
            if (pair.dir_a / n).read_bytes() == d]
    assert len(back) >= FILES - 100
    # What was done before it was too much is in the trash can.
    for name in set(made) - set(back):
        assert (pair.dir_b / ".stversions" / name).read_bytes() == made[name]
    assert not tree.conflicts(pair.dir_a)


def test_renames_copies_and_own_deletes_are_not_asked_about(
        pair: Pair) -> None:
    fill(pair.dir_a)
    pair.settle(60)
    for sub in list(pair.dir_a.glob("d*")):
        sub.rename(pair.dir_a / f"moved-{sub.name}")
    pair.settle(60)
    for i, path in enumerate(sorted(pair.dir_a.glob("moved-d*/file *"))):
        path.rename(pair.dir_a / f"flat-{i}")
    pair.settle(60)
    for path in pair.dir_b.glob("flat-*"):
        shutil.copy2(path, path.with_name(f"copy-of-{path.name}"))
    pair.settle(60)
    for path in pair.dir_b.glob("flat-*"):
        path.unlink()
    pair.settle(60)
    assert not pair.b.problem("folder.mass-change")


def test_the_threshold_is_configured(pair: Pair) -> None:
    fill(pair.dir_a)
    pair.settle(60)
    pair.b.config(f"folder.{FOLDER}.brake-files", "10")
    pair.b.config(f"folder.{FOLDER}.brake", "5")
    for path in sorted(pair.dir_a.glob("d*/file *"))[:30]:
        path.unlink()
    assert wait_held(pair.b, 30)["deletes"] >= 10
    # Switched off, nothing is asked any more.
    pair.b.config(f"folder.{FOLDER}.brake", "0")
    pair.settle(60)
    wipe(pair.dir_a)
    pair.settle(60)
    assert left(pair.dir_b) == 0


def test_a_syncthing_that_deletes_everything_is_held(world: World) -> None:
    theirs = world.syncthing()
    ours = world.node("A")
    dir_a, dir_b = world.dir("a"), world.dir("b")
    ours.device_add(theirs.id, "S", theirs.addr)
    theirs.device_add(ours.id, "A")
    ours.folder_add(dir_a, FOLDER, "S")
    theirs.folder_add(FOLDER, dir_b, [ours.id])
    made = fill(dir_b)
    wait_until(lambda: left(dir_a) == FILES and ours.in_sync(FOLDER)
               and theirs.in_sync(FOLDER, ours.id), 60, "filled",
               alive=[ours, theirs])
    wipe(dir_b)
    found = wait_held(ours)
    assert found["device"] == "S"
    assert left(dir_a) == found["deletes"] > FILES - 100
    ours.ctl("folder", "reject", FOLDER, "--yes")
    wait_until(lambda: left(dir_b) == left(dir_a) == found["deletes"]
               and ours.in_sync(FOLDER) and theirs.in_sync(FOLDER, ours.id),
               60, lambda: f"{left(dir_a)} {left(dir_b)}",
               alive=[ours, theirs])
    assert all((dir_b / n).read_bytes() == d for n, d in made.items()
               if (dir_b / n).exists())


def test_one_that_only_receives_cannot_reject(
        make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(mode_b="receiveonly")
    fill(pair.dir_a)
    pair.settle(60)
    wipe(pair.dir_a)
    wait_held(pair.b)
    assert pair.b.ctl("folder", "reject", FOLDER, "--yes",
                      check=False).code == REFUSED
    pair.b.ctl("folder", "confirm", FOLDER, "--yes")
    pair.settle(60)
    assert left(pair.dir_b) == 0

"""Two of our own nodes and one folder: what people do, and what must follow."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Callable

import pytest

from lib import kinds, node, tree
from lib.proc import holds_for, wait_until
from lib.proxy import Proxy
from lib.world import FOLDER, Pair, World, settle

MakePair = Callable[..., Pair]


def sides(pair: Pair) -> list[Path]:
    return [pair.dir_a, pair.dir_b]


# ---- everything that can be in a folder ------------------------------------

def test_every_kind_arrives_from_either_side(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    kinds.fill(pair.dir_b, "b-")
    pair.settle(60)
    assert len(tree.snapshot(pair.dir_a)) > 140
    assert not tree.conflicts(pair.dir_a)
    assert not tree.temporaries(pair.dir_b)


def test_what_was_there_before_the_first_start_is_merged(
        world: World) -> None:
    dir_a, dir_b = world.dir("a"), world.dir("b")
    for place in (dir_a, dir_b):
        tree.write(place / "common", tree.noise(200_000), 0o644, 10 ** 18)
    kinds.fill(dir_a, "a-")
    kinds.fill(dir_b, "b-")
    a, b = world.node("A", start=False), world.node("B", start=False)
    node.pair_up(a, b)
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    a.start()
    b.start()
    settle([a, b], [dir_a, dir_b], 60)
    assert not tree.conflicts(dir_a), "equal content is no conflict"


def test_edits_arrive(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "d/file", tree.noise(400_000))
    pair.settle()
    for edit in (lambda p: p.write_bytes(b"short"),
                 lambda p: p.write_bytes(tree.noise(700_000, 2)),
                 lambda p: os.truncate(p, 131_072),
                 lambda p: os.truncate(p, 0),
                 lambda p: os.truncate(p, 500_000),
                 lambda p: p.open("ab").write(b"more")):
        for place in sides(pair):
            edit(place / path.relative_to(pair.dir_a))
            pair.settle()
    with open(path, "r+b") as file:
        file.seek(131_072)
        file.write(b"in the middle")
    pair.settle()
    assert not tree.conflicts(pair.dir_a)


def test_permissions_and_times_alone_arrive(pair: Pair) -> None:
    path = tree.write(pair.dir_a / "file", tree.noise(300_000))
    (pair.dir_a / "dir").mkdir()
    pair.settle()
    inode = (pair.dir_b / "file").stat().st_ino
    path.chmod(0o600)
    pair.settle()
    path.chmod(0o755)
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    (pair.dir_b / "dir").chmod(0o700)
    pair.settle()
    assert (pair.dir_b / "file").stat().st_ino == inode, \
        "metadata alone must not replace the file"


def test_deletes_arrive(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    (pair.dir_a / "a-zeros").unlink()
    (pair.dir_b / "a-links/0").unlink()
    shutil.rmtree(pair.dir_b / "a-deep")
    (pair.dir_a / "a-closed").rmdir()
    pair.settle()
    for top in list(pair.dir_a.iterdir()):
        if top.name in (".stfolder", "a-sizes"):
            continue
        shutil.rmtree(top) if top.is_dir() else top.unlink()
    pair.settle()
    assert {p.split(b"/")[0] for p in tree.snapshot(pair.dir_b)} == \
        {b"a-sizes"}


def test_deleting_the_only_file_is_a_delete_like_any(pair: Pair) -> None:
    """The marker still proves the root, so nothing is missing."""
    tree.write(pair.dir_a / "only", b"1")
    pair.settle()
    (pair.dir_b / "only").unlink()
    pair.settle()
    assert tree.snapshot(pair.dir_a) == {}


def test_a_renamed_file_is_renamed_not_sent(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=None)
    tree.write(dir_a / "old", tree.noise(3_000_000))
    settle([a, b], [dir_a, dir_b])
    inode = (dir_b / "old").stat().st_ino
    before = proxy.total
    (dir_a / "sub").mkdir()
    os.rename(dir_a / "old", dir_a / "sub/new")
    settle([a, b], [dir_a, dir_b])
    assert (dir_b / "sub/new").stat().st_ino == inode
    assert proxy.total - before < 60_000
    proxy.close()


def test_a_renamed_directory_is_one_rename(pair: Pair) -> None:
    for n in range(300):
        tree.write(pair.dir_a / f"old/d{n % 10}/f{n}", b"%d" % n * 50)
    pair.settle(60)
    inodes = {p.relative_to(pair.dir_b / "old"): p.stat().st_ino
              for p in (pair.dir_b / "old").rglob("*")}
    top = (pair.dir_b / "old").stat().st_ino
    os.rename(pair.dir_a / "old", pair.dir_a / "new")
    pair.settle(60)
    for rel, inode in inodes.items():
        if (pair.dir_b / "new" / rel).is_file():
            assert (pair.dir_b / "new" / rel).stat().st_ino == inode, rel
    assert (pair.dir_b / "new").stat().st_ino == top, "moved as one"


def test_a_directory_moved_into_another_with_edits_arrives(
        pair: Pair) -> None:
    for n in range(40):
        tree.write(pair.dir_a / f"old/sub/f{n}", tree.noise(1000, n))
    (pair.dir_a / "place").mkdir()
    pair.settle()
    os.rename(pair.dir_a / "old", pair.dir_a / "place/moved")
    tree.write(pair.dir_a / "place/moved/sub/f3", b"edited at once")
    (pair.dir_a / "place/moved/sub/f4").unlink()
    tree.write(pair.dir_a / "old/again", b"same name, new directory")
    pair.settle()


def test_swaps_chains_and_rings_of_names(pair: Pair) -> None:
    for name in "abcd":
        tree.write(pair.dir_a / name, tree.noise(200_000, ord(name)))
    tree.write(pair.dir_a / "p/x", b"p")
    tree.write(pair.dir_a / "q/x", b"q")
    pair.settle()

    def ring(place: Path, *names: str) -> None:
        os.rename(place / names[-1], place / "hand")
        for source, target in reversed(list(zip(names, names[1:]))):
            os.rename(place / source, place / target)
        os.rename(place / "hand", place / names[0])

    ring(pair.dir_a, "a", "b")
    pair.settle()
    ring(pair.dir_b, "a", "b", "c", "d")
    pair.settle()
    ring(pair.dir_a, "p", "q")
    pair.settle()
    assert (pair.dir_b / "p/x").read_bytes() == b"q"
    assert not tree.conflicts(pair.dir_a) + tree.conflicts(pair.dir_b)


def test_type_changes_arrive(pair: Pair) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda p: p.write_bytes(b"file"),
        "empty": lambda p: p.mkdir(),
        "full": lambda p: tree.write(p / "inside/deeper", b"full"),
        "link": lambda p: os.symlink("nowhere", p),
    }
    cases = [(x, y) for x in makers for y in makers if x != y]
    for before, after in cases:
        makers[before](pair.dir_a / f"{before}-{after}")
    pair.settle()
    for number, (before, after) in enumerate(cases):
        path = sides(pair)[number % 2] / f"{before}-{after}"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        makers[after](path)
    pair.settle()
    assert not tree.conflicts(pair.dir_a)


def test_a_rename_of_case_alone_arrives(pair: Pair) -> None:
    tree.write(pair.dir_a / "Readme.TXT", b"text")
    tree.write(pair.dir_a / "Dir/File", b"text 2")
    pair.settle()
    os.rename(pair.dir_a / "Readme.TXT", pair.dir_a / "README.txt")
    os.rename(pair.dir_b / "Dir", pair.dir_b / "dir")
    pair.settle()
    assert set(os.listdir(pair.dir_b)) - {".stfolder", ".stversions"} == {
        "README.txt", "dir"}
    tree.write(pair.dir_a / "readme.txt", b"another one")
    pair.settle()


def test_decomposed_names_become_composed(pair: Pair) -> None:
    nfd, nfc = "Zu\u0308rich", "Zürich"
    tree.write(pair.dir_a / nfd, b"text")
    wait_until(lambda: (pair.dir_b / nfc).exists(), 30, "NFC name on B")
    pair.settle()
    assert nfc in os.listdir(pair.dir_a)
    assert nfd not in os.listdir(pair.dir_a)


def test_two_forms_of_one_name_lose_nothing(pair: Pair) -> None:
    nfd, nfc = "cafe\u0301", "café"
    tree.write(pair.dir_a / nfc, b"composed")
    pair.settle()
    tree.write(pair.dir_a / nfd, b"decomposed")
    tree.write(pair.dir_a / "other", b"goes on")
    wait_until(lambda: (pair.dir_b / "other").exists(), 30, "others go on")
    time.sleep(1)
    words = {p.read_bytes() for p in pair.dir_a.iterdir() if p.is_file()}
    assert {b"composed", b"decomposed"} <= words


def test_what_cannot_be_synced_is_told_and_blocks_nothing(
        pair: Pair) -> None:
    os.mkfifo(pair.dir_a / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(pair.dir_a / "socket"))
    bad = os.path.join(os.fsencode(pair.dir_a), b"latin1-\xe9")
    with open(bad, "wb") as file:
        file.write(b"x")
    tree.write(pair.dir_a / "good", b"good")
    wait_until(lambda: (pair.dir_b / "good").exists(), 30, "good arrives")
    time.sleep(0.5)
    assert {n for n in os.listdir(pair.dir_b)} == {".stfolder", "good"}
    told = pair.a.ctl("explain", str(pair.dir_a / "fifo"), "--json",
                      check=False)
    assert "bad-type" in told.out
    assert os.path.exists(bad)


def test_sparse_files_stay_equal(pair: Pair) -> None:
    for size in (131_071, 131_072, 131_073, 5_000_000):
        with open(pair.dir_a / f"sparse{size}", "wb") as file:
            file.truncate(size)
        with open(pair.dir_a / f"island{size}", "wb") as file:
            file.truncate(size)
            file.seek(size // 2)
            file.write(b"island")
    pair.settle()
    spent = (pair.dir_b / "sparse5000000").stat().st_blocks * 512
    assert spent < 1_000_000, "zeros are not written out"


# ---- bytes on the wire, transfers, sources ---------------------------------

def slow_pair(world: World, rate: float | None):
    """A and B; B reaches A through a proxy, A does not know where B is."""
    a, b = world.node("A"), world.node("B")
    proxy = Proxy(a.addr, rate)
    a.device_add(b.id, "B")
    b.device_add(a.id, "A", proxy.addr)
    dir_a, dir_b = world.dir("a"), world.dir("b")
    a.folder_add(dir_a, FOLDER, "B")
    b.folder_add(dir_b, FOLDER, "A")
    wait_until(lambda: a.connected("B"), 30, "connected", alive=[a, b])
    return a, b, proxy, dir_a, dir_b


@pytest.mark.slow
def test_big_file_with_larger_blocks(pair: Pair) -> None:
    size = 262_144_000 + 12_345
    path = pair.dir_a / "big"
    chunk = tree.noise(1 << 20)
    with open(path, "wb") as file:
        for n in range(size >> 20):
            file.write(n.to_bytes(8, "big") + chunk[8:])
        file.write(chunk[:size & ((1 << 20) - 1)])
    pair.settle(120)
    with open(path, "r+b") as file:
        file.seek(100_000_000)
        file.write(b"edited")
        file.truncate(size - 1)
    pair.settle(60)


def test_content_that_is_here_already_is_not_sent(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=None)
    data = tree.noise(8_000_000)
    tree.write(dir_a / "one", data)
    settle([a, b], [dir_a, dir_b])
    before = proxy.total
    tree.write(dir_a / "copy", data)
    tree.write(dir_a / "longer", data + b"a tail")
    settle([a, b], [dir_a, dir_b])
    assert proxy.total - before < 400_000
    proxy.close()


def test_a_shifted_file_sends_little(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=None)
    data = tree.noise(16_000_000)
    tree.write(dir_a / "big", data)
    settle([a, b], [dir_a, dir_b])
    before = proxy.total
    tree.write(dir_a / "big", b"!" + data)
    settle([a, b], [dir_a, dir_b])
    assert proxy.total - before < 400_000, "chunk maps between our nodes"
    proxy.close()


def test_an_edit_in_place_sends_less_than_its_blocks(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=None)
    tree.write(dir_a / "big", tree.noise(16_000_000))
    settle([a, b], [dir_a, dir_b])
    before = proxy.total
    with open(dir_a / "big", "r+b") as file:
        file.seek(60 * 131072 - 2048)
        file.write(b"!" * 4096)
    settle([a, b], [dir_a, dir_b])
    assert proxy.total - before < 200_000, "two blocks are 262,144 bytes"
    proxy.close()


@pytest.mark.slow
def test_partial_download_resumes_after_a_kill(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=4e6)
    size = 24_000_000
    tree.write(dir_a / "big", tree.noise(size))
    wait_until(lambda: proxy.total > size * 0.6, 60, "60 % sent",
               alive=[a, b])
    b.kill9()
    before = proxy.total
    proxy.rate = None
    b.start()
    settle([a, b], [dir_a, dir_b])
    again = proxy.total - before
    assert again < size * 0.6, f"sent {again} again after {before}"
    assert not tree.temporaries(dir_b)
    proxy.close()


@pytest.mark.slow
def test_an_interrupted_link_resumes(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=6e6)
    size = 24_000_000
    tree.write(dir_a / "big", tree.noise(size))
    for share in (0.2, 0.4, 0.6):
        wait_until(lambda: proxy.total > size * share, 60, f"{share}",
                   alive=[a, b])
        proxy.cut()
    proxy.rate = None
    settle([a, b], [dir_a, dir_b], 60)
    assert proxy.total < size * 1.4
    proxy.close()


@pytest.mark.slow
def test_several_sources_serve_one_file(world: World) -> None:
    a, b, c = (world.node(n) for n in "ABC")
    dirs = [world.dir(n) for n in "abc"]
    node.pair_up(a, b)
    a.folder_add(dirs[0], FOLDER, "B")
    b.folder_add(dirs[1], FOLDER, "A")
    tree.write(dirs[0] / "big", tree.noise(30_000_000))
    settle([a, b], dirs[:2], 60)
    proxies = [Proxy(n.addr, 8e6) for n in (a, b)]
    for source, proxy in zip((a, b), proxies):
        source.device_add(c.id, "C")
        source.ctl("folder", "share", FOLDER, "C")
        c.device_add(source.id, source.name, proxy.addr)
    wait_until(lambda: c.connected("A") and c.connected("B"), 30, "both")
    c.folder_add(dirs[2], FOLDER, "A", "B")
    settle([a, b, c], dirs, 60)
    for proxy in proxies:
        assert proxy.down > 5_000_000, [p.down for p in proxies]
        proxy.close()


def test_news_pass_through_a_middle_node(world: World) -> None:
    a, b, c = (world.node(n) for n in "ABC")
    dirs = [world.dir(n) for n in "abc"]
    node.pair_up(a, b)
    node.pair_up(b, c)
    a.folder_add(dirs[0], FOLDER, "B")
    b.folder_add(dirs[1], FOLDER, "A", "C")
    c.folder_add(dirs[2], FOLDER, "B")
    kinds.fill(dirs[0], "a-")
    tree.write(dirs[2] / "from-c", tree.noise(200_000))
    settle([a, b, c], dirs, 60)
    (dirs[2] / "a-zeros").unlink()
    os.rename(dirs[0] / "from-c", dirs[0] / "renamed")
    settle([a, b, c], dirs, 60)


# ---- two people at once ----------------------------------------------------

def test_edits_on_both_sides_keep_both(pair: Pair) -> None:
    tree.write(pair.dir_a / "notes.txt", b"base")
    pair.settle()
    pair.b.stop()
    tree.write(pair.dir_a / "notes.txt", b"from A")
    time.sleep(0.1)
    tree.write(pair.dir_b / "notes.txt", b"from B, later")
    pair.b.start()
    pair.settle()
    copies = tree.conflicts(pair.dir_a)
    assert len(copies) == 1, copies
    name = os.fsdecode(copies[0])
    assert (pair.dir_a / "notes.txt").read_bytes() == b"from B, later"
    assert (pair.dir_a / name).read_bytes() == b"from A"
    # notes.sync-conflict-YYYYMMDD-HHMMSS-SSSSSSS.txt, S: the winner's author
    stem, stamp, clock, rest = name.split("-", 1)[1].split("-")
    assert stem == "conflict" and len(stamp) == 8 and len(clock) == 6
    assert rest == pair.b.id[:7] + ".txt"
    listed = pair.a.ctl("conflict", "list")
    assert "notes" in listed.out


def test_the_same_edit_on_both_sides_is_no_conflict(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"base")
    pair.settle()
    pair.b.stop()
    for place in sides(pair):
        tree.write(place / "file", tree.noise(200_000))
        tree.write(place / "new", b"made twice")
        time.sleep(0.05)
    pair.b.start()
    pair.settle()
    assert not tree.conflicts(pair.dir_a) + tree.conflicts(pair.dir_b)


def test_an_edit_and_a_delete_lose_no_bytes(pair: Pair) -> None:
    for name in ("first", "second", "third"):
        tree.write(pair.dir_a / name, b"base")
    pair.settle()
    pair.b.stop()
    (pair.dir_a / "first").unlink()
    time.sleep(0.05)
    tree.write(pair.dir_b / "first", b"edited after the delete")
    tree.write(pair.dir_b / "second", b"edited before the delete")
    time.sleep(1.1)
    (pair.dir_a / "second").unlink()
    pair.b.start()
    pair.settle()
    words = [p.read_bytes() for p in pair.dir_b.iterdir() if p.is_file()]
    assert b"edited after the delete" in words
    assert b"edited before the delete" in words


def test_a_file_and_a_directory_of_one_name_lose_no_bytes(
        pair: Pair) -> None:
    pair.b.stop()
    tree.write(pair.dir_a / "x", b"file on A")
    tree.write(pair.dir_b / "x/inside", b"directory on B")
    pair.b.start()
    pair.settle()
    words = [(pair.dir_a / os.fsdecode(p)).read_bytes()
             for p, item in tree.snapshot(pair.dir_a).items()
             if item.kind == "file"]
    assert {b"file on A", b"directory on B"} <= set(words)


def test_a_directory_deleted_there_and_used_here_keeps_the_new(
        pair: Pair) -> None:
    tree.write(pair.dir_a / "d/old", b"old")
    tree.write(pair.dir_a / "else", b"else")
    pair.settle()
    pair.b.stop()
    shutil.rmtree(pair.dir_a / "d")
    tree.write(pair.dir_b / "d/new", b"new")
    pair.b.start()
    pair.settle()
    assert (pair.dir_a / "d/new").read_bytes() == b"new"
    assert not (pair.dir_a / "d/old").exists()


def test_a_storm_on_both_sides_converges(pair: Pair, seed: int) -> None:
    from lib.storm import Storm
    storms = [Storm(pair.dir_a, seed), Storm(pair.dir_b, seed + 1)]
    for _ in range(12):
        for storm in storms:
            storm.run(12)
    pair.settle(60)
    assert not tree.temporaries(pair.dir_a) + tree.temporaries(pair.dir_b)


# ---- modes, pauses, ignores ------------------------------------------------

def test_receive_only_keeps_local_changes_to_itself(
        make_pair: MakePair) -> None:
    pair = make_pair(mode_b="receiveonly")
    tree.write(pair.dir_a / "file", b"from A")
    tree.write(pair.dir_a / "other", b"from A")
    pair.settle()
    tree.write(pair.dir_b / "file", b"changed on B")
    tree.write(pair.dir_b / "extra", b"new on B")
    (pair.dir_b / "other").unlink()
    pair.b.scan(FOLDER)
    time.sleep(1)
    assert (pair.dir_a / "file").read_bytes() == b"from A"
    assert (pair.dir_a / "other").exists()
    assert not (pair.dir_a / "extra").exists()
    tree.write(pair.dir_a / "goes on", b"still received")
    wait_until(lambda: (pair.dir_b / "goes on").exists(), 20, "goes on")
    assert pair.b.ctl("folder", "revert", FOLDER, check=False).code != 0, \
        "a destructive verb wants --yes"
    assert (pair.dir_b / "extra").exists()
    pair.b.ctl("folder", "revert", FOLDER, "--yes")
    pair.settle()
    assert (pair.dir_b / "file").read_bytes() == b"from A"


def test_send_only_takes_nothing_and_can_override(
        make_pair: MakePair) -> None:
    pair = make_pair(mode_a="sendonly")
    tree.write(pair.dir_a / "file", b"from A")
    tree.write(pair.dir_a / "other", b"from A")
    pair.settle()
    tree.write(pair.dir_b / "file", b"changed on B")
    tree.write(pair.dir_b / "extra", b"new on B")
    (pair.dir_b / "other").unlink()
    time.sleep(1.5)
    assert (pair.dir_a / "file").read_bytes() == b"from A"
    assert (pair.dir_a / "other").exists()
    assert not (pair.dir_a / "extra").exists()
    pair.a.ctl("folder", "override", FOLDER, "--yes")
    pair.settle()
    assert (pair.dir_b / "file").read_bytes() == b"from A"
    assert not (pair.dir_b / "extra").exists()


def test_a_paused_folder_rests_and_resumes(pair: Pair) -> None:
    tree.write(pair.dir_a / "before", b"1")
    pair.settle()
    pair.b.ctl("folder", "pause", FOLDER)
    tree.write(pair.dir_a / "while", b"2")
    tree.write(pair.dir_b / "here", b"3")
    time.sleep(1.5)
    assert not (pair.dir_b / "while").exists()
    assert not (pair.dir_a / "here").exists()
    pair.b.ctl("folder", "resume", FOLDER)
    pair.settle()


@pytest.mark.parametrize("running", [True, False])
def test_a_folder_added_again_takes_nothing_away(pair: Pair,
                                                 running: bool) -> None:
    """What was deleted while the folder was not synced is not deleted."""
    for n in range(20):
        tree.write(pair.dir_a / f"d/{n}", b"%d" % n)
    pair.settle()
    before = tree.snapshot(pair.dir_a)
    if not running:
        pair.b.stop()
    pair.b.ctl("folder", "remove", FOLDER)
    if not running:
        pair.b.start()
    time.sleep(1)
    shutil.rmtree(pair.dir_b / "d")
    pair.b.folder_add(pair.dir_b, FOLDER, "A")
    pair.settle()
    assert tree.snapshot(pair.dir_a) == before
    assert not tree.conflicts(pair.dir_a)


def test_a_pause_does_not_have_the_index_told_again(pair: Pair) -> None:
    for n in range(300):
        tree.write(pair.dir_a / f"d/{n}", b"%d" % n)
    pair.settle()

    def told() -> list[int]:
        return [node.log.read_text(errors="replace")
                .count("exchange index folder=") for node in (pair.a, pair.b)]

    before = told()
    pair.a.ctl("folder", "pause", FOLDER)
    wait_until(lambda: pair.a.folder(FOLDER)["state"] == "paused", 10,
               "paused")
    pair.a.ctl("folder", "resume", FOLDER)
    pair.settle()
    time.sleep(1)
    assert told() == before
    # What comes after it is told, and only that.
    tree.write(pair.dir_a / "later", b"1")
    pair.settle()
    assert told()[0] == before[0] + 1


def test_a_paused_device_rests_and_resumes(pair: Pair) -> None:
    pair.a.ctl("device", "pause", "B")
    wait_until(lambda: not pair.a.connected("B"), 10, "disconnected")
    tree.write(pair.dir_a / "while", b"2")
    time.sleep(1.5)
    assert not (pair.dir_b / "while").exists()
    pair.a.ctl("device", "resume", "B")
    pair.settle(40)


def test_ignored_names_stay_at_home(pair: Pair) -> None:
    (pair.dir_a / ".stignore").write_text(
        "// what stays\n#include rules.txt\n!/keep.tmp\n*.tmp\n/cache\n"
        "(?i)SECRET*\nfoo/**/bar\n")
    tree.write(pair.dir_a / "rules.txt", b"*.inc\n")
    ignored = ["x.tmp", "d/y.tmp", "cache/a", "secret.doc", "d/Secret2",
               "foo/1/bar", "z.inc"]
    kept = ["keep.tmp", "d/cache", "foo/bar", "file"]
    for name in ignored + kept:
        tree.write(pair.dir_a / name, name.encode())
    for name in kept:
        wait_until(lambda: (pair.dir_b / name).exists(), 20, name)
    time.sleep(0.5)
    for name in ignored:
        assert not (pair.dir_b / name).exists(), name
    rule = pair.a.ctl("folder", "ignore", "test", FOLDER, "x.tmp",
                      check=False)
    if rule.code == node.USAGE:
        rule = pair.a.ctl("folder", "ignore", "test",
                          str(pair.dir_a / "x.tmp"))
    assert "*.tmp" in rule.out
    assert ".stignore" not in os.listdir(pair.dir_b), "never travels"
    # What stops being ignored travels.
    (pair.dir_a / ".stignore").write_text("/cache\n")
    wait_until(lambda: (pair.dir_b / "x.tmp").exists(), 20, "un-ignored")


def test_an_included_rule_file_counts_at_once(pair: Pair) -> None:
    tree.write(pair.dir_a / "rules/more", b"*.one\n")
    (pair.dir_a / ".stignore").write_text("#include rules/more\n")

    def ignored(name: str) -> bool:
        return "not ignored" not in pair.a.ctl(
            "folder", "ignore", "test", FOLDER, name, check=False).out

    wait_until(lambda: ignored("x.one"), 20, "the first rules")
    tree.write(pair.dir_a / "rules/more", b"*.two\n")
    wait_until(lambda: ignored("x.two") and not ignored("x.one"), 20,
               "changed here")
    pair.settle()
    tree.write(pair.dir_b / "rules/more", b"*.three\n")
    wait_until(lambda: ignored("x.three"), 20, "changed there")
    (pair.dir_a / "rules").rename(pair.dir_a / "away")
    wait_until(lambda: pair.a.problem("ignores-bad"), 20, "stopped")
    (pair.dir_a / "away").rename(pair.dir_a / "rules")
    wait_until(lambda: ignored("x.three"), 20, "resumed by itself")


def test_a_scan_reads_the_rules_too(world: World) -> None:
    made = world.node("A", start=False)
    root = world.dir("a")
    made.folder_add(root, FOLDER)
    made.config(f"folder.{FOLDER}.watch", "false")
    tree.write(root / "more", b"*.one\n")
    (root / ".stignore").write_text("#include more\n")
    made.start()
    made.ctl("wait", "--timeout", "60s")
    assert "*.one" in made.ctl("folder", "ignore", "list", FOLDER).out
    tree.write(root / "more", b"*.two\n")
    made.ctl("wait", "--timeout", "60s")
    wait_until(lambda: "*.two" in made.ctl("folder", "ignore", "list",
                                           FOLDER).out, 20, "read again")


def test_ignoring_a_synced_file_deletes_nothing(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()
    (pair.dir_a / ".stignore").write_text("file\n")
    pair.a.scan(FOLDER)
    tree.write(pair.dir_a / "file", b"changed, but ignored")
    tree.write(pair.dir_a / "mark", b"1")
    wait_until(lambda: (pair.dir_b / "mark").exists(), 20, "mark")
    assert (pair.dir_b / "file").read_bytes() == b"1"
    assert (pair.dir_a / "file").exists()
    (pair.dir_b / "file").unlink()
    time.sleep(1)
    assert (pair.dir_a / "file").exists(), "a remote delete is not followed"


def test_a_broken_ignore_file_stops_the_folder(pair: Pair) -> None:
    tree.write(pair.dir_a / "file", b"1")
    pair.settle()
    (pair.dir_a / ".stignore").write_text("#include missing.txt\n")
    wait_until(lambda: pair.a.problem("ignores-bad"), 20, "problem shown")
    tree.write(pair.dir_a / "late", b"2")
    time.sleep(1)
    assert not (pair.dir_b / "late").exists()
    assert pair.a.ctl("status", "-q", check=False).code == node.STOPPED
    (pair.dir_a / ".stignore").unlink()
    pair.settle()


# ---- safety ----------------------------------------------------------------

def test_a_missing_marker_halts_and_deletes_nothing(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    before = tree.snapshot(pair.dir_a)
    shutil.rmtree(pair.dir_b / ".stfolder")
    for rel in list(pair.dir_b.iterdir()):
        shutil.rmtree(rel) if rel.is_dir() else rel.unlink()
    pair.b.ctl("folder", "scan", FOLDER, check=False)
    wait_until(lambda: pair.b.problem("missing") or pair.b.problem("empty"),
               30, "halted", alive=[pair.b])
    assert pair.b.ctl("status", "-q", check=False).code == node.STOPPED
    time.sleep(1)
    assert tree.snapshot(pair.dir_a) == before
    assert os.listdir(pair.dir_b) == [], "nothing is put into it either"


def test_a_missing_root_halts_and_resumes_by_itself(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    before = tree.snapshot(pair.dir_a)
    away = pair.dir_b.with_name("away")
    os.rename(pair.dir_b, away)
    tree.write(pair.dir_a / "meanwhile", b"x")
    wait_until(lambda: pair.b.problem("root-missing"), 30, "halted")
    assert not pair.dir_b.exists(), "the root is not made again"
    assert before.items() <= tree.snapshot(pair.dir_a).items()
    os.rename(away, pair.dir_b)
    pair.settle(60)


def test_another_directory_at_the_root_deletes_nothing(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    before = tree.snapshot(pair.dir_a)
    away = pair.dir_b.with_name("away")
    os.rename(pair.dir_b, away)
    pair.dir_b.mkdir()
    wait_until(lambda: pair.b.ctl("status", "-q", check=False).code
               == node.STOPPED, 30, "halted")
    time.sleep(1)
    assert tree.snapshot(pair.dir_a) == before
    assert tree.snapshot(pair.dir_b) == {}
    pair.dir_b.rmdir()
    os.rename(away, pair.dir_b)
    pair.settle(60)


def state_files(home: Path) -> list[Path]:
    """The files of the index."""
    return [p for p in (home / "index").rglob("*") if p.is_file()]


def test_a_deleted_index_deletes_nothing(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    (pair.dir_a / "a-zeros").unlink()
    pair.settle()
    before = tree.snapshot(pair.dir_a)
    pair.b.stop()
    files = state_files(pair.b.home)
    assert files, list(pair.b.home.rglob("*"))
    for path in files:
        path.unlink()
    pair.b.start()
    pair.settle(60)
    assert tree.snapshot(pair.dir_b) == before
    tree.write(pair.dir_b / "after", b"and it goes on")
    (pair.dir_b / "a-sparse").unlink()
    pair.settle()


def test_a_damaged_index_is_rebuilt_without_harm(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    before = tree.snapshot(pair.dir_a)
    pair.b.stop()
    for path in state_files(pair.b.home):
        size = path.stat().st_size
        if size < 32768:
            continue
        with open(path, "r+b") as file:
            for at in range(8192, size, 4096):
                file.seek(at + 64)
                file.write(b"\xa5" * 256)
    pair.b.start()
    pair.settle(60)
    assert tree.snapshot(pair.dir_b) == before
    assert tree.snapshot(pair.dir_a) == before


def test_restart_serves_at_once_and_changes_nothing(pair: Pair) -> None:
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    before = tree.snapshot(pair.dir_b)
    pair.a.restart()
    pair.b.restart()
    start = time.monotonic()
    wait_until(lambda: pair.a.connected("B"), 10, "connected again")
    tree.write(pair.dir_a / "after", b"restart")
    wait_until(lambda: (pair.dir_b / "after").exists(), 10, "pulled")
    assert time.monotonic() - start < 4
    (pair.dir_b / "after").unlink()
    pair.settle()
    assert tree.snapshot(pair.dir_b) == before


def test_idle_is_idle(pair: Pair) -> None:
    from lib import proc
    kinds.fill(pair.dir_a, "a-")
    pair.settle(60)
    time.sleep(2)
    first = [(proc.io_counters(n.pid)["write_bytes"],
              proc.cpu_seconds(n.pid)) for n in (pair.a, pair.b)]
    time.sleep(5)
    for n, (wrote, spent) in zip((pair.a, pair.b), first):
        now = proc.io_counters(n.pid)["write_bytes"]
        assert now - wrote == 0, f"{n.name} wrote {now - wrote} bytes"
        assert proc.cpu_seconds(n.pid) - spent <= 0.03


def test_after_settling_nothing_is_sent_any_more(world: World) -> None:
    a, b, proxy, dir_a, dir_b = slow_pair(world, rate=None)
    kinds.fill(dir_a, "a-")
    kinds.fill(dir_b, "b-")
    settle([a, b], [dir_a, dir_b], 60)
    time.sleep(2)
    quiet = proxy.total
    holds_for(lambda: proxy.total - quiet < 200, 4, "the wire is quiet")
    proxy.close()

"""kill -9 at any moment: nothing lost, nothing torn, no conflict copies."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from lib import kinds, tree
from lib.proc import wait_until
from lib.storm import Storm
from lib.world import FOLDER, Pair


def many_files(root: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    for n in range(count):
        tree.write(root / f"d{n % 37}/f{n}",
                   tree.noise(rng.choice((0, 100, 9000, 200_000)), n))


def assert_clean(pair: Pair) -> None:
    for place in (pair.dir_a, pair.dir_b):
        assert not tree.conflicts(place), tree.conflicts(place)
        assert not tree.temporaries(place)


@pytest.mark.slow
def test_the_receiver_killed_again_and_again(pair: Pair,
                                             seed: int) -> None:
    rng = random.Random(seed)
    many_files(pair.dir_a, 1500, seed)
    tree.write(pair.dir_a / "big", tree.noise(30_000_000, 3))
    for _ in range(12):
        time.sleep(rng.uniform(0.05, 0.6))
        pair.b.kill9()
        # What is under its final name is whole, at any moment.
        for rel, item in tree.snapshot(pair.dir_b).items():
            if item.kind == "file":
                other = pair.dir_a / os.fsdecode(rel)
                assert other.read_bytes() == \
                    (pair.dir_b / os.fsdecode(rel)).read_bytes(), rel
        pair.b.start()
    pair.settle(120)
    assert_clean(pair)


@pytest.mark.slow
def test_the_sender_killed_again_and_again(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    many_files(pair.dir_a, 1200, seed)
    tree.write(pair.dir_a / "big", tree.noise(30_000_000, 3))
    for _ in range(10):
        time.sleep(rng.uniform(0.05, 0.6))
        pair.a.kill9()
        pair.a.start()
    pair.settle(120)
    assert_clean(pair)


@pytest.mark.slow
def test_both_killed_during_edits(pair: Pair, seed: int) -> None:
    """One side edits; every word of it arrives, whoever dies when."""
    rng = random.Random(seed)
    storm = Storm(pair.dir_a, seed)
    for _ in range(14):
        storm.run(25)
        time.sleep(rng.uniform(0, 0.3))
        victim = rng.choice((pair.a, pair.b))
        victim.kill9()
        storm.run(5)
        victim.start()
    wanted = tree.snapshot(pair.dir_a)
    pair.settle(90)
    assert tree.differences(wanted, tree.snapshot(pair.dir_a)) == [], \
        "the editing person's tree is as it was left"
    assert_clean(pair)


@pytest.mark.slow
def test_killed_during_renames_and_deletes(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    many_files(pair.dir_a, 800, seed)
    kinds.fill(pair.dir_a, "a-")
    pair.settle(90)
    for turn in range(8):
        names = sorted(p for p in pair.dir_a.iterdir()
                       if p.is_dir() and p.name.startswith(("d", "r")))
        for path in rng.sample(names, 6):
            os.rename(path, path.with_name(f"r{turn}-{path.name[-6:]}"
                                           f"{rng.randrange(10 ** 6)}"))
        shutil.rmtree(rng.choice(sorted(
            p for p in pair.dir_a.iterdir()
            if p.is_dir() and p.name.startswith("r"))))
        time.sleep(rng.uniform(0, 0.25))
        pair.b.kill9()
        pair.b.start()
    wanted = tree.snapshot(pair.dir_a)
    pair.settle(90)
    assert tree.snapshot(pair.dir_a) == wanted
    assert_clean(pair)


@pytest.mark.slow
def test_killed_during_the_first_scan(pair: Pair) -> None:
    pair.a.stop()
    many_files(pair.dir_a, 4000, 5)
    for pause in (0.05, 0.1, 0.2, 0.4, 0.8):
        pair.a.spawn()
        time.sleep(pause)
        pair.a.kill9()
    pair.a.start()
    pair.settle(120)
    assert_clean(pair)


@pytest.mark.slow
def test_a_person_saves_while_the_receiver_dies(pair: Pair,
                                                seed: int) -> None:
    """Edits on both sides and kills: every last word is somewhere."""
    rng = random.Random(seed)
    for n in range(20):
        tree.write(pair.dir_a / f"doc{n}", b"base %d" % n)
    pair.settle()
    for turn in range(8):
        for n in rng.sample(range(20), 5):
            tree.write(pair.dir_a / f"doc{n}", b"A %d %d" % (turn, n))
        time.sleep(rng.uniform(0, 0.1))
        pair.b.kill9()
        last_words = {}
        for n in rng.sample(range(20), 3):
            text = b"B %d %d" % (turn, n)
            tree.write(pair.dir_b / f"doc{n}", text)
            last_words[n] = text
        pair.b.start()
        pair.settle(60)
        words = {p.read_bytes() for p in pair.dir_a.iterdir()
                 if p.is_file()}
        for text in last_words.values():
            assert text in words, text


@pytest.mark.slow
def test_sigterm_during_a_transfer_stops_soon(pair: Pair) -> None:
    many_files(pair.dir_a, 1500, 4)
    wait_until(lambda: any((pair.dir_b / "d0").glob("*")), 30, "begun")
    start = time.monotonic()
    assert pair.b.stop() == 0
    assert time.monotonic() - start < 5
    pair.b.start()
    pair.settle(90)
    assert_clean(pair)


@pytest.mark.slow
def test_a_frozen_program_does_no_harm(pair: Pair) -> None:
    """SIGSTOP: the kernel answers for it, the program does not."""
    import signal
    tree.write(pair.dir_a / "before", b"1")
    pair.settle()
    pair.b.send_signal(signal.SIGSTOP)
    try:
        tree.write(pair.dir_a / "during", tree.noise(5_000_000))
        time.sleep(5)
        assert FOLDER in pair.a.ctl("status", check=False).out
        tree.write(pair.dir_a / "before", b"2")
    finally:
        pair.b.send_signal(signal.SIGCONT)
    pair.settle(30)
    assert_clean(pair)

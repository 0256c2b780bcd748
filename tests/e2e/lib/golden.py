"""A golden run: one device makes a change of each kind, the other takes them.

Round n leaves behind what round n + 1 begins with, so that faults can be put
into one run after the other.  Whatever goes wrong on B's side meanwhile, each
name there shows the old or the new, whole; what moved is at one of its two
places; what was replaced or deleted is on B's disk still.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from . import tree
from .node import Node
from .proc import wait_until
from .world import FOLDER, settle


class Golden:
    """Device A edits, device B receives; both hold what round `n` made."""

    def __init__(self, base: Path):
        self.base = base
        self.a = Node(base / "A.home", "A", log_level="info")
        self.b = Node(base / "B.home", "B", log_level="info")
        self.dir_a, self.dir_b = base / "a", base / "b"
        self.n = -1
        self.new: dict[bytes, tree.Item] = {}
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.start()
            one.device_add(other.id, other.name, other.addr)
        self.a.folder_add(self.dir_a, FOLDER, "B")
        self.b.folder_add(self.dir_b, FOLDER, "A")
        self.put("same", b"never touched")
        for number in range(4):
            self.put(f"aside/{number}", b"%d" % number)
        self.edit()
        self.settle()

    def end(self) -> None:
        self.a.kill9()
        self.b.kill9()

    def put(self, name: str, data: bytes, place: Path | None = None,
            mode: int | None = None, mtime_ns: int | None = None) -> None:
        """Save a file as editors do, so that no half of it is ever seen."""
        made = tree.write(self.base / "draft", data, mode, mtime_ns)
        to = (place or self.dir_a) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, to)

    def edit(self) -> None:
        """From what round n - 1 left to round n, a change of each kind."""
        self.n += 1
        n, top = self.n, self.dir_a
        if n % 20 == 0:  # or all looking at it takes ever longer
            shutil.rmtree(self.dir_b / ".stversions", ignore_errors=True)
        self.put("replaced", tree.noise(9_000, n))
        self.put("two blocks", tree.noise(200_000, n))
        self.put(f"new {n}", b"new %d" % n)
        self.put("mode", b"its mode alone changes",
                 mode=(0o644, 0o755)[n % 2], mtime_ns=10 ** 18)
        self.put(f"dir {n}/sub/inside", b"inside %d" % n)
        os.symlink(f"target {n}", self.base / "link")
        os.replace(self.base / "link", top / "link")
        if n == 0:
            self.put("renamed 0", tree.noise(5_000, 77))
            self.put("moved 0/inside", tree.noise(5_000, 78))
        else:
            os.rename(top / f"renamed {n - 1}", top / f"renamed {n}")
            os.rename(top / f"moved {n - 1}", top / f"moved {n}")
            (top / f"new {n - 1}").unlink()
            shutil.rmtree(top / f"dir {n - 1}")
        # What is saved every moment is let rest by the watcher.
        self.a.ctl("folder", "scan", FOLDER, check=n > 0)
        self.put("of B", b"B said %d" % n, self.dir_b)
        self.old = self.new
        self.new = dict(tree.snapshot(top))
        self.new[b"of B"] = tree.item(self.dir_b / "of B")

    def is_done(self) -> bool:
        """B's tree and A's are what this round made."""
        try:
            return tree.snapshot(self.dir_b) == self.new and \
                tree.snapshot(self.dir_a) == self.new
        except OSError:
            return False

    def settle(self, timeout: float = 60.0, staged: bool = False) -> None:
        """Both have what round n made, nothing besides, nothing lost.

        With `staged`, old bytes may wait in staging for the next start.
        """
        settle([self.a, self.b], [self.dir_a, self.dir_b], timeout)
        now = tree.snapshot(self.dir_b)
        assert now == self.new, tree.differences(now, self.new)
        self.check_kept()
        if not staged:
            place = self.dir_b / ".stfolder/holdfast"
            wait_until(lambda: os.listdir(place) == [], 10,
                       lambda: f"staged: {os.listdir(place)}")

    def check_names(self, moves: bool = True) -> None:
        """What a person finds on B's disk, whatever B was about to do.

        Without `moves`, what moved may be gone from the old name first, as it
        is when there is no room.
        """
        now = tree.snapshot(self.dir_b)
        for path in self.old.keys() & self.new.keys():
            assert path in now, f"{path!r} is gone"
        for path, item in now.items():
            allowed = [i for i in (self.old.get(path), self.new.get(path))
                       if i is not None]
            assert allowed, f"{path!r} was never there"
            assert item in allowed or item.kind == "dir" \
                and allowed[0].kind == "dir", f"{path!r} is torn: {item}"
        found = {item.digest for item in now.values()}
        for name in (b"renamed %d", b"moved %d/inside"):
            assert not moves or self.new[name % self.n].digest in found, name
        assert now[b"of B"] == self.new[b"of B"]
        self.check_kept()

    def check_kept(self) -> None:
        """What A replaced or deleted is somewhere on B's disk still: at its
        name, in staging, in the trash can."""
        kept = {hashlib.sha256(path.read_bytes()).hexdigest()
                for path in self.dir_b.rglob("*")
                if path.is_file() and not path.is_symlink()}
        for path, item in self.old.items():
            assert item.digest is None or path == b"of B" \
                or item.digest in kept, f"the old {path!r} is lost"

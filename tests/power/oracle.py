"""What must be found on the disks, judged without a word from the daemons.

It knows what each person did (person.py) and what a cut may take back: an act
that was not flushed on the machine that lost its power.  A content is

  due    a person flushed it, or another machine had it when the power went,
         and nobody who had it has replaced or deleted it: it must be visible,
         under a name or as a conflict copy;
  dead   at a path, when it was replaced, deleted or moved from there for
         good: it must not be seen there again;
  open   neither: the power went at the wrong moment for its writer.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

INTERNAL = {".stfolder", ".stignore", ".stversions"}
SINGLE = ("a/", "b/")  # one person writes there: no conflict copies, ever


def is_loose(path: str) -> bool:
    return path.startswith("loose-")


def is_part(path: str) -> bool:
    return path.endswith(".part")


def is_conflict(path: str) -> bool:
    return ".sync-conflict-" in path


class Eyes:
    """Looks at a tree; remembers digests of files that did not change."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, ...], str] = {}

    def look(self, root: Path) -> dict[str, str]:
        """path -> digest of every regular file; "-" for what went away."""
        out: dict[str, str] = {}
        for here, dirs, names in os.walk(root):
            if here == str(root):
                dirs[:] = [d for d in dirs if d not in INTERNAL]
            for name in names:
                path = os.path.join(here, name)
                rel = os.path.relpath(path, root)
                if rel not in INTERNAL:
                    out[rel] = self._digest(path)
        return out

    def _digest(self, path: str) -> str:
        try:
            st = os.lstat(path)
            if not stat.S_ISREG(st.st_mode):
                return "-"
            key = (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns,
                   st.st_ctime_ns)
            if key not in self.known:
                with open(path, "rb") as file:
                    self.known[key] = hashlib.sha256(file.read()).hexdigest()
            return self.known[key]
        except FileNotFoundError:
            return "-"


@dataclass
class Act:
    """What one act of a person did, until it is known to be for good."""

    made: set[str] = field(default_factory=set)
    gone: set[tuple[str, str, str]] = field(default_factory=set)


class Oracle:
    def __init__(self) -> None:
        self.known: set[str] = set()          # all a person ever wrote
        self.where: dict[str, str] = {}       # last path, for telling
        self.due: set[str] = set()
        self.dead: set[tuple[str, str]] = set()
        self.replaced: set[str] = set()       # for good, by who had it
        self.taken: set[str] = set()          # replaced or deleted, or may be
        self.open: dict[str, dict[str, Act]] = {}  # person -> act -> Act

    # -- what persons say ----------------------------------------------------

    def hear(self, person: str, line: str) -> None:
        what, act_id, *rest = line.split()
        acts = self.open.setdefault(person, {})
        act = acts.setdefault(act_id, Act())
        if what == "begun":
            self.known.add(rest[0])
        elif what == "made":
            act.made.add(rest[0])
            self.where[rest[0]] = rest[1]
        elif what == "gone":
            act.gone.add((rest[1], rest[0], rest[2]))
            self._take(rest[0])
        elif what == "moved":
            act.gone.add((rest[1], rest[0], "moved"))
            self.where[rest[0]] = rest[2]
        elif what == "safe":
            self._settle(acts.pop(act_id))
        else:
            raise ValueError(line)

    def _take(self, sha: str) -> None:
        self.taken.add(sha)
        self.due.discard(sha)

    def _settle(self, act: Act) -> None:
        for path, sha, why in act.gone:
            if why in ("replaced", "scribbled"):
                self.replaced.add(sha)
            self.dead.add((path, sha))
        self.due |= act.made - self.taken

    # -- what happens --------------------------------------------------------

    def cut(self, person: str) -> None:
        """That machine lost its power: what it did not flush is open."""
        self.open.pop(person, None)

    def seen_elsewhere(self, tree: dict[str, str]) -> None:
        """On the disk of a machine that was not cut."""
        for path, sha in tree.items():
            if not is_part(path) and sha in self.known - self.taken and \
                    (path, sha) not in self.dead:
                self.due.add(sha)

    def forgive(self, tree: dict[str, str]) -> None:
        """A save or deletion that the cut met half-way, after a mount."""
        for path, sha in tree.items():
            if is_part(path):
                self._take(sha)

    def settle(self) -> None:
        """Nobody is cut any more: what is done is done."""
        for acts in self.open.values():
            for act in acts.values():
                self._settle(act)
            acts.clear()

    # -- judging -------------------------------------------------------------

    def torn(self, tree: dict[str, str]) -> list[str]:
        """Names that show what no person ever wrote."""
        return [f"torn: {path} has {sha[:12]}"
                for path, sha in sorted(tree.items())
                if not is_part(path) and not is_loose(path)
                and sha not in self.known and sha != "-"]

    def torn_loose(self, tree: dict[str, str]) -> int:
        """Of what was never flushed, what its own file system tore."""
        return sum(is_loose(p) and not is_part(p) and s not in self.known
                   for p, s in tree.items())

    def judge(self, tree: dict[str, str]) -> list[str]:
        """All machines agree on this tree and nobody writes."""
        bad = self.torn(tree)
        seen = {s for p, s in tree.items() if not is_part(p)}
        for sha in sorted(self.due - seen):
            bad.append(f"lost: {sha[:12]} of {self.where.get(sha)}")
        for path, sha in sorted(tree.items()):
            if is_part(path):
                continue
            # Deleted by one while the other wrote: a conflict, and one of
            # the two contents stays at the name.
            contested = any(p.startswith(path + ".sync-conflict-")
                            for p in tree)
            if (path, sha) in self.dead and not contested:
                bad.append(f"came back: {path} has {sha[:12]} again")
            if is_conflict(path) and path.startswith(SINGLE):
                bad.append(f"conflict copy of one person's file: {path}")
            elif is_conflict(path) and sha in self.replaced:
                bad.append(f"conflict copy of what was replaced: {path}")
        return bad

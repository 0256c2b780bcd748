"""Random edits from a printed seed.

A storm plays a restless person in one folder: it creates, rewrites, appends,
truncates, deletes, renames, swaps, changes kinds and permissions.  The engine
works in the same tree meanwhile, so any step may find its target gone; such a
step is skipped.  Decisions come from the seed and from the sorted tree alone.

A Syncthing knows a file by size and mtime, and when somebody else changes
permissions or mtime of a file it puts those over whatever is there.  So an edit
that leaves the size as it was may never be seen by it: when another file of
equal mtime is swapped in, and when such a change comes before it has looked
(test_tools.py proves both, without us).  A storm on such a disk is told so
(`own_sizes`): a file that it edits gets a size that no other file has.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path
from typing import Callable, Optional

from . import tree

_WORDS = ("note", "plan", "Brief", "übung", "Straße", "日本", "naïve", "ärger",
          "a b", "tab\tname", "quote'\"", "ümläut", "x", "data.bin",
          "photo.jpeg", "README", ".hidden", "semi;colon", "e" * 120,
          "😀", "star*", "back\\slash", "percent%41", "-dash", "new~tilde")


_SIZES = (0, 1, 40, 4000, 70_000, 131_072, 131_073, 400_000)


class Storm:
    """Edits below `root`; `prefix` keeps storms of two sides apart."""

    def __init__(self, root: Path, seed: int, prefix: str = "",
                 links: bool = True, case_renames: bool = True,
                 awkward: bool = True, own_sizes: bool = False):
        self.root = Path(root)
        self.rng = random.Random(seed)
        self.prefix = prefix
        self.awkward = awkward
        self.own_sizes = own_sizes
        self.sizes = set(_SIZES)
        self.count = 0
        self.log: list[str] = []
        self.ops: list[tuple[int, Callable[[], Optional[str]]]] = [
            (22, self._create), (14, self._rewrite), (8, self._append),
            (4, self._truncate), (10, self._delete), (8, self._rename),
            (5, self._make_dir), (3, self._rename_dir), (2, self._drop_dir),
            (3, self._swap), (3, self._change_kind), (6, self._chmod),
            (3, self._empty), (3, self._touch), (2, self._replace),
        ]
        if links:
            self.ops.append((4, self._link))
        if case_renames:
            self.ops.append((2, self._case_rename))

    def run(self, steps: int) -> None:
        """Do that many edits, as fast as the disk lets us."""
        weights = [w for w, _ in self.ops]
        for _ in range(steps):
            op = self.rng.choices(self.ops, weights)[0][1]
            self.count += 1
            try:
                told = op()
            except (FileNotFoundError, FileExistsError, NotADirectoryError,
                    IsADirectoryError, OSError) as error:
                told = f"skipped: {error.__class__.__name__}"
            self.log.append(f"{self.count} {op.__name__[1:]} {told}")

    # -- choosing ------------------------------------------------------------

    def _all(self, kind: str) -> list[Path]:
        test = {"file": stat.S_ISREG, "dir": stat.S_ISDIR,
                "link": stat.S_ISLNK}[kind]
        out = []
        for rel in tree.walk(self.root):
            path = self.root / os.fsdecode(rel)
            if not rel.startswith(os.fsencode(self.prefix)):
                continue
            if b".sync-conflict-" in rel:
                continue
            try:
                if test(os.lstat(path).st_mode):
                    out.append(path)
            except OSError:
                pass
        return out

    def _pick(self, kind: str) -> Path:
        all_of_kind = self._all(kind)
        if not all_of_kind:
            raise FileNotFoundError(kind)
        return self.rng.choice(all_of_kind)

    def _new_name(self) -> str:
        words = _WORDS if self.awkward else _WORDS[:3]
        return (f"{self.prefix}{self.rng.choice(words)}"
                f"{self.rng.randrange(1000)}")

    def _place(self) -> Path:
        """A directory to put something in, the root most often."""
        dirs = self._all("dir")
        if dirs and self.rng.random() < 0.7:
            return self.rng.choice(dirs)
        return self.root

    def _data(self, edit: bool = False) -> bytes:
        """Content of a new file or, for an `edit`, of one that is there."""
        size = self.rng.choice(_SIZES)
        if edit:
            size = self._own_size(size)
        return tree.noise(size, self.rng.randrange(1 << 40))

    def _own_size(self, size: int) -> int:
        """That size or, when it has to be one of its own, the next free."""
        while self.own_sizes and size in self.sizes:
            size += 1
        self.sizes.add(size)
        return size

    def _grow(self, path: Path) -> None:
        """It holds other bytes now: let its size tell."""
        if not self.own_sizes:
            return
        size = path.stat().st_size
        with open(path, "ab") as file:
            file.write(tree.noise(self._own_size(size + 1) - size,
                                  self.count))

    def _tell(self, *paths: Path) -> str:
        return " -> ".join(repr(str(p.relative_to(self.root))) for p in paths)

    # -- edits ---------------------------------------------------------------

    def _create(self) -> str:
        path = self._place() / self._new_name()
        path.write_bytes(self._data())
        return self._tell(path)

    def _empty(self) -> str:
        path = self._place() / self._new_name()
        path.touch()
        return self._tell(path)

    def _rewrite(self) -> str:
        path = self._pick("file")
        path.write_bytes(self._data(edit=True))
        return self._tell(path)

    def _replace(self) -> str:
        """As editors save: a new file renamed over the old one."""
        path = self._pick("file")
        new = path.with_name(f"{self.prefix}save{self.count}")
        new.write_bytes(self._data(edit=True))
        os.replace(new, path)
        return self._tell(path)

    def _append(self) -> str:
        path = self._pick("file")
        with open(path, "ab") as file:
            file.write(tree.noise(self.rng.randrange(1, 3000), self.count))
        return self._tell(path)

    def _truncate(self) -> str:
        path = self._pick("file")
        os.truncate(path, self.rng.randrange(0, path.stat().st_size + 1))
        return self._tell(path)

    def _touch(self) -> str:
        path = self._pick("file")
        when = self.rng.randrange(1, 1 << 60)
        os.utime(path, ns=(when, when))
        return self._tell(path)

    def _delete(self) -> str:
        path = self._pick(self.rng.choice(("file", "file", "link")))
        path.unlink()
        return self._tell(path)

    def _make_dir(self) -> str:
        path = self._place() / self._new_name()
        path.mkdir()
        return self._tell(path)

    def _drop_dir(self) -> str:
        path = self._pick("dir")
        shutil.rmtree(path)
        return self._tell(path)

    def _rename(self) -> str:
        path = self._pick(self.rng.choice(("file", "file", "file", "link")))
        new = self._place() / self._new_name()
        if new.exists() or new.is_symlink():
            raise FileExistsError(new)
        os.rename(path, new)
        return self._tell(path, new)

    def _rename_dir(self) -> str:
        path = self._pick("dir")
        new = self._place() / self._new_name()
        if new.exists() or new.is_symlink():
            raise FileExistsError(new)
        os.rename(path, new)
        return self._tell(path, new)

    def _swap(self) -> str:
        a, b = self._pick("file"), self._pick("file")
        if a == b:
            raise FileNotFoundError("one file only")
        hand = self.root / f"{self.prefix}swap{self.count}"
        os.rename(a, hand)
        os.rename(b, a)
        os.rename(hand, b)
        self._grow(a)
        self._grow(b)
        return self._tell(a, b)

    def _case_rename(self) -> str:
        path = self._pick("file")
        new = path.with_name(path.name.swapcase())
        if self.prefix and not new.name.startswith(self.prefix):
            new = path.with_name(self.prefix
                                 + path.name[len(self.prefix):].swapcase())
        if new == path or new.exists():
            raise FileExistsError(new)
        os.rename(path, new)
        return self._tell(path, new)

    def _change_kind(self) -> str:
        if self.rng.random() < 0.5:
            path = self._pick("file")
            path.unlink()
            path.mkdir()
            (path / "inside").write_bytes(self._data())
        else:
            path = self._pick("dir")
            shutil.rmtree(path)
            path.write_bytes(self._data())
        return self._tell(path)

    def _chmod(self) -> str:
        path = self._pick(self.rng.choice(("file", "file", "dir")))
        mode = self.rng.choice((0o600, 0o644, 0o755, 0o700, 0o640, 0o444))
        if path.is_dir():
            mode |= 0o700
        path.chmod(mode)
        return self._tell(path) + f" {mode:o}"

    def _link(self) -> str:
        path = self._place() / self._new_name()
        target = self.rng.choice(("README", "../up", "/nowhere/at/all", ".",
                                  "nöwhere", "a/b/c"))
        os.symlink(target, path)
        return self._tell(path) + f" => {target}"

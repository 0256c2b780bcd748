"""What is on a disk: snapshots of a folder, and how two of them differ.

Compared byte by byte: kind, permission bits (0777), mtime in nanoseconds and
content of files; target of symlinks; existence of directories and their
permission bits.  Not compared, because nobody promises them: mtimes of
directories and symlinks, owner, inode.  Internal names are left out.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Optional, Union

_ROOT_NAMES = {b".stfolder", b".stignore", b".stversions"}
_TEMP_PREFIXES = (b".syncthing.", b"~syncthing~")

PathLike = Union[str, bytes, "os.PathLike[str]"]


@dataclass(frozen=True)
class Item:
    """One thing at one path; what does not apply to its kind is None."""

    kind: str  # "file", "dir", "link", "other"
    mode: Optional[int] = None
    size: Optional[int] = None
    mtime_ns: Optional[int] = None
    target: Optional[bytes] = None
    digest: Optional[str] = None


Tree = Mapping[bytes, Item]


def _digest(path: bytes) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def _item(path: bytes, content: bool) -> Item:
    st = os.lstat(path)
    if stat.S_ISDIR(st.st_mode):
        return Item("dir", mode=st.st_mode & 0o777)
    if stat.S_ISLNK(st.st_mode):
        return Item("link", target=os.readlink(path))
    if stat.S_ISREG(st.st_mode):
        return Item("file", mode=st.st_mode & 0o777, size=st.st_size,
                    mtime_ns=st.st_mtime_ns,
                    digest=_digest(path) if content else None)
    return Item("other", mode=st.st_mode & 0o777)


def item(path: PathLike) -> Item:
    """What is at one path."""
    return _item(os.fsencode(path), True)


def is_internal(rel: bytes) -> bool:
    """A name that belongs to the engine, not to the person."""
    head, _, _ = rel.partition(b"/")
    return head in _ROOT_NAMES or any(
        part.startswith(_TEMP_PREFIXES) for part in rel.split(b"/"))


def walk(root: PathLike) -> Iterator[bytes]:
    """Every relative path below `root`, sorted, symlinks not followed."""
    base = os.fsencode(root)

    def below(rel: bytes) -> Iterator[bytes]:
        here = os.path.join(base, rel) if rel else base
        for name in sorted(os.listdir(here)):
            path = rel + b"/" + name if rel else name
            if is_internal(path):
                continue
            yield path
            full = os.path.join(base, path)
            if stat.S_ISDIR(os.lstat(full).st_mode):
                yield from below(path)

    yield from below(b"")


def snapshot(root: PathLike, content: bool = True) -> dict[bytes, Item]:
    """Everything below `root`.  Raises OSError when it moves underneath."""
    base = os.fsencode(root)
    return {rel: _item(os.path.join(base, rel), content)
            for rel in walk(base)}


def differences(left: Tree, right: Tree, limit: int = 20) -> list[str]:
    """How two snapshots differ, a line each; empty when they do not."""
    out = []
    for path in sorted(left.keys() | right.keys()):
        a, b = left.get(path), right.get(path)
        if a == b:
            continue
        name = os.fsdecode(path).encode("unicode_escape").decode()
        if a is None or b is None:
            side = "right" if a is None else "left"
            out.append(f"{name}: only {side}: {a or b}")
        else:
            parts = [f"{k} {getattr(a, k)!r} != {getattr(b, k)!r}"
                     for k in a.__dataclass_fields__
                     if getattr(a, k) != getattr(b, k)]
            out.append(f"{name}: " + ", ".join(parts))
        if len(out) >= limit:
            out.append("...")
            break
    return out


def same(left: PathLike, right: PathLike) -> bool:
    """True when both trees hold the same; metadata is looked at first."""
    a, b = snapshot(left, content=False), snapshot(right, content=False)
    return a == b and snapshot(left) == snapshot(right)


def assert_same(left: PathLike, right: PathLike) -> None:
    diff = differences(snapshot(left), snapshot(right))
    assert not diff, f"{left} and {right} differ:\n  " + "\n  ".join(diff)


def conflicts(root: PathLike) -> list[bytes]:
    """Conflict copies below `root`."""
    return [p for p in walk(root)
            if b".sync-conflict-" in p.rsplit(b"/", 1)[-1]]


def temporaries(root: PathLike) -> list[str]:
    """Temporary files of the engine left below `root`."""
    return [os.path.join(here, name)
            for here, _, names in os.walk(os.fsdecode(root))
            for name in names
            if name.startswith((".syncthing.", "~syncthing~"))]


def contents(root: PathLike) -> set[str]:
    """The digests of all files: what of a person's words is still there."""
    return {item.digest for item in snapshot(root).values()
            if item.digest is not None}


def write(path: Path, data: bytes = b"", mode: Optional[int] = None,
          mtime_ns: Optional[int] = None) -> Path:
    """Write a file, parents too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if mode is not None:
        path.chmod(mode)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no compressor shrinks, the same for the same seed."""
    out = bytearray()
    key = seed.to_bytes(8, "little", signed=True)
    step = 1 << 20
    for n in range((size + step - 1) // step):
        out += hashlib.shake_128(key + n.to_bytes(8, "little")).digest(
            min(step, size - n * step))
    return bytes(out)

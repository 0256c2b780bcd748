"""A small tree with one of everything that can be synced."""

from __future__ import annotations

import os
from pathlib import Path

from . import tree

NAMES = [
    "plain", "with space", " leading", "trailing ", "trailing.", "tab\there",
    "new\nline", "bell\a", "quote'\"", "star*?", "back\\slash", "a:b", "CON",
    "NUL.txt", "aux", "100%", "$HOME", "`id`", "-rf", "~", "#hash", "é", "日本",
    "😀", "\u202eright-to-left", "\x7f", "x" * 255, "é" * 127, ".hidden",
    "..double", "...", "sync-conflict", ".git", ".stfolder.txt",
]


def fill(root: Path, tag: str = "") -> None:
    """Files of telling sizes, directories, links, names, modes, times."""
    for size in (0, 1, 131_071, 131_072, 131_073, 1_000_000):
        tree.write(root / f"{tag}sizes/{size}", tree.noise(size, size + 1))
    tree.write(root / f"{tag}zeros", bytes(300_000))
    with open(root / f"{tag}sparse", "wb") as file:
        file.truncate(1_000_000)
    for mode in (0o400, 0o600, 0o644, 0o664, 0o755, 0o711, 0o777):
        tree.write(root / f"{tag}modes/{mode:o}", b"%o" % mode, mode)
    for number, when in enumerate((1, 10 ** 9 + 1, 123_456_789_987_654_321,
                                   1_700_000_000_000_000_000,
                                   4_000_000_000_999_999_999)):
        tree.write(root / f"{tag}times/{number}", b"t", mtime_ns=when)
    (root / f"{tag}empty/dir/deep/er").mkdir(parents=True)
    (root / f"{tag}closed").mkdir(mode=0o700)
    links = root / f"{tag}links"
    links.mkdir()
    for number, target in enumerate(("../plain", "/etc/passwd", "nowhere",
                                     "..", ".", "ö/日本", "x" * 1000)):
        os.symlink(target, links / str(number))
    names = root / f"{tag}names"
    names.mkdir()
    for name in NAMES:
        (names / name).write_bytes(name.encode())
    deep = root / f"{tag}deep" / "/".join(f"level{n}" for n in range(40))
    tree.write(deep / "bottom", b"far down")

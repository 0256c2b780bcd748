"""File systems of a test's own: in memory, or in a file by a loop device."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Sequence

import pytest


def run(*argv: object) -> None:
    subprocess.run([str(a) for a in argv], check=True, capture_output=True,
                   timeout=60)


class Mounts:
    """Fresh ones below `base`, gone with end().  Skips what is not there."""

    def __init__(self, base: Path):
        self.base = base
        self.places: list[Path] = []

    def make(self, name: str, kind: str, size_mib: int = 400,
             options: Sequence[str] = ()) -> Path:
        place = self.base / name
        place.mkdir(parents=True, exist_ok=True)
        try:
            if kind == "tmpfs":
                run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m",
                    "none", place)
            else:
                image = self.base / f"{name}.img"
                with open(image, "wb") as file:
                    file.truncate(size_mib << 20)
                force = "-F" if kind == "ext4" else "-f"
                run(f"mkfs.{kind}", "-q", force, *options, image)
                run("mount", "-o", "loop", image, place)
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", b"") or b""
            pytest.skip(f"cannot mount {kind}: {error} {detail!r}")
        self.places.append(place)
        return place

    def end(self) -> None:
        """What is still held open goes when it is let go."""
        for place in reversed(self.places):
            subprocess.run(["umount", "-l", str(place)], check=False)
        self.places.clear()

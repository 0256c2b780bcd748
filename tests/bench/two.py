"""What both benches use: two programs alike, measuring, data, telling."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from lib import proc, tree  # noqa: E402
from lib.node import Node, find_program  # noqa: E402
from lib.syncthing import SyncthingNode  # noqa: E402

FOLDER = "bench"
MIB = 1 << 20
Samples = dict[str, list[float]]


# ---- the two programs, alike -----------------------------------------------

class Ours:
    """One of our nodes."""

    label = "holdfast"

    def __init__(self, base: Path, name: str, listen: str = ""):
        """`listen`: at that address instead of TCP on loopback."""
        self.node = Node(base / f"{name}.home", name, log_level="info")
        self.name = name
        if listen:
            self.node.config("mesh.listen", listen)

    @property
    def pid(self) -> int:
        return self.node.pid

    @property
    def port(self) -> int:
        return self.node.port

    def start(self) -> None:
        self.node.start()

    def spawn(self) -> None:
        self.node.spawn()

    def stop(self) -> None:
        self.node.stop()

    def kill(self) -> None:
        self.node.kill9()

    def know(self, other: "Ours", at: str = "") -> None:
        """`at`: where to call it; "" waits to be called."""
        self.node.device_add(other.node.id, other.name, *([at] if at else []))

    def add(self, path: Path, share: Iterable["Ours"] = ()) -> None:
        self.node.folder_add(path, FOLDER, *(o.name for o in share))

    def connected(self) -> bool:
        return any(d.get("connected") or (d.get("path") or {}).get("kind")
                   not in (None, "none") for d in self._status()["devices"])

    def _status(self) -> dict[str, Any]:
        code, body = self.node.http("GET", "/v1/status", timeout=60)
        assert code == 200, body
        return json.loads(body)

    def came(self) -> int:
        """Bytes that others sent it."""
        return sum(d.get("bytes_in", 0) for d in self._status()["devices"])

    def in_sync(self, files: int) -> bool:
        """Idle, needing nothing, and holding that many files."""
        try:
            folder = self._status()["folders"][0]
        except (OSError, IndexError, ValueError):
            return False
        return (folder["state"] == "in_sync"
                and folder["local"]["files"] == files)

    def state_bytes(self) -> int:
        return disk_usage(self.node.home / "index")


class Theirs:
    """One Syncthing; `delay` is its watcher's."""

    label = "syncthing"

    def __init__(self, base: Path, name: str, delay: int = 10,
                 listen: str = ""):
        self.node = SyncthingNode(
            base / f"{name}.home", name,
            {"listenAddress": listen, "relaysEnabled": "true"} if listen
            else None)
        self.name = name
        self.delay = delay

    @property
    def pid(self) -> int:
        return self.node.pid

    @property
    def port(self) -> int:
        return self.node.port

    def start(self) -> None:
        self.node.start(60)

    def spawn(self) -> None:
        self.node.spawn()

    def stop(self) -> None:
        self.node.stop()

    def kill(self) -> None:
        self.node.kill9()

    def know(self, other: "Theirs", at: str = "") -> None:
        self.node.device_add(other.node.id, other.name, at or "dynamic")

    def add(self, path: Path, share: Iterable["Theirs"] = ()) -> None:
        self.node.folder_add(FOLDER, path, [o.node.id for o in share],
                             watcher_delay=self.delay)

    def connected(self) -> bool:
        table = self.node.get("/rest/system/connections")["connections"]
        return any(c["connected"] for c in table.values())

    def came(self) -> int:
        return int(self.node.get("/rest/system/connections")
                   ["total"]["inBytesTotal"])

    def in_sync(self, files: int) -> bool:
        try:
            status = self.node.db_status(FOLDER)
        except OSError:
            return False
        return (status["state"] == "idle" and status["needTotalItems"] == 0
                and status["localFiles"] == files)

    def state_bytes(self) -> int:
        return disk_usage(next(self.node.home.glob("index*")))


class Theirs1s(Theirs):
    """Syncthing with the smallest watcher delay it has."""

    label = "syncthing-1s"

    def __init__(self, base: Path, name: str, delay: int = 1):
        super().__init__(base, name, delay)


class Pair:
    """Two of one kind, A with the folder and B without, connected."""

    def __init__(self, kind: type, base: Path, dir_a: Path, dir_b: Path):
        self.kind = kind
        self.a, self.b = kind(base, "A"), kind(base, "B")
        self.dir_a, self.dir_b = dir_a, dir_b
        self.a.start()
        self.b.start()

    def connect(self) -> None:
        self.a.know(self.b, self.b.node.addr)
        self.b.know(self.a)
        until(lambda: self.a.connected() and self.b.connected(), 120)

    def both(self) -> tuple[int, int]:
        return self.a.pid, self.b.pid

    def in_sync(self, files: int) -> bool:
        return self.b.in_sync(files) and self.a.in_sync(files)

    def end(self) -> None:
        self.a.kill()
        self.b.kill()


# ---- measuring -------------------------------------------------------------

def until(check: Callable[[], bool], timeout: float = 1800.0,
          pause: float = 0.02) -> float:
    """Wait until `check`; the seconds it took."""
    start = time.monotonic()
    while not check():
        if time.monotonic() - start > timeout:
            raise TimeoutError(f"not within {timeout:g} s")
        time.sleep(pause)
    return time.monotonic() - start


def cpu_of(pids: Iterable[int]) -> float:
    return sum(proc.cpu_seconds(p) for p in pids)


def wire_of(*ports: int) -> int:
    """Bytes of all established connections with one of these ports.

    Both ends are on this machine, so each connection shows twice; it is
    counted once.
    """
    seen: dict[frozenset[str], int] = {}
    for port in ports:
        text = subprocess.run(
            ["ss", "-tinHO", "state", "established",
             f"( sport = :{port} )"], capture_output=True, text=True,
            check=True).stdout
        for line in text.splitlines():
            local, peer = line.split()[2:4]
            seen[frozenset((local, peer))] = sum(
                int(n) for n in re.findall(
                    r"bytes_(?:sent|received):(\d+)", line))
    return sum(seen.values())


class Meter:
    """Wall, CPU of both ends and bytes on the wire between two moments."""

    def __init__(self, *ends: Any):
        self.ends = ends
        os.sync()
        self.cpu = cpu_of(e.pid for e in ends)
        self.wire = wire_of(*(e.port for e in ends))
        self.start = time.monotonic()

    def done(self) -> dict[str, float]:
        wall = time.monotonic() - self.start
        out = {"wall": wall,
               "cpu": cpu_of(e.pid for e in self.ends) - self.cpu}
        if len(self.ends) > 1:
            out["wire"] = wire_of(*(e.port for e in self.ends)) - self.wire
        return out


def size_of(path: Path) -> int:
    """-1 when it is not there: it may be replaced at this moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def disk_usage(path: Path) -> int:
    return sum(p.stat().st_blocks * 512
               for p in [path, *path.rglob("*")] if p.exists())


# ---- data ------------------------------------------------------------------

def make_big(path: Path, size: int, seed: int) -> None:
    """One incompressible file."""
    rng = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        left = size
        while left:
            part = min(left, 8 * MIB)
            file.write(rng.randbytes(part))
            left -= part


def make_small(root: Path, files: int, dirs: int, seed: int) -> None:
    """Files of 4 to 12 KiB, spread over directories."""
    rng = random.Random(seed)
    for d in range(dirs):
        (root / f"tree/dir{d:04}").mkdir(parents=True, exist_ok=True)
    for n in range(files):
        path = root / f"tree/dir{n % dirs:04}/file{n:06}"
        path.write_bytes(rng.randbytes(rng.randrange(4096, 12289)))


def clean_root(root: Path) -> None:
    """Take what an engine left, so that the next one starts fresh."""
    for path in root.glob(".st*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_all(root: Path) -> None:
    """Bring it into the page cache, where it is for whoever comes second."""
    for path in root.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                while file.read(MIB):
                    pass


# ---- telling ---------------------------------------------------------------

UNITS = {"MiB": 1 / MIB, "MB": 1e-6, "ms": 1000.0}


def show(value: Optional[float], unit: str) -> str:
    if value is None:
        return ""
    value *= UNITS.get(unit, 1.0)
    digits = 0 if abs(value) >= 100 or unit == "B" else \
        1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def as_text(rows: list[list[str]]) -> str:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths))
                     .rstrip() for r in rows)


def as_markdown(head: str, rows: list[list[str]], rule: str) -> str:
    """A line on the run, then the table; `rule` is its second line."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "", lines[0], rule, *lines[1:]]) + "\n"


def version_of(*argv: object) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True,
                          text=True, check=False)
    return " ".join(done.stdout.split()[:2])


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.+)",
                      Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} x {model.group(1).strip()}"
            if model else f"{os.cpu_count()} x {platform.machine()}")


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    page = path.read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    assert rest, f"{path} has no {begin}"
    path.write_text(f"{before}{begin}\n{text}{end}{after}")

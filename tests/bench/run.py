#!/usr/bin/env python3
"""Side by side with Debian's Syncthing: the workloads of docs/performance.md.

Both ends run on this machine, on loopback and on one disk.  Each workload is
run N times, ours and theirs in turn, so that a slow minute of the machine hits
both.  Told are medians, the spread, and ratios; ratios are what counts.

What is measured, and how:
  wall    from the cause (folder added, file moved into place) until the other
          side has it *and says that it is in sync*; 20 ms resolution, 1 ms
          for the latency rows, which look at the disk only
  cpu     user and system time of both ends, /proc/PID/stat
  wire    bytes of the one TCP connection, both directions, from the kernel
          (TCP_INFO by `ss`): what a router would count, without headers
  memory  /proc/PID/smaps_rollup; written bytes: /proc/PID/io

Durability is as each program has it by default: ours flushes before it says
"in sync"; so does Syncthing (fsync on).  Syncthing waits 10 s after a change
by default; the latency row shows it with 1 s too, its smallest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional

import mesh
from two import (MIB, ROOT, UNITS, Meter, Ours, Pair, Samples, Theirs,
                 Theirs1s, as_markdown, as_text, clean_root, cpu_of,
                 find_program, machine, make_big, make_small, proc, read_all,
                 show, size_of, tree, until, version_of, write_between)

QUIET_S = 20.0  # without a byte written: what was to be tidied is tidy
QUIET_MAX_S = 180.0  # for one that never stops writing


# ---- the workloads ---------------------------------------------------------

class Bench:
    """All workloads at one scale."""

    def __init__(self, base: Path, options: argparse.Namespace):
        self.base = base
        self.scale = options.sizes
        self.only = set(options.only or ())
        self.idle_seconds = options.idle
        self.big = max(int(4096 * MIB * self.scale), 16 * MIB)
        self.shifted = max(int(1024 * MIB * self.scale), 8 * MIB)
        self.files = max(int(100_000 * self.scale), 500)
        self.dirs = max(int(1000 * self.scale), 20)
        self.samples: dict[str, dict[str, Samples]] = {}
        self.places = 0

    def wants(self, *names: str) -> bool:
        return not self.only or any(
            n == o or n.startswith(o + "-") for n in names
            for o in self.only)

    def note(self, kind: type, name: str, **values: float) -> None:
        table = self.samples.setdefault(name, {}).setdefault(kind.label, {})
        for key, value in values.items():
            table.setdefault(key, []).append(value)
        told = "  ".join(f"{k}={v:,.3f}" if isinstance(v, float)
                         else f"{k}={v:,}" for k, v in values.items())
        print(f"  {name:22} {kind.label:13} {told}", flush=True)

    def place(self, kind: type) -> tuple[Path, Path]:
        """A fresh directory for homes, and one for B's files.

        Trees of small files stay until the end: ext4 passes over the inodes
        of what was deleted in the last minutes one by one, and whoever makes
        files next would pay for it (a third of our CPU time).
        """
        self.places += 1
        work = self.base / f"run-{self.places}-{kind.label}"
        (work / "b").mkdir(parents=True)
        return work, work / "b"

    # -- one big file --------------------------------------------------------

    def run_big(self, kind: type) -> None:
        if not self.wants("scan-big", "send-big"):
            return
        source = self.base / "big"
        if not (source / "big").exists():
            make_big(source / "big", self.big, 1)
        clean_root(source)
        read_all(source)
        work, dir_b = self.place(kind)
        pair = Pair(kind, work, source, dir_b)
        try:
            pair.connect()
            meter = Meter(pair.a)
            pair.a.add(source, [pair.b])
            until(lambda: pair.a.in_sync(1))
            self.note(kind, "scan-big", **meter.done())
            if not self.wants("send-big"):
                return
            meter = Meter(pair.a, pair.b)
            pair.b.add(dir_b, [pair.a])
            until(lambda: pair.in_sync(1))
            self.note(kind, "send-big", **meter.done())
        finally:
            pair.end()
            clean_root(source)
            shutil.rmtree(work)

    # -- shifted data --------------------------------------------------------

    def run_shift(self, kind: type) -> None:
        if not self.wants("insert", "append", "overwrite"):
            return
        work, dir_b = self.place(kind)
        dir_a = work / "a"
        make_big(dir_a / "file", self.shifted, 2)
        pair = Pair(kind, work, dir_a, dir_b)
        try:
            pair.connect()
            pair.a.add(dir_a, [pair.b])
            pair.b.add(dir_b, [pair.a])
            until(lambda: pair.in_sync(1))
            time.sleep(1)
            for name, edit in (("insert", insert_front),
                               ("append", append_tail),
                               ("overwrite", overwrite_middle)):
                if not self.wants(name):
                    continue
                new = work / "new"
                shutil.copyfile(dir_a / "file", new)
                edit(new)
                want = new.stat()
                meter = Meter(pair.a, pair.b)
                os.replace(new, dir_a / "file")
                until(lambda: size_of(dir_b / "file") == want.st_size
                      and (dir_b / "file").stat().st_mtime_ns
                      == want.st_mtime_ns and pair.in_sync(1))
                self.note(kind, name, **meter.done())
                assert tree.same(dir_a, dir_b), name
                time.sleep(0.5)
        finally:
            pair.end()
            shutil.rmtree(work)

    # -- many small files ----------------------------------------------------

    def run_small(self, kind: type) -> None:
        names = ("scan-small", "send-small", "latency", "rename-top",
                 "restart", "idle", "state")
        if not self.wants(*names):
            return
        source = self.base / "small"
        if not source.exists():
            make_small(source, self.files, self.dirs, 3)
        clean_root(source)
        read_all(source)
        work, dir_b = self.place(kind)
        pair = Pair(kind, work, source, dir_b)
        try:
            pair.connect()
            meter = Meter(pair.a)
            pair.a.add(source, [pair.b])
            until(lambda: pair.a.in_sync(self.files))
            self.note(kind, "scan-small", **meter.done(),
                      peak_rss=peak(pair.a.pid))
            if not self.wants(*names[1:]):
                return
            meter = Meter(pair.a, pair.b)
            pair.b.add(dir_b, [pair.a])
            until(lambda: pair.in_sync(self.files), 3600)
            self.note(kind, "send-small", **meter.done(),
                      peak_rss=peak(pair.b.pid))
            self.latency(kind, pair)
            if self.wants("idle", "state"):
                self.idle(kind, pair)
            if self.wants("rename-top"):
                self.rename_top(kind, pair)
            if self.wants("restart"):
                self.restart(kind, pair)
        finally:
            pair.end()
            if (source / "renamed").exists():
                os.rename(source / "renamed", source / "tree")
            shutil.rmtree(source / "tree/latency", ignore_errors=True)
            clean_root(source)

    def run_latency_1s(self, kind: type) -> None:
        """Only the latency rows, for Syncthing with a delay of 1 s."""
        if not self.wants("latency"):
            return
        source = self.base / "small"
        clean_root(source)
        work, dir_b = self.place(kind)
        subprocess.run(["cp", "-a", f"{source}/.", str(dir_b)], check=True)
        pair = Pair(kind, work, source, dir_b)
        try:
            pair.connect()
            pair.a.add(source, [pair.b])
            pair.b.add(dir_b, [pair.a])
            until(lambda: pair.in_sync(self.files), 3600)
            self.latency(kind, pair)
        finally:
            pair.end()
            shutil.rmtree(source / "tree/latency", ignore_errors=True)
            clean_root(source)

    def latency(self, kind: type, pair: Pair) -> None:
        """Close to visible, one change at a time."""
        if not self.wants("latency"):
            return
        rounds = {Ours: 25, Theirs1s: 5}.get(kind, 2)
        rng = random.Random(4)
        for n in range(rounds):
            rel = f"tree/dir{rng.randrange(self.dirs):04}"
            path, seen = pair.dir_a / rel / "new", pair.dir_b / rel / "new"

            def step(name: str, act: Callable[[], object],
                     check: Callable[[], bool]) -> None:
                # People's changes fall anywhere into a watcher's period.
                time.sleep(rng.uniform(0.05, 0.3))
                act()
                start = time.monotonic()
                until(check, 120, 0.001)
                self.note(kind, f"latency-{name}",
                          wall=time.monotonic() - start)

            step("create", lambda: path.write_bytes(b"x" * 4096),
                 lambda: size_of(seen) == 4096)
            step("edit", lambda: path.write_bytes(b"y" * 4097),
                 lambda: size_of(seen) == 4097)
            step("rename", lambda: os.rename(path, path.with_name("new2")),
                 lambda: seen.with_name("new2").exists()
                 and not seen.exists())
            step("delete", lambda: path.with_name("new2").unlink(),
                 lambda: not seen.with_name("new2").exists())
        until(lambda: pair.in_sync(self.files))

    def rename_top(self, kind: type, pair: Pair) -> None:
        inode = (pair.dir_b / "tree").stat().st_ino
        meter = Meter(pair.a, pair.b)
        os.rename(pair.dir_a / "tree", pair.dir_a / "renamed")
        until(lambda: (pair.dir_b / "renamed").exists()
              and not (pair.dir_b / "tree").exists()
              and pair.in_sync(self.files), 3600)
        got = meter.done()
        same = (pair.dir_b / "renamed").stat().st_ino == inode
        self.note(kind, "rename-top", **got,
                  wire_a_file=got["wire"] / self.files,
                  one_rename=float(same))
        os.rename(pair.dir_a / "renamed", pair.dir_a / "tree")
        if self.wants("restart"):
            until(lambda: (pair.dir_b / "tree").exists()
                  and not (pair.dir_b / "renamed").exists()
                  and pair.in_sync(self.files), 3600)

    def restart(self, kind: type, pair: Pair) -> None:
        """Until a change made right after the start is on the other disk."""
        pair.a.stop()
        pair.b.stop()
        mark = pair.dir_a / "tree/latency"
        mark.mkdir(exist_ok=True)
        (mark / "mark").write_bytes(b"x")
        start = time.monotonic()
        before = 0.0
        pair.a.spawn()
        pair.b.spawn()
        until(lambda: (pair.dir_b / "tree/latency/mark").exists(), 600,
              0.005)
        pulled = time.monotonic() - start
        until(lambda: pair.in_sync(self.files + 1), 600)
        self.note(kind, "restart", pulled=pulled,
                  wall=time.monotonic() - start,
                  cpu=cpu_of(pair.both()) - before)
        shutil.rmtree(mark)
        until(lambda: pair.in_sync(self.files), 600)

    def idle(self, kind: type, pair: Pair) -> None:
        """Once both have tidied up what the work before left to be tidied."""
        pids = pair.both()

        def written() -> int:
            return sum(proc.io_counters(p)["write_bytes"] for p in pids)

        start = rest = time.monotonic()
        wrote = written()
        while time.monotonic() < min(rest + QUIET_S, start + QUIET_MAX_S):
            time.sleep(0.5)
            if written() != wrote:
                wrote, rest = written(), time.monotonic()
        if self.wants("state"):
            self.note(kind, "state", bytes_a_file=float(
                pair.b.state_bytes() / self.files))
        if not self.wants("idle"):
            return
        cpu = cpu_of(pids)
        switches = sum(proc.context_switches(p) for p in pids)
        time.sleep(self.idle_seconds)
        memory = [proc.smaps(p) for p in pids]
        seconds = self.idle_seconds
        self.note(
            kind, "idle", settled=rest - start,
            cpu_percent=100 * (cpu_of(pids) - cpu) / seconds / 2,
            written=float(written() - wrote),
            switches_a_s=(sum(proc.context_switches(p) for p in pids)
                          - switches) / seconds / 2,
            rss_a=float(memory[0]["Rss"]), rss_b=float(memory[1]["Rss"]),
            anonymous_a=float(memory[0]["Anonymous"]),
            anonymous_b=float(memory[1]["Anonymous"]))


def peak(pid: int) -> float:
    """Highest resident size so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return float(found.group(1)) * 1024 if found else math.nan


def insert_front(path: Path) -> None:
    data = path.read_bytes()
    with open(path, "wb") as file:
        file.write(b"!")
        file.write(data)


def append_tail(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(os.urandom(MIB))


def overwrite_middle(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2 + 777)
        file.write(os.urandom(4096))


def rsync_bytes(base: Path, size: int) -> dict[str, int]:
    """What rsync's own algorithm sends for the same three edits."""
    if shutil.which("rsync") is None:
        return {}
    out = {}
    old, new = base / "rsync/old", base / "rsync/new"
    make_big(old, size, 2)
    for name, edit in (("insert", insert_front), ("append", append_tail),
                       ("overwrite", overwrite_middle)):
        shutil.copyfile(old, new)
        edit(new)
        text = subprocess.run(
            ["rsync", "--no-whole-file", "--stats", "-I", str(new),
             str(old)], capture_output=True, text=True, check=True).stdout
        out[name] = sum(int(n.replace(",", "")) for n in re.findall(
            r"Total bytes (?:sent|received): ([\d,]+)", text))
        print(f"  {name:22} {'rsync':13} wire={out[name]:,}", flush=True)
    shutil.rmtree(base / "rsync")
    return out


# ---- telling ---------------------------------------------------------------

# Workload, measure, unit, target as a share of Syncthing's or absolute.
ROWS: list[tuple[str, str, str, Optional[float], Optional[float]]] = [
    ("scan-big", "wall", "s", 1 / 3, None),
    ("scan-big", "cpu", "s", None, None),
    ("scan-small", "wall", "s", 1 / 4, None),
    ("scan-small", "peak_rss", "MiB", None, None),
    ("send-big", "wall", "s", 1 / 3, None),
    ("send-big", "cpu", "s", 1 / 3, None),
    ("send-small", "wall", "s", 1 / 10, None),
    ("send-small", "cpu", "s", None, None),
    ("send-small", "wire", "MB", None, None),
    ("latency-create", "wall", "ms", None, 100),
    ("latency-create", "wall95", "ms", None, 250),
    ("latency-edit", "wall", "ms", None, 100),
    ("latency-edit", "wall95", "ms", None, 250),
    ("latency-rename", "wall", "ms", None, 100),
    ("latency-rename", "wall95", "ms", None, 250),
    ("latency-delete", "wall", "ms", None, 100),
    ("latency-delete", "wall95", "ms", None, 250),
    ("insert", "wall", "s", 1 / 5, None),
    ("insert", "wire", "MB", None, None),
    ("append", "wall", "s", 1 / 5, None),
    ("append", "wire", "MB", None, None),
    ("overwrite", "wall", "s", 1 / 5, None),
    ("overwrite", "wire", "MB", None, None),
    ("rename-top", "wall", "s", None, 5),
    ("rename-top", "wire_a_file", "B", None, 300),
    ("rename-top", "one_rename", "", None, None),
    ("restart", "pulled", "s", None, 2),
    ("restart", "wall", "s", None, None),
    ("idle", "settled", "s", None, None),
    ("idle", "anonymous_a", "MiB", None, 24),
    ("idle", "anonymous_b", "MiB", None, 24),
    ("idle", "rss_a", "MiB", None, None),
    ("idle", "cpu_percent", "%", None, 0.1),
    ("idle", "written", "B", None, 0),
    ("idle", "switches_a_s", "/s", None, None),
    ("state", "bytes_a_file", "B", None, 300),
]

_LABELS = (Ours.label, Theirs.label, Theirs1s.label)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def value_of(samples: dict[str, dict[str, Samples]], workload: str,
             label: str, measure: str) -> Optional[float]:
    """The median, or the 95th percentile of "NAME95"."""
    table = samples.get(workload, {}).get(label, {})
    if measure.endswith("95"):
        values = table.get(measure[:-2])
        return percentile(values, 0.95) if values else None
    values = table.get(measure)
    return statistics.median(values) if values else None


def table(result: dict[str, Any]) -> list[list[str]]:
    """Header and rows; the last column says whether the target is met."""
    samples = result["samples"]
    rsync = result.get("rsync_wire", {})
    rows = [["workload", "measure", "holdfast", "syncthing",
             "syncthing, 1 s", "ratio", "target", "met"]]
    for workload, measure, unit, share, absolute in ROWS:
        values = [value_of(samples, workload, label, measure)
                  for label in _LABELS]
        if values[0] is None and values[1] is None:
            continue
        ours, theirs = values[0], values[1]
        if theirs is None:
            theirs = values[2]
        ratio = f"{ours / theirs:.3f}" if ours is not None and theirs else ""
        target, met = "", ""
        if workload in rsync and measure == "wire":
            absolute = rsync[workload] * 1.2 * 1e-6
        if share is not None:
            target = f"{share:.2g} of theirs"
            if ours is not None and theirs:
                met = "yes" if ours <= share * theirs else "**no**"
        elif absolute is not None:
            target = f"{absolute:.3g} {unit}"
            if ours is not None:
                scaled = ours * UNITS.get(unit, 1.0)
                met = "yes" if scaled <= absolute else "**no**"
        name = {"wall": "wall", "wall95": "p95"}.get(measure, measure)
        if workload.startswith("latency") and measure == "wall":
            name = "p50"
        rows.append([workload, f"{name} {unit}".strip(),
                     *(show(v, unit) for v in values), ratio, target, met])
    return rows


def told(result: dict[str, Any]) -> str:
    rows = table(result)
    head = (f"{result['date']}, {result['machine']}; sizes x "
            f"{result['sizes']:g}, medians of {result['runs']}; "
            f"{result['ours']}, {result['theirs']}.")
    return as_markdown(head, rows, "|" + "---|" * len(rows[0]))


_BEGIN, _END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Holdfast and Syncthing, side by side.")
    parser.add_argument("-n", "--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true",
                        help="a tenth of the sizes, a short idle time")
    parser.add_argument("--sizes", type=float, default=1.0,
                        help="scale of all sizes (1: as in the table)")
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="scan-big send-big insert append overwrite "
                        "scan-small send-small latency rename-top restart "
                        "idle state; repeatable.  With --mesh: direct "
                        "relay long narrow, or one of them: mesh.py")
    parser.add_argument("--mesh", action="store_true",
                        help="TCP, QUIC, relays and long ways instead")
    parser.add_argument("--ours", action="store_true",
                        help="do not run Syncthing")
    parser.add_argument("--theirs", action="store_true",
                        help="run Syncthing alone")
    parser.add_argument("--idle", type=float, default=60.0,
                        help="seconds to watch the idle nodes")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"),
                        help="where to work; the disk that is measured")
    parser.add_argument("--json", type=Path,
                        help="write all samples here, not below build/bench")
    parser.add_argument("--from", dest="source", type=Path,
                        help="tell an earlier result again; run nothing")
    parser.add_argument("--markdown", type=Path,
                        help="put the table into this page")
    options = parser.parse_args()
    if options.quick:
        options.sizes = min(options.sizes, 0.1)
        options.idle = min(options.idle, 10.0)
    if not options.source and not options.theirs and \
            not find_program("syncd"):
        sys.exit("bench: build first: ./dev build, or set HOLDFAST_BIN")
    if options.mesh:
        return mesh.main(options)
    if options.source:
        result = json.loads(options.source.read_text())
    else:
        result = measure(options)
    print(as_text(table(result)))
    if options.markdown:
        write_between(options.markdown, _BEGIN, _END, told(result))
    return 0


def attempt(part: Callable[[type], None], kind: type,
            failed: list[str]) -> None:
    """One workload of one program; a failure is told and does not end all."""
    try:
        part(kind)
    except (AssertionError, OSError, TimeoutError) as error:
        text = f"{part.__name__} {kind.label}: {error}"
        print(f"  FAILED {text}", flush=True)
        failed.append(text)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    kinds: list[type] = []
    if not options.theirs:
        kinds.append(Ours)
    if not options.ours:
        if shutil.which("syncthing"):
            kinds.append(Theirs)
        else:
            print("bench: no syncthing here; ours alone", file=sys.stderr)
    base = options.dir / f"holdfast-bench-{os.getpid()}"
    base.mkdir(parents=True)
    bench = Bench(base, options)
    rsync: dict[str, int] = {}
    failed: list[str] = []
    path = options.json or ROOT / "build/bench/result.json"
    result: dict[str, Any] = {}
    try:
        if bench.wants("insert", "append", "overwrite"):
            rsync = rsync_bytes(base, bench.shifted)
        for run in range(options.runs):
            print(f"run {run + 1} of {options.runs}", flush=True)
            for part in (bench.run_big, bench.run_shift, bench.run_small):
                for kind in kinds:
                    attempt(part, kind, failed)
            if Theirs in kinds:
                attempt(bench.run_latency_1s, Theirs1s, failed)
            # Whoever ends it here has what was measured.
            result = result_of(bench, run + 1, rsync, failed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result, indent=1))
            print(f"written: {path}", flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return result


def result_of(bench: Bench, runs: int, rsync: dict[str, int],
              failed: list[str]) -> dict[str, Any]:
    ctl = find_program("syncctl")
    return {
        "date": datetime.date.today().isoformat(), "machine": machine(),
        "kernel": platform.release(), "sizes": bench.scale,
        "runs": runs, "samples": bench.samples,
        "rsync_wire": rsync, "failed": failed,
        "ours": version_of(ctl, "version") if ctl else "",
        "theirs": version_of("syncthing", "--version"),
    }


if __name__ == "__main__":
    sys.exit(main())

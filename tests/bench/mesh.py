"""The ways between two devices: TCP, QUIC, relays, and long ways.

One incompressible file goes from A, which has hashed it, to B, which is empty:
timed from the moment B adds the folder until both say "in sync".  Each case is
run by two of ours and by two of Debian's Syncthing, in turn; ratios are taken
within a turn and told as medians, so that a slow minute of the machine hits
both sides of them.

  direct-tcp, direct-quic      on loopback, where our datagrams are long ones
  direct-net                   QUIC with datagrams as on an Ethernet
  relay-ours, relay-debian     through our relay, and through strelaysrv; the
                               protocol of relays is TCP's alone
  long-MS-PERCENT              QUIC, so many ms and lost datagrams each way
  long-tcp-MS                  TCP, late and without loss (see longway.c)
  narrow                       QUIC, 50 Mbit/s, 50 ms and 1 % each way

Long ways end after LONG_S seconds at the latest: what has come by then is
counted.  All but loopback is in a network namespace of our own, at addresses
that are not loopback's, for our QUIC treats those in a way of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from two import (MIB, ROOT, Ours, Theirs, as_markdown, as_text, clean_root,
                 cpu_of, find_program, machine, make_big, proc, until,
                 version_of, write_between)
from lib.longway import LongWay
from lib.node import Node
from lib.servers import Relay, find_server

LONG_S = 60.0
NARROW_MBIT = 50.0
HERE, THERE, BETWEEN = "11.9.0.1", "11.9.0.2", "11.9.0.9"
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Case:
    """One way; `relay` is whose, `long` wants longway between the two."""

    name: str
    what: str
    size: int  # MiB, at scale 1
    scheme: str = "tcp"
    relay: str = ""
    net: bool = False  # at addresses that are not loopback's
    long: bool = False
    delay_ms: float = 0
    loss: float = 0  # percent
    mbit: float = 0

    @property
    def hosts(self) -> tuple[str, str]:
        return (HERE, THERE) if self.net else ("127.0.0.1", "127.0.0.1")


def _long(delay: float, loss: float) -> Case:
    return Case(f"long-{delay:g}-{loss:g}",
                f"QUIC, {delay:g} ms and {loss:g} % each way", 512, "quic",
                net=True, long=True, delay_ms=delay, loss=loss)


CASES = [
    Case("direct-tcp", "TCP", 1024),
    Case("direct-quic", "QUIC", 1024, "quic"),
    Case("direct-net", "QUIC, datagrams of an Ethernet", 1024, "quic",
         net=True),
    Case("relay-ours", "through our relay", 1024, relay="ours"),
    Case("relay-debian", "through strelaysrv", 1024, relay="debian"),
    *(_long(delay, loss) for delay in (5, 50) for loss in (0, 0.1, 1)),
    *(Case(f"long-tcp-{delay}", f"TCP, {delay} ms each way", 512, net=True,
           long=True, delay_ms=delay) for delay in (5, 50)),
    Case("narrow", "QUIC, 50 Mbit/s, 50 ms and 1 % each way", 64, "quic",
         net=True, long=True, delay_ms=50, loss=1, mbit=NARROW_MBIT),
]

# What the issue asks for: a case, of whom, what it is a share of, the share.
# "syncthing" is Syncthing's in the same case.
TARGETS: list[tuple[str, str, float]] = [
    ("direct-quic", "direct-tcp", 0.7),
    ("direct-quic", "syncthing", 2.0),
    ("direct-net", "syncthing", 2.0),
    ("relay-ours", "direct-tcp", 0.6),
    *((case.name, "syncthing", 2.0) for case in CASES
      if case.long and case.scheme == "quic" and not case.mbit),
]


# ---- what stands between the two -------------------------------------------

def long_way(base: Path, case: Case, port: int, seed: int) -> LongWay:
    """From an address of its own to `port` of HERE."""
    options = ["-d", f"{case.delay_ms:g}", "-l", f"{case.loss:g}", "-s",
               str(seed)]
    if case.mbit:
        options += ["-r", f"{case.mbit:g}"]
    made = LongWay(base, "tcp" if case.scheme == "tcp" else "udp",
                   f"{HERE}:{port}", *options, host=BETWEEN)
    return made.start()


class OurRelay:
    """A node that serves anybody and syncs nothing."""

    def __init__(self, base: Path):
        self.node = Node(base / "R.home", "R", log_level="info")
        self.port = proc.free_port()
        for key, value in (("relay.serve", "true"), ("relay.open", "true"),
                           ("relay.listen", f"tcp://127.0.0.1:{self.port}")):
            self.node.config(key, value)
        self.url = f"relay://127.0.0.1:{self.port}/?id={self.node.id}"
        self.node.start()

    @property
    def pid(self) -> int:
        return self.node.pid

    def end(self) -> None:
        self.node.kill9()


class DebiansRelay:
    def __init__(self, base: Path):
        self.relay = Relay(base / "relay")
        self.relay.start()
        self.url = self.relay.url

    @property
    def pid(self) -> int:
        return self.relay.pid

    def end(self) -> None:
        self.relay.kill9()


def own_network() -> str:
    """A namespace with addresses that are not loopback's; or why not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if shutil.which("ip") is None:
        return "no ip"
    if libc.unshare(_CLONE_NEWNET) != 0:
        return os.strerror(ctypes.get_errno())
    for words in (("link", "set", "lo", "up"),
                  ("addr", "add", f"{HERE}/24", "dev", "lo")):
        subprocess.run(["ip", *words], check=True)
    return ""


# ---- one case --------------------------------------------------------------

class Run:
    """Two ends of one kind, and what is between them, for one case."""

    def __init__(self, base: Path, kind: type, case: Case, seed: int):
        self.base, self.kind, self.case = base, kind, case
        self.between: Any = None
        host_a, host_b = case.hosts
        port = proc.free_port()
        at = f"{case.scheme}://{host_a}:{port}"
        listen = at
        if case.relay:
            self.between = (OurRelay if case.relay == "ours"
                            else DebiansRelay)(base)
            # A waits at the relay, and nowhere else that B knows.
            listen = at = self.between.url
        elif case.long:
            self.between = long_way(base, case, port, seed)
            at = f"{case.scheme}://{BETWEEN}:{self.between.port}"
        self.at = at
        self.a = kind(base, "A", listen=listen)
        self.b = kind(base, "B", listen=f"{case.scheme}://{host_b}:"
                                        f"{proc.free_port()}")

    def connect(self) -> None:
        self.a.start()
        self.b.start()
        self.a.know(self.b)
        self.b.know(self.a, self.at)
        until(lambda: self.a.connected() and self.b.connected(), 180)

    def pids(self) -> tuple[int, int]:
        return self.a.pid, self.b.pid

    def send(self, source: Path, size: int) -> dict[str, float]:
        """Speed and costs of one file; see the top of this page."""
        clean_root(source)
        self.a.add(source, [self.b])
        until(lambda: self.a.in_sync(1))
        came = self.b.came()
        cpu = cpu_of(self.pids())
        between = cpu_of([self.between.pid]) if self.between else 0.0
        start = time.monotonic()
        self.b.add(self.base / "b", [self.a])
        while True:
            wall = time.monotonic() - start
            if self.b.in_sync(1) and self.a.in_sync(1):
                done = size
                break
            if self.case.long and wall > LONG_S:
                done = min(size, self.b.came() - came)
                break
            if wall > 1800:
                raise TimeoutError(f"not within {wall:.0f} s")
            time.sleep(0.02)
        giga = max(done, 1) / 1e9
        out = {"speed": done / wall, "wall": wall, "done": float(done),
               "cpu": (cpu_of(self.pids()) - cpu) / giga}
        if self.between:
            out["between"] = (cpu_of([self.between.pid]) - between) / giga
            out["between_busy"] = out["between"] * giga / wall
        return out

    def end(self) -> dict[str, float]:
        """The datagrams that longway lost against its orders."""
        self.a.kill()
        self.b.kill()
        if isinstance(self.between, LongWay):
            assert self.between.end() == 0, self.between.tail()
            return {"slow": float(sum(self.between.told(way, "slow")
                                      for way in ("up", "down")))}
        if self.between is not None:
            self.between.end()
        return {}


class MeshBench:
    def __init__(self, base: Path, options: argparse.Namespace, net: bool):
        self.base, self.net = base, net
        self.scale = options.sizes
        self.only = set(options.only or ())
        # case -> label -> one dict a turn; None: it failed in that turn
        self.turns: dict[str, dict[str, list[Optional[dict]]]] = {}
        self.failed: list[str] = []

    def wants(self, case: Case) -> bool:
        if case.net and not self.net:
            return False
        if case.relay == "debian" and find_server("strelaysrv") is None:
            return False
        return not self.only or any(
            case.name == o or case.name.startswith(o + "-")
            for o in self.only)

    def source(self, size: int) -> Path:
        place = self.base / f"data-{size}"
        if not (place / "big").exists():
            make_big(place / "big", size, 1)
        return place

    def turn(self, kind: type, case: Case, number: int) -> None:
        size = max(int(case.size * MIB * self.scale), 8 * MIB)
        source = self.source(size)
        work = self.base / f"run-{kind.label}"
        shutil.rmtree(work, ignore_errors=True)
        (work / "b").mkdir(parents=True)
        got: Optional[dict] = None
        run = None
        try:
            run = Run(work, kind, case, number)
            run.connect()
            got = run.send(source, size)
        except (AssertionError, OSError, TimeoutError) as error:
            text = f"{case.name} {kind.label}: {error}"
            print(f"  FAILED {text}", flush=True)
            self.failed.append(text)
        finally:
            if run is not None:
                lost = run.end()
                if got is not None:
                    got.update(lost)
            clean_root(source)
            shutil.rmtree(work, ignore_errors=True)
        self.turns.setdefault(case.name, {}).setdefault(
            kind.label, []).append(got)
        if got is not None:
            told = "  ".join(f"{k}={v:,.3f}" for k, v in got.items()
                             if k not in ("speed", "done"))
            print(f"  {case.name:14} {kind.label:10} "
                  f"{got['speed'] / 1e6:8.1f} MB/s  {told}", flush=True)


# ---- telling ---------------------------------------------------------------

Turns = dict[str, dict[str, list[Optional[dict]]]]


def median_of(turns: Turns, name: str, label: str,
              measure: str) -> Optional[float]:
    values = [turn[measure] for turn in turns.get(name, {}).get(label, [])
              if turn is not None and measure in turn]
    return statistics.median(values) if values else None


def ratio(turns: Turns, one: tuple[str, str],
          other: tuple[str, str]) -> Optional[float]:
    """Speeds, turn by turn; the median."""
    pairs = zip(turns.get(one[0], {}).get(one[1], []),
                turns.get(other[0], {}).get(other[1], []))
    found = [a["speed"] / b["speed"] for a, b in pairs
             if a is not None and b is not None and b["speed"] > 0]
    return statistics.median(found) if found else None


def number(value: Optional[float], digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) \
        else f"{value:.{digits}g}"


def targets_of(turns: Turns, name: str) -> list[str]:
    """In words, each with yes or no."""
    out = []
    ours = Ours.label
    for case, base, share in TARGETS:
        if case != name:
            continue
        other = (name, Theirs.label) if base == "syncthing" else (base, ours)
        got = ratio(turns, (name, ours), other)
        if got is None:
            continue
        text = f"{share:g} of {base}: {number(got)}"
        out.append(text if got >= share else f"**{text}**")
    speed = median_of(turns, name, ours, "speed")
    if name == "narrow" and speed is not None:
        got = speed * 8 / (NARROW_MBIT * 1e6)
        text = f"0.8 of the way: {number(got)}"
        out.append(text if got >= 0.8 else f"**{text}**")
    return out


def table(result: dict[str, Any]) -> list[list[str]]:
    turns: Turns = result["turns"]
    rows = [["case", "holdfast MB/s", "syncthing MB/s", "CPU s a GB",
             "syncthing", "relay s a GB", "syncthing", "targets"]]
    for case in CASES:
        if case.name not in turns:
            continue
        speeds = [median_of(turns, case.name, label, "speed")
                  for label in (Ours.label, Theirs.label)]
        cost = [median_of(turns, case.name, label, what)
                for what in ("cpu", "between")
                for label in (Ours.label, Theirs.label)]
        rows.append([case.what,
                     *(number(s and s / 1e6) for s in speeds),
                     *(number(c) for c in cost[:2]),
                     *(number(c) if case.relay else "" for c in cost[2:]),
                     "; ".join(targets_of(turns, case.name))])
    return rows


def told(result: dict[str, Any]) -> str:
    rows = table(result)
    head = (f"{result['date']}, {result['machine']}; load before "
            f"{result['load']}; sizes x {result['sizes']:g}, medians of "
            f"{result['runs']} turns; {result['ours']}, {result['theirs']}.")
    return as_markdown(head, rows,
                       "|---|" + "--:|" * (len(rows[0]) - 2) + "---|")


_BEGIN, _END = "<!-- bench-mesh: begin -->", "<!-- bench-mesh: end -->"


def main(options: argparse.Namespace) -> int:
    if options.source:
        result = json.loads(options.source.read_text())
    else:
        result = measure(options)
    print(as_text(table(result)))
    if options.markdown:
        write_between(options.markdown, _BEGIN, _END, told(result))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    kinds: list[type] = []
    if not options.theirs:
        kinds.append(Ours)
    if not options.ours and shutil.which("syncthing"):
        kinds.append(Theirs)
    load = f"{os.getloadavg()[0]:.1f}"
    why = own_network()
    if why:
        print(f"bench: no network of our own ({why}): loopback alone",
              file=sys.stderr)
    base = options.dir / f"holdfast-bench-{os.getpid()}"
    base.mkdir(parents=True)
    bench = MeshBench(base, options, not why)
    try:
        for run in range(options.runs):
            print(f"turn {run + 1} of {options.runs}", flush=True)
            for case in CASES:
                for kind in kinds:
                    if bench.wants(case):
                        bench.turn(kind, case, run + 1)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    ctl = find_program("syncctl")
    result = {
        "date": datetime.date.today().isoformat(), "machine": machine(),
        "kernel": platform.release(), "sizes": bench.scale, "load": load,
        "runs": options.runs, "turns": bench.turns, "failed": bench.failed,
        "ours": version_of(ctl, "version") if ctl else "",
        "theirs": version_of("syncthing", "--version"),
    }
    path = options.json or ROOT / "build/bench/mesh.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1))
    print(f"written: {path}")
    return result

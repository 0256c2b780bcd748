#!/usr/bin/env python3
"""Power cuts under two real daemons on real file systems.

Two machines, a and b, share a folder; a person works at each.  Folder and home
of each lie on a disk of its own that loses its power (powerdisk_fuse.c), at a
random write: one machine, the other, or both at once.  What had reached the
platters of what was in the disk's cache is random too.  Then the disk is
mounted again, the daemon started, often cut again while it recovers; at the
end both must agree and the oracle (oracle.py) must find everything.

The seed fixes every decision of this program, but not when the daemons and the
kernel do what: a failing seed is likely, not certain, to fail again.  So the
disks and logs of a failure are kept.

The last line is "N cuts, F failing"; the exit code is 0 only when F is 0.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[0] / "e2e"))

from disk import MOUNTS, Disk, DiskError, PowerDisks, run  # noqa: E402
from lib import node as ours, proc  # noqa: E402
from lib.node import Node  # noqa: E402
from lib.proc import _die_with_parent  # noqa: E402
from oracle import Eyes, Oracle, is_loose, is_part  # noqa: E402

CLONE_NEWNS = 0x20000
CANNOT = 77  # exit code: this machine has not what it takes
FOLDER = "f1"
CUTS_PER_WORLD = 20
SERVE_MAX_S = 2.0     # from start to the first answer
AGREE_MAX_S = 60.0    # from the last start to two equal trees
UNSEEN_S = 5.0        # ... after which what cannot be seen is looked for
PAUSES_S = (0.001, 0.012, 0.012, 0.06)  # of a person, between two acts
MODELS = (("nothing", 30), ("prefix", 25), ("subset", 35), ("all", 10))


class Failing(Exception):
    """A promise was broken."""


@dataclass
class Result:
    """What one world came to."""

    seed: int
    kind: str
    cuts: int = 0
    recuts: int = 0        # of these, during a recovery
    both: int = 0          # of these, on both machines at once
    cached: int = 0        # writes in the caches when the power went
    lost: int = 0          # of these, not or not wholly kept
    torn_loose: int = 0
    unseen: int = 0
    rebuilt: int = 0
    serve_s: list[float] = field(default_factory=list)
    agree_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kept: str = ""


class Worker:
    """The person at one machine, a process."""

    def __init__(self, root: Path, name: str, seed: int, careless: int,
                 pause: float):
        self.name = name
        self.lines: list[str] = []
        self.proc = subprocess.Popen(
            [sys.executable, str(HERE / "person.py"), str(root), name,
             str(seed), str(careless), str(pause)], stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True,
            preexec_fn=_die_with_parent)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.proc.stdout:
            self.lines.append(line)

    def kill(self) -> None:
        self.proc.kill()

    def end(self) -> None:
        """Wait for one that was told to; all it said is in `lines` then."""
        self.proc.wait(20)
        self.reader.join(20)
        self.proc.stdout.close()


class Machine:
    """A disk, a daemon and a person."""

    def __init__(self, base: Path, disks: PowerDisks, name: str, kind: str,
                 options: str, preload: Optional[Path]):
        self.name = name
        self.disk = Disk(disks, name, kind, options, base / name)
        self.node = Node(base / name / "home", name.upper())
        self.node.log = base / f"{name}.log"
        if preload:
            self.node.env["LD_PRELOAD"] = str(preload)
        self.root = base / name / "sync"
        self.person: Optional[Worker] = None
        self.eyes = Eyes()
        self.heard = 0

    def look(self) -> dict[str, str]:
        return self.eyes.look(self.root)


class World:
    def __init__(self, seed: int, cuts: int, options: argparse.Namespace):
        self.rng = random.Random(seed)
        self.result = Result(seed, options.fs)
        self.cuts, self.options = cuts, options
        self.base = Path(tempfile.mkdtemp(prefix="hfp-"))
        self.oracle = Oracle()
        self.story: list[str] = []
        self.persons = 0
        self.machines: dict[str, Machine] = {}
        self.disks = PowerDisks(options.powerdisk, self.base / "disks")

    def tell(self, text: str) -> None:
        self.story.append(f"{time.time():.3f} {text}")
        if self.options.verbose:
            print(f"{self.result.seed}: {text}", flush=True)

    # -- set-up --------------------------------------------------------------

    def build(self) -> None:
        for name in ("a", "b"):
            options = self.rng.choice(MOUNTS[self.result.kind])
            self.tell(f"{name}: {self.result.kind} {options}")
            self.machines[name] = Machine(self.base, self.disks, name,
                                          self.result.kind, options,
                                          self.options.preload)
        a, b = self.machines["a"], self.machines["b"]
        for m in (a, b):
            m.root.mkdir()
            (m.root / ".stignore").write_text("*.part\n")
            for top in ("a", "b", "both", "loose-a", "loose-b"):
                (m.root / top).mkdir()
            m.node.start()
        a.node.device_add(b.node.id, "B", b.node.addr)
        b.node.device_add(a.node.id, "A", a.node.addr)
        a.node.folder_add(a.root, FOLDER, "B")
        b.node.folder_add(b.root, FOLDER, "A")
        for m in (a, b):
            m.disk.flush()

    def start_person(self, m: Machine) -> None:
        self.persons += 1
        seed = self.result.seed * 1000 + self.persons
        m.person = Worker(m.root, m.name, seed, self.options.careless,
                          self.rng.choice(PAUSES_S))

    def stop_person(self, m: Machine) -> None:
        if m.person is None:
            return
        m.person.proc.terminate()
        m.person.end()
        self.hear(m)
        m.person = None

    def hear(self, m: Machine) -> None:
        if m.person is None:
            return
        while m.person.lines:
            line = m.person.lines.pop(0)
            self.story.append(f"{m.name}: {line.strip()}")
            self.oracle.hear(m.name, line)

    # -- one cut -------------------------------------------------------------

    def wait_cut(self, victims: list[Machine], ops: int) -> None:
        self.disks.arm(ops, self.rng.random() < 0.4,
                       *(m.name for m in victims))
        if not self.disks.wait_cut(self.rng.uniform(0.3, 3)):
            self.disks.ask("cut", *(m.name for m in victims))
        self.tell(f"cut {[m.name for m in victims]} after {ops} or so")

    def take_power(self, victims: list[Machine], ops: int) -> None:
        """Until the disks of `victims` are as the cut left them."""
        self.wait_cut(victims, ops)
        for m in victims:
            if m.node.running:
                m.node.proc.kill()
            if m.person:
                m.person.kill()
        for m in victims:
            self.disks.ask("bury", m.name)
        for m in victims:
            m.node.kill9()
            self.stop_person(m)
            m.disk.umount()
            m.eyes = Eyes()
        for m in self.machines.values():
            if m not in victims:
                self.oracle.seen_elsewhere(m.look())
                self.hear(m)
        self.result.cuts += 1
        self.result.both += len(victims) > 1
        for m in victims:
            self.oracle.cut(m.name)
            self.restore(m)

    def restore(self, m: Machine) -> None:
        names, weights = zip(*MODELS)
        model = self.rng.choices(names, weights)[0]
        sum_ = self.disks.ask("restore", m.name, model,
                              self.rng.randrange(1 << 63))
        writes, whole, torn = map(int, sum_[1:])
        self.result.cached += writes
        self.result.lost += writes - whole
        seconds = m.disk.mount()
        self.tell(f"{m.name}: {model} kept {whole} of {writes} writes, "
                  f"{torn} torn; mounted in {seconds:.3f} s")
        tree = m.look()
        self.story += [f"{m.name} has {sha[:12]} {path}"
                       for path, sha in sorted(tree.items())]
        self.oracle.forgive(tree)
        for path in filter(is_part, tree):  # of no use to anybody now
            (m.root / path).unlink()
        self.result.torn_loose += self.oracle.torn_loose(tree)
        bad = self.oracle.torn(tree)
        if bad:
            raise Failing(f"{m.name}, after the cut: {'; '.join(bad[:5])}")

    def serve(self, m: Machine) -> None:
        start = time.monotonic()
        m.node.spawn()
        while True:
            seconds = time.monotonic() - start
            try:
                if m.node.http("GET", "/v1/status", timeout=5)[0] == 200:
                    break
            except OSError:
                pass
            if not m.node.running:
                raise Failing(f"{m.name} ended: {m.node.tail(20)}")
            if seconds > 20:
                raise Failing(f"{m.name} does not serve: {m.node.tail(20)}")
            time.sleep(0.005)
        self.result.serve_s.append(seconds)
        # A machine that does other things at the same time is slower.
        busy = os.getloadavg()[0] / (os.cpu_count() or 1)
        if seconds > SERVE_MAX_S * max(1.0, busy):
            self.result.problems.append(
                f"{m.name} served only after {seconds:.2f} s")

    # -- agreement -----------------------------------------------------------

    def agree(self) -> None:
        start = time.monotonic()
        for m in self.machines.values():
            self.stop_person(m)
        a, b = self.machines["a"], self.machines["b"]
        while True:
            left = {p: s for p, s in a.look().items() if not is_part(p)}
            right = {p: s for p, s in b.look().items() if not is_part(p)}
            if left == right and all(m.node.in_sync(FOLDER)
                                     for m in (a, b)):
                break
            for m in (a, b):
                if not m.node.running:
                    raise Failing(f"{m.name} ended: {m.node.tail(20)}")
            if time.monotonic() - start > UNSEEN_S:
                self.save_unseen(left, right)
            if time.monotonic() - start > AGREE_MAX_S:
                diff = [f"{p}: {left.get(p)} {right.get(p)}"
                        for p in sorted(left.keys() | right.keys())
                        if left.get(p) != right.get(p)]
                states = [m.node.folder(FOLDER) for m in (a, b)]
                raise Failing(f"no agreement: {diff[:10]} {states}")
            time.sleep(0.05)
        self.result.agree_s.append(time.monotonic() - start)
        self.oracle.settle()
        bad = self.oracle.judge(left)
        if bad:
            raise Failing("; ".join(bad[:8]))
        self.oracle.seen_elsewhere(left)
        self.tell(f"agreed on {len(left)} files, "
                  f"{len(self.oracle.due)} due")

    def save_unseen(self, left: dict[str, str],
                    right: dict[str, str]) -> None:
        """What no look at names and times can tell.

        Written in place and not flushed: the new bytes had reached the disk
        when the power went, the new times had not.  The person saves it again.
        """
        for path in left.keys() & right.keys():
            if left[path] == right[path] or not is_loose(path):
                continue
            seen = [os.stat(m.root / path) for m in self.machines.values()]
            if len({(s.st_size, s.st_mtime_ns) for s in seen}) == 1:
                owner = self.machines[path[len("loose-")]]
                os.utime(owner.root / path)
                self.result.unseen += 1
                self.tell(f"unseen: {path}")

    # -- the whole -----------------------------------------------------------

    def turn(self) -> None:
        rng = self.rng
        for m in self.machines.values():
            if m.person is None and rng.random() < 0.85:
                self.start_person(m)
        both = list(self.machines.values())
        victims = rng.choices((both[:1], both[1:], both), (40, 40, 20))[0]
        self.take_power(victims, int(math.exp(rng.uniform(0, 6.5))))
        while True:
            for m in victims:
                self.serve(m)
                if rng.random() < 0.3:
                    self.start_person(m)
            if self.result.cuts >= self.cuts or rng.random() < 0.65:
                break
            self.result.recuts += 1
            self.take_power(victims, int(math.exp(rng.uniform(0, 4.5))))
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.4))
        self.agree()

    def run(self) -> Result:
        try:
            self.build()
            while self.result.cuts < self.cuts:
                self.turn()
            self.finish()
        except (Failing, AssertionError, DiskError, OSError,
                subprocess.TimeoutExpired) as error:
            self.result.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self.end()
        return self.result

    def finish(self) -> None:
        """The file systems themselves must be sound, or we proved nothing."""
        for m in self.machines.values():
            self.result.rebuilt += len(
                list(m.node.home.rglob("*.damaged-*")))
            if m.node.stop() != 0:
                raise Failing(f"{m.name}: unclean stop")
            # Who ended with one just before a cut was not missed.
            reports = proc.sanitizer_reports(m.node.log_text())
            if reports:
                raise Failing(f"{m.name}, sanitizers report: {reports}")
            m.disk.umount()
            found = m.disk.check()
            if found:
                raise Failing(f"{m.name}: file system damaged: {found}")

    def end(self) -> None:
        if self.result.problems:
            place = self.options.keep / f"{self.result.kind}-{self.result.seed}"
            self.result.kept = str(place)
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            (place / "story").write_text(
                "\n".join(self.story + self.result.problems) + "\n")
            for m in self.machines.values():
                try:
                    shutil.copy(m.node.log, place)
                    self.disks.ask("save", m.name, place / f"{m.name}.img")
                except (DiskError, OSError):
                    pass
        for m in self.machines.values():
            m.node.kill9()
            if m.person:
                m.person.kill()
                m.person.end()
        for m in self.machines.values():
            if m.disk.mounted:
                subprocess.run(["umount", "-l", str(m.disk.at)], check=False)
        self.disks.end()
        shutil.rmtree(self.base, ignore_errors=True)


def forgets(kind: str, base: Path, program: Path) -> list[str]:
    """Does the disk keep what it must and forget what it may?"""
    bad = []
    disks = PowerDisks(program, base / "disks")
    disk = Disk(disks, "a", kind, "", base / "a")
    try:
        for n, model in enumerate(("nothing", "all", "prefix", "subset")):
            for m in range(n + 1):
                flushed = disk.at / f"flushed{m}"
                if m < n and flushed.read_bytes() != bytes([m]) * 9000:
                    bad.append(f"{kind} {model}: flushed{m} is not whole")
            with open(disk.at / f"flushed{n}", "xb") as file:
                file.write(bytes([n]) * 9000)
                file.flush()
                os.fsync(file.fileno())
            run("sync", disk.at)
            (disk.at / f"not{n}").write_bytes(b"x" * 9000)
            disks.ask("cut", "a")
            disks.ask("bury", "a")
            disk.umount()
            disks.ask("restore", "a", model, n)
            disk.mount()
            if (disk.at / f"not{n}").exists():
                bad.append(f"{kind} {model}: what was in memory is there")
        disk.umount()
        if disk.check():
            bad.append(f"{kind}: damaged: {disk.check()}")
    finally:
        if disk.mounted:
            disk.umount()
        disks.end()
    return bad


def self_test(program: Path) -> int:
    bad = []
    for kind in sorted(MOUNTS):
        base = Path(tempfile.mkdtemp(prefix="hfp-"))
        try:
            bad += forgets(kind, base, program)
        except (DiskError, OSError) as error:
            print(f"cannot: {kind}: {error}")
            return CANNOT
        finally:
            shutil.rmtree(base, ignore_errors=True)
    print("\n".join(bad) or "ok")
    return 1 if bad else 0


def one_world(seed: int, cuts: int, options: argparse.Namespace) -> Result:
    proc._rng.seed()  # or each process of the pool gives the same ports
    return World(seed, cuts, options).run()


def tell_result(r: Result, seconds: float) -> None:
    state = "FAILING" if r.problems else "ok"
    print(f"{state} --seed {r.seed} --fs {r.kind}: {r.cuts} cuts, "
          f"{r.lost} of {r.cached} cached writes lost, served in "
          f"{max(r.serve_s, default=0):.2f} s, agreed in "
          f"{max(r.agree_s, default=0):.1f} s  [{seconds:.0f} s]", flush=True)
    for problem in r.problems:
        print(f"    {problem}", flush=True)
    if r.kept:
        print(f"    kept: {r.kept}", flush=True)


def tell_all(results: list[Result]) -> int:
    cuts = sum(r.cuts for r in results)
    failing = sum(bool(r.problems) for r in results)
    serve = sorted(s for r in results for s in r.serve_s) or [0.0]
    agree = sorted(s for r in results for s in r.agree_s) or [0.0]
    print(f"-- {sum(r.both for r in results)} cuts of both machines, "
          f"{sum(r.recuts for r in results)} during a recovery, "
          f"{sum(r.lost for r in results)} of "
          f"{sum(r.cached for r in results)} cached writes lost")
    print(f"-- serving after {serve[len(serve) // 2]:.3f} s (median), "
          f"{serve[-1]:.3f} s (longest); agreed after "
          f"{agree[len(agree) // 2]:.2f} s, {agree[-1]:.2f} s")
    print(f"-- {sum(r.rebuilt for r in results)} indexes rebuilt, "
          f"{sum(r.torn_loose for r in results)} times a file that nobody "
          f"flushed was torn by its file system, "
          f"{sum(r.unseen for r in results)} "
          f"times unseen")
    late = sum(s > SERVE_MAX_S for s in serve)
    if late:
        print(f"-- {late} of {len(serve)} starts took over {SERVE_MAX_S:g} s, "
              f"on a machine with a load of {os.getloadavg()[0]:.0f}")
    print(f"{cuts} cuts, {failing} failing")
    return 1 if failing or not cuts else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fs", choices=sorted(MOUNTS), default="ext4")
    parser.add_argument("--careless", type=int, default=20,
                        help="acts that flush nothing, beside 80 that do")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--powerdisk", type=Path,
                        default=ours.bin_dir() / "powerdisk")
    parser.add_argument("--preload", type=Path, default=None,
                        help="for the daemons: noflush.so, to be found out")
    parser.add_argument("--keep", type=Path,
                        default=ours.ROOT / "build/power")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--self-test", action="store_true",
                        help="judge the disks, not the daemons")
    args = parser.parse_args()
    for needed in ("/dev/fuse", "/dev/loop-control"):
        if os.geteuid() != 0 or not os.access(needed, os.R_OK | os.W_OK):
            print(f"cannot: root and {needed} are needed")
            return CANNOT
    # Mounts of our own: whatever happens, they go when we end.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        print("cannot: no mount namespace of its own")
        return CANNOT
    try:
        run("mount", "--make-rprivate", "/")
    except DiskError:
        print("cannot: the root is no mount point (a chroot?)")
        return CANNOT
    if args.self_test:
        return self_test(args.powerdisk)
    seed = args.seed if args.seed is not None \
        else random.SystemRandom().randrange(1 << 32)
    print(f"--seed {seed}", flush=True)
    results = []
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        start = time.monotonic()
        jobs = []
        left, n = args.cuts, 0
        while left > 0:
            jobs.append(pool.submit(
                one_world, seed + n, min(left, CUTS_PER_WORLD), args))
            left -= CUTS_PER_WORLD
            n += 1
        for job in concurrent.futures.as_completed(jobs):
            results.append(job.result())
            tell_result(results[-1], time.monotonic() - start)
    return tell_all(results)


if __name__ == "__main__":
    sys.exit(main())

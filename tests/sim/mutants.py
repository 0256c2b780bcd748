#!/usr/bin/env python3
"""Can the simulator fail?  Each deliberate fault of engine/base/mutant.h is
switched on alone, and histories are run until one fails.

    mutants.py [--sim PROGRAM] [--count N] [--minutes M] [--jobs J]
               [--from N] [--only NUMBER|NAME ...] [--fast]

A fault is found when a history fails with it and not without it, within N
histories and M minutes; or, when none did, one of those that are kept for ever
(seeds.txt; CI runs them without a fault).  Without any fault the same histories
must not fail.
The last line is "F of N mutants found"; the exit code is 0 when F is N and the
engine as it is did not fail.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "engine/base/mutant.h"
KEPT = ROOT / "tests/sim/seeds.txt"

# Found within a second or two each, and by different checks of the oracle.
FAST = ["replace_unchecked", "renamed_over", "no_stage_flush",
        "counter_reused", "winner_by_clock", "sequence_reused",
        "hash_unchecked", "holder_not_left"]


@dataclass
class Mutant:
    number: int
    name: str
    text: str


@dataclass
class Verdict:
    found: bool
    histories: int
    seconds: float
    why: str
    unsound: int = 0  # histories that fail without the fault, too
    kept: bool = False  # found by one of those only


def mutants() -> list[Mutant]:
    """The enum, in its order; the comment above each is its sentence."""
    body = re.search(r"enum mutant \{(.*?)\};", HEADER.read_text(), re.S)
    found = re.findall(r"/\*(.*?)\*/\s*MUTANT_(\w+),", body.group(1), re.S)
    return [Mutant(i, name.lower(), " ".join(text.replace("*", " ").split()))
            for i, (text, name) in enumerate(found, 1)]


def fails_without(sim: str, seed: str) -> bool:
    done = subprocess.run([sim, "--seed", seed], capture_output=True)
    return done.returncode != 0


def end(process: subprocess.Popen) -> None:
    """It and the workers it forked: a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(sim: str, number: int, first: int, count: int,
        seconds: float) -> Verdict:
    start = time.monotonic()
    process = subprocess.Popen(
        [sim, "--mutant", str(number), "--from", str(first),
         "--count", str(count), "--jobs", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True)
    late = threading.Timer(seconds, end, [process])
    late.start()
    verdict = Verdict(False, count, 0, "")
    try:
        for line in process.stdout:
            found = re.match(r"seed (\d+): (.*)", line)
            total = re.match(r"(\d+) histories", line)
            if total:
                verdict.histories = int(total.group(1))
            if not found:
                continue
            if number == 0 or fails_without(sim, found.group(1)):
                verdict.unsound += 1
                verdict.why = verdict.why or found.group(0).strip()
                continue
            verdict = Verdict(True, int(found.group(1)) - first + 1, 0,
                              found.group(2).strip(), verdict.unsound)
            break
    finally:
        late.cancel()
        end(process)
        process.stdout.close()
    verdict.seconds = time.monotonic() - start
    return verdict


def run_kept(sim: str, number: int) -> str:
    """What the first of them says that fails with the fault."""
    done = subprocess.run(
        [sim, "--mutant", str(number), "--kept", str(KEPT), "--count", "0",
         "--jobs", "1"], capture_output=True, text=True)
    found = re.search(r"(?m)^(?:seed|kept) \d+: (.*)$", done.stdout)
    return found.group(1).strip() if found else ""


def tell(mutant: Mutant, verdict: Verdict) -> None:
    what = (f"{'a kept one':>16}" if verdict.kept
            else f"{verdict.histories:>7} {verdict.seconds:>6.1f} s"
            if verdict.found else f"{'NOT FOUND':>16}")
    print(f"{mutant.number:>3} {mutant.name:<22}{what}  "
          f"{verdict.why[:90] if verdict.found else mutant.text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sim", default=str(ROOT / "build/mutants/sim"))
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--fast", action="store_true")
    args = parser.parse_args()
    only = {w.lower() for w in args.only}
    chosen = [m for m in mutants()
              if (not only or str(m.number) in only or m.name in only) and
              (not args.fast or m.name in FAST)]
    if not chosen:
        parser.error("no such mutant")

    def one(number: int) -> Verdict:
        verdict = run(args.sim, number, args.first, args.count,
                      60 * args.minutes)
        if number != 0 and not verdict.found:
            verdict.why = run_kept(args.sim, number)
            verdict.found = verdict.kept = verdict.why != ""
        return verdict

    found = 0
    most = 1
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, verdict in zip(
                chosen, pool.map(lambda m: one(m.number), chosen)):
            tell(mutant, verdict)
            found += verdict.found
            most = max(most, 0 if verdict.kept else verdict.histories)
    # The engine as it is, on all that was asked of the others.
    args.count = min(most, args.count)
    none = one(0)
    if none.unsound:
        print(f"{none.unsound} of {none.histories} histories fail without a "
              f"fault: {none.why}")
    else:
        print(f"none of {none.histories} histories fails without a fault")
    print(f"{found} of {len(chosen)} mutants found")
    return 0 if found == len(chosen) and not none.unsound else 1


if __name__ == "__main__":
    sys.exit(main())

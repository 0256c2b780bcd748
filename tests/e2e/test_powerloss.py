"""The power goes: a short run of tests/power, and a look at its disks.

The long runs are `./dev power --cuts 1000`; what is judged, and how, is in
tests/power/run.py and oracle.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import node, proc

pytestmark = [pytest.mark.root, pytest.mark.slow]

RUN = Path(__file__).resolve().parents[1] / "power" / "run.py"
CANNOT = 77
CUTS = {"ext4": 40, "xfs": 15, "btrfs": 15}


def power(tmp_path: Path, *args: object, code: int = 0) -> str:
    """What run.py said; skips when this machine cannot."""
    program = node.find_program("powerdisk")
    if program is None:
        pytest.skip(f"no powerdisk below {node.bin_dir()}")
    done = subprocess.run(
        [sys.executable, str(RUN), "--powerdisk", str(program),
         "--keep", str(tmp_path / "kept"), *map(str, args)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=380 * proc.SLOW,
        env=dict(os.environ, HOLDFAST_BIN=str(node.bin_dir())))
    print(done.stdout)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == code, done.stdout
    return done.stdout


def test_71_the_disks_keep_what_was_flushed_and_forget_the_rest(
        tmp_path: Path) -> None:
    power(tmp_path, "--self-test")


@pytest.mark.parametrize("kind", sorted(CUTS))
def test_71_72_73_nothing_is_lost_when_the_power_goes(
        tmp_path: Path, kind: str, seed: int) -> None:
    told = power(tmp_path, "--fs", kind, "--cuts", CUTS[kind],
                 "--seed", seed)
    assert told.splitlines()[-1] == f"{CUTS[kind]} cuts, 0 failing"


def test_71_a_daemon_that_flushes_nothing_is_found_out(tmp_path: Path) -> None:
    """The test of the test."""
    noflush = node.find_program("noflush.so")
    if noflush is None or node.bin_dir().name in ("asan", "tsan"):
        pytest.skip("no noflush.so, or a sanitizer that wants to be first")
    told = power(tmp_path, "--cuts", 60, "--preload", noflush, code=1)
    # Files, or what the daemon itself lives on: its index, its identity.
    assert any(word in told for word in
               ("torn: ", "lost: ", "came back: ", " ended: ")), told

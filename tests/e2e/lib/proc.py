"""Programs we start, ports they listen on, and waiting for things to be so.

Every program started here is ended here, by its own process ID.  A program
whose parent dies gets SIGKILL from the kernel, so an interrupted test run
leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Mapping, MutableMapping, Optional, Sequence, TypeVar

T = TypeVar("T")

# How many times slower the daemons may be than a release build's: a sanitizer
# or an emulator is.  All waits that are there for hangs are as much longer.
SLOW = float(os.environ.get("HOLDFAST_SLOW", "1"))

# Are the programs under a sanitizer?  What it ends them with is no code of
# ours; `dev` sets both.
SANITIZED = "HOLDFAST_SANITIZER" in os.environ
REPORTED = 86
# What is freed the address sanitizer keeps for a while, to see who still uses
# it; the thread sanitizer notes who did, for each word.
HOARD = {"asan": 300 << 20, "tsan": 2 << 30}.get(
    os.environ.get("HOLDFAST_SANITIZER", ""), 0)
_REPORT = re.compile(r"\b\w+Sanitizer\b.*|.*\bruntime error:.*")


def sanitizer_reports(text: str) -> list[str]:
    """The lines with which a sanitizer begins or ends a report."""
    return [found.group(0) for found in _REPORT.finditer(text)]


_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1

# Below the ephemeral range, so that no outgoing connection takes the port
# between our look and the daemon's bind.
_PORTS = range(23000, 32000)
_rng = random.Random(os.getpid() ^ time.time_ns())
_given: set[int] = set()


def without_leaks(env: MutableMapping[str, str]) -> None:
    """Nobody can look for leaks in a program that another one traces."""
    if "ASAN_OPTIONS" in env:
        env["ASAN_OPTIONS"] += ":detect_leaks=0"


def free_port() -> int:
    """A loopback port that was free for TCP and UDP a moment ago."""
    for _ in range(200):
        port = _rng.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free loopback port")


class Late(AssertionError):
    """Something that had to become true did not, in its time."""


def wait_until(check: Callable[[], T], timeout: float = 30.0,
               what: object = "condition",
               alive: Sequence["Daemon"] = ()) -> T:
    """Poll `check` until it returns something true, and return that.

    `what` names it in the failure; when callable it is called then, to say
    what was seen last.  An AssertionError or OSError inside `check` counts as
    "not yet" and its text is told at the end.  Daemons in `alive` must live.
    """
    timeout *= SLOW
    end = time.monotonic() + timeout
    pause = 0.02
    last: object = None
    while True:
        try:
            value = check()
            if value:
                return value
            last = value
        except (AssertionError, OSError) as error:
            last = error
        for daemon in alive:
            daemon.assert_alive()
        if time.monotonic() >= end:
            text = what() if callable(what) else what
            raise Late(f"not within {timeout:g} s: {text} (last: {last})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.3)


def holds_for(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Assert that `check` stays true for some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert check(), f"did not hold for {seconds:g} s: {what}"
        time.sleep(0.05)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """One long-running program with a log file.  Thread: the test's."""

    def __init__(self, name: str, argv: Sequence[str], log: Path,
                 env: Optional[Mapping[str, str]] = None):
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = dict(os.environ, **(env or {}))
        self.proc: Optional[subprocess.Popen[bytes]] = None
        self.may_end = False  # to end by itself is right in this test
        self.may_be_refused = False  # so are refused system calls

    @property
    def pid(self) -> int:
        assert self.proc is not None, f"{self.name} was never started"
        return self.proc.pid

    @property
    def running(self) -> bool:
        return self.proc is not None and self.proc.poll() is None

    def spawn(self) -> None:
        """Start the program; its output is appended to the log."""
        assert not self.running, f"{self.name} already runs"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as out:
            out.write(f"--- start {self.name} {time.time():.3f}\n".encode())
            out.flush()
            env = dict(self.env)
            if self.argv[0] == "strace":
                without_leaks(env)
            self.proc = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env=env,
                preexec_fn=_die_with_parent)

    def assert_alive(self) -> None:
        """Fail, with the end of the log, when the program has ended."""
        assert self.proc is not None, f"{self.name} was never started"
        rc = self.proc.poll()
        assert rc is None, f"{self.name} ended with {rc}\n{self.tail(25)}"

    def send_signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def end(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Ask the program to end, insist when it does not; its exit code."""
        if self.proc is None:
            return 0
        timeout *= SLOW
        self.send_signal(number)
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10 * SLOW)
            raise AssertionError(
                f"{self.name} did not end within {timeout:g} s of signal "
                f"{number}\n{self.tail(25)}") from None

    def kill9(self) -> None:
        """End the program where it stands."""
        if self.proc is not None:
            if self.proc.poll() is None:
                self.proc.kill()
            self.proc.wait(10 * SLOW)

    def tail(self, lines: int = 60) -> str:
        """The end of the log."""
        try:
            with open(self.log, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 200 * lines))
                text = file.read().decode("utf-8", "replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

    def log_text(self) -> str:
        return self.log.read_text("utf-8", "replace")


# ---- what the kernel knows about a process ---------------------------------

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time so far, children that were waited for included."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    field = stat[stat.rindex(")") + 2:].split()
    return sum(int(field[i]) for i in (11, 12, 13, 14)) / _TICK


def smaps(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup in bytes: Rss, Pss, Anonymous, ..."""
    out: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, value = line.split(":")
        out[key] = int(value.split()[0]) * 1024
    return out


def io_counters(pid: int) -> dict[str, int]:
    """/proc/PID/io: rchar, wchar, write_bytes, ..."""
    out: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        key, value = line.split(":")
        out[key] = int(value)
    return out


def context_switches(pid: int) -> int:
    """Switches of all threads of a process so far."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def open_fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))

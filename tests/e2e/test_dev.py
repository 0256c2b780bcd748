"""The two commands of the README: ./dev run and ./dev run --demo."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from lib import node
from lib.proc import free_port, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A home of its own; nothing of the caller's places gets in."""
    if node.bin_dir().resolve() != node.ROOT / "build/release":
        pytest.skip("./dev run builds and runs build/release")
    out = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    out.update(HOME=str(tmp_path), TMPDIR=str(tmp_path))
    return out


class Terminal:
    """A program at a terminal: what it shows, and the keys it gets."""

    def __init__(self, argv: list[str], env: dict[str, str]):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(node.ROOT)
            os.execve(argv[0], argv, env)

    def read(self, timeout: float) -> bool:
        """More text, or False when none came or the program has ended."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def until(self, text: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in\n{self.text}"
            if not self.read(1):
                done, _ = os.waitpid(self.pid, os.WNOHANG)
                assert done == 0, f"ended before {text!r}:\n{self.text}"

    def end(self, timeout: float) -> int:
        """Press Ctrl-C, twice as people do, and wait for the exit code."""
        os.write(self.fd, b"\x03")
        time.sleep(0.05)
        try:
            os.write(self.fd, b"\x03")
        except OSError:
            pass
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.read(0.1)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"did not end on Ctrl-C:\n{self.text}")

    def close(self) -> None:
        os.close(self.fd)
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(env: dict[str, str]) -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for one in made:
        one.close()


def processes_with(word: str) -> list[str]:
    """Command lines that name `word`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def test_the_demo_shows_two_devices_and_leaves_nothing(
        env: dict[str, str], terminal: list[Terminal],
        tmp_path: Path) -> None:
    run = Terminal(["./dev", "run", "--demo"], env)
    terminal.append(run)
    run.until("Both run until Ctrl-C", 300)
    assert "Both are the same, byte by byte." in run.text
    assert run.text.count("No problems.") == 2, "the status of both"
    top, = tmp_path.glob("holdfast-demo.*")
    (top / "laptop/Sync/later.txt").write_text("still running\n")
    wait_until((top / "hub/Sync/later.txt").exists, 30, "a later file")
    assert run.end(60) == 130
    assert not top.exists()
    assert not processes_with(str(top))


def test_run_makes_a_hub_and_finds_it_again(
        env: dict[str, str], terminal: list[Terminal],
        tmp_path: Path) -> None:
    ctl = str(node.find_program("syncctl"))

    def say(*args: str) -> str:
        return subprocess.run([ctl, *args], env=env, check=True, timeout=60,
                              capture_output=True, text=True).stdout.strip()

    # Loopback only, and not the port of somebody's own daemon.
    say("config", "set", "mesh.listen", f"tcp://127.0.0.1:{free_port()}")
    say("config", "set", "mesh.announce", "false")
    for _ in range(2):
        run = Terminal(["./dev", "run"], env)
        terminal.append(run)
        run.until("Ctrl-C stops.", 300)
        assert say("id") in run.text
        assert "▄▄▄▄▄" in run.text, "the ID as a QR code"
        assert "device add" in run.text, "what to type next"
        assert say("config", "get", "folder.sync.path") == \
            str(tmp_path / "Sync")
        assert (tmp_path / "Sync/.stfolder").is_dir()
        assert run.end(60) == 0, run.text

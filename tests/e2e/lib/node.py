"""Our own syncd and syncctl as a person uses them.

A Node has a home directory and a loopback port of its own.  It is configured
through `syncctl` alone, the way the documentation says; nothing here reads or
writes our files directly.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence

from .proc import (REPORTED, SLOW, Daemon, free_port, sanitizer_reports,
                   wait_until)

# Exit codes of syncctl: FEATURES.md, E5.
OK, FAILED, USAGE, NO_DAEMON, WORKING, ATTENTION = 0, 1, 2, 3, 4, 5
STOPPED, TIMEOUT, REFUSED, NOT_FOUND, PARTLY, OFFLINE = 6, 7, 8, 9, 10, 11

ROOT = Path(__file__).resolve().parents[3]


def bin_dir() -> Path:
    """Where syncd and syncctl are: HOLDFAST_BIN or build/release."""
    given = os.environ.get("HOLDFAST_BIN")
    return Path(given) if given else ROOT / "build" / "release"


def find_program(name: str) -> Optional[Path]:
    """The built program; presets may put it in a folder named like a room."""
    base = bin_dir()
    for place in (base / name, base / "bin" / name, base / "cli" / name):
        if place.is_file() and os.access(place, os.X_OK):
            return place
    return None


@dataclass
class Result:
    """What one syncctl call said."""

    argv: Sequence[str]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"not JSON ({error}): {self}") from None

    def __str__(self) -> str:
        return (f"$ {shlex.join(self.argv)}\n[{self.code}] "
                f"{self.out}{self.err}")


class _UnixHttp(http.client.HTTPConnection):
    """HTTP over the daemon's Unix socket."""

    def __init__(self, path: Path, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Node(Daemon):
    """One syncd.  Made: configured but not started."""

    def __init__(self, home: Path, name: str, log_level: str = "debug",
                 wrapper: Sequence[str] = ()):
        syncd, ctl = find_program("syncd"), find_program("syncctl")
        assert syncd and ctl, f"no syncd and syncctl below {bin_dir()}"
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.addr = f"tcp://127.0.0.1:{self.port}"
        self.ctl_path = ctl
        super().__init__(
            name, [*wrapper, str(syncd), "--home", str(self.home), "--log",
                   log_level],
            self.home.with_name(self.home.name + ".log"),
            {"HOME": str(self.home), "NO_COLOR": "1"})
        self.id = self.ctl("id").out.strip()
        self.config("node.name", name, check=False)
        self.config("mesh.listen", self.addr)
        self.config("mesh.announce", "false")

    # -- life ----------------------------------------------------------------

    @property
    def socket(self) -> Path:
        return self.home / "syncd.sock"

    def ready(self) -> bool:
        """The daemon answers on its socket."""
        return self.ctl("status", "-q", check=False).code != NO_DAEMON

    def start(self, timeout: float = 20.0) -> "Node":
        self.spawn()
        wait_until(self.ready, timeout, f"{self.name} answers", alive=[self])
        return self

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def restart(self) -> None:
        """A clean stop and a start."""
        assert self.stop() == 0, f"unclean stop\n{self.tail(25)}"
        self.start()

    def reload(self) -> None:
        self.send_signal(signal.SIGHUP)

    # -- syncctl -------------------------------------------------------------

    def ctl(self, *args: str, check: bool = True, timeout: float = 90.0,
            stdin: Optional[str] = None,
            env: Optional[dict[str, str]] = None) -> Result:
        """Run syncctl; `check` wants exit code 0."""
        argv = [str(self.ctl_path), "--home", str(self.home), *map(str, args)]
        start = time.monotonic()
        done = subprocess.run(
            argv, capture_output=True, timeout=timeout * SLOW,
            input=None if stdin is None else stdin.encode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=dict(self.env, **(env or {})))
        result = Result(argv, done.returncode,
                        done.stdout.decode("utf-8", "replace"),
                        done.stderr.decode("utf-8", "replace"),
                        time.monotonic() - start)
        assert result.code != REPORTED and not sanitizer_reports(result.err), \
            str(result)
        assert not check or result.code == OK, str(result)
        return result

    def config(self, key: str, value: str, check: bool = True) -> Result:
        return self.ctl("config", "set", key, value, check=check)

    def device_add(self, device_id: str, name: str, *addrs: str) -> None:
        args = ["device", "add", device_id, "--name", name]
        for addr in addrs:
            args += ["--addr", addr]
        self.ctl(*args)

    def folder_add(self, path: Path, folder: str, *share: str,
                   mode: Optional[str] = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        args = ["folder", "add", str(path), "--id", folder]
        if mode:
            args += ["--mode", mode]
        for device in share:
            args += ["--share", device]
        self.ctl(*args)

    def scan(self, folder: str) -> None:
        self.ctl("folder", "scan", folder)

    def wait(self, *folders: str, timeout: float = 60.0,
             check: bool = True) -> Result:
        """`syncctl wait`: blocks until in sync with everyone."""
        return self.ctl("wait", *folders, "--timeout", f"{timeout * SLOW:g}s",
                        check=check, timeout=timeout + 30)

    # -- asking --------------------------------------------------------------

    def status(self, *subject: str) -> dict[str, Any]:
        """`status --json`; its exit code is inside it too."""
        result = self.ctl("status", *subject, "--json", check=False)
        assert result.code in (OK, WORKING, ATTENTION, STOPPED), str(result)
        return result.json

    def folder(self, folder: str) -> dict[str, Any]:
        for entry in self.status()["folders"]:
            if folder in (entry.get("id"), entry.get("name")):
                return entry
        raise AssertionError(f"{self.name}: no folder {folder} in status")

    def device(self, name: str) -> dict[str, Any]:
        for entry in self.status()["devices"]:
            if name in (entry.get("id"), entry.get("name")):
                return entry
        raise AssertionError(f"{self.name}: no device {name} in status")

    def problems(self) -> list[dict[str, Any]]:
        return self.status()["problems"]

    def problem(self, code: str) -> Optional[dict[str, Any]]:
        """The problem with that reason code, or with one below it."""
        for entry in self.problems():
            if entry["code"] == code or code in entry["code"]:
                return entry
        return None

    def in_sync(self, folder: str) -> bool:
        return self.folder(folder)["state"] == "in_sync"

    def connected(self, name: str) -> bool:
        """A live path to that device."""
        entry = self.device(name)
        if "connected" in entry:
            return bool(entry["connected"])
        path = entry.get("path")
        return bool(path) and path.get("kind") not in (None, "none")

    def http(self, method: str, path: str, body: Any = None,
             timeout: float = 10.0) -> tuple[int, bytes]:
        """A bare HTTP call to the socket, as curl would make it."""
        link = _UnixHttp(self.socket, timeout)
        try:
            link.request(method, path,
                         None if body is None else json.dumps(body),
                         {"Content-Type": "application/json"})
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()


def pair_up(a: Node, b: Node) -> None:
    """Make two nodes know each other; `a` has `b`'s address and dials."""
    a.device_add(b.id, b.name, b.addr)
    b.device_add(a.id, a.name, a.addr)

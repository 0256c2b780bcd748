"""Debian's stdiscosrv, strelaysrv and turnserver, on loopback only.

`./dev` unpacks them below build/servers, because their packages start services.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Optional, Sequence

import pytest

from .node import ROOT
from .proc import Daemon, free_port, wait_until


def find_server(program: str) -> Optional[str]:
    unpacked = ROOT / "build" / "servers" / "usr" / "bin" / program
    return str(unpacked) if unpacked.is_file() else shutil.which(program)


class _Server(Daemon):
    """Says its own device ID when it starts."""

    pattern = ""

    def __init__(self, program: str, home: Path, args: Sequence[str],
                 wrapper: Sequence[str] = ()):
        found = find_server(program)
        if found is None:
            pytest.skip(f"no {program}: ./dev deps")
        home.mkdir(parents=True, exist_ok=True)
        super().__init__(program, [*wrapper, found, *args],
                         home.with_name(home.name + ".log"))
        self._id = ""

    def start(self) -> "_Server":
        start = len(self.log_text()) if self.log.exists() else 0
        self.spawn()
        found = wait_until(
            lambda: re.search(self.pattern, self.log_text()[start:]), 30,
            f"{self.name} says who it is", alive=[self])
        self._id = found.group(1)
        return self

    @property
    def id(self) -> str:
        return self._id


class Disco(_Server):
    """A discovery server; what it was told is gone when it ends."""

    pattern = r"Server device ID is ([A-Z2-7-]{63})"

    def __init__(self, home: Path, host: str = "127.0.0.1",
                 wrapper: Sequence[str] = ()):
        self.host = host
        self.port = free_port()
        super().__init__("stdiscosrv", home, [
            "-listen", f"{host}:{self.port}", "-db-dir", str(home / "db"),
            "-cert", str(home / "cert.pem"), "-key", str(home / "key.pem"),
            "-replication-listen", ""], wrapper)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}/v2/?id={self.id}"


class Relay(_Server):
    """A relay that tells no pool of itself."""

    pattern = r"(?:URI: )?relay://\S*[?&]id=([A-Z2-7-]{63})"

    def __init__(self, home: Path, *more: str, port: int = 0):
        self.port = port or free_port()
        super().__init__("strelaysrv", home, [
            "-listen", f"127.0.0.1:{self.port}", "-keys", str(home),
            "-pools=", "-status-srv=", *more])

    @property
    def url(self) -> str:
        return f"relay://127.0.0.1:{self.port}/?id={self.id}"


class Turn(Daemon):
    """coturn, as a STUN server with two addresses and two ports of each."""

    def __init__(self, home: Path, hosts: Sequence[str] = ("127.0.0.1",
                                                          "127.0.0.2"),
                 wrapper: Sequence[str] = ()):
        found = find_server("turnserver")
        if found is None:
            pytest.skip("no turnserver: ./dev deps")
        home.mkdir(parents=True, exist_ok=True)
        self.hosts = hosts
        self.port, self.other = free_port(), free_port()
        listen = [word for host in hosts for word in ("-L", host)]
        libs = ":".join(str(p) for p in
                        (ROOT / "build/servers/usr/lib").glob("*-linux-gnu*"))
        super().__init__(
            "turnserver",
            [*wrapper, found, "-n", *listen, "-p", str(self.port),
             "--alt-listening-port", str(self.other), "--stun-only",
             "--no-tcp", "--no-tls", "--no-dtls", "--no-cli", "--log-file",
             "stdout", "--userdb", str(home / "db"), "--pidfile",
             str(home / "pid")],
            home.with_name(home.name + ".log"),
            {"LD_LIBRARY_PATH": libs})

    @property
    def url(self) -> str:
        return f"stun://{self.hosts[0]}:{self.port}"

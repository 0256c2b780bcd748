"""tests/bench/longway.c: what lies between two programs is far, and loses."""

from __future__ import annotations

import re
from pathlib import Path

from .node import find_program
from .proc import Daemon, free_port, wait_until


class LongWay(Daemon):
    """From a port of its own at `host` to `target` (HOST:PORT)."""

    def __init__(self, base: Path, kind: str, target: str, *options: str,
                 host: str = "127.0.0.1"):
        found = find_program("longway")
        assert found, "no longway: ./dev build"
        self.port = free_port()
        super().__init__(
            "longway", [str(found), *options, kind, f"{host}:{self.port}",
                        target], base / f"longway-{self.port}.log")

    def start(self) -> "LongWay":
        self.spawn()
        wait_until(lambda: "ready" in self.log_text(), 30, "it listens",
                   alive=[self])
        return self

    def told(self, way: str, what: str) -> int:
        """Of its last words: "up" or "down"; bytes passed lost full slow."""
        found = re.search(rf"^{way} .*\b{what}=(\d+)", self.log_text(), re.M)
        assert found, self.log_text()
        return int(found.group(1))

"""Faults put into the system calls of a daemon that runs.

    with Faults(node, "fsync:error=EIO") as faults:
        ...
        assert faults.hits()

strace attaches to all threads, makes the named calls fail or wait, and lets
go at the end.  Its counters (`when=`) count for each thread apart.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Optional

from .node import Node
from .proc import wait_until


def usable() -> bool:
    return shutil.which("strace") is not None and os.geteuid() == 0


class Faults:
    """Rules are strace's: CALLS:error=E, CALLS:delay_enter=USECS, and with
    :when=FIRST[..LAST][+[STEP]].  `path` keeps them to calls that name it or
    have it open."""

    def __init__(self, node: Node, *rules: str, path: Optional[Path] = None):
        self.node = node
        self.log = node.home.with_name(f"strace.{node.name}")
        self.argv = ["strace", "-f", "-o", str(self.log)]
        calls = ",".join(rule.partition(":")[0] for rule in rules)
        self.argv += ["-e", f"trace={calls}"]
        for rule in rules:
            self.argv += ["-e", f"inject={rule}"]
        if path is not None:
            self.argv += ["-P", str(path)]
        self.argv += ["-p", str(node.pid)]
        self.said = self.log.with_suffix(".said")
        self.proc: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> "Faults":
        self.log.write_bytes(b"")
        with open(self.said, "wb") as out:
            self.proc = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until(lambda: b" attached" in self.said.read_bytes(), 20,
                   lambda: f"attached; strace: {self.said.read_text()}")
        return self

    def __exit__(self, kind: Optional[type[BaseException]],
                 error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        assert self.proc is not None
        self.proc.send_signal(signal.SIGINT)
        self.proc.wait(20)

    def hits(self) -> int:
        """How many calls were made to fail or wait."""
        text = self.log.read_bytes()
        return text.count(b"(INJECTED)") + text.count(b"(DELAYED)")

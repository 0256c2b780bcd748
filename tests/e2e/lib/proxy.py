"""A TCP forwarder between two daemons: counts, slows and cuts.

Nothing of TLS is understood here; what it sees is what a router would see.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Optional

from .proc import free_port


class Proxy:
    """Listens on loopback and forwards to `target` (tcp://HOST:PORT).

    `up` counts bytes from the dialler, `down` bytes to it.  `rate` limits
    each direction in bytes a second; None is no limit.  `port` is a free one
    unless given.  A list in `heard`
    gets all that passes.
    """

    def __init__(self, target: str, rate: Optional[float] = None,
                 port: int = 0):
        host, _, far = target.partition("://")[2].rpartition(":")
        self._target = (host, int(far))
        self.rate = rate
        self.up = self.down = 0
        self.connections = 0
        self.heard: Optional[list[bytes]] = None
        self._refuse = False
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = port or free_port()
        self.addr = f"tcp://127.0.0.1:{self.port}"
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(("127.0.0.1", self.port))
        self._sock.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def total(self) -> int:
        return self.up + self.down

    def cut(self, refuse: bool = False) -> None:
        """End every connection; `refuse` new ones until mend()."""
        self._refuse = refuse
        with self._lock:
            live = list(self._live)
        for sock in live:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mend(self) -> None:
        self._refuse = False

    def close(self) -> None:
        self.cut(refuse=True)
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._sock.accept()
            except OSError:
                return
            if self._refuse:
                inner.close()
                continue
            try:
                outer = socket.create_connection(self._target, 10)
            except OSError:
                inner.close()
                continue
            self.connections += 1
            for sock in (inner, outer):
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._live |= {inner, outer}
            for source, sink, name in ((inner, outer, "up"),
                                       (outer, inner, "down")):
                threading.Thread(target=self._pump, daemon=True,
                                 args=(source, sink, name)).start()

    def _pump(self, source: socket.socket, sink: socket.socket,
              name: str) -> None:
        try:
            while True:
                rate = self.rate
                size = 1 << 18 if rate is None else \
                    max(1024, min(1 << 16, int(rate / 20)))
                data = source.recv(size)
                if not data:
                    break
                sink.sendall(data)
                with self._lock:
                    setattr(self, name, getattr(self, name) + len(data))
                    if self.heard is not None:
                        self.heard.append(data)
                if rate is not None:
                    time.sleep(len(data) / rate)
        except OSError:
            pass
        finally:
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            with self._lock:
                self._live.discard(source)
            source.close()

"""Debian's Syncthing 1.19.2 as a test partner, on loopback and nowhere else.

Its configuration is generated, then stripped of everything that would look
for the outside: discovery, relays, NAT, crash and usage reports, upgrades.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Mapping, Optional

from .proc import Daemon, free_port, wait_until

API_KEY = "e2e-key"

_OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "startBrowser": "false",
    "urAccepted": "-1",
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "stunKeepaliveStartS": "0",
    "reconnectionIntervalS": "5",
    "setLowPriority": "false",
    "progressUpdateIntervalS": "1",
}


def installed() -> bool:
    return shutil.which("syncthing") is not None


class SyncthingNode(Daemon):
    """One Syncthing with a home of its own."""

    def __init__(self, home: Path, name: str = "syncthing",
                 options: Optional[Mapping[str, str]] = None,
                 scheme: str = "tcp"):
        self.home = Path(home)
        self.port = free_port()
        self.gui_port = free_port()
        self.addr = f"{scheme}://127.0.0.1:{self.port}"
        # One process instead of a monitor and its child: its pid is the
        # process whose time and memory we measure.
        super().__init__(
            name, ["syncthing", "serve", "--no-browser", "--no-restart",
                   "--home", str(self.home)],
            self.home.with_name(self.home.name + ".log"),
            {"STMONITORED": "yes", "STNOUPGRADE": "1",
             "HOME": str(self.home), "NO_PROXY": "*"})
        self._generate(dict(_OPTIONS, **(options or {})))
        self._id = ""

    def _generate(self, options: Mapping[str, str]) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["syncthing", "generate", "--home", str(self.home),
             "--no-default-folder", "--skip-port-probing"],
            check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=self.env, timeout=60)
        path = self.home / "config.xml"
        doc = ElementTree.parse(path)
        root = doc.getroot()

        def put(parent: ElementTree.Element, tag: str, text: str) -> None:
            for old in parent.findall(tag)[1:]:
                parent.remove(old)
            node = parent.find(tag)
            if node is None:
                node = ElementTree.SubElement(parent, tag)
            node.text = text

        gui = root.find("gui")
        opts = root.find("options")
        assert gui is not None and opts is not None
        put(gui, "address", f"127.0.0.1:{self.gui_port}")
        put(gui, "apikey", API_KEY)
        put(opts, "listenAddress", self.addr)
        for key, value in options.items():
            put(opts, key, value)
        for device in root.findall("device"):
            device.set("name", self.name)
        doc.write(path)

    # -- life ----------------------------------------------------------------

    @property
    def id(self) -> str:
        if not self._id:
            self._id = subprocess.run(
                ["syncthing", "--home", str(self.home), "--device-id"],
                check=True, capture_output=True, text=True,
                env=self.env, timeout=60).stdout.strip()
        return self._id

    def start(self, timeout: float = 30.0) -> "SyncthingNode":
        self.spawn()
        wait_until(lambda: self.get("/rest/system/ping"), timeout,
                   f"{self.name} answers", alive=[self])
        return self

    def stop(self) -> None:
        self.end(timeout=30)

    def restart(self) -> None:
        self.stop()
        self.start()

    # -- REST ----------------------------------------------------------------

    def rest(self, method: str, path: str, body: Any = None,
             **query: str) -> Any:
        """One call; JSON in, JSON out."""
        url = f"http://127.0.0.1:{self.gui_port}{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(
            url, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": API_KEY,
                     "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def get(self, path: str, **query: str) -> Any:
        return self.rest("GET", path, **query)

    def post(self, path: str, body: Any = None, **query: str) -> Any:
        return self.rest("POST", path, body, **query)

    # -- configuration -------------------------------------------------------

    def device_add(self, device_id: str, name: str,
                   addr: str = "dynamic", **extra: Any) -> None:
        self.post("/rest/config/devices",
                  {"deviceID": device_id, "name": name, "addresses": [addr],
                   **extra})

    def folder_add(self, folder: str, path: Path, share: list[str],
                   mode: str = "sendreceive", watcher_delay: int = 1,
                   **extra: Any) -> None:
        """Make a folder; the watcher waits `watcher_delay` s, 1 at least."""
        path.mkdir(parents=True, exist_ok=True)
        self.post("/rest/config/folders", {
            "id": folder, "label": folder, "path": str(path), "type": mode,
            "devices": [{"deviceID": d} for d in share],
            "fsWatcherEnabled": True, "fsWatcherDelayS": watcher_delay,
            "rescanIntervalS": 3600, "caseSensitiveFS": True,
            "maxConflicts": 10, "autoNormalize": True,
            "minDiskFree": {"value": 0, "unit": ""}, **extra})

    def folder_set(self, folder: str, **values: Any) -> None:
        self.rest("PATCH", f"/rest/config/folders/{folder}", values)

    # -- asking --------------------------------------------------------------

    def db_status(self, folder: str) -> dict[str, Any]:
        return self.get("/rest/db/status", folder=folder)

    def completion(self, folder: str, device: str) -> dict[str, Any]:
        return self.get("/rest/db/completion", folder=folder, device=device)

    def scan(self, folder: str) -> None:
        """Scan now; returns when the scan is done."""
        self.post("/rest/db/scan", folder=folder)

    def override(self, folder: str) -> None:
        self.post("/rest/db/override", folder=folder)

    def revert(self, folder: str) -> None:
        self.post("/rest/db/revert", folder=folder)

    def file(self, folder: str, name: str) -> dict[str, Any]:
        return self.get("/rest/db/file", folder=folder, file=name)

    def connected(self, device: str) -> bool:
        table = self.get("/rest/system/connections")["connections"]
        return bool(table.get(device, {}).get("connected"))

    def wire_bytes(self) -> int:
        """Bytes in and out of all connections of this start."""
        total = self.get("/rest/system/connections")["total"]
        return int(total["inBytesTotal"]) + int(total["outBytesTotal"])

    def idle(self, folder: str) -> bool:
        status = self.db_status(folder)
        return (status["state"] == "idle" and status["needTotalItems"] == 0
                and not status.get("errors"))

    def in_sync(self, folder: str, *devices: str) -> bool:
        """Idle, needing nothing, and every given device needs nothing."""
        if not self.idle(folder):
            return False
        for device in devices:
            done = self.completion(folder, device)
            if done["needItems"] or done["needDeletes"]:
                return False
        return True

    def wait_sync(self, folder: str, *devices: str,
                  timeout: float = 120.0) -> None:
        self.scan(folder)
        wait_until(lambda: self.in_sync(folder, *devices), timeout,
                   lambda: f"{self.name} in sync: {self.db_status(folder)}",
                   alive=[self])

    def errors(self, folder: str) -> list[dict[str, Any]]:
        return self.get("/rest/folder/errors",
                        folder=folder).get("errors") or []

    def sequences(self, folder: str) -> tuple[int, Any]:
        status = self.db_status(folder)
        return status["sequence"], status.get("version")


def pair_up(a: SyncthingNode, b: SyncthingNode, dial: bool = True) -> None:
    """Make two Syncthings know each other (`a` dials)."""
    a.device_add(b.id, b.name, b.addr if dial else "dynamic")
    b.device_add(a.id, a.name)


def quiet_time(node: SyncthingNode, folder: str, seconds: float) -> bool:
    """True when the folder's sequence does not move for that long."""
    first = node.sequences(folder)
    time.sleep(seconds)
    return node.sequences(folder) == first

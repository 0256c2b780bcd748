"""Two daemons in two homes of netlab.py, and the services between them."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import tree
from .netlab import Home, Internet, Kind, Space
from .node import Node
from .proc import wait_until
from .servers import Disco, Turn
from .world import FOLDER, World, settle

PORT = 22000
RELAY = "relay.test"
HUB = "hub.test"


def hosts(space: Space, internet: Internet) -> None:
    """Names of the services, as /etc/hosts of who is in that namespace."""
    place = Path("/etc/netns") / space.name
    place.mkdir(parents=True, exist_ok=True)
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for name, number in ((RELAY, internet.RELAY), (HUB, internet.HUB)):
        lines += [f"{internet.host(number, v6)} {name}" for v6 in (False,
                                                                  True)]
    (place / "hosts").write_text("\n".join(lines) + "\n")


def hosts_gone(internet: Internet) -> None:
    for space in internet.spaces:
        shutil.rmtree(Path("/etc/netns") / space.name, ignore_errors=True)


class Street(Disco):
    """A discovery server at port 443 of the hub, for both families."""

    def __init__(self, home: Path, space: Space):
        super().__init__(home, "", space.wrapper)
        at = self.argv.index("-listen") + 1
        self.argv[at] = ":443"

    @property
    def url(self) -> str:
        return f"https://{HUB}/v2/?id={self.id}"


class Town:
    """An internet with a hub (discovery) and a relay, both at port 443."""

    def __init__(self, world: World, internet: Internet):
        self.world, self.internet = world, internet
        self.hub = internet.service(internet.HUB)
        self.relay = internet.service(internet.RELAY)
        self.disco = Street(world.base / "disco", self.hub)
        self.stun = Turn(world.base / "turn", [
            internet.host(internet.STUN + n, v6) for v6 in (False, True)
            for n in (0, 1)], internet.space.wrapper)
        world.daemons += [self.disco, self.stun]
        self.disco.start()
        self.stun.spawn()
        self.relay_node = world.node("R", start=False,
                                     wrapper=self.relay.wrapper)
        for key, value in (("relay.serve", "true"),
                           ("relay.listen", "tcp://:443"),
                           ("relay.open", "true")):
            self.relay_node.config(key, value)
        self.relay_node.start()
        self.relay_url = f"relay://{RELAY}:443/?id={self.relay_node.id}"

    def node(self, name: str, home: Home, *listen: str) -> Node:
        """A daemon at home, as a person would set it up; not started."""
        hosts(home.space, self.internet)
        made = self.world.node(name, start=False, wrapper=home.space.wrapper)
        made.ctl("config", "unset", "mesh.listen")
        for url in listen or (f"tcp://:{PORT}", f"quic://:{PORT}",
                              self.relay_url):
            made.ctl("config", "set", "--add", "mesh.listen", url)
        made.config("mesh.announce", "true")
        made.config("mesh.discovery", self.disco.url)
        at = self.internet.host(self.internet.STUN, home.v6)
        made.config("mesh.stun", f"stun://{f'[{at}]' if home.v6 else at}"
                                 f":{self.stun.port}")
        return made


def path_of(node: Node, name: str) -> dict:
    path = node.device(name)["path"]
    return path if path is not None else {}


def joined(node: Node) -> bool:
    relays = node.status()["relays"]
    return bool(relays) and all(r["joined"] for r in relays)


def announced(node: Node) -> bool:
    return all(d["announced"] for d in node.status()["discovery"])


@dataclass
class Times:
    """What became of a pair; seconds since the second one was started."""

    kind: str = ""  # of the way, in the end
    why: str = ""
    first_byte: Optional[float] = None
    direct: Optional[float] = None


class Couple:
    """A and B with one folder, each at its home."""

    def __init__(self, town: Town, home_a: Home, home_b: Home):
        self.town = town
        self.homes = [home_a, home_b]
        self.nodes = [town.node(name, home)
                      for name, home in zip("AB", self.homes)]
        self.dirs = [town.world.dir("a"), town.world.dir("b")]
        for n, this in enumerate(self.nodes):
            that = self.nodes[1 - n]
            this.device_add(that.id, that.name, "dynamic", town.relay_url)
            this.folder_add(self.dirs[n], FOLDER, that.name)

    @property
    def a(self) -> Node:
        return self.nodes[0]

    @property
    def b(self) -> Node:
        return self.nodes[1]

    def paths(self) -> list[dict]:
        return [path_of(self.a, "B"), path_of(self.b, "A")]

    def kinds(self) -> set[str]:
        return {str(path.get("kind")) for path in self.paths()}

    def meet(self, expect: str, timeout: float = 60.0,
             why: Optional[set[str]] = None) -> Times:
        """Start both; until the way is of the kind that is expected.

        A relayed way is the last word when it says that all others failed, or
        one of the reasons `why`.
        """
        times = Times()
        self.a.start()
        wait_until(lambda: joined(self.a) and announced(self.a), 60,
                   "A can be found", alive=self.nodes[:1])
        tree.write(self.dirs[0] / "first", b"byte")
        self.b.spawn()
        start = time.monotonic()

        def look() -> bool:
            now = time.monotonic() - start
            if times.first_byte is None and (self.dirs[1] / "first").exists():
                times.first_byte = now
            paths = self.paths()
            times.why = str(paths[1].get("why") or paths[0].get("why") or "")
            kinds = {str(path.get("kind")) for path in paths}
            times.kind = kinds.pop() if len(kinds) == 1 else "mixed"
            if times.direct is None and times.kind in ("direct", "lan"):
                times.direct = now
            if times.first_byte is None:
                return False
            return times.kind == expect and (
                times.why != "direct-untried" if why is None
                else times.why in why)

        wait_until(self.b.ready, 60, "B answers", alive=[self.b])
        wait_until(look, timeout, lambda: f"expected {expect}, got {times}",
                   alive=self.nodes)
        return times

    def settle(self, timeout: float = 120.0) -> None:
        settle(self.nodes, self.dirs, timeout)

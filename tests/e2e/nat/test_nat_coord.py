"""Two behind NATs with nobody between them but a coordinator."""

from __future__ import annotations

import pytest

from lib import tree
from lib.natpair import PORT, path_of
from lib.netlab import KINDS, Internet
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, World, settle

pytestmark = [pytest.mark.root]

COORD = 22075


def test_a_signal_of_the_coordinator_opens_both_nats(
        world: World, internet: Internet) -> None:
    """No relay, no discovery server, no announcement, no address: what leads
    them to each other is what the coordinator passes on, and its STUN."""
    hub = internet.service(internet.HUB)
    coordinator = world.node("C", start=False, wrapper=hub.wrapper)
    coordinator.ctl("config", "unset", "mesh.listen")
    coordinator.config("coord.serve", "true")
    coordinator.config("coord.open", "true")
    coordinator.config("coord.listen", f"tcp://0.0.0.0:{COORD}")
    coordinator.start()
    url = (f"tcp://{internet.host(internet.HUB)}:{COORD}"
           f"?id={coordinator.id}")

    def at_home(name: str) -> Node:
        home = internet.home(KINDS["port"])
        made = world.node(name, start=False, wrapper=home.space.wrapper)
        made.ctl("config", "unset", "mesh.listen")
        for kind in ("tcp", "quic"):
            made.ctl("config", "set", "--add", "mesh.listen",
                     f"{kind}://:{PORT}")
        made.config("mesh.coordinator", url)
        return made.start()

    a, b = at_home("A"), at_home("B")
    code = a.ctl("device", "invite", "--json").json["link"]
    answer = b.ctl("join", code, "--json").json
    assert answer["state"] == "done", answer
    wait_until(lambda: [path_of(n, o).get("kind") for n, o in
                        ((a, "B"), (b, "A"))] == ["direct", "direct"], 90,
               lambda: f"{a.device('B')}\n{b.device('A')}",
               alive=[a, b, coordinator])
    for node, other in ((a, "B"), (b, "A")):
        assert path_of(node, other)["address"].startswith("11.0.0.10")
        assert path_of(node, other)["transport"] == "quic"
        assert node.status()["relays"] == []
        assert node.status()["discovery"] == []
    # It is not needed for what is open.
    coordinator.kill9()
    dirs = [world.dir("a"), world.dir("b")]
    for node, other, path in ((a, "B", dirs[0]), (b, "A", dirs[1])):
        node.folder_add(path, FOLDER, other)
    tree.write(dirs[0] / "hello", b"through")
    settle([a, b], dirs, 60)

"""A domain with time: keys that change, owners, and no coordinator."""

from __future__ import annotations

import pytest

from lib.domain import (Coordinator, connected, domain, joined, owner, sees)
from lib.proc import wait_until
from lib.world import World


@pytest.fixture
def coord(world: World) -> Coordinator:
    return Coordinator(world)


def test_a_domain_goes_on_when_its_coordinator_is_gone(
        world: World, coord: Coordinator) -> None:
    """Who was away hears of a removal from another member than the owner."""
    a = owner(world, coord)
    b, d, e = (joined(world, a, n) for n in "BDE")
    for node, other in ((a, "B"), (b, "D"), (b, "E"), (d, "E")):
        wait_until(lambda: connected(node, other), 40,
                   f"{node.name} is with {other}")
    assert d.stop() == 0 and coord.node.stop() == 0
    a.ctl("device", "revoke", "E")
    sees(b, "A", "B", "D")
    wait_until(lambda: "E" not in {x["name"] for x in b.status()["devices"]},
               30, "B has cut it")
    assert a.stop() == 0
    d.start()
    wait_until(lambda: domain(d)["head"] == domain(b)["head"], 60,
               "B has told D")
    sees(d, "A", "B", "D")
    wait_until(lambda: "E" not in {x["name"] for x in d.status()["devices"]},
               30, "D has cut it")
    assert not connected(e, "B") and not connected(e, "D")

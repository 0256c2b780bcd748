"""Every kind of router against every other: the way that two find."""

from __future__ import annotations

import pytest

from lib.natpair import Couple, Times, Town
from lib.netlab import HAIRPIN, KINDS, SAME

pytestmark = [pytest.mark.root]

PAIRS = [(a, b) for n, a in enumerate(KINDS) for b in list(KINDS)[n:]]
# What a run of all tests looks at; ./dev nat has the others.
SOME = [("none", "port"), ("symmetric", "symmetric"), ("double", "v6")]


def easy(name: str) -> bool:
    """Its mapping is the same whoever is spoken with."""
    return name in ("none", "firewall", "fullcone", "address", "port",
                    "double")


def expected(a: str, b: str) -> str:
    """"direct" or "relay": what these routers let through at all."""
    if "noudp" in (a, b):
        return "relay"  # TCP to port 443 alone, and nobody else is there
    if "v6" in (a, b):
        return "direct" if a == b else "relay"  # no family in common
    if easy(a) and easy(b):
        return "direct"
    # A hard one and one that is easy: it comes from an unknown port, and to
    # a port-restricted one by many guesses.  Two hard ones can not.
    return "direct" if easy(a) or easy(b) else "relay"


def reasons(a: str, b: str) -> set[str]:
    """What may stand with a relayed way of these, once all is known."""
    if "noudp" in (a, b):
        return {"udp-blocked", "udp-blocked-there"}
    if "v6" in (a, b):
        return {"no-answer", "hard-nat"}  # no address in common
    return {"hard-nat-both"}


def told(record_property, names: tuple[str, str], want: str,
         times: Times) -> None:
    def seconds(value) -> str:
        return "-" if value is None else f"{value:.1f}"

    record_property("nat", [
        "-".join(names), want, times.kind, times.why,
        seconds(times.first_byte), seconds(times.direct)])


@pytest.mark.parametrize("pair", [
    pytest.param(pair, marks=[] if pair in SOME else pytest.mark.matrix)
    for pair in PAIRS], ids="-".join)
def test_a_pair_finds_its_way(town: Town, pair: tuple[str, str],
                              record_property) -> None:
    """Whatever is between them, the first byte comes: at worst by the relay
    at TCP port 443."""
    homes = [town.internet.home(KINDS[name]) for name in pair]
    couple = Couple(town, *homes)
    want = expected(*pair)
    times = couple.meet(want, 90,
                        {""} if want == "direct" else reasons(*pair))
    told(record_property, pair, want, times)


def test_two_behind_one_router_are_neighbours(town: Town,
                                              record_property) -> None:
    """LAN first; and what they say to each other stays there (S19, S20)."""
    couple = Couple(town, *town.internet.homes_behind_one(SAME))
    for space in (town.hub, town.relay):
        space.nft("""table inet count { counter heard { };
            chain in { type filter hook prerouting priority raw;
                iifname "wan" counter name heard; }; }""")
    times = couple.meet("direct")
    told(record_property, ("same", "LAN"), "direct", times)
    before = [space.counter("heard") for space in (town.hub, town.relay)]
    assert before[0] > 0 and before[1] > 0  # the counters count
    (couple.dirs[0] / "big").write_bytes(bytes(range(256)) * 80_000)
    couple.settle()
    for node, path in zip(couple.nodes, couple.paths()):
        assert path["address"].startswith("192.168.1."), path
    for space, count in zip((town.hub, town.relay), before):
        assert space.counter("heard") - count < 200_000


@pytest.mark.matrix
def test_two_kept_apart_behind_one_router(town: Town,
                                          record_property) -> None:
    """A guest network: the relay, or the router's own outer address."""
    couple = Couple(town, *town.internet.homes_behind_one(HAIRPIN, True))
    times = couple.meet("direct", 90)
    told(record_property, ("hairpin", "hairpin"), "direct", times)

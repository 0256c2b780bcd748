"""Every kind of router against every other: the way that two find."""

from __future__ import annotations

import pytest

from lib.natpair import Couple, Town
from lib.netlab import KINDS

pytestmark = [pytest.mark.root]


def expected(a: str, b: str) -> str:
    """"direct" or "relay"."""
    if "none" in (a, b) and "v6" not in (a, b) and "noudp" not in (a, b):
        return "direct"
    return "relay"


@pytest.mark.matrix
@pytest.mark.parametrize("pair", [(a, b) for n, a in enumerate(KINDS) for b in list(KINDS)[n:]], ids="-".join)
def test_a_pair_finds_its_way(town: Town, pair: tuple[str, str]) -> None:
    homes = [town.internet.home(KINDS[name]) for name in pair]
    couple = Couple(town, *homes)
    print(couple.meet(expected(*pair)))

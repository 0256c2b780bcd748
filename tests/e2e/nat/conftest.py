"""What the tests of this folder share: an internet of their own."""

from __future__ import annotations

from typing import Iterator

import pytest

from lib.natpair import Town, hosts_gone
from lib.netlab import Internet, why_not
from lib.world import World

_WHY_NOT: list[str] = []


@pytest.fixture
def internet() -> Iterator[Internet]:
    if not _WHY_NOT:
        _WHY_NOT.append(why_not())
    if _WHY_NOT[0]:
        pytest.skip(_WHY_NOT[0])
    made = Internet()
    yield made
    hosts_gone(made)
    made.close()


@pytest.fixture
def town(internet: Internet, world: World) -> Town:
    """The world ends before the internet does."""
    return Town(world, internet)

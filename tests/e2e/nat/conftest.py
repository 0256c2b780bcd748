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


def pytest_terminal_summary(terminalreporter) -> None:
    """A line a pair: wanted, found, why, first byte and direct after."""
    rows, good = [], 0
    for outcome in ("passed", "failed", "xfailed", "xpassed"):
        for report in terminalreporter.getreports(outcome):
            for name, row in getattr(report, "user_properties", []):
                if name == "nat" and report.when == "call":
                    rows.append(row)
                    good += row[1] == row[2]
            if outcome == "failed" and "test_nat_matrix" in report.nodeid \
                    and "nat" not in dict(report.user_properties):
                rows.append([report.nodeid.rpartition("[")[2].rstrip("]"),
                             "?", "failed", "", "-", "-"])
    if not rows:
        return
    tr = terminalreporter
    tr.section("pairs")
    tr.write_line(f"{'pair':24}{'wanted':8}{'found':8}{'why':16}"
                  f"{'first byte':>11}{'direct':>8}")
    for row in rows:
        tr.write_line(f"{row[0]:24}{row[1]:8}{row[2]:8}{row[3]:16}"
                      f"{row[4]:>9} s{row[5]:>6} s")
    tr.write_line(f"{len(rows)} pairs, {good} as expected")

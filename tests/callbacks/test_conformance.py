"""The fast part of the conformance suite: one cell of each method; all of them: make conformance."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from conformance import SETTINGS, Cell, covering, fit, pairs

FAST = {cell.method: replace(cell, processes="1", compiled=False) for cell in covering()}


@pytest.mark.parametrize("cell", FAST.values(), ids=str)
def test_a_cell_of_each_method(cell: Cell) -> None:
    fit(cell)


def test_the_cells_cover_all_pairs_of_settings() -> None:
    assert set(FAST) == set(SETTINGS["method"])
    cells = covering()
    met = set().union(*map(pairs, cells))
    for one, other in combinations(SETTINGS, 2):
        for a in SETTINGS[one]:
            for b in SETTINGS[other]:
                refused = {a, b} & {"16-mixed"} and any("fused" in str(value) for value in (a, b))
                refused = refused or (one, a, other, b) == ("processes", "2, static graph", "accumulate", 3)
                assert (((one, a), (other, b)) in met) != bool(refused), (one, a, other, b)
    assert len(cells) < 200

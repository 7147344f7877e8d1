"""Tests that share a run stay on one worker, or the run is made on each."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("together")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", False):
        pytest.skip("there is one worker, or it takes no groups")
    assert request.node.nodeid.endswith("@together")

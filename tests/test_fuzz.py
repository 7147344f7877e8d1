"""Some damaged files for each reader; make fuzz has more."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import READERS, Finding, fuzz


@pytest.mark.filterwarnings("ignore:.*without checksums of its values", "ignore:.*people.*left out")
@pytest.mark.parametrize("name", list(READERS))
def test_a_damaged_file_is_refused_in_a_line_or_read(name: str, tmp_path: Path) -> None:
    outcomes = list(fuzz(name, 8 if ".mat" in name or name == "LSP" else 40, 1, tmp_path))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    assert "refused" in outcomes or name == "metrics.csv", "its lines that cannot be read are left out"

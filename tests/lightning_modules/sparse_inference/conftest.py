"""Networks of tests are small, but their work is shared by as many threads as there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lightning_modules.sparse_inference import plan


@pytest.fixture(scope="module", autouse=True)
def _shared_work() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARED_FROM", 0)
        yield

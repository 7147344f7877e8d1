"""Masks in a damaged checkpoint: refused by whoever reads them, before they ask for memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from operations import Operations

from callbacks import Ticket, read_masks
from callbacks.sparsity import Masks

TICKET = {"level": 1, "retraining": "weights", "learning_rates": None}


BYTE = torch.zeros(1, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("shape", "bits", "cause"),
    [
        ([2**16, 2**16], BYTE, "does not hold 4294967296 entries"),
        ([2**32, 2**32], BYTE[:0], "does not hold 18446744073709551616 entries"),
        ([2**32], BYTE.expand(2**29), "does not hold 4294967296 entries"),
        ([2**32], torch.empty(2**29, dtype=torch.uint8, device="meta"), "does not hold 4294967296 entries"),
        ([2**32], torch.zeros(2**29, dtype=torch.uint8, layout=torch.sparse_coo), "does not hold 4294967296 entries"),
        ([2**63], BYTE, r"mask 'w' has shape \[9223372036854775808\]"),
        ([-1, -8], BYTE, r"mask 'w' has shape \[-1, -8\]"),
        ([2, 4.0], BYTE, r"mask 'w' has shape \[2, 4.0\]"),
        ([8, True], BYTE, r"mask 'w' has shape \[8, True\]"),
        (["8"], BYTE, r"mask 'w' has shape \['8'\]"),
        ([5], BYTE + 32, "set beyond the 5 entries"),
        ([8], BYTE.bool(), "torch.bool"),
    ],
)
def test_damaged_masks_of_a_checkpoint_are_refused_before_memory_is_asked_for(
    tmp_path: Path, shape: list[object], bits: torch.Tensor, cause: str
) -> None:
    watch = Operations()
    with pytest.raises(ValueError, match=cause):
        watch.of(Masks.from_state_dict)({"w": {"shape": shape, "bits": bits}})
    assert watch.largest < 100
    state = {"masks": {"w": {"shape": shape, "bits": bits}}}
    content = {"state_dict": {}, "callbacks": {"SparseTraining": state}, "ticket": TICKET}
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=rf"bad.ckpt'.*({cause}|on the meta device|more than a file of)"):
        read_masks(tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=rf"bad.ckpt' .*({cause}|on the meta device|more than a file of)"):
        Ticket.read(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("callbacks", [torch.zeros(3), [1], {"SparseTraining": {"masks": [1]}}])
def test_a_ticket_with_other_things_in_the_place_of_masks_is_none(tmp_path: Path, callbacks: object) -> None:
    torch.save({"state_dict": {}, "callbacks": callbacks, "ticket": TICKET}, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"bad.ckpt' is not the file of a ticket"):
        Ticket.read(tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"bad.ckpt' holds no masks"):
        read_masks(tmp_path / "bad.ckpt")

"""Files of the version before methods were objects still load, and runs that it began go on as they would have."""

from __future__ import annotations

import pytest
import torch
from earlier import FOLDER, NAMES, Small, fit, packed

from callbacks import SparseTraining, Ticket, read_masks, read_spectrum
from callbacks.sparsity import Masks
from lightning_modules.sparse_inference import load_sparse

ENDS = torch.load(FOLDER / "ends.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_as_the_version_that_began_it_would_have(name: str) -> None:
    end, expected = fit(name, ckpt_path=FOLDER / f"{name}.ckpt"), ENDS[name]
    assert Masks.from_state_dict(end["masks"]).digest() == Masks.from_state_dict(expected["masks"]).digest()
    assert end["explored"] == expected["explored"]
    torch.testing.assert_close(end["weights"], expected["weights"], rtol=1e-4, atol=1e-6)


def test_masks_of_a_checkpoint() -> None:
    masks = read_masks(FOLDER / "static.ckpt")
    assert masks.digest() == Masks.from_state_dict(ENDS["static"]["masks"]).digest()


def test_a_packed_file() -> None:
    layer, _ = packed()
    kept = torch.load(FOLDER / "packed.pt", weights_only=True)
    assert read_masks(FOLDER / "packed.safetensors").digest() == Masks.from_state_dict(kept["masks"]).digest()
    torch.nn.init.zeros_(layer.weight)
    with pytest.warns(UserWarning, match=r"packed.safetensors', without checksums of its values"):
        assert torch.equal(load_sparse(FOLDER / "packed.safetensors", layer).weight, kept["weights"]["weight"])
    assert SparseTraining(masks_from=FOLDER / "packed.safetensors")


def test_a_ticket() -> None:
    ticket, module = Ticket.read(FOLDER / "ticket.ckpt"), Small()
    ticket.apply(module)
    assert ticket.sparsity == pytest.approx(0.6, abs=0.01)
    assert (module.network[4].weight != 0).sum() == ticket.masks.counts["network.4.weight"]


def test_a_spectrum() -> None:
    [path] = (FOLDER / "spectra").iterdir()
    assert read_spectrum(path).largest > 0

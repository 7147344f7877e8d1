"""Signal propagation at initialization: section 3 of the gradient-flow paper, and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from callbacks.sparsity import (
    Initialization,
    KeepValues,
    LayerScaled,
    Uniform,
    UnitScaled,
    generator_for,
    select,
    signal_propagation,
)
from callbacks.sparsity.analysis.propagation import heterogeneous_masks
from lightning_modules.networks import LeNet5


def sigma(initialization: Initialization, sparsity: float, seed: int) -> float:
    torch.manual_seed(seed)
    network = LeNet5(in_channels=3)
    selected = select(network)
    counts = Uniform()({name: weight.parameter.shape for name, weight in selected.items()}, sparsity)
    masks = heterogeneous_masks(selected, counts, seed=seed)
    with torch.no_grad():
        for layer, (name, weight) in enumerate(selected.items()):
            weight.parameter.copy_(initialization(weight, masks[name], generator_for(seed, -1, layer)))
    return signal_propagation(network, (3, 28, 28), samples=100).output


def test_dense_initialization_loses_the_signal_and_scaled_ones_keep_it() -> None:
    found = {
        (init, sparsity): np.median([sigma(init, sparsity, seed) for seed in range(3)])
        for init in (KeepValues(), LayerScaled(), UnitScaled())
        for sparsity in (0.0, 0.5, 0.8, 0.95, 0.98)
    }
    assert found[KeepValues(), 0.95] < 1e-3, "three orders of magnitude below 1"
    assert found[KeepValues(), 0.98] < 1e-3 * found[KeepValues(), 0.0], "and below where it started"
    for init in (LayerScaled(), UnitScaled()):
        for sparsity in (0.0, 0.5, 0.8):
            assert 0.1 < found[init, sparsity] < 10, "within one order of 1"


def test_layers_agree_with_a_slow_reference_and_the_network_stays() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    signal = signal_propagation(network, (2, 5, 5), samples=50, seed=3)
    state = torch.get_rng_state()
    inputs = torch.randn(50, 2, 5, 5, generator=generator_for(3, 50))
    with torch.no_grad():
        images = network[0](inputs).numpy()
        outputs = network(inputs).numpy()
    by_unit = [np.std([image[c] for image in images], ddof=1) for c in range(3)]
    assert signal.layers["0"] == pytest.approx(np.mean(by_unit), rel=1e-5)
    assert signal.layers["4"] == pytest.approx(np.std(outputs, axis=0, ddof=1).mean(), rel=1e-5)
    assert signal.output == pytest.approx(np.std(outputs, ddof=1), rel=1e-5)
    assert torch.equal(torch.get_rng_state(), state)
    network.load_state_dict(before)
    signal_propagation(nn.Sequential(network, nn.Dropout()), (2, 5, 5))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_units_of_a_sequence_are_its_last_dimension() -> None:
    layer = nn.Linear(6, 3)
    signal = signal_propagation(layer, (7, 6), samples=20)
    with torch.no_grad():
        output = layer(torch.randn(20, 7, 6, generator=generator_for(0, 20)))
    assert signal.layers[""] == pytest.approx(float(output.reshape(-1, 3).std(0).mean()), rel=1e-5)


def test_heterogeneous_masks_give_later_units_more_inputs() -> None:
    selected = select(nn.ModuleList([nn.Linear(200, 8), nn.ConvTranspose2d(8, 40, 3, groups=2)]))
    masks = heterogeneous_masks(selected, {"0.weight": 400, "1.weight": 300}, seed=1)
    assert masks.counts == {"0.weight": 400, "1.weight": 300}
    by_unit = masks["0.weight"].sum(1)
    assert by_unit[0] < by_unit[3] < by_unit[7]
    # of U(0, c), the part above the threshold t is 1 - t / c
    threshold = next(t for t in np.arange(0, 8, 0.001) if sum(max(0, 1 - t / c) for c in range(1, 9)) * 200 < 400)
    expected = [200 * max(0, 1 - threshold / c) for c in range(1, 9)]
    np.testing.assert_allclose(by_unit.numpy(), expected, atol=20)
    units = selected["1.weight"].by_unit(masks["1.weight"]).sum((2, 3)).flatten()
    assert units.shape == (40,)
    assert units[:13].sum() < units[13:26].sum() < units[26:39].sum()
    assert masks.digest() == heterogeneous_masks(selected, masks.counts, seed=1).digest()
    assert masks.digest() != heterogeneous_masks(selected, masks.counts, seed=2).digest()


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="samples is 1"):
        signal_propagation(nn.Linear(2, 2), (2,), samples=1)
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match="the signal is not finite at '0'"):
        signal_propagation(nn.Sequential(layer, nn.Linear(2, 2)), (2,))

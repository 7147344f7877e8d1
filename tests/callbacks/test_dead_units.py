"""Units without connections and layers without weights are told by name."""

from __future__ import annotations

import pytest
import torch
from fits import Scripted, TinyModule, fit
from logs import Memory
from torch import nn

from callbacks import RigL, SparseTraining
from callbacks.sparsity import Constant, KeepValues, Masks, SparseWeight, UpdateWindow, select
from callbacks.sparsity_report import unconnected


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(3, 5), nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3, groups=2), nn.Conv1d(2, 4, 1)],
    ids=lambda layer: type(layer).__name__,
)
def test_units_without_connections_put_out_their_bias(layer: nn.Module) -> None:
    [weight] = select(layer).values()
    mask = torch.rand(weight.parameter.shape, generator=torch.Generator().manual_seed(0)) < 0.04
    with torch.no_grad():
        weight.parameter.copy_(mask)
        layer.bias.zero_()
        image = torch.ones(1, layer.in_features) if isinstance(layer, nn.Linear) else torch.ones(1, 4, 5, 5)
        image = torch.ones(1, 2, 5) if isinstance(layer, nn.Conv1d) else image
        out = layer(image)
    silent = int((out.flatten(2).sum((0, 2)) == 0).sum() if out.dim() > 2 else (out[0] == 0).sum())
    assert unconnected(weight, mask) == silent > 0


def test_they_are_logged_at_the_start_and_at_updates() -> None:
    memory, module = Memory(), TinyModule()
    masks = Masks.random({"network.4.weight": (24, 288)}, {"network.4.weight": 300}, seed=0)
    masks["network.4.weight"][3:5] = False  # units without inputs
    owner = RigL(masks_from=masks, include="network.4.weight", window=UpdateWindow(2, stop=3))
    fit(module, [owner], logger=memory, max_steps=4)
    logged = memory.of("sparsity/dead_units")
    assert logged[0] == memory.of("sparsity/dead_units/network.4.weight")[0] >= 2
    assert set(logged) == {0, 2}
    weight = SparseWeight(module.network[4].weight)
    assert logged[2] == unconnected(weight, owner.masks["network.4.weight"])


def test_a_layer_whose_weights_are_all_zero_is_warned_of_once() -> None:
    class Dying(Scripted):
        def on_train_batch_start(self, batch, batch_idx) -> None:
            if self.global_step == 1:
                self.layers["dead"].weight.data.zero_()

    rows = {"dead": [3.0, 2.0, 1.0, 0.5], "alive": [1.0, 2.0, 3.0, 4.0]}
    module = Dying(rows, [{name: [1.0, 2.0, 3.0, 4.0] for name in rows}] * 8)
    owner = RigL(0.5, initialization=KeepValues(), window=UpdateWindow(2, stop=1.0), drop_fraction=Constant(0.5))
    with pytest.warns(UserWarning, match=r"all weights of 'layers.dead.weight' are 0 at step 2, so that") as caught:
        fit(module, [owner], max_steps=8)
    assert len([warning for warning in caught if "are 0 at step" in str(warning.message)]) == 1


def test_no_unit_is_dead_of_a_network_with_enough_weights() -> None:
    memory = Memory()
    fit(TinyModule(), [SparseTraining(0.5)], logger=memory, max_steps=2)
    assert memory.of("sparsity/dead_units") == {0: 0}

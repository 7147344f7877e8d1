"""A fit with a layer under weight_norm, which divides by rows of a parameter: refused, or trained with it left out."""

from __future__ import annotations

import pytest
import torch
from fits import TinyModule, fit, loader
from methods import METHODS, Method
from torch.nn.utils import weight_norm

from callbacks import GradientFlowMonitor, GradualPruning, PruneAtStart, RigL, SparseTraining
from callbacks.sparsity import SNIP, PruningWindow, UpdateWindow

LEFT_OUT = {"exclude": "*weight_[gv]"}


class Normed(TinyModule):
    def __init__(self) -> None:
        super().__init__()
        with pytest.warns(FutureWarning, match="deprecated"):
            self.network[4] = weight_norm(self.network[4])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_refuses_it_by_name(method: Method) -> None:
    with pytest.raises(ValueError, match=r"'network.4.weight_g' .*weight_norm.*exclude='\*weight_\[gv\]'"):
        fit(Normed(), [method.build(include=["Linear", "Conv2d"])])


@pytest.mark.parametrize(
    "owner",
    [
        SparseTraining(**LEFT_OUT),
        RigL(0.8, window=UpdateWindow(2, stop=1.0), **LEFT_OUT),
        GradualPruning(0.8, window=PruningWindow(2), **LEFT_OUT),
        PruneAtStart(0.8, criterion=SNIP(), **LEFT_OUT),
    ],
    ids=lambda owner: type(owner).__name__,
)
def test_a_fit_that_leaves_it_out_trains_it_dense(owner: SparseTraining) -> None:
    module = Normed()
    fit(module, [owner, GradientFlowMonitor(every_n_steps=4, probe_batch=next(iter(loader())))], max_steps=8)
    assert torch.tensor(module.losses).isfinite().all()
    assert list(owner.masks) == ["network.0.weight", "network.6.weight"]
    assert (module.network[4].weight != 0).all()

"""PruneAtStart: what the criterion sees, and that the run does not notice; masks as a value to start with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, data, fit, loader, trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from callbacks import GradualPruning, PruneAtStart, RigL, SparseTraining
from callbacks.sparsity import (
    SNIP,
    GraSP,
    KeepValues,
    LayerScaled,
    Masks,
    OneShotMagnitude,
    SynFlow,
    Uniform,
    UpdateWindow,
    prune,
    select,
)


class Noisy(TinyModule):
    """Draws random numbers in every step."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return super().training_step((nn.functional.dropout(batch[0], 0.2), batch[1]), batch_idx)


class Seen(SNIP):
    """Keeps what it was given."""

    def __call__(self, network, weights, loss, batches):
        SEEN.append((batches, {name: weight.detach().clone() for name, weight in weights.items()}))
        return super().__call__(network, weights, loss, batches)


SEEN: list[tuple[Any, dict[str, Tensor]]] = []


def shuffled() -> DataLoader[Any]:
    return DataLoader(data(), batch_size=16, shuffle=True)


@pytest.mark.parametrize("criterion", [OneShotMagnitude(), SNIP(), GraSP(), SynFlow(5)])
def test_the_run_does_not_notice_how_its_masks_were_chosen(criterion) -> None:
    def run(owner: SparseTraining) -> Noisy:
        pl.seed_everything(3, verbose=False)
        module = Noisy()
        trainer([owner], max_steps=10).fit(module, shuffled())
        return module

    chosen = PruneAtStart(0.8, criterion=criterion, scope="layer")
    module = run(chosen)
    given = SparseTraining(0.8, masks_from=chosen.masks, initialization=KeepValues())
    same = run(given)
    assert given.masks.digest() == chosen.masks.digest()
    assert module.losses == same.losses
    for name, value in module.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name


def test_the_criterion_sees_the_modules_weights_and_random_training_samples() -> None:
    SEEN.clear()
    module = TinyModule()
    before = {name: weight.parameter.detach().clone() for name, weight in select(module).items()}
    trainer([PruneAtStart(0.8, criterion=Seen(), batches=2, seed=1)], max_steps=1).fit(module, loader())
    [(batches, weights)] = SEEN
    assert all(torch.equal(weights[name], weight) for name, weight in before.items())
    images = torch.cat([image for image, _ in batches])
    assert [len(image) for image, _ in batches] == [16, 16]
    order = [next(i for i, (image, _) in enumerate(data()) if torch.equal(image, seen)) for seen in images]
    assert len(set(order)) == 32
    assert order != sorted(order), "not the head of the data set"
    trainer([PruneAtStart(0.8, criterion=Seen(), batches=2, seed=1)], max_steps=1).fit(TinyModule(), shuffled())
    assert torch.equal(torch.cat([image for image, _ in SEEN[1][0]]), images), "however the loader orders them"


def test_masks_are_those_of_the_plain_function_on_the_same_batch() -> None:
    module, batch = TinyModule(), next(iter(loader()))
    owner = PruneAtStart(0.8, criterion=SNIP(), scope="layer", batches=[batch])
    fit(module, [owner], max_steps=2)
    plain = TinyModule()
    masks = prune(
        plain,
        0.8,
        criterion=SNIP(),
        loss=lambda network, b: nn.functional.cross_entropy(network(b[0]), b[1]),
        batches=[batch],
    )
    assert owner.masks.digest() == masks.digest()


def test_an_initialization_may_follow_the_choice() -> None:
    class Start(pl.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            self.weights = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    dense, start = TinyModule(), Start()
    owner = PruneAtStart(0.75, scope="layer", initialization=LayerScaled())
    fit(TinyModule(), [owner, start], max_steps=1)
    for name, mask in owner.masks.items():
        torch.testing.assert_close(start.weights[name], 2 * dense.get_parameter(name).detach() * mask)


def test_a_layer_that_a_global_choice_empties_is_an_error_that_names_it() -> None:
    module = TinyModule()
    with torch.no_grad():
        module.network[6].weight *= 1e-6
    with pytest.raises(ValueError, match=r"leaves 'network.6.weight' without a weight: .*scope='layer'"):
        fit(module, [PruneAtStart(0.9)])
    fit(module, [owner := PruneAtStart(0.9, scope="layer")], max_steps=2)
    assert owner.masks.counts == Uniform()({name: mask.shape for name, mask in owner.masks.items()}, 0.9)


def test_resuming_with_another_sparsity_is_refused(tmp_path: Path) -> None:
    fit(TinyModule(), [PruneAtStart(0.8)], max_steps=4).save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"keep \d+ weights in 'network.*', but PruneAtStart.sparsity=0.7"):
        trainer([PruneAtStart(0.7)], max_steps=8).fit(TinyModule(), loader(), ckpt_path=tmp_path / "last.ckpt")


# --- masks as a value -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [SparseTraining, RigL, GradualPruning, PruneAtStart])
def test_every_method_starts_with_given_masks(method) -> None:
    module = TinyModule()
    masks = prune(module, 0.8)
    held = {name: p.detach().clone() for name, p in module.named_parameters()}
    moves = {"window": UpdateWindow(2, stop=1.0)} if method is RigL else {}
    owner = method(0.8, masks_from=masks, initialization=KeepValues(), **moves)

    class Start(pl.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            assert owner.masks.digest() == masks.digest()
            assert all(torch.equal(p, held[name]) for name, p in pl_module.named_parameters())

    fit(module, [owner, Start()], max_steps=4)
    assert (owner.masks.digest() == masks.digest()) == (method is not RigL)


def test_given_masks_of_another_network_are_refused() -> None:
    masks = Masks.random({"fc.weight": (3, 4)}, {"fc.weight": 5}, seed=0)
    with pytest.raises(ValueError, match=r"masks_from 'Masks.1 weights.*do not fit the selected weights"):
        fit(TinyModule(), [SparseTraining(masks_from=masks)])


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": "network"}, "scope is 'network'; choose layer or global"),
        ({"batches": 0}, "batches is 0; give a number, 1 or more"),
        ({"batches": []}, r"batches is \[\]; give a number"),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PruneAtStart(0.9, **arguments)


def test_training_data_that_is_no_loader_of_samples() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self):
            return iter(data())

    with pytest.raises(ValueError, match="batches=1 takes random samples, but the training data is a stream"):
        trainer([PruneAtStart(criterion=SNIP())]).fit(TinyModule(), DataLoader(Stream(), batch_size=4))
    with pytest.raises(ValueError, match="batches=1 takes samples from a DataLoader, but the training data is a dict"):
        trainer([PruneAtStart(criterion=SNIP())]).fit(TinyModule(), {"a": loader()})


def test_a_module_that_needs_its_trainer_is_told_to_give_a_loss() -> None:
    class Bound(TinyModule):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) / self.trainer.world_size

    with pytest.raises(RuntimeError, match=r"SNIP\(\) could not run a detached copy of Bound .*give a loss"):
        fit(Bound(), [PruneAtStart(criterion=SNIP())])

    def loss(module: Any, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    fit(Bound(), [owner := PruneAtStart(criterion=SNIP(), loss=loss)], max_steps=1)
    assert owner.masks.sparsity == pytest.approx(0.9, abs=1e-3)


def test_a_lack_of_memory_is_not_taken_for_a_loss_that_cannot_run() -> None:
    def loss(module: Any, batch: Any) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        fit(TinyModule(), [PruneAtStart(criterion=SNIP(), loss=loss)])


def test_manual_optimization_needs_a_loss() -> None:
    class Manual(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

    with pytest.raises(ValueError, match=r"SNIP\(\) needs the gradient of a loss: give loss"):
        fit(Manual(), [PruneAtStart(criterion=SNIP())])

from __future__ import annotations

import itertools
import math

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, data, fit, loader, trainer
from logs import Memory
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

from callbacks import SET, GradientFlowMonitor, RigL, SparseTraining
from callbacks.sparsity import Cosine, UpdateWindow

WINDOW = UpdateWindow(4, stop=1.0)


class OwnNorms(TinyModule):
    """Measures its gradients itself, dense, the moment they are complete."""

    def __init__(self) -> None:
        super().__init__()
        self.grads: list[dict[str, torch.Tensor]] = []

    def on_after_backward(self) -> None:
        self.grads.append({name: p.grad.clone() for name, p in self.named_parameters()})


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))), ids=["monitor-first", "owner-first"])
@pytest.mark.parametrize("owner", [SparseTraining(0.8), RigL(0.8, window=WINDOW)], ids=["static", "rigl"])
def test_the_monitor_sees_dense_gradients_in_either_order(order: tuple[int, int], owner: SparseTraining) -> None:
    memory, module = Memory(), OwnNorms()
    masks = []

    class KeepMasks(pl.Callback):
        def on_train_batch_start(self, *_: object) -> None:
            masks.append(owner.masks)

    callbacks = [GradientFlowMonitor(every_n_steps=1, per_layer=True), owner]
    fit(module, [*(callbacks[i] for i in order), KeepMasks()], logger=memory, max_steps=10)
    for step, (grads, mask) in enumerate(zip(module.grads, masks, strict=True)):
        squares = {name: grad.double().square() for name, grad in grads.items()}
        hidden = {name: squares[name][~mask[name]].sum().item() for name in mask}
        total = sum(s.sum().item() for s in squares.values())
        row = memory.rows[step]
        assert row["grad_flow/total"] == pytest.approx(math.sqrt(total), rel=1e-4)
        assert row["grad_flow/inactive"] == pytest.approx(math.sqrt(sum(hidden.values())), rel=1e-4)
        assert row["grad_flow/active"] == pytest.approx(math.sqrt(total - sum(hidden.values())), rel=1e-4)
        for name, value in hidden.items():
            assert row[f"grad_flow/inactive/{name}"] == pytest.approx(math.sqrt(value), rel=1e-4)
        assert row["grad_flow/inactive/network.6.bias"] == 0
    assert memory.rows[9]["grad_flow/inactive"] > 0


def test_dense_training_is_all_active() -> None:
    memory = Memory()
    fit(TinyModule(), [GradientFlowMonitor(every_n_steps=3)], logger=memory, max_steps=7)
    assert list(memory.of("grad_flow/total")) == [0, 3, 6]
    assert memory.of("grad_flow/total") == memory.of("grad_flow/active")


def test_keys_and_steps_are_exact_whatever_the_log_interval() -> None:
    memory = Memory()
    fit(TinyModule(), [GradientFlowMonitor(every_n_steps=5), RigL(window=WINDOW)], logger=memory, log_every_n_steps=7)
    assert list(memory.of("grad_flow/active")) == [0, 5, 10, 15, 20]
    assert list(memory.of("sparsity/churn")) == [4, 8, 12, 16, 20]
    assert set(memory.of("sparsity/actual")) == {0, 7, 14, 21, 4, 8, 12, 16, 20, 24}
    assert memory.of("sparsity/actual") == memory.of("sparsity/target")


def test_gradients_that_are_not_finite_are_counted() -> None:
    class Spoilt(TinyModule):
        def on_after_backward(self) -> None:
            if self.global_step in (2, 5):
                self.network[6].bias.grad[0] = math.inf

        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step in (2, 5):
                self.zero_grad()

    memory = Memory()
    fit(Spoilt(), [GradientFlowMonitor(every_n_steps=1), SparseTraining(0.8)], logger=memory, max_steps=8)
    assert memory.of("grad_flow/not_finite") == {2: 1, 5: 2}


def test_any_logger_works(tmp_path) -> None:
    logger = CSVLogger(tmp_path)
    fit(TinyModule(), [GradientFlowMonitor(every_n_steps=2), SET(window=WINDOW)], logger=logger, max_steps=9)
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"grad_flow/active", "sparsity/target", "sparsity/explored", "train/loss"} <= set(header.split(","))


def probe_run(probe_batch: object) -> tuple[Memory, TinyModule, RigL]:
    memory, module = Memory(), TinyModule()
    rigl = RigL(0.9, window=WINDOW, drop_fraction=Cosine(0.5))
    fit(module, [GradientFlowMonitor(probe_batch=probe_batch), rigl], logger=memory, max_steps=10)
    return memory, module, rigl


def test_the_probe_measures_updates_and_changes_nothing() -> None:
    first = next(iter(DataLoader(data(), batch_size=40)))
    (memory, module, rigl), (same, _, _), (none, plain, plain_rigl) = (probe_run(p) for p in (40, first, None))
    delta = memory.of("grad_flow/delta")
    assert list(delta) == [4, 8]
    for step, value in delta.items():
        row = memory.rows[step]
        assert value == pytest.approx(row["grad_flow/after_update"] - row["grad_flow/before_update"])
    assert delta[4] > 0, "RigL's first update raises the gradient norm"
    assert delta == same.of("grad_flow/delta"), "the head of the data set is the same batch"
    assert list(memory.of("grad_flow/probe")) == [0]  # every 50 steps
    assert not none.of("grad_flow/delta")
    assert module.losses == plain.losses
    assert rigl.masks.digest() == plain_rigl.masks.digest()
    for a, b in zip(module.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b), "weights and norm statistics are untouched"


def test_the_probe_equals_an_independent_measurement() -> None:
    batch = next(iter(DataLoader(data(), batch_size=40)))
    values = []

    class Check(GradientFlowMonitor):
        def on_before_mask_update(self, trainer, pl_module, masks) -> None:
            super().on_before_mask_update(trainer, pl_module, masks)
            state = {k: v.clone() for k, v in pl_module.state_dict().items()}
            loss = torch.nn.functional.cross_entropy(pl_module.network(batch[0]), batch[1])
            names, parameters = zip(*pl_module.named_parameters(), strict=True)
            grads = torch.autograd.grad(loss, parameters)
            pl_module.load_state_dict(state)
            square = sum((g * masks[n] if n in masks else g).square().sum() for n, g in zip(names, grads, strict=True))
            values.append((self._before, math.sqrt(square)))

    fit(TinyModule(), [Check(probe_batch=batch), RigL(0.8, window=WINDOW)], max_steps=10)
    assert len(values) == 2
    for measured, expected in values:
        assert measured == pytest.approx(expected, rel=1e-4)


def test_the_probe_leaves_the_random_numbers_alone() -> None:
    class Dropout(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.network[5] = torch.nn.Dropout(0.5)

    losses = []
    for probe_batch in (None, 8):
        torch.manual_seed(0)
        module = Dropout()
        fit(module, [GradientFlowMonitor(every_n_steps=2, probe_batch=probe_batch), RigL(window=WINDOW)], max_steps=10)
        losses.append(module.losses)
    assert losses[0] == losses[1]


def test_a_probe_loss_of_ones_own() -> None:
    memory = Memory()
    monitor = GradientFlowMonitor(probe_batch=8, probe_loss=lambda module, batch: 0 * module.network(batch[0]).sum())
    fit(TinyModule(), [monitor, RigL(window=WINDOW)], logger=memory, max_steps=6)
    assert memory.of("grad_flow/after_update") == {4: 0.0}


class Gan(pl.LightningModule):
    """Two optimizers stepped by hand, the second twice as often."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = torch.nn.Linear(64, 64), torch.nn.Linear(64, 1)

    def training_step(self, batch, batch_idx) -> None:
        one, two = self.optimizers()
        image = batch[0].flatten(1)
        for optimizer, sign in ((one, 1), (two, -1), (two, -1)):
            optimizer.zero_grad()
            self.manual_backward(sign * self.critic(torch.tanh(self.generator(image))).mean())
            optimizer.step()

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters()),
            torch.optim.SGD(self.critic.parameters(), lr=0.01, momentum=0.9),
        ]


def test_several_optimizers_each_count_their_own_steps() -> None:
    memory = Memory()
    rigl = RigL(0.8, window=UpdateWindow(5, stop=1.0), seed=3)
    monitor = GradientFlowMonitor(every_n_steps=10)
    fitted = trainer([monitor, rigl], logger=memory, max_steps=-1, max_epochs=3)
    fitted.fit(module := Gan(), loader())
    assert fitted.global_step == 3 * 18
    assert rigl.parts[0].steps == [18, 36]
    assert list(memory.of("grad_flow/optimizer0/active")) == [0, 30]  # its steps 0 and 10
    assert len(memory.of("grad_flow/optimizer1/active")) == 4  # its steps 0, 10, 20 and 30
    for name, mask in rigl.masks.items():
        assert (module.get_parameter(name)[~mask] == 0).all()
    churns = memory.of("sparsity/churn")
    assert len(churns) == 3 + 3  # steps 5, 10, 15 of each: the run is 18 batches long


@pytest.mark.parametrize(
    ("arguments", "message"), [({"every_n_steps": 0}, "every_n_steps is 0"), ({"probe_batch": 0}, "probe_batch is 0")]
)
def test_impossible_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientFlowMonitor(**arguments)


def test_a_number_of_samples_needs_one_loader() -> None:
    with pytest.raises(
        ValueError, match="probe_batch=8 takes samples from a DataLoader, but the training data is a list"
    ):
        trainer([GradientFlowMonitor(probe_batch=8)]).fit(TinyModule(), [loader(), loader()])

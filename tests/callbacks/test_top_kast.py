"""TopKAST: what the forward pass sees, what the optimizer moves, and where the rest is in the meantime."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import Scripted, TinyModule, TwoOptimizers, data, fit, loader, trainer
from pytorch_lightning.plugins import MixedPrecision
from test_resume import Stop
from torch import Tensor, nn
from zeros import Zeros

from callbacks import MaskObserver, RigL, TopKAST, read_masks
from callbacks.sparsity import Uniform, UnitScaled, UpdateWindow

WINDOW = UpdateWindow(4, stop=1.0)
NAME = "layers.a.weight"


def small(**arguments: object) -> TopKAST:
    """Two of five weights are active, a third is trained."""
    arguments = {"regularization": 0.0, "window": UpdateWindow(2, stop=1.0), **arguments}
    return TopKAST(0.6, exploration=0.2, distribution=Uniform(), **arguments)


def test_three_steps_by_hand() -> None:
    gradients = [
        {"a": [1.0, -1.0, -2.0, 9.0, 9.0]},  # moves 5, 4 and, behind the scenes, 3; not 2 and 1
        {"a": [1.0, 0.0, -1.0, 9.0, 9.0]},
        {"a": [-1.0, 0.0, 0.5, 9.0, 9.0]},  # before this step 3, 5, 6 make the last two active
    ]
    owner, module = small(), Scripted({"a": [5.0, 4.0, 3.0, 2.0, 1.0]}, gradients, lr=1.0)
    fit(module, [owner, Zeros(owner)], max_steps=3)
    assert [row["a"] for row in module.seen] == [[5, 4, 0, 0, 0], [4, 5, 0, 0, 0], [3, 5, 0, 0, 0]]
    assert module.rows() == {"a": [0.0, 5.0, 5.5, 0.0, 0.0]}
    assert owner.masks[NAME][0].int().tolist() == [0, 1, 1, 0, 0]
    assert owner.backward_masks[NAME][0].int().tolist() == [1, 1, 1, 0, 0]
    assert owner.reservoir[NAME].tolist() == [[4.0, 0.0, 0.0, 2.0, 1.0]]


def test_the_exploration_loss_by_hand() -> None:
    owner, module = small(regularization=0.1), Scripted({"a": [-5.0, 4.0, -3.0, 2.0, 1.0]}, [{"a": [0.0] * 5}], lr=1.0)
    fit(module, [owner], max_steps=1)
    assert module.rows()["a"] == pytest.approx([-4.9, 3.9, 0, 0, 0])
    assert owner.reservoir[NAME][0].tolist() == pytest.approx([0, 0, -3 + 0.1 / 0.4, 2, 1])


class Perceptron(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 5))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


def slow(steps: int, every: int, loss_weight: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Algorithm 1 with dense weights that never leave: all values, and what the forward pass sees of them."""
    module = Perceptron()
    values = {name: p.detach().clone() for name, p in module.named_parameters()}
    buffers = {name: torch.zeros_like(value) for name, value in values.items()}
    images, labels = data().tensors

    def largest(value: Tensor, share: float) -> Tensor:
        count = round(value.numel() * share)
        chosen = torch.zeros(value.numel(), dtype=torch.bool)
        chosen[value.abs().flatten().argsort(descending=True, stable=True)[:count]] = True
        return chosen.view_as(value)

    for step in range(steps):
        if step == 0:
            active = {name: largest(value, 0.25) for name, value in values.items() if value.dim() == 2}
            trained = {name: largest(value, 0.5) for name, value in values.items() if value.dim() == 2}
        seen = {name: value * active.get(name, 1) for name, value in values.items()}
        inputs = {name: value.detach().requires_grad_() for name, value in seen.items()}
        batch = slice(step % 6 * 16, step % 6 * 16 + 16)
        output = torch.func.functional_call(module, inputs, (images[batch],), strict=False)
        gradients = torch.autograd.grad(nn.functional.cross_entropy(output, labels[batch]), list(inputs.values()))
        if step and step % every == 0:
            active = {name: largest(values[name], 0.25) for name in active}
            trained = {name: largest(values[name], 0.5) for name in active}
        for (name, value), gradient in zip(values.items(), gradients, strict=True):
            if name in active:
                penalty = torch.where(active[name], 1.0, 1 / 0.25) * value.sign()
                buffers[name] *= trained[name]
                gradient = (gradient + loss_weight * penalty + 0.01 * value) * trained[name]
            else:
                gradient = gradient + 0.01 * value
            buffers[name] = 0.9 * buffers[name] + gradient
            values[name] = value - 0.1 * buffers[name]
    return values, {name: value * active.get(name, 1) for name, value in values.items()}


@pytest.mark.parametrize("every", [1, 3])
def test_it_agrees_with_a_slow_reference(every: int) -> None:
    window = UpdateWindow(every, stop=1.0)
    owner = TopKAST(0.75, exploration=0.25, regularization=1e-3, window=window, distribution=Uniform())
    module = Perceptron()
    first = None

    class Start(pl.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            nonlocal first
            first = owner.masks

    fit(module, [owner, Start()], max_steps=13)
    values, seen = slow(13, every, 1e-3)
    for name, weight in module.named_parameters():
        torch.testing.assert_close(weight.detach(), seen[name], rtol=1e-4, atol=1e-6)
    for name, reservoir in owner.reservoir.items():
        torch.testing.assert_close(
            torch.where(owner.masks[name], seen[name], reservoir), values[name], rtol=1e-4, atol=1e-6
        )
    assert first is not None
    assert first.digest() != owner.masks.digest()


def test_when_the_window_ends_nothing_is_explored_any_more() -> None:
    class Watch(pl.Callback):
        def __init__(self) -> None:
            self.explores: list[bool] = []

        def on_train_batch_end(self, trainer, pl_module, *_: object) -> None:
            self.explores.append(bool(owner.reservoir))
            trained = owner.backward_masks if owner.reservoir else owner.masks
            for name, mask in trained.items():
                buffer = trainer.optimizers[0].state[pl_module.get_parameter(name)]["momentum_buffer"]
                assert (buffer[~mask] == 0).all()

    owner, watch = TopKAST(0.8, window=UpdateWindow(4, stop=0.5)), Watch()
    fit(module := TinyModule(), [owner, watch, Zeros(owner)], max_steps=20)
    assert watch.explores == [True] * 10 + [False] * 10
    assert owner.backward_masks.digest() == owner.masks.digest()
    masks = owner.masks
    fit(module, [owner, watch, Zeros(owner)], max_steps=5)  # a second fit goes on and explores again
    assert watch.explores[20:] == [True] * 3 + [False] * 2
    assert owner.masks.counts == masks.counts


@pytest.mark.parametrize("stop", [6, 11])  # exploring, and after
def test_a_run_whose_window_ends_goes_on(tmp_path: Path, stop: int) -> None:
    def run(stop: int, *, save: Path | None = None, ckpt: Path | None = None) -> tuple[TopKAST, TinyModule]:
        owner, module = TopKAST(0.8, window=UpdateWindow(4, stop=0.5)), TinyModule()
        trainer([owner, Stop(stop, save)], max_steps=20).fit(module, loader(samples=16), ckpt_path=ckpt)
        return owner, module

    whole, module = run(15)
    run(stop, save=tmp_path / "part.ckpt")
    rest, resumed = run(15, ckpt=tmp_path / "part.ckpt")
    assert rest.masks.digest() == whole.masks.digest()
    assert rest.reservoir == whole.reservoir == {}
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), resumed.parameters(), strict=True))


def test_a_rigl_run_may_go_on_with_an_empty_reservoir(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    fit(TinyModule(), [RigL(0.8, window=WINDOW)], max_steps=6).save_checkpoint(path)
    owner = TopKAST(0.8, exploration=0.3, window=WINDOW)
    trainer([owner, Zeros(owner)], max_steps=20).fit(TinyModule(), loader(), ckpt_path=path)
    assert owner.masks.digest() != read_masks(path).digest()
    assert owner.masks.counts == read_masks(path).counts


def test_an_initialization_is_for_the_active_weights() -> None:
    owner, module = TopKAST(0.8, initialization=UnitScaled()), TinyModule()
    before = module.network[4].weight.detach().clone()

    class Start(pl.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            mask = owner.masks["network.4.weight"]
            assert torch.equal(owner.reservoir["network.4.weight"], before * ~mask)
            assert not torch.equal(module.network[4].weight[mask], before[mask])
            assert (owner.backward_masks["network.4.weight"] | ~mask).all(), "B holds A"

    fit(module, [owner, Start()], max_steps=1)


def test_several_optimizers_move_their_own() -> None:
    owner = TopKAST(0.6, exploration=0.3, window=WINDOW, distribution=Uniform())
    fit(TwoOptimizers(), [owner, Zeros(owner)], max_steps=40)
    assert owner.masks.sparsity == pytest.approx(0.6, abs=1e-3)
    assert all(owner.reservoir[name].any() for name in owner.masks)


def test_an_optimizer_whose_weights_are_masked_again_moves_the_reservoir_too() -> None:
    class Own(torch.optim.SGD):
        """Not known to leave zeros alone."""

    class Module(TinyModule):
        def __init__(self, cls: type[torch.optim.Optimizer]) -> None:
            super().__init__()
            self.cls = cls

        def configure_optimizers(self):
            return self.cls(self.parameters(), lr=0.05, momentum=0.9)

    owners = [TopKAST(0.8, window=WINDOW) for _ in range(2)]
    for owner, cls in zip(owners, (torch.optim.SGD, Own), strict=True):
        fit(Module(cls), [owner, Zeros(owner)], max_steps=10)
    assert owners[0].masks.digest() == owners[1].masks.digest()
    assert all(torch.equal(values, owners[1].reservoir[name]) for name, values in owners[0].reservoir.items())


def test_an_exception_before_the_step_leaves_only_active_weights() -> None:
    class Fail(TinyModule):
        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step == 3:
                assert (self.network[4].weight != 0).float().mean() > 0.35, "B is in while the optimizer steps"
                raise KeyError("stop here")

    owner, module = TopKAST(0.8, exploration=0.2, window=WINDOW, distribution=Uniform()), Fail()
    fitted = trainer([owner])
    with pytest.raises(KeyError, match="stop here"):
        fitted.fit(module, loader())
    assert all((module.get_parameter(name)[~mask] == 0).all() for name, mask in owner.masks.items())


def test_steps_that_a_gradient_scaler_leaves_out() -> None:
    owner = TopKAST(0.8, exploration=0.2, window=UpdateWindow(4, stop=1.0))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**26)
    skipped = []

    class Scales(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            skipped.append(scaler.get_scale())

    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    module = TinyModule()
    fit(module, [owner, Zeros(owner), Scales()], plugins=[plugin])
    assert skipped[0] < 2.0**26, "the first step was left out"
    assert skipped[-1] == skipped[-2], "later ones were not"
    assert module.losses[-1] < module.losses[0]


def test_an_update_waits_for_a_reservoir_of_finite_numbers() -> None:
    class Spoil(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if trainer.global_step == 4:
                owner.reservoir[NAME][0, 2] = float("nan")
            if trainer.global_step == 6:
                owner.reservoir[NAME][0, 2] = 3.0

    class Updates(MaskObserver):
        def __init__(self) -> None:
            self.at: list[int] = []

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            self.at.append(trainer.global_step)

    owner, updates = small(window=UpdateWindow(4, stop=1.0)), Updates()
    module = Scripted({"a": [5.0, 4.0, 3.0, 2.0, 1.0]}, [{"a": [1.0] * 5}] * 8)
    fit(module, [Spoil(), owner, updates], max_steps=8)
    assert updates.at == [6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exploration": -0.1}, r"exploration is -0.1; it is a share of all weights in \[0, 1\]"),
        ({"exploration": float("nan")}, "exploration is nan"),
        ({"regularization": -1.0}, "regularization is -1.0; it is a factor of 0 or more"),
        ({"regularization": float("inf")}, "regularization is inf"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TopKAST(**arguments)

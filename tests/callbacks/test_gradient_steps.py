"""DynamicSparseTraining(gradient_steps=n): scores see the mean of n dense gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fits import Scripted, TinyModule, TwoOptimizers, fit, loader, trainer
from test_resume import Stop
from torch import Tensor

from callbacks import SNFS, DynamicSparseTraining, MaskObserver, RigL, SparseTraining, read_masks
from callbacks.sparsity import Constant, KeepValues, Masks, Score, UpdateWindow

WINDOW = UpdateWindow(4, stop=1.0)


class Recorded(Score):
    """Grows where the gradient is large, and notes the gradients that it sees."""

    def __init__(self) -> None:
        self.grads: list[Tensor] = []

    def __call__(self, weight: Tensor, grad: Tensor, generator: torch.Generator) -> Tensor:
        self.grads.append(grad.clone())
        return grad.abs()


NAN = float("nan")
ROWS = [[9.0, 9.0, 9.0, 9.0]] * 2 + [[1.0, 1.0, 0.0, 6.0], [1.0, 1.0, 8.0, 0.0], [1.0, 1.0, 1.0, 3.0], [7.0] * 4]


@pytest.mark.parametrize(
    ("n", "bad", "seen", "mask"),
    [
        (1, (), [1, 1, 1, 3], [1, 0, 0, 1]),  # the gradient of step 4 alone
        (2, (), [1, 1, 4.5, 1.5], [1, 0, 1, 0]),  # of 3 and 4
        (3, (), [1, 1, 3, 3], [1, 0, 1, 0]),  # of 2, 3 and 4; the tie goes to the lower index
        (3, (3,), [1, 1, 0.5, 4.5], [1, 0, 0, 1]),  # 3 is no number and adds nothing
        (3, (4,), [3, 3, 5, 13 / 3], [1, 0, 1, 0]),  # ... and 4 puts the update off to 5
    ],
)
def test_an_update_by_hand(n: int, bad: tuple[int, ...], seen: list[float], mask: list[int]) -> None:
    gradients = [{"a": [NAN if step in bad else value for value in row]} for step, row in enumerate(ROWS)]
    grow = Recorded()
    owner = DynamicSparseTraining(
        0.5,
        grow=grow,
        drop_fraction=Constant(0.5),
        window=WINDOW,
        gradient_steps=n,
        masks_from=Masks({"layers.a.weight": torch.tensor([[True, True, False, False]])}),
        initialization=KeepValues(),
    )
    fit(Scripted({"a": [2.0, 1.0, 0.0, 0.0]}, gradients), [owner], max_steps=6)
    [grad] = grow.grads
    torch.testing.assert_close(grad[0], torch.tensor(seen, dtype=torch.float32))
    assert owner.masks["layers.a.weight"][0].int().tolist() == mask


class Gradients(MaskObserver):
    """All dense gradients, by step."""

    def __init__(self) -> None:
        self.at: list[dict[str, Tensor]] = []

    def on_dense_gradients(self, trainer, pl_module, optimizer, masks) -> None:
        self.at.append({name: pl_module.get_parameter(name).grad.clone() for name in masks})


@pytest.mark.parametrize("n", [3, 4])
def test_all_updates_of_a_run_see_the_mean_of_their_own_steps(n: int) -> None:
    grow, gradients = Recorded(), Gradients()
    owner = DynamicSparseTraining(0.8, grow=grow, window=WINDOW, gradient_steps=n)
    fit(TinyModule(), [owner, gradients], max_steps=14)
    names = list(owner.masks)
    assert len(grow.grads) == 3 * len(names)
    for update, step in enumerate((4, 8, 12)):
        for layer, name in enumerate(names):
            mean = torch.stack([gradients.at[s][name] for s in range(step - n + 1, step + 1)]).mean(0)
            torch.testing.assert_close(grow.grads[update * len(names) + layer], mean)


def test_each_of_several_optimizers_has_its_own_mean() -> None:
    class OneOften(TwoOptimizers):
        """The second optimizer steps in every other batch only."""

        def training_step(self, batch, batch_idx) -> None:
            one, two = self.optimizers()
            loss = torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            one.zero_grad()
            two.zero_grad()
            self.manual_backward(loss)
            one.step()
            if self.trainer.fit_loop.total_batch_idx % 2:
                two.step()

    class ByOptimizer(MaskObserver):
        def __init__(self) -> None:
            self.last: list[Tensor] = []

        def on_dense_gradients(self, trainer, pl_module, optimizer, masks) -> None:
            if optimizer is trainer.optimizers[1]:
                self.last.append(pl_module.network[6].weight.grad.clone())

    grow, gradients = Recorded(), ByOptimizer()
    owner = DynamicSparseTraining(0.6, grow=grow, window=UpdateWindow(4, stop=1000), gradient_steps=3)
    fit(OneOften(), [owner, gradients], max_steps=-1, max_epochs=2)  # 12 batches: 12 and 6 steps
    [grad] = [grad for grad in grow.grads if grad.shape == (5, 24)]
    torch.testing.assert_close(grad, torch.stack(gradients.last[2:5]).mean(0))


@pytest.mark.parametrize("stop", [4, 6, 7])  # inside the first window of three, before the second, inside it
def test_a_run_that_stops_inside_a_window_goes_on(tmp_path: Path, stop: int) -> None:
    def run(stop: int, *, save: Path | None = None, ckpt: Path | None = None) -> SparseTraining:
        owner = RigL(0.8, window=WINDOW, gradient_steps=3)
        trainer([owner, Stop(stop, save)], max_steps=12).fit(TinyModule(), loader(samples=16), ckpt_path=ckpt)
        return owner

    whole = run(9)
    run(stop, save=tmp_path / "part.ckpt")
    state = torch.load(tmp_path / "part.ckpt", weights_only=True)["callbacks"]["SparseTraining"]
    kept = state["parts"][0]["averages"]["values"]
    assert bool(kept) == (stop != 6), "the checkpoint holds a mean only where one has begun"
    assert run(9, ckpt=tmp_path / "part.ckpt").masks.digest() == whole.masks.digest()
    assert read_masks(tmp_path / "part.ckpt").digest() != whole.masks.digest()


@pytest.mark.parametrize("n", [0, 5])
def test_more_steps_than_there_are_between_updates(n: int) -> None:
    with pytest.raises(ValueError, match=rf"gradient_steps is {n}; .* 1 to 4 steps .window.every. whose gradients"):
        RigL(window=WINDOW, gradient_steps=n)


def test_smoothed_gradients_are_not_averaged_again() -> None:
    with pytest.raises(TypeError, match="gradient_steps"):
        SNFS(gradient_steps=3)

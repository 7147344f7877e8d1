"""SRigL and N:M in a fit: the structure holds at all times, and what cannot have it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, fit, loader, trainer
from logs import Memory
from methods import WINDOW
from torch import Tensor, nn

from callbacks import NM, MaskObserver, RigL, SparseTraining, SRigL, read_masks
from callbacks.sparsity import Constant, Cosine, KeepValues, MagnitudeScore, Masks, Uniform, UpdateWindow
from callbacks.sparsity.rules.n_of_m import n_of_m


class FanIns(MaskObserver):
    """Checks after every step that all active neurons of a layer have the same number of inputs."""

    def __init__(self, owner: SRigL) -> None:
        self.owner = owner
        self.ablated: list[float] = []
        self.sizes: dict[str, set[tuple[int, int]]] = {}  # (active neurons, fan-in)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        for name, mask in self.owner.masks.items():
            fan_ins = mask.flatten(1).sum(1)
            [fan_in] = set(fan_ins[fan_ins > 0].tolist())
            self.sizes.setdefault(name, set()).add((int((fan_ins > 0).sum()), fan_in))

    def on_after_mask_update(self, trainer, pl_module, masks) -> None:
        fan_ins = [mask.flatten(1).any(1) for mask in masks.values()]
        self.ablated.append(1 - sum(int(some.sum()) for some in fan_ins) / sum(len(some) for some in fan_ins))


def srigl(sparsity: float = 0.8, **arguments: object) -> SRigL:
    return SRigL(sparsity, **{"window": WINDOW, "drop_fraction": Cosine(0.5), "gamma": 0.7, **arguments})


def test_neurons_are_ablated_and_the_others_share_their_budget() -> None:
    memory, owner = Memory(), srigl(0.9)
    watch = FanIns(owner)
    fit(TinyModule("adam"), [owner, watch], logger=memory)
    assert list(memory.of("sparsity/ablated").values()) == pytest.approx(watch.ablated)
    assert max(watch.ablated) > 0.05
    budget = owner.parts[0].method.distribution({name: mask.shape for name, mask in owner.masks.items()}, 0.9)
    for name, sizes in watch.sizes.items():
        inputs = owner.masks[name][0].numel()
        assert {(neurons, min(budget[name] // neurons, inputs)) for neurons, _ in sizes} == sizes
    assert len(watch.sizes["network.4.weight"]) > 1
    assert list(memory.of("sparsity/target").values()) == list(memory.of("sparsity/actual").values())
    assert len(set(memory.of("sparsity/target").values())) > 1, "the target follows what is rounded away"


def test_the_last_layer_keeps_its_neurons_when_others_lose_theirs() -> None:
    owner = srigl(distribution=Uniform(), gamma=1.0, drop_fraction=Constant(0.5))
    watch = FanIns(owner)
    fit(TinyModule(), [owner, watch])
    assert min(neurons for neurons, _ in watch.sizes["network.4.weight"]) < 24
    assert {neurons for neurons, _ in watch.sizes["network.6.weight"]} == {5}


def test_without_ablation_every_neuron_stays() -> None:
    owner = srigl(0.9, ablation=False, gamma=1.0)
    watch = FanIns(owner)
    fit(TinyModule(), [owner, watch])
    assert set(watch.ablated) == {0.0}
    assert all(len(sizes) == 1 for sizes in watch.sizes.values())


def test_the_first_masks_have_floor_of_budget_over_neurons_random_inputs() -> None:
    owner = SRigL(0.9, distribution=Uniform())
    fit(TinyModule(), [owner], max_steps=1)
    assert owner.masks["network.0.weight"].flatten(1).sum(1).tolist() == 8 * [1]  # floor((72 - 64) / 8)
    assert owner.masks["network.4.weight"].sum(1).tolist() == 24 * [28]  # floor((6912 - 6220) / 24)
    used = owner.masks["network.4.weight"].sum(0)
    assert 0 < used.float().mean() < used.max() < 10, "inputs are drawn, not the first ones"


@pytest.mark.parametrize(("gamma", "way"), [(-0.1, "gamma is -0.1"), (1.1, "gamma is 1.1")])
def test_gamma_is_a_share(gamma: float, way: str) -> None:
    with pytest.raises(ValueError, match=rf"{way}; it is a share .*\[0, 1\]"):
        SRigL(gamma=gamma)


def test_a_layer_with_fewer_weights_than_neurons_is_refused_in_setup() -> None:
    class Unborn(pl.Callback):
        def on_fit_start(self, trainer, pl_module) -> None:
            raise AssertionError("setup was to refuse it")

    with pytest.raises(ValueError, match=r"'network.0.weight' \(8, 1, 3, 3\) 4 weights, fewer than .* 8 neurons"):
        fit(TinyModule(), [Unborn(), SRigL(0.95, distribution=Uniform())])


def test_masks_without_a_constant_fan_in_are_refused(tmp_path: Path) -> None:
    fitted = fit(TinyModule(), [RigL(0.8)], max_steps=6)
    fitted.save_checkpoint(tmp_path / "rigl.ckpt")
    with pytest.raises(ValueError, match=r"the neurons of 'network.\d.weight' from \d+ to \d+ inputs, but with SRigL"):
        trainer([srigl()], max_steps=12).fit(TinyModule(), loader(), ckpt_path=tmp_path / "rigl.ckpt")
    with pytest.raises(ValueError, match="but with SRigL"):
        fit(TinyModule(), [srigl(masks_from=tmp_path / "rigl.ckpt")])


def test_resuming_with_another_sparsity_is_refused(tmp_path: Path) -> None:
    fit(TinyModule(), [srigl(0.9)], max_steps=10).save_checkpoint(tmp_path / "part.ckpt")
    with pytest.raises(ValueError, match=r"keep \d+ weights in 'network\.\d\.weight', but SRigL.sparsity=0.8"):
        trainer([srigl(0.8)]).fit(TinyModule(), loader(), ckpt_path=tmp_path / "part.ckpt")


def test_given_masks_bring_their_budget_through_updates_and_a_resume(tmp_path: Path) -> None:
    fit(TinyModule(), [srigl(0.9)], max_steps=10).save_checkpoint(tmp_path / "first.ckpt")
    given = sum(read_masks(tmp_path / "first.ckpt").counts.values())

    def run(steps: int, ckpt: Path | None = None) -> tuple[pl.Trainer, SRigL]:
        owner = srigl(0.5, masks_from=tmp_path / "first.ckpt", window=UpdateWindow(4, stop=100), gamma=1.0)
        fitted = trainer([owner], max_steps=steps)
        fitted.fit(TinyModule(), loader(samples=16), ckpt_path=ckpt)  # the same batch every step
        return fitted, owner

    whole = run(21)[1]
    part, stopped = run(11)
    assert sum(stopped.masks.counts.values()) < given, "what is rounded away is not forgotten"
    part.save_checkpoint(tmp_path / "part.ckpt")
    rest = run(21, tmp_path / "part.ckpt")[1]
    assert rest.parts[0].budget == whole.parts[0].budget
    assert rest.masks.digest() == whole.masks.digest() != read_masks(tmp_path / "first.ckpt").digest()
    assert 0 <= given - sum(whole.masks.counts.values()) < 37  # less than a weight a neuron


def test_a_second_fit_goes_on_with_given_masks(tmp_path: Path) -> None:
    fit(TinyModule(), [srigl(0.9)], max_steps=10).save_checkpoint(tmp_path / "first.ckpt")
    owner, module = srigl(0.5, masks_from=tmp_path / "first.ckpt"), TinyModule()
    fit(module, [owner], max_steps=9)
    before = owner.masks.digest()
    fit(module, [owner], max_steps=3)
    assert owner.masks.digest() == before


# --- N:M ----------------------------------------------------------------------------------------


class Wide(TinyModule):
    """With a second convolution, of 8 channels: two groups of 4 at each of 9 taps."""

    def __init__(self) -> None:
        super().__init__()
        self.network[2] = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU())


class Groups(pl.Callback):
    """Checks the pattern after every step."""

    def __init__(self, owner: NM, n: int, m: int) -> None:
        self.owner, self.n, self.m = owner, n, m

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        for name, mask in self.owner.masks.items():
            groups = mask.movedim(1, -1).reshape(-1, self.m)
            assert (groups.sum(1) == self.n).all(), name
            assert int((pl_module.get_parameter(name) != 0).sum()) <= mask.numel() * self.n / self.m


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (1, 2)])
def test_the_pattern_holds_at_all_times(n: int, m: int) -> None:
    memory = Memory()
    owner = NM(n, m, exclude="network.0.*", window=WINDOW, drop_fraction=Constant(0.5))
    fit(Wide(), [owner, Groups(owner, n, m)], logger=memory)
    assert list(owner.masks) == ["network.2.1.weight", "network.4.weight", "network.6.weight"]
    assert owner.masks.sparsity == 1 - n / m
    assert set(memory.of("sparsity/target").values()) == {1 - n / m}
    assert list(memory.of("sparsity/churn")) == [4, 8, 12, 16, 20]
    assert all(0 < churn <= 0.5 for churn in memory.of("sparsity/churn").values())


def test_grown_weights_have_the_largest_gradients_of_their_group() -> None:
    class Look(MaskObserver):
        grad: Tensor

        def on_before_mask_update(self, trainer, pl_module, masks) -> None:
            self.before = dict(masks)
            self.grad = pl_module.network[4].weight.grad.abs().clone()

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            name = "network.4.weight"
            grown = (masks[name] & ~self.before[name]).view(-1, 4)
            never = (~masks[name] & ~self.before[name]).view(-1, 4)
            grad = self.grad.view(-1, 4)
            assert grown.any()
            least = grad.masked_fill(~grown, torch.inf).amin(1)
            most = grad.masked_fill(~never, -torch.inf).amax(1)
            assert (least >= most).all()

    fit(TinyModule(), [NM(include="Linear", window=WINDOW, drop_fraction=Cosine(0.5)), Look()])


def test_a_trained_network_is_pruned_to_the_pattern_by_magnitude() -> None:
    module = TinyModule()
    weights = {f"network.{i}.weight": module.network[i].weight.detach().clone() for i in (4, 6)}
    owner = NM(include="Linear", first_score=MagnitudeScore(), initialization=KeepValues(), fixed=True)
    fit(module, [owner], max_steps=1)
    expected = Masks({name: n_of_m(weight.abs(), 2, 4) for name, weight in weights.items()})
    assert owner.masks.digest() == expected.digest()


def test_fixed_masks_need_no_end_of_the_run() -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:
            trainer.should_stop = trainer.global_step >= 8

    owner = NM(include="Linear", fixed=True)
    fit(TinyModule(), [owner, Stop()], max_steps=-1, max_epochs=-1, max_time="00:00:10:00")
    assert owner.masks.sparsity == 0.5


def test_what_a_pattern_does_not_divide_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        ValueError, match=r"4 does not divide the 9 inputs of .*'network.0.weight' \(8, 1, 3, 3\).*exclude='network.0"
    ):
        fit(TinyModule(), [NM()])
    fit(TinyModule(), [NM(exclude="network.0.weight")], max_steps=1)
    fit(TinyModule(), [NM(1, 3)], max_steps=1)  # a group may go on at the next tap


@pytest.mark.parametrize(("n", "m"), [(5, 4), (0, 4), (-1, -1)])
def test_patterns_that_are_none(n: int, m: int) -> None:
    with pytest.raises(ValueError, match=rf"NM keeps n = {n} of m = {m} weights; n lies in"):
        NM(n, m)


def test_masks_of_another_pattern_are_refused(tmp_path: Path) -> None:
    fit(TinyModule(), [SparseTraining(0.5, include="Linear", distribution=Uniform())], max_steps=2).save_checkpoint(
        tmp_path / "any.ckpt"
    )
    with pytest.raises(ValueError, match=r"the masks of 'network.4.weight' are not 2:4: start from masks"):
        trainer([NM(include="Linear")]).fit(TinyModule(), loader(), ckpt_path=tmp_path / "any.ckpt")
    with pytest.raises(ValueError, match="are not 2:4"):
        fit(TinyModule(), [NM(include="Linear", masks_from=tmp_path / "any.ckpt")])
    fewer = NM(1, 4, include="Linear", fixed=True)
    fit(TinyModule(), [fewer], max_steps=1)
    with pytest.raises(ValueError, match="are not 2:4"):
        fit(TinyModule(), [NM(include="Linear", masks_from=fewer.masks)])

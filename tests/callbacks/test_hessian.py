"""HessianSpectrum: what it measures, where it writes it, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, data, fit, loader, trainer
from logs import Memory
from methods import WINDOW
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import GradientFlowMonitor, HessianSpectrum, RigL, SparseTraining, read_spectrum
from callbacks.monitors import hessian
from callbacks.sparsity import Cosine, ExactSpectrum, LanczosSpectrum, Spectrum
from callbacks.sparsity.analysis.spectrum import SpectrumMethod

FEW = 16  # samples of the probe


class Small(TinyModule):
    """The module of the other tests with fewer weights, dropout and smooth units."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(
                nn.Conv2d(1, 4, 3, stride=2),
                nn.BatchNorm2d(4),
                nn.GELU(),
                nn.Flatten(),
                nn.Linear(36, 10),
                nn.GELU(),
                nn.Dropout(0.1),
                nn.Linear(10, 5),
            )


class Counting(SpectrumMethod):
    """The extremes of a quadratic, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, loss, parameters, masks=None, *, progress=None) -> Spectrum:
        self.calls += 1
        return Spectrum.of(torch.tensor([-1.0, 2.0]))

    def __repr__(self) -> str:
        return "Counting()"


def rigl() -> RigL:
    return RigL(0.5, window=WINDOW, drop_fraction=Cosine(0.5))


def exact_hessian(module: pl.LightningModule, batch: list[Tensor], masks: Mapping[str, Tensor]) -> Tensor:
    """Of the active entries, by torch's own function of one long vector; the module stays as it is."""
    parameters = {name: p.detach() for name, p in module.network.named_parameters()}
    buffers = {name: b.clone() for name, b in module.network.named_buffers()}
    active = {n: masks.get(f"network.{n}", torch.ones_like(p) > 0) for n, p in parameters.items()}

    def loss(vector: Tensor) -> Tensor:
        pieces = vector.split([int(mask.sum()) for mask in active.values()])
        full = {n: p.masked_scatter(active[n], piece) for (n, p), piece in zip(parameters.items(), pieces, strict=True)}
        return nn.functional.cross_entropy(
            torch.func.functional_call(module.network, {**full, **buffers}, (batch[0],)), batch[1]
        )

    with torch.enable_grad():
        return torch.autograd.functional.hessian(loss, torch.cat([p[active[n]] for n, p in parameters.items()]))


def test_it_measures_the_spectrum_before_and_after_an_update(tmp_path: Path) -> None:
    batch = next(iter(DataLoader(data(), batch_size=FEW)))
    expected: dict[str, Tensor] = {}

    class NoDropout(Small):
        def __init__(self) -> None:
            super().__init__()
            self.network[6] = nn.Identity()

    class Check(HessianSpectrum):
        def on_before_mask_update(self, trainer, pl_module, masks) -> None:
            super().on_before_mask_update(trainer, pl_module, masks)
            expected["before_update"] = torch.linalg.eigvalsh(exact_hessian(pl_module, batch, masks).double())

        def on_after_mask_update(self, trainer, pl_module, masks) -> None:
            super().on_after_mask_update(trainer, pl_module, masks)
            expected["after_update"] = torch.linalg.eigvalsh(exact_hessian(pl_module, batch, masks).double())

    memory, owner = Memory(), rigl()
    fit(
        NoDropout(),
        [Check(probe_batch=FEW, around_updates=1, folder=tmp_path), owner],
        logger=memory,
        max_steps=5,
    )
    for when, eigenvalues in expected.items():
        found = read_spectrum(tmp_path / f"step00000004_{when}.pt")
        assert len(found.eigenvalues) == sum(owner.masks.counts.values()) + 4 + 4 + 4 + 10 + 5
        torch.testing.assert_close(found.eigenvalues, eigenvalues, atol=2e-5, rtol=1e-3)
        row = memory.rows[4]
        assert row[f"hessian/{when}/largest"] == found.largest == pytest.approx(float(eigenvalues[-1]), rel=1e-3)
        assert row[f"hessian/{when}/smallest"] == found.smallest == pytest.approx(float(eigenvalues[0]), rel=1e-3)
        assert row[f"hessian/{when}/negative_share"] == found.negative_share > 0
    assert not torch.allclose(expected["before_update"], expected["after_update"], atol=1e-3)
    assert torch.load(tmp_path / "step00000004_before_update.pt", weights_only=True)["when"] == "before_update"
    assert len(list(tmp_path.iterdir())) == 2


def test_it_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for watched in (False, True):
        torch.manual_seed(0)
        grads: list[Tensor] = []

        class Grads(pl.Callback):
            def on_before_optimizer_step(self, trainer, pl_module, optimizer, grads=grads) -> None:
                grads += [p.grad.clone() for p in pl_module.parameters() if p.grad is not None]

        monitor = HessianSpectrum(
            probe_batch=FEW, every_n_steps=3, at_steps=[4], around_updates=2, method=ExactSpectrum(), folder=tmp_path
        )
        owner = rigl()
        module = Small()
        fitted = fit(module, [*([monitor] if watched else []), owner, Grads()], max_steps=10)
        checkpoint = fitted._checkpoint_connector.dump_checkpoint(weights_only=False)
        ends.append((module, grads, owner.masks.digest(), checkpoint, torch.get_rng_state()))
    assert list(tmp_path.iterdir())
    (one, one_grads, one_masks, one_state, one_rng), (two, two_grads, two_masks, two_state, two_rng) = ends
    assert one.losses == two.losses
    assert one_masks == two_masks
    assert torch.equal(one_rng, two_rng)
    assert len(one_grads) == len(two_grads)
    assert all(torch.equal(a, b) for a, b in zip(one_grads, two_grads, strict=True))
    for a, b in zip(one_state["state_dict"].values(), two_state["state_dict"].values(), strict=True):
        assert torch.equal(a, b), "weights and norm statistics"
    momenta = [
        [state["momentum_buffer"] for state in end["optimizer_states"][0]["state"].values()]
        for end in (one_state, two_state)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))


def test_steps_are_those_done_from_the_start_to_the_end(tmp_path: Path) -> None:
    memory, method = Memory(), Counting()
    monitor = HessianSpectrum(
        probe_batch=FEW, at_steps=[0, 5, 12], every_n_steps=4, around_updates=[8], method=method, folder=tmp_path
    )
    fit(Small(), [monitor, rigl()], logger=memory, max_steps=12)
    assert list(memory.of("hessian/largest")) == [0, 4, 5, 8, 12]
    assert list(memory.of("hessian/negative_share").values()) == [0.5] * 5
    assert list(memory.of("hessian/before_update/smallest")) == [8]
    assert list(memory.of("hessian/after_update/smallest")) == [8]
    assert method.calls == 6, "what is measured at step 8 is what was there before its update"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "step00000000_at_step.pt",
        "step00000004_at_step.pt",
        "step00000005_at_step.pt",
        "step00000008_after_update.pt",
        "step00000008_at_step.pt",
        "step00000008_before_update.pt",
        "step00000012_at_step.pt",
    ]


def test_a_step_that_the_run_never_reached_is_named() -> None:
    monitor = HessianSpectrum(probe_batch=FEW, at_steps=[0, 5, 30], method=Counting())
    with pytest.warns(UserWarning, match=r"at_steps holds \[30\], but the run ended at step 12"):
        fit(Small(), [monitor], max_steps=12)


@pytest.mark.parametrize("order", [1, -1], ids=["monitor-first", "owner-first"])
def test_dense_measures_all_weights_beside_active_ones(order: int) -> None:
    memory, owner = Memory(), rigl()
    monitors = [
        HessianSpectrum(probe_batch=FEW, at_steps=[2], active_only=active_only) for active_only in (True, False)
    ]
    fit(Small(), [*monitors, owner][::order], logger=memory, max_steps=3)
    row = memory.rows[2]
    # eigenvalues of a submatrix lie between those of the whole
    assert row["hessian/dense/largest"] > row["hessian/largest"]
    assert row["hessian/dense/smallest"] < row["hessian/smallest"]


def test_dense_training_is_measured_without_masks() -> None:
    memory = Memory()
    fit(Small(), [HessianSpectrum(probe_batch=FEW, at_steps=[1, 2])], logger=memory, max_steps=2)
    assert list(memory.of("hessian/largest")) == [1, 2]


def test_frozen_weights_are_left_out(tmp_path: Path) -> None:
    class Frozen(Small):
        def __init__(self) -> None:
            super().__init__()
            self.network[0].weight.requires_grad_(False)

    owner = SparseTraining(0.5, include=["network.0.weight", "*"])
    monitor = HessianSpectrum(probe_batch=FEW, at_steps=[0], folder=tmp_path)
    fit(Frozen(), [monitor, owner], max_steps=1)
    counts = {name: count for name, count in owner.masks.counts.items() if name != "network.0.weight"}
    assert "network.0.weight" in owner.masks
    assert len(read_spectrum(tmp_path / "step00000000_at_step.pt").eigenvalues) == sum(counts.values()) + 27


def test_lanczos_finds_the_same_extremes() -> None:
    memories = []
    for method in (ExactSpectrum(), LanczosSpectrum(steps=60, probes=2)):
        memories.append(Memory())
        torch.manual_seed(0)  # of the dropout
        fit(
            Small(),
            [HessianSpectrum(probe_batch=FEW, at_steps=[3], method=method), rigl()],
            logger=memories[-1],
            max_steps=3,
        )
    exact, estimated = (memory.rows[3] for memory in memories)
    for key in ("hessian/largest", "hessian/smallest"):
        assert estimated[key] == pytest.approx(exact[key], rel=1e-3)


def test_mixed_precision_is_left_out_and_low_precision_refused() -> None:
    rows = []
    for precision in ("32-true", "bf16-mixed"):
        memory = Memory()
        torch.manual_seed(0)  # of the dropout
        fit(
            Small(),
            [HessianSpectrum(probe_batch=FEW, at_steps=[0]), rigl()],
            logger=memory,
            max_steps=1,
            precision=precision,
        )
        rows.append(memory.rows[0])
    assert rows[0]["hessian/largest"] == pytest.approx(rows[1]["hessian/largest"], rel=1e-6)
    with pytest.raises(ValueError, match="is torch.bfloat16, requires_grad=True; second derivatives"):
        fit(Small(), [HessianSpectrum(probe_batch=FEW, at_steps=[0])], max_steps=1, precision="bf16-true")


class Stop(pl.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.should_stop = True
            trainer.save_checkpoint(self.path)


@pytest.mark.filterwarnings("ignore:at_steps holds")  # of the part
@pytest.mark.parametrize("stop", [6, 8])
def test_a_resumed_run_measures_what_was_left(tmp_path: Path, stop: int) -> None:
    def run(*extra: pl.Callback, ckpt: Path | None = None) -> dict[int, dict[str, float]]:
        torch.manual_seed(0)
        memory = Memory()
        monitor = HessianSpectrum(probe_batch=FEW, at_steps=[7, 8], around_updates=2)
        steady = Small()
        steady.network[6] = nn.Identity()
        trainer([monitor, rigl(), *extra], logger=memory, max_steps=13).fit(steady, loader(samples=16), ckpt_path=ckpt)
        return {
            step: {key: value for key, value in row.items() if "hessian" in key} for step, row in memory.rows.items()
        }

    whole = run()
    part = run(Stop(stop, tmp_path / "part.ckpt"))
    rest = run(ckpt=tmp_path / "part.ckpt")
    assert [step for step, row in whole.items() if "hessian/after_update/largest" in row] == [4, 8]
    assert {step: row for step, row in rest.items() if row} == {
        step: row for step, row in whole.items() if row and step >= stop
    }
    assert part[4] == whole[4]


def test_a_second_fit_counts_its_updates_anew() -> None:
    memory, monitor = Memory(), HessianSpectrum(probe_batch=FEW, around_updates=1, method=Counting())
    for _ in range(2):
        fit(Small(), [monitor, rigl()], logger=memory, max_steps=9)
    assert monitor.method.calls == 4
    assert list(memory.of("hessian/after_update/largest")) == [4]


# --- files ----------------------------------------------------------------------------------------


def test_a_file_half_written_is_never_taken_for_a_spectrum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(content, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        hessian.write_spectrum(tmp_path / "step00000000_at_step.pt", Spectrum.of(torch.zeros(2)), 0, "at_step")
    assert not list(tmp_path.glob("*.pt"))
    monkeypatch.undo()
    hessian.write_spectrum(tmp_path / "step00000000_at_step.pt", Spectrum.of(torch.zeros(2)), 0, "at_step")
    assert [path.name for path in tmp_path.iterdir()] == ["step00000000_at_step.pt"]


def test_a_spectrum_read_is_the_one_written(tmp_path: Path) -> None:
    written = Spectrum(torch.tensor([-1.0, 2.0]).double(), torch.tensor([0.25, 0.75]).double(), resolution=0.1)
    hessian.write_spectrum(tmp_path / "a.pt", written, 3, "after_update")
    read = read_spectrum(str(tmp_path / "a.pt"))
    assert torch.equal(read.eigenvalues, written.eigenvalues)
    assert torch.equal(read.shares, written.shares)
    assert read.resolution == 0.1


@pytest.mark.parametrize(
    "content", [b"", b"half", {"eigenvalues": [1.0]}, torch.zeros(2), {"eigenvalues": torch.zeros(2)}, [1]]
)
def test_any_other_file_is_refused_by_name(tmp_path: Path, content: object) -> None:
    path = tmp_path / "foreign.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"foreign.pt' cannot be read as a spectrum"):
        read_spectrum(path)
    with pytest.raises(FileNotFoundError, match="there is no spectrum"):
        read_spectrum(tmp_path / "missing.pt")


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is nothing to measure: give at_steps"),
        ({"at_steps": [3, -1]}, "at_steps holds -1"),
        ({"every_n_steps": 0}, "every_n_steps is 0"),
        ({"around_updates": -1}, "around_updates holds -1"),
        ({"around_updates": True}, "around_updates holds True"),
        ({"around_updates": [4, -4]}, "around_updates holds -4"),
        ({"at_steps": [0], "probe_batch": 0}, "probe_batch is 0"),
    ],
)
def test_impossible_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HessianSpectrum(**arguments)


def test_a_network_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(ValueError, match=r"Hessian of 473 entries takes 0.00167 GiB, more than max_gib=0.001"):
        fit(Small(), [HessianSpectrum(probe_batch=FEW, at_steps=[0], method=ExactSpectrum(max_gib=0.001))], max_steps=1)


def test_a_loss_that_is_not_finite_is_named() -> None:
    class Diverged(Small):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + (torch.nan if self.global_step == 0 else 0)

    image, label = data().tensors
    with pytest.raises(ValueError, match="the loss is nan, so it has no curvature"):
        trainer([HessianSpectrum(probe_batch=FEW, at_steps=[0])], max_steps=1).fit(
            Diverged(), DataLoader(TensorDataset(image, label), batch_size=16)
        )


def test_a_module_that_leads_to_the_trainer_is_copied_without_it() -> None:
    class FromCommandLine(Small):
        def configure_optimizers(self):
            self.trainer.under_way = (step for step in ())  # cannot be copied
            self.maker = partial(torch.optim.SGD, lr=0.1, parser=[self.trainer])  # as LightningCLI's partials do
            return super().configure_optimizers()

    memory = Memory()
    fit(FromCommandLine(), [HessianSpectrum(probe_batch=FEW, at_steps=[0])], logger=memory, max_steps=1)
    assert memory.of("hessian/largest")


def test_a_probe_that_cannot_run_says_what_to_give() -> None:
    class Attached(Small):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) / self.trainer.max_steps

    with pytest.raises(RuntimeError, match="could not run a detached copy of Attached .* give a probe_loss"):
        fit(Attached(), [HessianSpectrum(probe_batch=FEW, at_steps=[0])], max_steps=1)

    def probe_loss(module: pl.LightningModule, batch: list[Tensor]) -> Tensor:
        return nn.functional.cross_entropy(module.network(batch[0]), batch[1])

    memory = Memory()
    monitor = HessianSpectrum(probe_batch=FEW, at_steps=[0], probe_loss=probe_loss)
    fit(Attached(), [monitor, GradientFlowMonitor()], logger=memory, max_steps=1)
    assert memory.of("hessian/largest")

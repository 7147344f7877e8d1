"""RewindPoint: the state after so many optimizer steps, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, loader, trainer

from callbacks import RewindPoint, RigL, SparseTraining
from callbacks.sparsity import UpdateWindow


class Save(pl.Callback):
    """Saves a checkpoint after some steps, and may stop there."""

    def __init__(self, path: Path, step: int, stop: bool = True) -> None:
        self.path, self.step, self.stop = path, step, stop

    def on_train_batch_end(self, trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = self.stop


def fit(*callbacks: pl.Callback, steps: int = 12, ckpt: Path | None = None, **arguments) -> TinyModule:
    module = TinyModule(scheduled=True)
    trainer(callbacks, max_steps=steps, **arguments).fit(module, loader(), ckpt_path=ckpt)
    return module


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("step", [0, 1, 4, 6])  # 6 batches an epoch
def test_the_state_is_that_of_a_run_of_so_many_steps(tmp_path: Path, step: int, accumulate: int) -> None:
    fit(RewindPoint(step, path=tmp_path / "deep/rewind.ckpt"), accumulate_grad_batches=accumulate)
    rewound = load(tmp_path / "deep/rewind.ckpt")
    assert rewound["global_step"] == step
    if step:
        other = Save(tmp_path / "other.ckpt", step)
        fit(other, accumulate_grad_batches=accumulate)
        expected = load(tmp_path / "other.ckpt")
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
            assert_same(rewound[key], expected[key])
        assert int(rewound["state_dict"]["network.1.num_batches_tracked"]) == step * accumulate
    else:
        assert_same(rewound["state_dict"], dict(TinyModule().state_dict()))
        assert rewound["lr_schedulers"][0]["last_epoch"] == 0
        assert not rewound["optimizer_states"][0]["state"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["rewind.ckpt"]


@pytest.mark.parametrize("order", [1, -1])
def test_step_0_comes_after_the_masks_wherever_it_is_listed(tmp_path: Path, order: int) -> None:
    owner = SparseTraining(0.8)
    fit(*[RewindPoint(path=tmp_path / "rewind.ckpt"), owner][::order], steps=2)
    weights = load(tmp_path / "rewind.ckpt")["state_dict"]
    for name, mask in owner.masks.items():
        assert torch.equal(weights[name] != 0, mask)


def test_a_fit_goes_on_from_the_file(tmp_path: Path) -> None:
    def owner() -> RigL:
        return RigL(0.8, window=UpdateWindow(4, stop=1.0))

    whole = fit(owner(), RewindPoint(6, path=tmp_path / "rewind.ckpt"))
    rest = fit(owner(), RewindPoint(6, path=tmp_path / "again.ckpt"), ckpt=tmp_path / "rewind.ckpt")
    assert_same(dict(rest.state_dict()), dict(whole.state_dict()))


def test_it_is_written_when_a_resumed_fit_gets_there(tmp_path: Path) -> None:
    fit(RewindPoint(12, path=tmp_path / "whole.ckpt"))
    fit(RewindPoint(12, path=tmp_path / "early.ckpt"), Save(tmp_path / "part.ckpt", 6, stop=False))
    fit(RewindPoint(12, path=tmp_path / "rewind.ckpt"), ckpt=tmp_path / "part.ckpt")
    assert_same(load(tmp_path / "rewind.ckpt")["state_dict"], load(tmp_path / "whole.ckpt")["state_dict"])


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")  # it also had a point at 4
def test_a_fit_that_resumes_later_leaves_the_file_and_checks_it(tmp_path: Path) -> None:
    path = tmp_path / "rewind.ckpt"
    part = Save(tmp_path / "part.ckpt", 6, stop=False)
    fit(RewindPoint(4, path=path), part)
    before = path.read_bytes()
    fit(RewindPoint(4, path=path), ckpt=part.path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="too late to keep the state after 3.*RewindPoint\\(step=3\\)"):
        fit(RewindPoint(3, path=path), ckpt=part.path)
    fit(RewindPoint(5, path=path))
    with pytest.raises(ValueError, match="rewind.ckpt' is not the state after step 4 that this run saved"):
        fit(RewindPoint(4, path=path), ckpt=part.path)
    path.unlink()
    with pytest.raises(ValueError, match="saved as .*rewind.ckpt', which is gone"):
        fit(RewindPoint(4, path=path), ckpt=part.path)


def test_a_step_never_reached_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RewindPoint.step is 13, but the run ends after 12 optimizer steps"):
        fit(RewindPoint(13, path=tmp_path / "rewind.ckpt"))
    with pytest.raises(RuntimeError, match="ended after 5 optimizer steps and never reached step 7"):
        fit(RewindPoint(7, path=tmp_path / "rewind.ckpt"), Save(tmp_path / "part.ckpt", 5))
    with pytest.raises(ValueError, match="step is -1"):
        RewindPoint(-1, path=tmp_path / "rewind.ckpt")
    assert not (tmp_path / "rewind.ckpt").exists()


def test_several_points_in_one_fit_and_one_point_in_several_fits(tmp_path: Path) -> None:
    points = [RewindPoint(step, path=tmp_path / f"{step}.ckpt") for step in (0, 3)]
    fit(*points)
    (tmp_path / "3.ckpt").unlink()
    fit(*points, steps=6)
    assert [load(tmp_path / f"{step}.ckpt")["global_step"] for step in (0, 3)] == [0, 3]


class TwoSteps(TinyModule):
    """Steps twice a batch."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for _ in range(2):
            self.optimizers().zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            self.optimizers().step()


def test_a_step_inside_a_batch_is_an_error(tmp_path: Path) -> None:
    def fit_twice(step: int) -> None:
        trainer([RewindPoint(step, path=tmp_path / "rewind.ckpt")], max_steps=8).fit(TwoSteps(), loader())

    fit_twice(4)
    with pytest.raises(ValueError, match="step is 3, but this batch went from below it to step 4"):
        fit_twice(3)


class Unsafe(TinyModule):
    """Puts an object into checkpoints that only pickle can read."""

    def on_save_checkpoint(self, checkpoint) -> None:
        checkpoint["mine"] = Path("somewhere")


def test_what_cannot_be_read_back_safely_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objects other than tensors and plain values"):
        trainer([RewindPoint(2, path=tmp_path / "rewind.ckpt")]).fit(Unsafe(), loader())
    assert not (tmp_path / "rewind.ckpt").exists()

"""PCK, PCKh and AUC over batches and ranks are the scores of all people at once."""

from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch
from fits import trainer
from hypothesis import given
from hypothesis import strategies as st
from poses import random_poses
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Metric

from lightning_modules.pose.metrics import AUC, PCK, PCKh
from lightning_modules.pose.protocols import LSP, MPII
from lightning_modules.pose.scores import area_under_curve, correct_joints, normalized_errors, weighted_mean

METRICS = [PCK(), PCK(0.5, joints=LSP.scored[3:]), PCKh(joints=MPII.scored), AUC(0.5), AUC(0.2, joints=(1, 2))]
IDS = ["pck", "pck-joints", "pckh", "auc", "auc-joints"]


def batch(metric: Metric, people: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    return random_poses(MPII if isinstance(metric, PCKh) else LSP, people, seed)


def expected(metric: Metric, poses: tuple[torch.Tensor, ...]) -> float:
    errors, visible = normalized_errors(*poses), poses[2]
    if metric.joints is not None:
        errors, visible = errors[:, metric.joints], visible[:, metric.joints]
    if isinstance(metric, AUC):
        return area_under_curve(errors, visible, metric.thresholds[-1])
    return weighted_mean(correct_joints(errors, metric.threshold), visible)


@pytest.mark.parametrize("metric", METRICS, ids=IDS)
def test_batches_of_any_size_make_the_score_of_all_people(metric: Metric) -> None:
    metric, poses = copy.deepcopy(metric), batch(metric, 30)
    for start, end in (0, 1), (1, 1), (1, 20), (20, 30):
        metric.update(*(tensor[start:end] for tensor in poses))
    assert metric.compute().item() == pytest.approx(expected(metric, poses), rel=1e-6)
    assert metric.compute().shape == ()
    metric.reset()
    metric.update(*batch(metric, 10, seed=1))
    assert metric.compute().item() == pytest.approx(expected(metric, batch(metric, 10, seed=1)), rel=1e-6)


@given(st.integers(0, 1000), st.integers(1, 9), st.sampled_from(METRICS))
def test_two_metrics_merge_into_one(seed: int, cut: int, metric: Metric) -> None:
    poses = batch(metric, 10, seed)
    one, other = copy.deepcopy(metric), copy.deepcopy(metric)
    one.update(*(tensor[:cut] for tensor in poses))
    other.update(*(tensor[cut:] for tensor in poses))
    one.merge_state(other)
    assert one.compute().item() == pytest.approx(expected(metric, poses), rel=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=IDS)
def test_ranks_are_reduced_as_declared(metric: Metric) -> None:
    """What torchmetrics does under DDP: gather each state from all ranks, stack, reduce; one rank is empty."""
    poses, ranks = batch(metric, 25), [copy.deepcopy(metric) for _ in range(3)]
    ranks[0].update(*(tensor[:5] for tensor in poses))
    ranks[1].update(*(tensor[5:] for tensor in poses))
    ranks[2].update(*(tensor[:0] for tensor in poses))
    whole = copy.deepcopy(metric)
    whole.update(*(tensor[:0] for tensor in poses))
    for state, reduce in metric._reductions.items():
        setattr(whole, state, reduce(torch.stack([getattr(rank, state) for rank in ranks])))
    assert set(metric._reductions) == {"correct", "annotated"}
    assert whole.compute().item() == pytest.approx(expected(metric, poses), rel=1e-6)
    assert whole.correct.dtype == whole.annotated.dtype == torch.int64


def test_mpii_does_not_count_pelvis_and_thorax() -> None:
    pred, target, visible, size = (
        torch.zeros(1, 16, 2),
        torch.zeros(1, 16, 2),
        torch.ones(1, 16, dtype=torch.bool),
        torch.ones(1),
    )
    pred[0, [6, 7]] = 1000
    pckh, all_joints = PCKh(joints=MPII.scored), PCKh()
    for metric in pckh, all_joints:
        metric.update(pred, target, visible, size)
    assert pckh.compute() == 1
    assert all_joints.compute().item() == pytest.approx(14 / 16)


def test_names_are_keys_to_log_under() -> None:
    names = [PCK().name, PCKh().name, PCK(0.1).name, PCKh(0.11).name, AUC().name]
    assert names == ["pck@0.2", "pckh@0.5", "pck@0.1", "pckh@0.11", "auc@0.5"]


@pytest.mark.parametrize("metric", METRICS, ids=IDS)
def test_nothing_annotated_is_an_error_and_no_nan(metric: Metric) -> None:
    metric = copy.deepcopy(metric)
    pred, target, visible, size = batch(metric, 3)
    metric.update(pred, target, torch.zeros_like(visible), size)
    with pytest.raises(ValueError, match="has seen no annotated joint"):
        metric.compute()
    metric.update(pred, target, visible, size)
    assert 0 <= metric.compute() <= 1


def test_only_joints_that_do_not_count_is_an_error() -> None:
    metric, points = PCKh(joints=MPII.scored), torch.zeros(2, 16, 2)
    visible = torch.zeros(2, 16, dtype=torch.bool)
    visible[:, 6:8] = True
    metric.update(points, points, visible, torch.ones(2))
    with pytest.raises(ValueError, match="PCKh of joints \\(0, 1, .*has seen no annotated joint"):
        metric.compute()


@pytest.mark.parametrize("joints", [(), (1, 1), (-1, 0)])
@pytest.mark.parametrize("metric", [PCK, PCKh, AUC])
def test_impossible_joints(metric: type[Metric], joints: tuple) -> None:
    with pytest.raises(ValueError, match="joints is \\("):
        metric(joints=joints)


def test_other_impossible_arguments() -> None:
    with pytest.raises(ValueError, match="threshold is 0"):
        PCK(0)
    with pytest.raises(ValueError, match="limit is 0.123"):
        AUC(0.123)
    points = torch.zeros(2, 14, 2)
    with pytest.raises(ValueError, match="but pred has 14 joints"):
        PCKh(joints=MPII.scored).update(points, points, torch.ones(2, 14, dtype=torch.bool), torch.ones(2))
    with pytest.raises(ValueError, match="size\\[1\\] is 0.0"):
        PCK().update(points, points, torch.ones(2, 14, dtype=torch.bool), torch.tensor([1.0, 0.0]))


class Poser(pl.LightningModule):
    """Predicts what it is given, and logs as a LightningModule does."""

    def __init__(self) -> None:
        super().__init__()
        self.pck, self.auc = PCK(), AUC(0.2)

    def validation_step(self, batch: tuple[torch.Tensor, ...], batch_idx: int) -> None:
        for metric in self.pck, self.auc:
            metric.update(*batch)
            self.log(f"val/{metric.name}", metric, batch_size=len(batch[0]))


def test_lightning_logs_the_score_of_the_epoch() -> None:
    poses, module = random_poses(LSP, 11), Poser()
    values = trainer([]).validate(module, DataLoader(TensorDataset(*poses), batch_size=4), verbose=False)[0]
    wanted = {f"val/{metric.name}": expected(metric, poses) for metric in (module.pck, module.auc)}
    assert values == pytest.approx(wanted, rel=1e-6)

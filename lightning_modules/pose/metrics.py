"""Metrics of poses: PCK, PCKh and AUC, summed up over batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from .scores import auc_thresholds, correct_joints, normalized_errors


class _JointScore(Metric):
    """A metric that counts annotated joints, and those of them that are correct, at one threshold or several."""

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    correct: Tensor
    annotated: Tensor

    def __init__(self, joints: Sequence[int] | None, thresholds: int) -> None:
        super().__init__()
        if joints is not None and (not joints or len(set(joints)) < len(joints) or min(joints) < 0):
            raise ValueError(f"joints is {tuple(joints)}; name each joint that counts once, or None for all")
        self.joints = None if joints is None else tuple(joints)
        self.add_state("correct", torch.zeros(thresholds, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("annotated", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor, visible: Tensor, size: Tensor) -> None:
        """Count the joints of more people; a batch without annotated joints is allowed.

        Args:
            pred: (N, K, 2) px.
            target: (N, K, 2) px, with the same origin.
            visible: (N, K) bool, True where a joint is annotated.
            size: (N,) px.

        Raises:
            ValueError: :func:`normalized_errors` refuses the arguments, or the metric counts a joint that is not there.
        """
        errors = normalized_errors(pred, target, visible, size)
        if self.joints is not None:
            if max(self.joints) >= errors.shape[1]:
                raise ValueError(f"joints is {self.joints}, but pred has {errors.shape[1]} joints")
            errors, visible = errors[:, self.joints], visible[:, self.joints]
        self.correct = self.correct + self._count(errors)  # not in place, as the state may come from inference mode
        self.annotated = self.annotated + visible.sum()

    def compute(self) -> Tensor:
        """Return the score, in [0, 1].

        Raises:
            ValueError: no joint that counts was annotated.
        """
        if not self.annotated:
            raise ValueError(f"{type(self).__name__} of joints {self.joints or 'all'} has seen no annotated joint")
        return self._score(self.correct / self.annotated)

    def _count(self, errors: Tensor) -> Tensor:
        raise NotImplementedError

    def _score(self, fractions: Tensor) -> Tensor:
        raise NotImplementedError


class PCK(_JointScore):
    """Percentage of correct keypoints: the fraction of annotated joints that are off by <= threshold sizes.

    All joints of all people are pooled, which is the mean of joints weighted by how often each is annotated. The
    ``size`` in ``update`` is the torso, ``torso_size(target)`` for LSP. ``name`` is the key to log the score under.

    Args:
        threshold: largest error of a correct joint, in sizes.
        joints: numbers of the joints that count; None for all.

    Raises:
        ValueError: ``threshold`` is not positive, or ``joints`` is empty, repeats one or has a negative one.

    Example:
        >>> pck = PCK()
        >>> pred, target = torch.tensor([[[1.0, 0.0], [9.0, 0.0]]]), torch.zeros(1, 2, 2)
        >>> pck.update(pred, target, torch.tensor([[True, True]]), torch.tensor([10.0]))
        >>> pck.name, pck.compute()
        ('pck@0.2', tensor(0.5000))
    """

    measure = "pck"

    def __init__(self, threshold: float = 0.2, joints: Sequence[int] | None = None) -> None:
        super().__init__(joints, thresholds=1)
        correct_joints(torch.empty(0), threshold)  # refuse a wrong threshold now, not at the first update
        self.threshold = threshold
        self.name = f"{self.measure}@{threshold:g}"

    def _count(self, errors: Tensor) -> Tensor:
        return correct_joints(errors, self.threshold).sum()

    def _score(self, fractions: Tensor) -> Tensor:
        return fractions[0]


class PCKh(PCK):
    """PCK in head sizes, the measure of MPII.

    The ``size`` in ``update`` is ``head_size(box)``. Pass ``joints=MPII.scored``, since the benchmark leaves out
    pelvis and thorax.

    Args:
        threshold: largest error of a correct joint, in sizes.
        joints: numbers of the joints that count; None for all.

    Example:
        >>> from lightning_modules.pose.protocols import MPII
        >>> PCKh(joints=MPII.scored).name
        'pckh@0.5'
    """

    measure = "pckh"

    def __init__(self, threshold: float = 0.5, joints: Sequence[int] | None = None) -> None:
        super().__init__(threshold, joints)


class AUC(_JointScore):
    """Area under the curve of PCK over the thresholds 0, 0.01, ..., limit, divided by limit.

    Args:
        limit: largest threshold: 0.5 head sizes for MPII, 0.2 torsos for LSP.
        joints: numbers of the joints that count; None for all.

    Raises:
        ValueError: ``limit`` is not a positive multiple of 0.01, or ``joints`` is wrong as for :class:`PCK`.

    Example:
        >>> auc = AUC(limit=0.2)
        >>> pred, target = torch.tensor([[[1.0, 0.0], [9.0, 0.0]]]), torch.zeros(1, 2, 2)
        >>> auc.update(pred, target, torch.tensor([[True, True]]), torch.tensor([10.0]))
        >>> auc.name, auc.compute()
        ('auc@0.2', tensor(0.2625))
    """

    def __init__(self, limit: float = 0.5, joints: Sequence[int] | None = None) -> None:
        thresholds: list[float] = auc_thresholds(limit).tolist()
        super().__init__(joints, len(thresholds))
        self.thresholds = thresholds
        self.name = f"auc@{limit:g}"

    def _count(self, errors: Tensor) -> Tensor:
        return torch.stack([(errors <= threshold).sum() for threshold in self.thresholds])

    def _score(self, fractions: Tensor) -> Tensor:
        return torch.trapezoid(fractions) / (len(fractions) - 1)

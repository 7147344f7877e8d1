"""Retraining: which weights a pruned network is trained on from, and at which learning rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..sparsity import Masks, generator_for


@dataclass(frozen=True, eq=False)
class Solution:
    """The checkpoints and masks that pruning left behind.

    Args:
        masks: True = active.
        end: checkpoint of the end of the run that was pruned.
        rewound: checkpoint of the step to go back to.
        start: checkpoint of step 0.
        learning_rates: those of the last optimizer step, by optimizer and parameter group.
        trainable: names of the parameters that are trained.
    """

    masks: Masks
    end: Mapping[str, Any]
    rewound: Mapping[str, Any]
    start: Mapping[str, Any]
    learning_rates: Sequence[Sequence[float]]
    trainable: Sequence[str]


@dataclass(frozen=True, eq=False)
class Beginning:
    """The state in which the training of a ticket starts.

    Args:
        masks: True = active.
        weights: a whole ``state_dict``; entries outside the masks are not used.
        resume: the checkpoint whose optimizers, schedulers and progress to go on with; empty starts anew.
        learning_rates: constant ones by optimizer and parameter group; None follows the module's schedule.
    """

    masks: Masks
    weights: Mapping[str, Tensor]
    resume: Mapping[str, Any] = field(default_factory=dict)
    learning_rates: Sequence[Sequence[float]] | None = None


class RetrainingMethod(ABC):
    """A way to choose the state in which the training of a pruned network starts."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the folder of its tickets, which is different for each way and its arguments."""

    @abstractmethod
    def __call__(self, solution: Solution, seed: int) -> Beginning:
        """Return the beginning that belongs to ``solution``; a random one depends on ``seed`` alone."""


@dataclass(frozen=True)
class WeightRewinding(RetrainingMethod):
    """The lottery ticket itself: the final mask on the weights of the step rewound to.

    Args:
        remaining: False trains with a fresh optimizer and the full schedule, however late the step. True takes
            optimizer and scheduler of that step too and trains the steps that remain; momentum outside the mask
            is cleared.

    Reference:
        False: Evci et al. 2022, whose code restores the norms' weights and biases, not their running
        statistics; here those are rewound too. True: Frankle et al. 2020 and Renda et al. 2020, "weight rewinding".
    """

    remaining: bool = False

    @property
    def name(self) -> str:
        return "weights-remaining" if self.remaining else "weights"

    def __call__(self, solution: Solution, seed: int) -> Beginning:
        resume = solution.rewound if self.remaining else {}
        return Beginning(solution.masks, solution.rewound["state_dict"], resume)


@dataclass(frozen=True)
class LearningRateRewinding(RetrainingMethod):
    """Keep the final weights and repeat the schedule from the step rewound to, with fresh momentum.

    With step 0 that is the full schedule: the "prune restart" of Evci et al. 2022.

    Reference:
        Renda et al. 2020, section 2.
    """

    @property
    def name(self) -> str:
        return "learning-rate"

    def __call__(self, solution: Solution, seed: int) -> Beginning:
        resume = solution.rewound
        if resume["global_step"]:
            fresh = [{**state, "state": {}} for state in resume["optimizer_states"]]
            resume = {**resume, "optimizer_states": fresh}
        return Beginning(solution.masks, solution.end["state_dict"], resume)


@dataclass(frozen=True)
class FineTuning(RetrainingMethod):
    """Keep the final weights and train on at a constant learning rate, for as long as the Trainer says.

    Args:
        learning_rate: the rate of all parameter groups. None gives each that of its last step before pruning, which
            after a schedule to 0 is next to nothing.

    Raises:
        ValueError: ``learning_rate`` is not above 0, or None and the last one was 0.

    Reference:
        Renda et al. 2020, section 2.
    """

    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"FineTuning.learning_rate is {self.learning_rate}; it is above 0")

    @property
    def name(self) -> str:
        return "fine-tune" if self.learning_rate is None else f"fine-tune-{self.learning_rate}"

    def __call__(self, solution: Solution, seed: int) -> Beginning:
        rates = solution.learning_rates
        if self.learning_rate is not None:
            rates = [[self.learning_rate] * len(groups) for groups in rates]
        if not any(rate > 0 for groups in rates for rate in groups):
            raise ValueError("the last learning rate before pruning was 0: give FineTuning(learning_rate=...)")
        return Beginning(solution.masks, solution.end["state_dict"], learning_rates=rates)


@dataclass(frozen=True)
class RandomReinit(RetrainingMethod):
    """A control: the mask on new random weights, so that nothing but the mask is left of the ticket.

    The entries of every trained parameter of step 0 are put in random order. Where a layer draws its entries
    independently, as nearly all do, that is a fresh draw from the same distribution, for any module.

    Args:
        draw: a different number is a different initialization.

    Reference:
        Frankle and Carbin 2019, section 2; "Scratch (diff. init)" of Evci et al. 2022.
    """

    draw: int = 0

    @property
    def name(self) -> str:
        return f"reinit-{self.draw}" if self.draw else "reinit"

    def __call__(self, solution: Solution, seed: int) -> Beginning:
        weights = dict(solution.start["state_dict"])
        for index, name in enumerate(solution.trainable):
            weights[name] = _shuffled(weights[name], generator_for(seed, self.draw, index))
        return Beginning(solution.masks, weights)


@dataclass(frozen=True)
class ShuffledMask(RetrainingMethod):
    """A control: the mask shuffled inside each layer, on the weights of the step rewound to.

    Args:
        draw: a different number is a different shuffle.

    Reference:
        Frankle et al. 2021, "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?";
        ``shuffle_mask`` in the code of Evci et al. 2022.
    """

    draw: int = 0

    @property
    def name(self) -> str:
        return f"shuffle-{self.draw}" if self.draw else "shuffle"

    def __call__(self, solution: Solution, seed: int) -> Beginning:
        shuffled = {
            name: _shuffled(mask, generator_for(seed, self.draw, index))
            for index, (name, mask) in enumerate(solution.masks.items())
        }
        return Beginning(Masks(shuffled), solution.rewound["state_dict"])


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return the entries of a tensor in random order."""
    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].view(tensor.shape)

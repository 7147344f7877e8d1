"""Linear interpolation: the loss on the straight line between two solutions, and the barrier on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import nn

from .evaluation import Batches, LossProfile, OutputLoss, loss_along
from .solutions import Weights, check_same_masks, check_solution, straight_line

# the paper's 29 positions from -0.2 to 1.2, among them exactly 0 and 1
ALPHAS = tuple(step / 20 for step in range(-4, 25))


def loss_along_line(
    module: nn.Module,
    start: Weights,
    end: Weights,
    batches: Batches,
    *,
    alphas: Sequence[float] = ALPHAS,
    loss: OutputLoss = F.cross_entropy,
    start_masks: Weights | None = None,
    end_masks: Weights | None = None,
) -> LossProfile:
    """Return the loss of (1 - alpha) * start + alpha * end, for all parameters, biases and norms included.

    Running statistics of batch norms are estimated anew from ``batches`` at each position. ``module`` is not changed.

    Args:
        module: the network of both solutions, which maps inputs to outputs (B, C, ...). Its weights do not matter.
        start: weights by parameter name, such as a state dict.
        end: the weights of the other solution.
        batches: (input, label) pairs, read once a position (twice with batch norms). A list in memory is fastest, on a
            CPU in batches of 100 to 250; a loader that shuffles or augments adds noise.
        alphas: positions on the line; outside [0, 1] it goes on beyond the solutions.
        loss: maps outputs and labels to the mean loss of a batch.
        start_masks: bool masks by weight, if the solution is sparse; they cannot be read off the zeros.
        end_masks: the masks of the other solution, which must equal those of the first.

    Raises:
        ValueError: a solution is not one of ``module`` or not finite, the masks differ or are not those of the
            solutions, there is no data, or a loss is not a number.
        TypeError: ``batches`` can be read only once, or a mask is not bool.

    Example:
        >>> import torch
        >>> line, data = nn.Linear(1, 1, bias=False), [(torch.ones(1, 1), torch.ones(1, 1))]
        >>> start, end = {"weight": torch.zeros(1, 1)}, {"weight": torch.ones(1, 1)}
        >>> loss_along_line(line, start, end, data, alphas=(0, 0.5, 1), loss=F.mse_loss).losses
        (1.0, 0.25, 0.0)

    Reference:
        Evci et al. 2022, section on lottery tickets: 29 positions, training loss. They do not say how they treat batch
        norm.
    """
    check_solution("start", start, module, start_masks)
    check_solution("end", end, module, end_masks)
    check_same_masks(start_masks, end_masks)
    return loss_along(straight_line(module, start, end), module, batches, alphas, loss)


def barrier(losses: Sequence[float], alphas: Sequence[float] = ALPHAS) -> float:
    """Return the height of the barrier between two solutions: the largest loss on [0, 1] above the worse end, or 0.

    Args:
        losses: losses, one a position.
        alphas: the positions, 0 and 1 among them; those outside [0, 1] do not count.

    Raises:
        ValueError: the lengths differ, 0 or 1 is missing, a loss is NaN, or one at an end is infinite.

    Example:
        >>> barrier([0.5, 2.0, 1.0, 9.0], [0.0, 0.5, 1.0, 1.5])
        1.0
    """
    if len(losses) != len(alphas) or not {0, 1} <= set(alphas):
        raise ValueError(
            f"{len(losses)} losses at {len(alphas)} positions {tuple(alphas)}: give one loss a position, "
            "0 and 1 among the positions"
        )
    inside = {alpha: loss for alpha, loss in zip(alphas, losses, strict=True) if 0 <= alpha <= 1}
    if any(map(math.isnan, inside.values())) or math.inf in (inside[0], inside[1]):
        raise ValueError(f"losses on [0, 1] are {tuple(inside.values())}; NaN and infinite ends have no barrier")
    return max(inside.values()) - max(inside[0], inside[1])

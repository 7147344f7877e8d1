"""Solutions, the weights of a trained network by parameter name: the line between two, and which can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from callbacks.sparsity.masks.masks import check_not_empty

Weights = Mapping[str, Tensor]


def norms_of(module: nn.Module) -> dict[str, _NormBase]:
    """Return the layers that keep running statistics of the data (batch norms, mostly), by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, _NormBase) and layer.track_running_stats
    }


def straight_line(module: nn.Module, start: Weights, end: Weights) -> Callable[[float], dict[str, Tensor]]:
    """Return the function from alpha to (1 - alpha) * start + alpha * end, for all parameters of ``module``."""
    ends = {
        name: (start[name].detach().to(parameter), end[name].detach().to(parameter))
        for name, parameter in module.named_parameters()
    }
    return lambda alpha: {name: (1 - alpha) * first + alpha * last for name, (first, last) in ends.items()}


def check_solution(argument: str, solution: Weights, module: nn.Module, masks: Weights | None = None) -> None:
    """Refuse what is not a solution of ``module``.

    A solution names every parameter of the module, as ``module.state_dict()`` or ``dict(module.named_parameters())``
    do. It may hold buffers, too: running statistics of norms are not read, others must equal those of the module.

    Args:
        argument: name of the solution in error messages.
        solution: tensors by name.
        module: the network, for names and shapes; its own weights do not matter.
        masks: bool masks of the sparse weights, True = active; the solution is 0 outside of them.

    Raises:
        ValueError: a name is missing or unknown, a shape or a buffer differs, a weight is not finite or not 0 outside
            its mask; ``masks`` is empty.
        TypeError: a mask is not bool.
    """
    network, parameters, known = type(module).__name__, dict(module.named_parameters()), module.state_dict()
    missing = [name for name in parameters if name not in solution]
    unknown = [name for name in solution if name not in known]
    if missing or unknown:
        raise ValueError(
            f"{argument} is of another architecture than {network}: it lacks {missing[:4]} and has "
            f"{unknown[:4]} too many; give the network that was trained, under the same names"
        )
    for name, parameter in parameters.items():
        if solution[name].shape != parameter.shape:
            raise ValueError(
                f"{argument}[{name!r}] has shape {tuple(solution[name].shape)}, but that of {network} has "
                f"{tuple(parameter.shape)}: solutions of different architectures cannot be compared"
            )
        if not solution[name].isfinite().all():
            raise ValueError(f"{argument}[{name!r}] holds NaN or infinity: take a run that did not diverge")
    _check_buffers(argument, solution, module)
    check_not_empty(masks, f"masks of {argument}")
    for name, mask in (masks or {}).items():
        _check_mask(argument, name, mask, solution)


def check_same_masks(start_masks: Weights | None, end_masks: Weights | None) -> None:
    """Refuse masks that differ; None means that every weight is active.

    Raises:
        ValueError: one of them has a name that the other lacks, or an entry differs.
    """
    first, second = start_masks or {}, end_masks or {}
    if odd := sorted(set(first) ^ set(second)):
        raise ValueError(f"start_masks and end_masks must name the same weights; only one of them has {odd[:4]}")
    for name, mask in first.items():
        other = second[name].to(mask.device)
        if mask.shape != other.shape or not torch.equal(mask, other):
            raise ValueError(
                f"start and end have different masks for {name!r}: a point between them has neither "
                "sparsity; compare solutions of one mask, or leave out both masks to cross the dense space"
            )


def _check_buffers(argument: str, solution: Weights, module: nn.Module) -> None:
    norms = norms_of(module)
    for name, buffer in module.named_buffers():
        if name not in solution or name.rpartition(".")[0] in norms:
            continue
        if not torch.equal(solution[name].to(buffer.device), buffer):
            raise ValueError(
                f"{argument}[{name!r}] is a buffer that differs from the module's: only parameters are "
                "interpolated. Load it into the module; if start and end differ in it they cannot be compared"
            )


def _check_mask(argument: str, name: str, mask: Tensor, solution: Weights) -> None:
    if mask.dtype != torch.bool:
        raise TypeError(f"mask {name!r} is {mask.dtype}; masks are torch.bool, True = active")
    if name not in solution or mask.shape != solution[name].shape:
        shape = tuple(solution[name].shape) if name in solution else "no such weight"
        raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}, but {argument} has {shape}")
    outside = int(solution[name].masked_fill(mask.to(solution[name].device), 0).count_nonzero())
    if outside:
        raise ValueError(f"{argument}[{name!r}] has {outside} weights that are not 0 outside its mask: not its mask")

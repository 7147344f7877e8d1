"""What a fit logs of its masks: how sparse the weights are, and which units have no connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from .compatibility import check_in_place
from .either_lightning import pl, rank_zero_info, rank_zero_warn
from .parts.part import Part
from .sparsity import SparseWeight
from .sparsity.masks.selection import matrices
from .sparsity.masks.sharding import local_shard, nonzero_entries
from .sparsity.masks.zeros import all_finite, count_outside, fetch
from .start import refuse_counts, union
from .weight_averages import check_averages


def log_metrics(trainer: pl.Trainer, values: Mapping[str, float]) -> None:
    """Send ``values`` to every logger at the current optimizer step, and to ``trainer.callback_metrics``.

    Unlike ``LightningModule.log``, which keeps only what falls on ``log_every_n_steps``, nothing is
    dropped or moved to another step.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=trainer.global_step)
    for name, value in values.items():
        trainer.callback_metrics[name] = torch.tensor(value)


def report_selection(module: nn.Module, parts: Sequence[Part]) -> None:
    """Say once how much of a module is sparse, and which of its matrices are not."""
    sizes = {name: matrix.numel() for name, matrix in matrices(module).items()}
    sparse = {name for part in parts for name in part.weights}
    dense = [name for name in sizes if name not in sparse]
    untrained = {name for part in parts for name in part.left_dense}
    named = [f"{name} (in no optimizer)" if name in untrained else name for name in dense]
    if len(named) > 6:
        named = [*named[:5], f"{len(named) - 5} more"]
    share = sum(sizes.get(name, 0) for name in sparse) / max(1, sum(sizes.values()))
    rank_zero_info(
        f"{' and '.join(type(part.method).__name__ for part in parts)} makes {len(sizes) - len(dense)} of {len(sizes)} "
        f"matrices sparse, which hold {share:.0%} of {sum(sizes.values()):,} weights"
        + (f"; left dense: {', '.join(named)}" if named else "")
    )


def report_update(
    trainer: pl.Trainer,
    parts: Sequence[Part],
    changed: Sequence[tuple[Part, Mapping[str, Tensor]]],
    grown: int,
    dead: set[str],
) -> None:
    """Log what an update of masks has done.

    Args:
        trainer: the Trainer of the fit.
        parts: all parts.
        changed: the parts that have new masks, and the new masks by name.
        grown: the number of weights that grew.
        dead: the names of weights that are known to be all 0; new ones are added.
    """
    names: list[str] = []
    explored = size = active = 0
    for part in parts:
        explored, size = explored + part.explored, size + part.masks.size
    for part, masks in changed:
        names += masks
        for name in masks:
            active += part.masks.counts[name]
    values = look_for_dead(trainer, parts, names, dead)
    values["sparsity/churn"] = grown / active if active else 0.0
    values["sparsity/explored"] = explored / size
    for part, _ in changed:
        values[f"{part.prefix}explored"] = part.explored / part.masks.size
        if part.method.ablates:
            neurons = sum(layer.neurons for layer in part.selected.values())
            ablated = sum(values.get(f"sparsity/dead_units/{name}", 0) for name in part.selected)
            values[f"{part.prefix}ablated"] = 1 - (neurons - ablated) / neurons
    log_metrics(trainer, values)


def look_for_dead(
    trainer: pl.Trainer, parts: Sequence[Part], names: Iterable[str], known: set[str]
) -> dict[str, float]:
    """Return how many units have no connections, and warn of those of ``names`` that are all 0; each once."""
    layers, units, suspects, entries = [], [], [], []
    for part in parts:
        for name, layer in part.selected.items():
            layers.append(name)
            units.append(unconnected(layer, part.masks[name]))
            if name in names and name not in known:
                suspects.append(name)
                weight = part.weights[name]
                entries.append(nonzero_entries(weight) if isinstance(weight, DTensor) else weight.count_nonzero())
    counts = fetch(entries)
    if 0 in counts:
        dead = [name for name, count in zip(suspects, counts, strict=True) if not count]
        known.update(dead)
        rank_zero_warn(
            f"all weights of {', '.join(map(repr, dead))} are 0 at step {trainer.global_step}, so that nothing "
            "passes: exclude the layer, lower the sparsity, or choose a distribution that leaves each layer more"
        )
    values = {"sparsity/dead_units": 0.0}
    for name, count in zip(layers, fetch(units), strict=True):
        values["sparsity/dead_units"] += count
        if count:
            values[f"sparsity/dead_units/{name}"] = float(count)
    return values


def unconnected(layer: SparseWeight, mask: Tensor) -> Tensor:
    """Return the number of output units of which no connection is active; they put out their bias, or 0.

    Example:
        >>> unconnected(SparseWeight(nn.Parameter(torch.zeros(2, 3))), torch.tensor([[False] * 3, [True] * 3]))
        tensor(1)
    """
    rows = layer.by_neuron(mask) if layer.transposed else mask.flatten(1)
    return (~rows.any(1)).count_nonzero()


def _cause_of_leaks(parts: Sequence[Part]) -> str:
    """Return what can be told of why weights outside the masks are not 0."""
    weights = [weight for part in parts for weight in part.weights.values()]
    if all_finite([local_shard(weight) if isinstance(weight, DTensor) else weight.detach() for weight in weights]):
        return (
            "something other than a step of the Trainer's optimizers writes to the weights, or to gradients after they "
            "were masked, such as another optimizer, an average that is copied back, or a hook"
        )
    if any(weight.element_size() == 2 for weight in weights):
        return (
            "weights are NaN or infinite. In half precision the eps of Adam and its like is 0, and 0 is divided by 0: "
            "use precision='bf16-mixed' or '16-mixed', or an eps of 1e-4"
        )
    return "weights are NaN or infinite, so that the training has diverged: lower the learning rate, or clip gradients"


def report_sparsity(
    trainer: pl.Trainer, module: nn.Module, parts: Sequence[Part], averaging: Sequence[pl.Callback]
) -> None:
    """Log target and measured sparsity; they must agree to the weight.

    Raises:
        RuntimeError: a weight outside the masks is not 0, or an average of one, or is no longer the module's.
        ValueError: there are more or fewer active weights than there are to be.
    """
    step, size, wanted, leaks, actual = trainer.global_step, 0, 0, 0, 0
    values = {}
    for part in parts:
        check_in_place(module, part.weights, step)
        target, outside = sum(part.target.values()), count_outside(part.weights, part.masks)
        count = sum(part.masks.counts.values()) + outside
        values[f"{part.prefix}target"] = 1 - target / part.masks.size
        values[f"{part.prefix}actual"] = 1 - count / part.masks.size
        size, wanted, leaks, actual = size + part.masks.size, wanted + target, leaks + outside, actual + count
    values |= {"sparsity/target": 1 - wanted / size, "sparsity/actual": 1 - actual / size}
    log_metrics(trainer, values)
    if leaks:
        raise RuntimeError(
            f"{leaks} weights outside the masks are not 0 at step {step} (sparsity {1 - actual / size:.6f} instead of "
            f"{1 - wanted / size:.6f}): {_cause_of_leaks(parts)}"
        )
    if averaging:
        check_averages(averaging, union(parts), step)
    for part in parts:
        if part.masks.counts != part.target:
            refuse_counts(part, f"the masks at step {step}")

"""SparseGroups: several methods for parts of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from .observer import log_metrics
from .owner import MaskOwner
from .sparse_training import SparseTraining
from .sparsity import Masks, SparseWeight

T = TypeVar("T")

# What a method may do in its own way; SparseGroups sees to it that it still does.
PASSED_ON = {
    "explored",
    "first_masks",
    "gradient_counts",
    "masks_changed",
    "on_exception",
    "on_train_batch_end",
    "on_train_end",
    "on_train_start",
    "teardown",
    "update",
}


class SparseGroups(MaskOwner):
    """Train parts of a network with methods, or sparsities, of their own.

    Each method plans, draws and updates the weights that its ``include`` and ``exclude`` select, as it would alone;
    what none selects stays dense. When updates replace steps, that of any method replaces the step of the whole
    optimizer. Methods with equal seeds draw equal numbers for weights of equal shape: give each a seed of its own.

    ``masks``, ``sparsity/target``, ``actual``, ``churn`` and ``explored`` are of all methods together, and
    observers see all masks at once, once a step. What a method logs is in ``sparsity/group0/...``,
    ``sparsity/group1/...``, in the order of ``methods``.

    Args:
        methods: callbacks of this family, not in the Trainer's list themselves.

    Raises:
        ValueError: there is no method, or one that works only alone; in ``setup``, when two select the same weight;
            when resuming, for a checkpoint of other methods; and as the methods do.

    Example:
        >>> from callbacks import SET, RigL
        >>> late = SET(0.8, include="*layer4*", seed=1)
        >>> SparseGroups([RigL(0.9, include="*layer3*"), late, SparseTraining(0.5, include="fc*", seed=2)]).masks
        Masks(0 weights, 0 entries, sparsity 0.0000)
    """

    def __init__(self, methods: Sequence[SparseTraining]) -> None:
        super().__init__()
        if not methods:
            raise ValueError("methods is empty; give SparseGroups one or more callbacks such as RigL(0.9, include=...)")
        for index, method in enumerate(methods):
            _check_works_in_groups(method)
            method._prefix = f"{self._prefix}group{index}/"
        self.methods = list(methods)

    @property
    def settings(self) -> str:
        return f"{type(self).__name__}([{', '.join(method.settings for method in self.methods)}])"

    # --- start ---------------------------------------------------------------------------------

    def _plan(self, module: nn.Module) -> tuple[dict[str, SparseWeight], dict[str, int]]:
        selected: dict[str, SparseWeight] = {}
        target: dict[str, int] = {}
        for index, method in enumerate(self.methods):
            method._selected, method._target = method._plan(module)
            method._weights = {name: weight.parameter for name, weight in method._selected.items()}
            if twice := selected.keys() & method._selected.keys():
                name = min(twice)
                first = next(i for i, other in enumerate(self.methods) if name in other._selected)
                raise ValueError(
                    f"{name!r} is selected by {_patterns(first, self.methods[first])} and by "
                    f"{_patterns(index, method)}: narrow include or exclude until one of them does"
                )
            selected.update(method._selected)
            target.update(method._target)
        return selected, target

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for method in self.methods:
            method._draw(trainer, pl_module)
        self.masks = Masks({name: mask for method in self.methods for name, mask in method.masks.items()})

    def _wanted(self, counts: dict[str, int]) -> dict[str, int]:
        for method in self.methods:
            method.masks = Masks(_part(method, self.masks))
            method._target = method._wanted(_part(method, counts))
        return self._targets()

    def _targets(self) -> dict[str, int]:
        return {name: count for method in self.methods for name, count in method._target.items()}

    def _check_counts(self, counts: Mapping[str, int], what: str) -> None:
        for method in self.methods:
            method._check_counts(_part(method, counts), what)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for method in self.methods:
            method.on_train_start(trainer, pl_module)
            method._steps = self._steps  # one list, counted here
            method._weights_of = [_part(method, weights) for weights in self._weights_of]

    # --- every optimizer step -------------------------------------------------------------------

    def update(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer, step: int
    ) -> dict[str, Tensor]:
        changed: dict[str, Tensor] = {}
        for method in self.methods:
            method._weights_of = [_part(method, weights) for weights in self._weights_of]
            changed.update(method.update(trainer, pl_module, optimizer, step))
        return changed

    def gradient_counts(self) -> Mapping[str, int]:
        return {name: count for method in self.methods for name, count in method.gradient_counts().items()}

    def masks_changed(self, trainer: pl.Trainer, optimizer: Optimizer, changed: Mapping[str, Tensor]) -> None:
        self._target = self._targets()
        for method in self.methods:
            theirs = _part(method, changed)
            if theirs:
                method.masks = method.masks.replace(theirs)
                method.masks_changed(trainer, optimizer, theirs)
        log_metrics(trainer, {f"{self._prefix}explored": self.explored() / self.masks.size})

    def explored(self) -> int:
        return sum(method.explored() for method in self.methods)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for method in self.methods:
            method.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        for method in self.methods:
            method.on_exception(trainer, pl_module, exception)

    def _report(self, trainer: pl.Trainer) -> None:
        for method in self.methods:
            method._report(trainer)
        super()._report(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for method in self.methods:
            method.on_train_end(trainer, pl_module)  # reports too
        super()._report(trainer)

    # --- checkpoint -----------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        groups = [{**method._state(), "masks": list(method.masks)} for method in self.methods]
        return {**super()._state(), "groups": groups}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        groups = state.get("groups", [])
        theirs, ours = [group["masks"] for group in groups], [list(method._weights) for method in self.methods]
        if theirs != ours:
            raise ValueError(
                f"the checkpoint holds groups of {[len(names) for names in theirs]} weights, which are not the "
                f"{[len(names) for names in ours]} that the methods of this run select: resume with the methods of the "
                "run that wrote it, in their order"
            )
        for method, group in zip(self.methods, groups, strict=True):
            method._load_state({**group, "masks": _part(method, state["masks"])})

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for method in self.methods:
            method.teardown(trainer, pl_module, stage)
        super().teardown(trainer, pl_module, stage)

    def _let_go(self) -> None:
        for method in self.methods:
            method._let_go()
        super()._let_go()


def _part(method: SparseTraining, values: Mapping[str, T]) -> dict[str, T]:
    """What belongs to the weights of one method."""
    return {name: values[name] for name in method._weights if name in values}


def _patterns(index: int, method: SparseTraining) -> str:
    return f"methods[{index}] {type(method).__name__}(include={method.include!r}, exclude={method.exclude!r})"


def _check_works_in_groups(method: SparseTraining) -> None:
    """Refuse a method that relies on a hook that would not be called."""
    cls = type(method)
    own = [name for name in dir(SparseTraining) if getattr(cls, name) is not getattr(SparseTraining, name)]
    missed = [name for name in own if not name.startswith("_") and name not in PASSED_ON]
    if missed:
        raise ValueError(f"{cls.__name__} works only alone: it relies on {', '.join(missed)}, which groups do not call")

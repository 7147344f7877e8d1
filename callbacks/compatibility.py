"""What sparse training works with: checked before the first step, refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from .either_lightning import (
    BaseFinetuning,
    DDPStrategy,
    DeepSpeedStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    StochasticWeightAveraging,
    WeightAveraging,
    of_either,
    pl,
)
from .methods import Method
from .parts.optimizer_steps import OptimizerSteps
from .sparsity import Masks
from .sparsity.masks.selection import selected_later
from .sparsity.masks.sharding import is_sharded, refusal


def check_strategy(trainer: pl.Trainer, owner: str, *, shards: bool = False) -> None:
    """Refuse strategies that split a weight or its gradient over processes, unless the owner can work with ``shards``.

    Raises:
        ValueError: the Trainer's strategy is neither single-device nor DDP, nor FSDP2 for an owner that knows shards.
    """
    strategy = trainer.strategy
    if isinstance(strategy, of_either(ModelParallelStrategy)):
        if not shards:
            raise ValueError(
                f"{owner} does not support ModelParallelStrategy (FSDP2): SparseTraining, SET, RigL, "
                "DynamicSparseTraining and GradualPruning do, others need whole weights on every process. Use "
                'Trainer(strategy="ddp") or a single device'
            )
        return
    whole = isinstance(strategy, of_either(SingleDeviceStrategy, DDPStrategy))
    if not whole or isinstance(strategy, of_either(DeepSpeedStrategy)):
        raise ValueError(
            f"{owner} does not support {type(strategy).__name__}: every process must hold whole weights and "
            'gradients. Use Trainer(strategy="ddp"), FSDP2 (ModelParallelStrategy) or a single device'
        )


def check_shards(weights: Mapping[str, Tensor], callbacks: Sequence[pl.Callback]) -> None:
    """Refuse what does not work on weights that are sharded over processes.

    Raises:
        ValueError: a weight is sharded in another way than by FSDP2 alone, or there are averages of weights.
    """
    for name, weight in weights.items():
        if reason := refusal(weight):
            raise ValueError(
                f"{name!r} {reason}: shard it over data-parallel processes alone, fully_shard(layer, "
                'mesh=self.device_mesh["data_parallel"]), or exclude it'
            )
    averages = [c for c in callbacks if isinstance(c, of_either(WeightAveraging, StochasticWeightAveraging))]
    if averages and any(map(is_sharded, weights.values())):
        raise ValueError(
            f"{type(averages[0]).__name__} does not support weights that are sharded over processes: remove it from "
            "Trainer(callbacks=...)"
        )


def check_whole(module: nn.Module, what: str) -> None:
    """Refuse a module whose weights are sharded over processes for ``what`` needs all of them.

    Raises:
        ValueError: one is.
    """
    if any(map(is_sharded, module.parameters())):
        raise ValueError(
            f"{what} does not support weights that are sharded over processes (FSDP2): every process must hold whole "
            'ones. Use Trainer(strategy="ddp") or a single device'
        )


def check_single_owner(owners: Sequence[pl.Callback]) -> None:
    """Refuse a second callback that would own the masks.

    Raises:
        ValueError: there is more than one.
    """
    if len(owners) > 1:
        names = " and ".join(type(owner).__name__ for owner in owners)
        raise ValueError(f"{names} would both own the masks of one module: keep one of them in Trainer(callbacks=...)")


def check_optimizers(trainer: pl.Trainer, owner: str) -> None:
    """Refuse optimizers that evaluate the loss several times a step, or that see scaled gradients.

    Raises:
        ValueError: an optimizer is LBFGS, or fused under 16-bit precision with a gradient scaler.
    """
    scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
    for optimizer in trainer.optimizers:
        if scaled and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise ValueError(
                f"{owner} does not support the fused {type(optimizer).__name__} with precision 16-mixed: it unscales "
                "gradients inside its step. Use fused=False, or bf16-mixed"
            )
        if isinstance(optimizer, LBFGS):
            raise ValueError(
                f"{owner} does not support LBFGS: it mixes entries of past gradients, which revives masked weights"
            )


def check_finetuning(callbacks: Sequence[pl.Callback], module: nn.Module, methods: Sequence[Method]) -> None:
    """Refuse callbacks that let weights train later which a method would make sparse if they trained now.

    Raises:
        ValueError: there is such a weight.
    """
    finetuning = [callback for callback in callbacks if isinstance(callback, of_either(BaseFinetuning))]
    for method in methods if finetuning else ():
        if names := selected_later(module, method.include, method.exclude):
            listed = ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])])
            raise ValueError(
                f"{type(finetuning[0]).__name__} freezes {listed}, and "
                f"{type(method).__name__} chooses its weights at the start, among those that train then: include their "
                f"exact names, such as {names[0]!r}, to mask them from the start, or exclude them to leave them dense"
            )


def check_in_place(module: nn.Module, weights: Mapping[str, nn.Parameter], step: int) -> None:
    """Refuse to go on when a weight that is kept sparse is no longer the module's.

    Raises:
        RuntimeError: a parameter was removed or replaced.
    """
    for name, weight in weights.items():
        try:
            found: object = module.get_parameter(name)
        except AttributeError:
            found = None
        if found is not weight:
            raise RuntimeError(
                f"{name!r} is no longer the parameter of {type(module).__name__} that it was when the fit started: at "
                f"step {step} it is {'missing' if found is None else 'another one'}. Masks are drawn when a fit "
                "starts: change the module before, and let another fit train it"
            )


def index_of(trainer: pl.Trainer, optimizer: Optimizer, known: Sequence[OptimizerSteps]) -> int:
    """Return the place of an optimizer among those with which the fit started.

    Raises:
        RuntimeError: it was not there then.
    """
    for index, steps in enumerate(known):
        if steps.optimizer is optimizer:
            return index
    raise RuntimeError(
        f"{type(optimizer).__name__} is about to step at step {trainer.global_step}, but was not there when the fit "
        f"started with {[type(steps.optimizer).__name__ for steps in known]}, so that it is not known which of its "
        "weights are sparse: make all optimizers in configure_optimizers, or start another fit with the new ones"
    )


def check_equal_settings(trainer: pl.Trainer, settings: str) -> None:
    """Compare the owner's arguments over all ranks.

    Raises:
        ValueError: some rank was given others.
    """
    if trainer.world_size == 1:
        return
    everywhere: list[str] = [""] * trainer.world_size
    torch.distributed.all_gather_object(everywhere, settings)
    other = next((rank for rank, theirs in enumerate(everywhere) if theirs != everywhere[0]), None)
    if other is not None:
        raise ValueError(
            f"the ranks were given different arguments: rank 0 has {everywhere[0]}, rank {other} has "
            f"{everywhere[other]}. Give every rank the same callback, seed included"
        )


def check_equal_masks(trainer: pl.Trainer, masks: Masks) -> None:
    """Compare a hash of the masks over all ranks.

    Raises:
        RuntimeError: the masks of some rank differ.
    """
    if trainer.world_size == 1:
        return
    digest = torch.tensor([masks.digest()], device=trainer.strategy.root_device)
    digests = trainer.strategy.all_gather(digest).flatten().tolist()
    if len(set(digests)) > 1:
        hashes = ", ".join(f"rank {rank}: {value:016x}" for rank, value in enumerate(digests))
        raise RuntimeError(
            f"the masks differ between ranks at step {trainer.global_step} ({hashes}): give every rank the same "
            "callback arguments, seed included, and let nothing else change weights or gradients on one rank"
        )


def check_returned(missing: str, name: str) -> None:
    """Refuse to start anew when the masks of the last fit did not come back to this process.

    Args:
        missing: why they did not, as a sentence; nothing if they did.
        name: of the callback.

    Raises:
        ValueError: they did not.
    """
    if missing:
        raise ValueError(
            f"{name} does not hold the masks of its last fit: {missing} Another fit would draw the trained weights "
            "anew. Go on from a checkpoint, with fit(ckpt_path=...), or from its masks, with a new "
            f"{name}(masks_from=..., initialization=KeepValues())"
        )

"""Ticket: a mask and the weights to train it from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..checkpoint import STATE_KEY, owner_state
from ..either_lightning import pl
from ..files.safe_files import read_checkpoint
from ..methods import SparseTraining
from ..owner import MaskOwner
from ..sparsity import KeepValues, Masks, Uniform
from .retraining import Beginning


@dataclass(frozen=True, eq=False)
class Ticket:
    """A sparse network before its training, as :class:`LotteryTicket` found it.

    Its file is at the same time what ``SparseTraining(masks_from=ticket.path)`` takes masks from.

    Args:
        level: times the network was pruned, 1 or more.
        retraining: name of the :class:`RetrainingMethod` that it was made for, e.g. ``"weights"``.
        masks: True = active.
        weights: the whole ``state_dict`` of the module, norm statistics included, exactly 0 outside the masks.
        path: its file; what was trained from it is in folders beside it.
        learning_rates: the constant rates it is trained at, by optimizer and parameter group; None follows the
            module's own schedule.
        resumes: its training starts at the step rewound to, not at step 0.

    Example:
        >>> ticket = Ticket.read("runs/lottery/level-1/weights/ticket.ckpt")  # doctest: +SKIP
        >>> ticket.apply(module)  # doctest: +SKIP
    """

    level: int
    retraining: str
    masks: Masks
    weights: Mapping[str, Tensor]
    path: Path
    learning_rates: tuple[tuple[float, ...], ...] | None = None
    resumes: bool = False

    @property
    def sparsity(self) -> float:
        """The fraction of zeros over all masks, in [0, 1]."""
        return self.masks.sparsity

    @property
    def trained(self) -> list[Path]:
        """The checkpoint at the end of each finished training run, in their order."""
        ends = self.path.parent.glob("run-*/end.ckpt")
        return sorted(ends, key=lambda end: int(end.parent.name.removeprefix("run-")))

    def apply(self, module: nn.Module) -> None:
        """Load the weights into a module.

        Raises:
            ValueError: a name or a shape differs.
        """
        check_same_network(module, self.weights, f"the ticket {str(self.path)!r}")
        module.load_state_dict(dict(self.weights))

    @classmethod
    def read(cls, path: str | Path) -> Ticket:
        """Read the ticket in a file; nothing in the file is executed.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged or not a ticket.
        """
        return cls.from_checkpoint(read_checkpoint(path), Path(path))

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], path: Path) -> Ticket:
        """Return the ticket that ``checkpoint``, the content of the file ``path``, describes.

        Raises:
            ValueError: it is not that of a ticket.
        """
        try:
            about = checkpoint["ticket"]
            rates = about["learning_rates"]
            return cls(
                level=about["level"],
                retraining=about["retraining"],
                masks=Masks.from_state_dict(checkpoint["callbacks"][STATE_KEY]["masks"]),
                weights=checkpoint["state_dict"],
                path=path,
                learning_rates=None if rates is None else tuple(map(tuple, rates)),
                resumes="optimizer_states" in checkpoint,
            )
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{str(path)!r} is not the file of a ticket: {error!r}") from error


def ticket_checkpoint(
    beginning: Beginning, level: int, retraining: str, module: nn.Module, stage: pl.Callback
) -> dict[str, Any]:
    """Return the content of a ticket's file: a checkpoint that training can start from, or go on from.

    Args:
        beginning: the state in which its training starts.
        level: times the network was pruned, 1 or more.
        retraining: name of the :class:`RetrainingMethod` that chose the beginning.
        module: the network as initialised.
        stage: a callback that says in the file which lottery the ticket is of.
    """
    resume = beginning.resume if beginning.resume.get("global_step") else {}  # training from step 0 starts afresh
    steps = resume["callbacks"][STATE_KEY]["steps"] if resume else []
    masks, weights = beginning.masks, dict(beginning.weights)
    for name in masks:
        weights[name] = weights[name].masked_fill(~masks[name], 0)
    first: dict[int, str] = {}  # a state_dict has all names of a tied weight, masks only the first
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if (origin := first.setdefault(id(parameter), name)) != name:
            weights[name] = weights[origin]
    return {
        **resume,
        "state_dict": weights,
        "callbacks": {
            STATE_KEY: owner_state(masks, steps),
            stage.state_key: stage.state_dict(),
        },
        "ticket": {"level": level, "retraining": retraining, "learning_rates": beginning.learning_rates},
    }


def check_same_network(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights of another network.

    Raises:
        ValueError: a name or a shape differs; the first ones are named.
    """
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    ours = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    differing = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    if differing:
        detail = "; ".join(
            f"{name!r}: {theirs.get(name, 'nothing')} there, {ours.get(name, 'nothing')} here" for name in differing[:4]
        )
        raise ValueError(
            f"{source} is of another network than this {type(module).__name__} ({detail}; {len(differing)} differ): "
            "build the module with the arguments of the run it comes from"
        )


class TicketOwner(MaskOwner):
    """Train a ticket whose weights have been loaded: its mask stays, and momentum outside the mask is cleared.

    Args:
        ticket: its ``learning_rates``, if it has any, hold for the whole fit, without the module's schedulers.

    Raises:
        ValueError: the ticket's learning rates are of another number of optimizers or parameter groups than the
            module's; and as :class:`MaskOwner`.

    Example:
        >>> pl.Trainer(callbacks=[TicketOwner(ticket)])  # doctest: +SKIP
    """

    shown_arguments = ("ticket",)

    def __init__(self, ticket: Ticket) -> None:
        # masks_from alone says which weights are active, so the sparsity of the selected ones is 0
        masks = ticket.masks
        super().__init__(
            SparseTraining(
                0.0, distribution=Uniform(), initialization=KeepValues(), include=list(masks), masks_from=masks
            )
        )
        self.ticket = ticket

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if self.ticket.learning_rates is not None:
            trainer.lr_scheduler_configs.clear()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for optimizer, weights in zip(trainer.optimizers, self.parts[0].held, strict=True):
            self.masks.apply_to_optimizer(optimizer, weights)  # it may hold the momentum of dense steps
        rates = self.ticket.learning_rates
        if rates is None:
            return
        groups = [optimizer.param_groups for optimizer in trainer.optimizers]
        if [len(rate) for rate in rates] != [len(group) for group in groups]:
            raise ValueError(
                f"the ticket {str(self.ticket.path)!r} has learning rates {rates} by optimizer and parameter group, "
                f"but {type(pl_module).__name__} has {[len(group) for group in groups]} groups"
            )
        for group, rate in zip(chain(*groups), chain(*rates), strict=True):
            group["lr"] = rate

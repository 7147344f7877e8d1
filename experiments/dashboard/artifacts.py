"""The artifacts that a run leaves in W&B, and those that it was made from: masks, checkpoints, tickets."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import wandb
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from callbacks import MaskOwner, RewindPoint, Ticket
from callbacks.files.safe_files import write_whole
from callbacks.lottery.stage import LotteryStage
from callbacks.observer import callbacks_of
from callbacks.owner_of import mask_owner

from ..run.tracking import WandbGuard

NAME_LENGTH = 128  # W&B's limit


def make_artifact(path: Path, kind: str, name: str = "") -> wandb.Artifact:
    """Return a file, or the folder of a sharded checkpoint, as an artifact.

    Without a ``name`` it is made from the path, so that all runs of a lottery mean the same artifact by the same file:
    W&B knows a version by its content.
    """
    name = name or re.sub(r"[^\w.-]+", "-", str(path)).strip("-")
    artifact = wandb.Artifact(name[-NAME_LENGTH:], kind)
    if path.is_dir():
        artifact.add_dir(str(path))
    else:
        artifact.add_file(str(path))
    return artifact


def link_artifact(run: wandb.Run, artifact: wandb.Artifact) -> None:
    """Note that ``run`` was made from an artifact, offline too, where ``run.use_artifact`` refuses."""
    # This is what run.use_artifact does with an artifact that is not yet on the server, without waiting for its upload.
    run._log_artifact(artifact, use_after_commit=True, is_user_created=True)


def log_masks(run: wandb.Run, trainer: pl.Trainer, owner: MaskOwner) -> None:
    """Send the masks of a fit, as a file for :func:`callbacks.read_masks`."""
    content: dict[str, object] = {}
    owner.on_save_checkpoint(trainer, trainer.lightning_module, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.ckpt"
        write_whole(content, path)
        artifact = make_artifact(path, "masks", f"masks-{run.id}")
        artifact.metadata = {"sparsity": owner.masks.sparsity, "step": trainer.global_step}
        run.log_artifact(artifact, aliases=["last"])


def log_checkpoints(run: wandb.Run, trainer: pl.Trainer) -> None:
    """Send the best and the last checkpoint of each ModelCheckpoint, rewind points, and the end of a lottery's fit."""
    for callback in callbacks_of(trainer):
        if isinstance(callback, RewindPoint):
            run.log_artifact(make_artifact(callback.path, "model"), aliases=[f"step-{callback.step}"])
        elif isinstance(callback, LotteryStage):
            run.log_artifact(make_artifact(callback.end, "model"), aliases=["last"])
        elif isinstance(callback, ModelCheckpoint):
            best, last = callback.best_model_path, callback.last_model_path
            files = {"best": best, "last": last if last or callback.monitor else best}
            for path in dict.fromkeys(file for file in files.values() if file and Path(file).exists()):
                aliases = [alias for alias, file in files.items() if file == path]
                # This is the name that Lightning's WandbLogger(log_model=True) gives.
                run.log_artifact(make_artifact(Path(path), "model", f"model-{run.id}"), aliases=aliases)


def use_ticket(run: wandb.Run, trainer: pl.Trainer) -> None:
    """Note the ticket that a fit trains, if it is one of a lottery."""
    ticket = getattr(mask_owner(trainer), "ticket", None)
    if isinstance(ticket, Ticket):
        link_artifact(run, make_artifact(ticket.path, "ticket"))


@rank_zero_only
def log_pruning(logger: WandbLogger, ticket: Ticket, sources: Sequence[Path]) -> None:
    """Make a run of the pruning between two fits of a lottery: it uses checkpoints and leaves the ticket."""

    def send() -> None:
        run = logger.experiment
        if run.disabled:
            return
        for path in sources:
            link_artifact(run, make_artifact(path, "model"))
        artifact = make_artifact(ticket.path, "ticket")
        artifact.metadata = {"level": ticket.level, "retraining": ticket.retraining, "sparsity": ticket.sparsity}
        run.log_artifact(artifact, aliases=["last"])
        run.config.update({"study": run.group or run.project, "method": run.job_type})
        logger.log_metrics({"sparsity/actual": ticket.sparsity}, step=0)

    WandbGuard().attempt(send)

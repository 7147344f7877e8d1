"""The module that trains and scores an image classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torchmetrics.classification import MulticlassAccuracy

from .either_lightning import LRSchedulerCallable, OptimizerCallable, OptimizerLRScheduler, pl
from .optimization import build_optimizer

Batch = tuple[Tensor, Tensor]


class SparseClassifier(pl.LightningModule):
    """An image classifier around any network, trained on cross-entropy; a callback makes it sparse.

    Batches are (image (B, C, H, W) float32, label (B,) int64). It logs ``train/loss``, ``val/loss``,
    ``val/acc``, ``test/loss`` and ``test/acc``; accuracies are fractions of all samples of all ranks.

    Args:
        network: maps images to logits (B, num_classes).
        num_classes: number of labels, 2 or more.
        optimizer: called with parameter groups; biases and norms (parameters of fewer than two dimensions) have no
            weight decay.
        scheduler: called with the optimizer and stepped after every optimizer step.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        channels_last: keep the weights of convolutions in this memory format, in which they are faster: by a quarter
            on CPUs, by more in half precision on GPUs.

    Raises:
        ValueError: ``num_classes`` is below 2 or ``label_smoothing`` outside [0, 1).

    Example:
        >>> from lightning_modules.networks import LeNet5
        >>> module = SparseClassifier(LeNet5(), num_classes=10)
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        optimizer: OptimizerCallable = lambda parameters: SGD(parameters, lr=0.05, momentum=0.9),
        scheduler: LRSchedulerCallable | None = None,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; a classifier needs 2 or more")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it lies in [0, 1)")
        if channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch omits it
        self.network = network
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.label_smoothing = label_smoothing
        self.val_acc = MulticlassAccuracy(num_classes, average="micro")
        self.test_acc = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        image, label = batch
        loss = F.cross_entropy(self(image), label, label_smoothing=self.label_smoothing)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val", self.val_acc)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test", self.test_acc)

    def _evaluate(self, batch: Batch, stage: str, accuracy: MulticlassAccuracy) -> None:
        image, label = batch
        logits = self(image)
        accuracy.update(logits, label)
        self.log(f"{stage}/loss", F.cross_entropy(logits, label), batch_size=len(label), sync_dist=True)
        self.log(f"{stage}/acc", accuracy, batch_size=len(label), prog_bar=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return class probabilities (B, num_classes)."""
        return self.forward(batch[0]).softmax(dim=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return build_optimizer(self, self.optimizer, self.scheduler)

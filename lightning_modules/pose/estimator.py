"""The module that trains and scores a pose network, and finds the joints in a photo."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from ..either_lightning import LRSchedulerCallable, OptimizerCallable, OptimizerLRScheduler, pl
from ..networks import KinematicUpdates
from ..optimization import build_optimizer
from .decoders import DARK, Decoder
from .heatmaps import heatmap_loss, mirror_heatmaps
from .metrics import PCK
from .photo import Box, crop, map_points
from .protocols import check_mirror

# standard deviations of the target heatmaps in cells, for networks of up to four levels, coarse to fine
SIGMAS = (0.75, 1.0, 1.5, 2.0)


class PoseBatch(TypedDict):
    """A batch of people, each cropped to a square.

    ``image`` (B, 3, H, W) float32 in [-1, 1]; ``joints`` (B, K, 2) float32, px of the crop; ``visible`` (B, K) bool,
    True where a joint is annotated and counts; ``size`` (B,) float32, px of the crop, the unit of errors;
    ``to_image`` (B, 2, 3) float32, the affine map from px of the crop to px of the photo; ``index`` (B,) int64.
    """

    image: Tensor
    joints: Tensor
    visible: Tensor
    size: Tensor
    to_image: Tensor
    index: Tensor


class PartBasedPoseEstimator(pl.LightningModule):
    """A pose estimator around any network that makes heatmaps of joints; a callback makes it sparse.

    Batches are :class:`PoseBatch` dictionaries. It logs ``train/loss``, ``val/loss``, ``test/loss`` and, under a name
    like ``val/pck@0.2``, the metric, a fraction over all joints, people and ranks; of a network with kinematic
    updates also ``alpha/<pass>/<joint>``.

    Args:
        network: maps images (B, 3, H, W) in [-1, 1] to a sequence of heatmaps (B, K, h, w), coarse to fine.
        mirror: for each joint the one on the other side of the body, or itself.
        input_size: side in px of the square that :meth:`predict` gives the network, as large as the training crops.
        metric: scores predictions; it is copied for validation and test.
        decoder: turns the finest heatmaps into joints.
        flip_test: average with the heatmaps of the mirrored image when evaluating.
        optimizer: called with parameter groups; biases, norms and alphas have no weight decay.
        scheduler: called with the optimizer and stepped after every optimizer step.

    Raises:
        ValueError: ``mirror`` is not its own inverse.

    Reference:
        Isack et al. 2020 (RePose), whose loss and training schedule are not public: the loss here is the mean squared
        error at every level, divided by that of predicting nothing, see :func:`heatmap_loss`.

    Example:
        >>> from lightning_modules.networks import Kinematics, RePose
        >>> network = RePose(Kinematics(3, [(0, 1), (0, 2)], root=0), **RePose.SMALL)
        >>> module = PartBasedPoseEstimator(network, mirror=[0, 2, 1], input_size=64)
        >>> joints, scores = module.predict(np.zeros((100, 60, 3), np.uint8))
        >>> joints.shape, scores.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(
        self,
        network: nn.Module,
        mirror: Sequence[int],
        *,
        input_size: int = 256,
        metric: PCK = PCK(0.2),
        decoder: Decoder = DARK(),
        flip_test: bool = True,
        optimizer: OptimizerCallable = lambda parameters: AdamW(parameters, lr=1e-3, weight_decay=1e-4),
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        check_mirror(mirror, len(mirror))
        # channels last is a third faster under bf16 on CPUs
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch omits it
        self.mirror = list(mirror)
        self.input_size = input_size
        self.decoder = decoder
        self.flip_test = flip_test
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.val_score, self.test_score = copy.deepcopy(metric), copy.deepcopy(metric)

    def forward(self, image: Tensor) -> Sequence[Tensor]:
        """Return heatmaps (B, K, h, w), coarse to fine."""
        levels: Sequence[Tensor] = self.network(image.to(memory_format=torch.channels_last))
        return levels

    def heatmaps(self, image: Tensor, finest: Tensor | None = None) -> Tensor:
        """Return the finest heatmaps (B, K, h, w); with ``flip_test`` their mean with those of the mirrored image.

        Args:
            image: (B, 3, H, W).
            finest: the finest heatmaps of the image, if they are already known.
        """
        finest = self.forward(image)[-1] if finest is None else finest
        if self.flip_test:
            finest = (finest + mirror_heatmaps(self.forward(image.flip(-1))[-1], self.mirror)) / 2
        return finest.float()

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        loss = self._loss(self.forward(batch["image"]), batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        self._log_alphas()
        return loss

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch, "val", self.val_score)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch, "test", self.test_score)

    def _evaluate(self, batch: PoseBatch, stage: str, score: PCK) -> Tensor:
        """Log loss and score, and return the joints, px of the crop."""
        image = batch["image"]
        levels = self.forward(image)
        joints, _ = self._decode(self.heatmaps(image, levels[-1]), image)
        score.update(joints, batch["joints"], batch["visible"], batch["size"])
        self.log(f"{stage}/loss", self._loss(levels, batch), batch_size=len(image), sync_dist=True)
        self.log(f"{stage}/{score.name}", score, batch_size=len(image), prog_bar=True)
        return joints

    def _loss(self, levels: Sequence[Tensor], batch: PoseBatch) -> Tensor:
        strides = [batch["image"].shape[-1] // level.shape[-1] for level in levels]
        sigmas = SIGMAS[-len(levels) :]
        return heatmap_loss(levels, batch["joints"], batch["visible"], strides=strides, sigmas=sigmas)

    def _decode(self, heatmaps: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder(heatmaps, image.shape[-1] // heatmaps.shape[-1])

    def _log_alphas(self) -> None:
        """Log the factors of a network with kinematic updates, every ``log_every_n_steps``."""
        if self._trainer is None:  # this is a copy that a monitor looks at
            return
        updates = getattr(self.network, "updates", None)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning does not declare it
        if isinstance(updates, KinematicUpdates) and every and self.trainer.global_step % every == 0:
            self.log_dict({f"alpha/{name}": alpha for name, alpha in updates.alphas().items()})

    def predict_step(self, batch: PoseBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``joints`` (B, K, 2) in px of the photos, ``scores`` (B, K) and ``index`` (B,)."""
        joints, scores = self._decode(self.heatmaps(batch["image"]), batch["image"])
        return {"joints": map_points(joints, batch["to_image"]), "scores": scores, "index": batch["index"]}

    @torch.no_grad()
    def predict(self, image: Tensor | NDArray[np.uint8], box: Box | None = None) -> tuple[Tensor, Tensor]:
        """Find the joints of one person in a photo.

        Args:
            image: uint8 (H, W, 3) in RGB or (H, W) in grey, of any size.
            box: left, top, right, bottom of the person in px; None looks at the whole photo.

        Returns:
            Joints (K, 2) in px of the photo, and the height of the peaks of their heatmaps (K,): about 1 for a joint
            that is certain.

        Raises:
            ValueError: the photo or the box cannot be used.
        """
        pixels, to_photo = crop(torch.as_tensor(np.ascontiguousarray(image)).to(self.device), box, self.input_size)
        modes = [(module, module.training) for module in self.modules()]
        try:
            self.eval()
            joints, scores = self._decode(self.heatmaps(pixels), pixels)
        finally:
            for module, training in modes:
                module.training = training
        return map_points(joints[0], to_photo), scores[0]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return build_optimizer(self, self.optimizer, self.scheduler)

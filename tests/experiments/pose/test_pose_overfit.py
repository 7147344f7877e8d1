"""Minutes, on real photos: make test-long."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import trainer
from torch.utils.data import DataLoader

from datamodules import LSP_SKELETON, LSPDataModule
from datamodules.pose.samples import PoseSamples
from lightning_modules import PartBasedPoseEstimator, WarmUpCosine
from lightning_modules.networks import Kinematics, RePose

DATA_ROOT = os.environ.get("DATA_ROOT")
STEPS = 400


@pytest.mark.long
@pytest.mark.skipif(DATA_ROOT is None, reason="DATA_ROOT does not name the folder of lsp_dataset")
@pytest.mark.filterwarnings("ignore:The .* does not have many workers")
def test_the_small_network_learns_32_photos_by_heart() -> None:
    torch.manual_seed(0)
    people = LSPDataModule(Path(str(DATA_ROOT)), extended=False, val_size=0).people("train").take(np.arange(32))
    [whole] = DataLoader(PoseSamples(people, 128), batch_size=32, collate_fn=lambda batch: batch)
    kinematics = Kinematics(14, LSP_SKELETON.edges, LSP_SKELETON.root)
    module = PartBasedPoseEstimator(
        RePose(kinematics, **RePose.SMALL),
        LSP_SKELETON.mirror,
        input_size=128,
        flip_test=False,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=2e-3),
        scheduler=lambda optimizer: WarmUpCosine(optimizer, STEPS, warm_up=40),
    )
    fitted = trainer([], max_steps=STEPS, precision="bf16-mixed")
    fitted.fit(module, DataLoader([whole] * 20, batch_size=None))
    [scores] = fitted.test(module, DataLoader([whole], batch_size=None), verbose=False)
    assert scores["test/pck@0.2"] >= 0.99

import os
import random
import warnings

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import numpy
import pytest
import torch

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def known_draws() -> None:
    """The random networks and batches of a test are the same in every run and on every worker."""
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def known_warnings() -> None:
    """Warnings that tests cannot avoid; all others are errors."""
    for message in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*smaller than the logging interval.*",
        ".*but have no `val_dataloader`.*",
        ".*across ranks is zero.*",
        ".*LightningCLI's args parameter.*",
        ".*is not supported by the model summary.*",
        ".*updates no masks in a run of.*",  # ours: the runs of tests are short
    ):
        warnings.filterwarnings("ignore", message=message)

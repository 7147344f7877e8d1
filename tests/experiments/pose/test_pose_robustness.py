"""Scores of the test people in moved boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pose_fits import estimator, figures
from pytorch_lightning import LightningDataModule, Trainer

from experiments.pose.robustness import COLUMNS, SCALES, SHIFTS, move_boxes, score_moved_boxes


class Fitted:
    """What a LightningCLI gives, without a command line."""

    def __init__(self, data: LightningDataModule, folder: Path) -> None:
        self.model, self.datamodule = estimator(), data
        self.trainer = Trainer(logger=False, default_root_dir=folder, enable_progress_bar=False)


def test_boxes_move_as_far_as_they_are_told() -> None:
    people = figures(test_size=50).people("test")
    other = move_boxes(people, 0.1, 1.25)
    away = np.linalg.norm(other.boxes[:, :2] - people.boxes[:, :2], axis=1) / people.boxes[:, 2]
    assert away == pytest.approx(0.1)
    assert other.boxes[:, 2] / people.boxes[:, 2] == pytest.approx(1.25)
    assert np.ptp(np.arctan2(*(other.boxes - people.boxes)[:, :2].T)) > 5, "in all directions"
    assert (move_boxes(people, 0.0, 1.0).boxes == people.boxes).all()


@pytest.mark.filterwarnings("ignore:The 'predict_dataloader' does not have many workers")
def test_every_box_is_scored(tmp_path: Path) -> None:
    rows = list(score_moved_boxes(Fitted(figures(), tmp_path), "lsp"))  # type: ignore[arg-type]
    boxes = [(row["shift"], row["scale"]) for row in rows]
    assert boxes[0] == (0.0, 1.0)
    assert len(set(boxes)) == len(rows) == 1 + len(SHIFTS) + len(SCALES)
    assert all(0 <= float(str(row["low"])) <= float(str(row["score"])) + 0.05 for row in rows)
    assert set(rows[0]) < set(COLUMNS)

"""MPII Human Pose, from the official .mat file or HRNet's JSON files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from ..either_lightning import rank_zero_info
from ..loading.arguments import check_at_least
from ..loading.counters import numpy_generator
from ..loading.hold_out import hold_out
from .datamodule import PoseDataModule
from .mpii_annotations import Annotation, read_mpii_json, read_mpii_mat, to_people
from .people import People
from .skeletons import MPII_SKELETON

OFFICIAL_COUNTS = {"train": 22_246, "val": 2_958}
"""The numbers of people in the split of Tompson et al., CVPR 2015: that of HRNet's train.json and valid.json."""

MAT_PATHS = ("mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_1.mat")


class MPIIDataModule(PoseDataModule):
    """MPII Human Pose: single people in their given crops, with the split of Tompson et al. where it is known.

    Batches are described in `PoseSamples`; `size` is the head: 0.6 times the diagonal of the head box, or
    25 times `scale`, which is the same. Testing and predicting use the validation people, since the labels of
    MPII's test images are not public.

    The folder holds `images/` and either HRNet's `annot/train.json` and `annot/valid.json`, which are preferred,
    or the official `mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat`. The .mat file does not tell which
    people are for validation: pass `val_images`, or hold some out by `val_size`. Counts are reported, and a
    warning says when they are not those of the split that published numbers refer to.

    Args:
        root: folder of the data set.
        val_images: with the .mat file, a list of validation images: a text file of one name a line, or
            JSON, either a list of names or HRNet's valid.json.
        val_size: with the .mat file and no list, number of images held out, chosen by `seed`.
        loading: see `PoseDataModule`.

    Raises:
        ValueError: an argument is out of range or cannot be used; or in `setup`, a file is damaged.
        FileNotFoundError: in `setup`, a file is missing.

    Reference:
        Andriluka et al., CVPR 2014.
    """

    skeleton = MPII_SKELETON

    def __init__(
        self, root: str | Path = "data/mpii", *, val_images: str | Path | None = None, val_size: int = 0, **loading: Any
    ) -> None:
        super().__init__(**loading)
        check_at_least(0, val_size=val_size)
        if val_images and val_size:
            raise ValueError(f"val_images is {val_images} and val_size is {val_size}; pass one of them.")
        self.root, self.val_size = Path(root), val_size
        self.val_images = Path(val_images) if val_images else None

    def read(self) -> dict[str, People]:
        """Return the people of "train" and, unless there are none, of "val" and "test", which are the same."""
        parts = self._read_annotations()
        counts = {name: len(part) for name, part in parts.items()}
        rank_zero_info(f"{self.root}: {counts} people")
        if counts != OFFICIAL_COUNTS:
            warnings.warn(
                f"{self.root} has {counts} people; the split of Tompson et al., to which published numbers refer, "
                f"has {OFFICIAL_COUNTS}",
                stacklevel=2,
            )
        splits = {name: to_people(part, self.root / "images") for name, part in parts.items() if part}
        if "train" not in splits:
            raise ValueError(f"{self.root} leaves nobody to train on: {counts} people; hold fewer out")
        return splits | ({"test": splits["val"]} if "val" in splits else {})

    def _read_annotations(self) -> dict[str, list[Annotation]]:
        files = {"train": self.root / "annot" / "train.json", "val": self.root / "annot" / "valid.json"}
        if any(path.exists() for path in files.values()):
            if self.val_images or self.val_size:
                raise ValueError(f"{files['val']} tells who is for validation; leave out val_images and val_size")
            return {name: read_mpii_json(path) for name, path in files.items()}
        mats = [path for mat in MAT_PATHS if (path := self.root / mat).exists()]
        if not mats:
            raise FileNotFoundError(
                f"{self.root} has neither {files['train']} nor {self.root / MAT_PATHS[0]}; put one there"
            )
        people = read_mpii_mat(mats[0])
        held_out = self._choose_held_out({person.image for person in people})
        return {
            "train": [person for person in people if person.image not in held_out],
            "val": [person for person in people if person.image in held_out],
        }

    def _choose_held_out(self, images: set[str]) -> set[str]:
        if self.val_images:
            names = _read_image_names(self.val_images)
            if not names & images:
                raise ValueError(f"{self.val_images} names none of the {len(images)} annotated images in {self.root}")
            return names
        order = numpy_generator(self.seed).permutation(len(images))
        rows = hold_out(self.val_size, order, f"{self.root} has {len(images)} images")
        ordered = sorted(images)
        return {ordered[row] for row in rows.get("val", ())}


def _read_image_names(path: Path) -> set[str]:
    if not path.is_file():
        raise FileNotFoundError(f"val_images is {path}, which is missing")
    if path.suffix != ".json":
        return set(path.read_text(encoding="utf-8").split())
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(entry["image"] if isinstance(entry, dict) else entry) for entry in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"val_images {path} is no list of image names or of HRNet's records: {error!r}") from error

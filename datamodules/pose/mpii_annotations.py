"""The annotations of MPII Human Pose: the official .mat file, and the JSON files of HRNet."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.matlab import FIRST_PIXEL, read_mat
from ..files.photos import Photos
from .crop import Bools, Floats, mpii_box
from .people import People
from .skeletons import MPII_SKELETON

JOINTS = len(MPII_SKELETON.joints)
HEAD_PER_SCALE = 25
"""The size of a head in units of `scale`; exact for all 2,958 people of the validation split."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotation of one person: positions and the size of the head in px, 0-based; `scale` = height / 200 px."""

    image: str
    name: str
    joints: Floats
    visible: Bools
    centre: Floats
    scale: float
    head: float


def read_mpii_mat(path: Path) -> list[Annotation]:
    """Return the people of the training images (`img_train` = 1) who have joints, scale, position and head box.

    Others are left out, with one warning that counts them. Whether a joint is occluded (`is_visible`) is not
    read: an occluded joint counts like others, and a joint that is not labelled is absent.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, is not MPII's, or a joint's number or position is wrong.
    """
    release = read_mat(path, "RELEASE", struct_as_record=False, squeeze_me=True)
    try:
        images = zip(_items(release.annolist), _items(release.img_train), strict=True)
        pairs = [(image, rect) for image, train in images if train == 1 for rect in _people(image)]
        parsed = [_parse_struct(path, image.image.name, number, rect) for image, (number, rect) in pairs]
    except AttributeError as error:
        raise ValueError(f"RELEASE in {path} is not laid out like MPII's: {error}; take the official file") from error
    return _complete_ones(path, parsed)


def read_mpii_json(path: Path) -> list[Annotation]:
    """Return the people of one of HRNet's files, such as train.json and valid.json, which are 1-based too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or not laid out like HRNet's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; put the annotation file there")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no JSON: {error}; take HRNet's own file") from error
    if not isinstance(records, list):
        raise ValueError(f"{path} holds no list of people; take HRNet's own file")
    return _complete_ones(path, [_parse_record(path, number, record) for number, record in enumerate(records)])


def to_people(annotations: Sequence[Annotation], images: Path) -> People:
    """Return annotated people with their images and crops.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: an image is empty, or a value no length or position.
    """
    return People(
        MPII_SKELETON,
        Photos([images / a.image for a in annotations]),
        [a.name for a in annotations],
        np.array([a.joints for a in annotations]).reshape(-1, JOINTS, 2),
        np.array([a.visible for a in annotations]).reshape(-1, JOINTS),
        np.array([a.head for a in annotations]),
        np.array([mpii_box(a.centre, a.scale) for a in annotations]).reshape(-1, 3),
    )


def _parse_struct(path: Path, image: str, number: int, rect: Any) -> Annotation | str:
    """Return the annotation of a person, or what it lacks."""
    name = f"{path}: {image}, person {number}"
    points = _items(getattr(getattr(rect, "annopoints", None), "point", None))
    scale, position = _numbers(rect, "scale"), _numbers(getattr(rect, "objpos", None), "x", "y")
    box = _numbers(rect, "x1", "y1", "x2", "y2")
    parts: dict[str, Sized] = {"joints": points, "scale": scale, "position": position, "head box": box}
    for part, value in parts.items():
        if not len(value):
            return part
    joints, visible = np.zeros((JOINTS, 2)), np.zeros(JOINTS, bool)
    for point in points:
        values = _numbers(point, "id", "x", "y")
        k = int(values[0]) if len(values) else -1
        if not 0 <= k < JOINTS or visible[k]:
            raise ValueError(f"{name} has a joint without position, or with a number that is not its own (id {k})")
        joints[k], visible[k] = values[1:] - FIRST_PIXEL, True
    head = 0.6 * float(np.hypot(box[2] - box[0], box[3] - box[1]))
    return Annotation(str(image), name, joints, visible, position - FIRST_PIXEL, float(scale[0]), head)


def _parse_record(path: Path, number: int, record: Any) -> Annotation | str:
    """Return the annotation of a person, or what it lacks."""
    name = f"{path}: record {number}"
    try:
        joints, flags = np.array(record["joints"], np.float64), np.array(record["joints_vis"], np.float64)
        centre, scale, image = np.array(record["center"], np.float64), float(record["scale"]), record["image"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not laid out like HRNet's: {error!r}; take HRNet's own file") from error
    if joints.shape != (JOINTS, 2) or flags.shape != (JOINTS,) or centre.shape != (2,) or not isinstance(image, str):
        raise ValueError(f"{name} has {joints.shape} joints with {flags.shape} flags, not {JOINTS} of each")
    if not flags.any():
        return "joints"
    if not scale > 0:
        return "scale"
    if (centre == -1).all():
        return "position"
    name = f"{name}, {image}"
    return Annotation(image, name, joints - FIRST_PIXEL, flags > 0, centre - FIRST_PIXEL, scale, HEAD_PER_SCALE * scale)


def _complete_ones(path: Path, parsed: Sequence[Annotation | str]) -> list[Annotation]:
    """Return the annotations that lack nothing; warn of the others."""
    complete = [one for one in parsed if isinstance(one, Annotation)]
    lacking = Counter(one for one in parsed if isinstance(one, str))
    if lacking:
        counts = ", ".join(f"{count} without {part}" for part, count in sorted(lacking.items()))
        warnings.warn(f"{path}: left out {lacking.total()} of {len(parsed)} people ({counts})", stacklevel=3)
    return complete


def _people(image: Any) -> list[tuple[int, Any]]:
    return list(enumerate(_items(getattr(image, "annorect", None)), start=1))


def _items(value: Any) -> list[Any]:
    """Return the structs of what squeeze_me leaves of a struct array: an array, one struct, or an empty array."""
    return [] if value is None else list(np.atleast_1d(np.asarray(value, object)).flat)


def _numbers(struct: Any, *fields: str) -> Floats:
    """Return the numbers in some fields of a struct; none if one of them is absent or empty."""
    values = [np.asarray(getattr(struct, field, ())).ravel() for field in fields]
    if any(value.size != 1 for value in values):
        return np.empty(0)
    return np.concatenate(values).astype(np.float64)

"""Files of predicted poses and of the truth: our own .npz, and the .mat files of known code bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callbacks.files.safe_files import whole_file
from datamodules.files.matlab import read_mat
from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol, head_size, torso_size
from lightning_modules.pose.scores import normalized_errors

from ..run.command import one_line

KEYS = ("pred", "target", "visible", "size")
LSP_IMAGES, LSP_TRAINING = 2000, 1000


@dataclass(frozen=True)
class Predictions:
    """The predicted and the true poses of N people.

    Args:
        pred: (N, K, 2) px, float64.
        target: (N, K, 2) px, float64; 0-based or 1-based, as ``pred``.
        visible: (N, K) bool, True where a joint is annotated.
        size: (N,) px, float64.
    """

    pred: Tensor
    target: Tensor
    visible: Tensor
    size: Tensor


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write an .npz that :func:`read_predictions` reads, whole or not at all."""
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, **{key: getattr(predictions, key).numpy() for key in KEYS})


def read_predictions(path: Path, protocol: PoseProtocol, ground_truth: Path | None = None) -> Predictions:
    """Read an .npz with pred, target, visible and size, or a .mat file and its ground truth.

    Args:
        path: an .npz; or a .mat with ``preds`` (N, 16, 2) for MPII or ``pred`` (2, 14, 1000) for LSP.
        protocol: LSP or MPII.
        ground_truth: for a .mat only: a file like Tompson's detections_our_format.mat for MPII, or LSP's joints.mat.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is not what its name says, lacks a key, or holds other shapes or numbers; the message names
            file and key.
    """
    if path.suffix == ".npz" and ground_truth is None:
        predictions, source = _read_npz(path), f"'{path}'"
    elif path.suffix == ".mat" and ground_truth is not None:
        read = {LSP: _read_lsp, MPII: _read_mpii}[protocol]
        predictions, source = read(path, ground_truth), f"'{path}' with '{ground_truth}'"
    else:
        raise ValueError(
            f"'{path}' with ground truth '{ground_truth}'; an .npz brings its own, a .mat needs --ground-truth"
        )
    try:
        normalized_errors(predictions.pred, predictions.target, predictions.visible, predictions.size)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if predictions.pred.shape[1] != len(protocol.joints):
        joints = f"{predictions.pred.shape[1]} joints a person, {protocol.name} has {len(protocol.joints)}"
        raise ValueError(f"{source}: pred holds {joints}; choose another --protocol or file")
    if not predictions.visible[:, protocol.scored].any():
        raise ValueError(f"{source}: visible has no joint that {protocol.name} scores; there is nothing to evaluate")
    return predictions


def _read_npz(path: Path) -> Predictions:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: file[key] for key in KEYS if key in file}
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy and zipfile raise whatever damaged bytes run into
        raise ValueError(f"'{path}' cannot be read as .npz: {one_line(error)}; write it with numpy.savez") from error
    shapes = {"pred": (None, None, 2), "target": (None, None, 2), "visible": (None, None), "size": (None,)}
    pred, target, visible, size = (_array(path, arrays, key, shapes[key]) for key in KEYS)
    return Predictions(_float(pred), _float(target), _flags(path, "visible", visible), _float(size))


def _read_mpii(path: Path, ground_truth: Path) -> Predictions:
    pred = _array(path, read_mat(path), "preds", (None, 16, 2))
    people, truth = len(pred), read_mat(ground_truth)
    target = _array(ground_truth, truth, "pos_gt_src", (16, 2, people))
    missing = _array(ground_truth, truth, "jnt_missing", (16, people))
    box = _array(ground_truth, truth, "headboxes_src", (2, 2, people))
    visible = ~_flags(ground_truth, "jnt_missing", missing.T)
    return Predictions(
        _float(pred), _float(target.transpose(2, 0, 1)), visible, head_size(_float(box).permute(2, 0, 1))
    )


def _read_lsp(path: Path, ground_truth: Path) -> Predictions:
    pred = _array(path, read_mat(path), "pred", (2, 14, LSP_IMAGES - LSP_TRAINING))
    joints = _array(ground_truth, read_mat(ground_truth), "joints", (3, 14, LSP_IMAGES))
    target = _float(joints[:2, :, LSP_TRAINING:].transpose(2, 1, 0))
    visible = torch.ones(target.shape[:2], dtype=torch.bool)  # the third row means occluded, and occluded joints count
    return Predictions(_float(pred.transpose(2, 1, 0)), target, visible, torso_size(target))


def _array(path: Path, arrays: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> Any:
    if key not in arrays:
        names = ", ".join(sorted(name for name in arrays if not name.startswith("__"))) or "none of its keys"
        raise ValueError(f"'{path}' has no {key}; it has {names}")
    array = arrays[key]
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{key} in '{path}' is {array.dtype}; it holds numbers")
    if len(array.shape) != len(shape) or any(
        want not in (None, got) for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{key} in '{path}' has shape {array.shape}; it has shape ({wanted})")
    return array


def _float(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _flags(path: Path, key: str, array: Any) -> Tensor:
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{key} in '{path}' holds {np.setdiff1d(array, (0, 1))[:3]}; it holds 0 and 1")
    return torch.from_numpy(np.array(array, dtype=np.bool_))

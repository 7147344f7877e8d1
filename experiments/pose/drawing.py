"""Drawings of poses: skeletons on images, heatmaps of every joint and level, alphas over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from datamodules.pose.skeletons import Skeleton

Image = NDArray[np.uint8]
Array = NDArray[np.floating]

LEFT, RIGHT, MIDDLE = (255, 140, 0), (0, 150, 255), (60, 220, 90)  # RGB; sides are the person's own
TRUTH = (255, 255, 255)


def pixels(image: Tensor) -> Image:
    """Return as RGB (H, W, 3) what a network is given."""
    return ((image.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def draw_pose(image: Image, joints: Array, skeleton: Skeleton, shown: NDArray[np.bool_] | None = None) -> Image:
    """Return a copy of the image with a skeleton on it, the person's left in orange, right in blue, middle in green.

    Args:
        image: RGB (H, W, 3).
        joints: (K, 2) px.
        skeleton: says which joints are connected.
        shown: (K,), which joints to draw; a limb is drawn if both its joints are. None draws all joints.
    """
    shown = np.ones(len(joints), bool) if shown is None else shown
    scale = max(image.shape[:2])
    thickness = max(1, round(scale / 90))
    drawn = np.ascontiguousarray(image).copy()
    for a, b in skeleton.edges:
        if shown[a] and shown[b]:
            cv2.line(drawn, _pixel(joints[a]), _pixel(joints[b]), _colour(skeleton, b), thickness, cv2.LINE_AA, 4)
    for k in np.flatnonzero(shown):
        cv2.circle(drawn, _pixel(joints[k]), thickness * 24, _colour(skeleton, int(k)), -1, cv2.LINE_AA, 4)
    return drawn


def mark_joints(image: Image, joints: Array, shown: NDArray[np.bool_]) -> Image:
    """Return a copy of the image with white rings at the true joints."""
    drawn = np.ascontiguousarray(image).copy()
    radius = max(2, round(max(image.shape[:2]) / 50))
    for k in np.flatnonzero(shown):
        cv2.circle(drawn, _pixel(joints[k]), radius * 16, TRUTH, 1, cv2.LINE_AA, 4)
    return drawn


def heatmap_sheet(image: Image, levels: Sequence[Array], skeleton: Skeleton) -> Image:
    """Draw every heatmap over the image, in a row for each level and a column for each joint.

    Args:
        image: RGB (H, W, 3).
        levels: heatmaps (K, h, w), coarse to fine.
        skeleton: names the joints.
    """
    side = 112
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    palette = colormaps["inferno"]
    tiles = []
    for heatmap in (heatmap for level in levels for heatmap in level):
        height = cv2.resize(np.clip(heatmap, 0, 1).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        heat = 255 * np.asarray(palette(np.clip(height, 0, 1)), np.float32)[..., :3]
        tiles.append((0.35 * small + 0.65 * heat).clip(0, 255).astype(np.uint8))
    return sheet(tiles, columns=len(levels[0]), titles=[joint.replace("_", " ") for joint in skeleton.joints])


def sheet(images: Sequence[Image], *, columns: int, titles: Sequence[str] = (), gap: int = 4) -> Image:
    """Lay images of one size on a dark page, row by row, with titles above the first row.

    Raises:
        ValueError: there are no images, or they differ in size.
    """
    if not images or any(image.shape != images[0].shape for image in images):
        raise ValueError(f"a sheet takes images of one size, not {sorted({image.shape for image in images})}")
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows, head = -(-len(images) // columns), 18 if titles else 0
    page = np.full((head + rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 24, np.uint8)
    for index, image in enumerate(images):
        top, left = head + gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        page[top : top + height, left : left + width] = image
    for index, title in enumerate(titles[:columns]):
        cv2.putText(
            page, title, (gap + index * (width + gap), 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230,) * 3, 1, cv2.LINE_AA
        )
    return page


def plot_alphas(curves: Mapping[str, Mapping[int, float]], joints: Sequence[str]) -> Image:
    """Plot the alphas of each joint over optimizer steps, in a panel for each pass.

    Args:
        curves: ``<pass>/<joint number>`` -> step -> alpha.
        joints: names of the joints.
    """
    passes = sorted({name.split("/")[0] for name in curves})
    figure = Figure(figsize=(5.5 * len(passes), 4), dpi=120, layout="constrained")
    palette = colormaps["tab20"]
    for panel, pass_ in enumerate(passes):
        axes = figure.add_subplot(1, len(passes), panel + 1)
        for k, joint in enumerate(joints):
            curve = curves.get(f"{pass_}/{k}", {})
            axes.plot(list(curve), list(curve.values()), label=joint.replace("_", " "), color=palette(k), linewidth=1.2)
        axes.set_title(pass_.replace("_", " "))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("alpha")
        axes.axhline(0, color="black", linewidth=0.5)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="x-small")
    encoded = BytesIO()
    figure.savefig(encoded, format="png")
    return np.asarray(cv2.imdecode(np.frombuffer(encoded.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def save(image: Image, path: Path) -> None:
    """Write an RGB image.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path} cannot be written")


def _pixel(point: Array) -> tuple[int, int]:
    """Return a point in sixteenths of a pixel, as OpenCV takes it with shift 4."""
    x, y = np.clip(np.nan_to_num(point), -1e4, 1e4)
    return round(float(x) * 16), round(float(y) * 16)


def _colour(skeleton: Skeleton, joint: int) -> tuple[int, int, int]:
    name = skeleton.joints[joint]
    return LEFT if name.startswith("left") else RIGHT if name.startswith("right") else MIDDLE

"""The pictures that PosePictures left, made small enough for a report."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from .runs import Run

WIDTH = 960  # px
MOST = 6  # pictures


def pose_pictures(runs: Iterable[Run]) -> list[dict[str, str]]:
    """Return the pictures of the best and the worst people of each run's last validation, at most MOST in all."""
    pictures: list[dict[str, str]] = []
    for run in runs:
        for kind in ("best", "worst"):
            files = sorted((run.folder / "pictures").glob(f"step*_{kind}.png"))
            small = _small(files[-1]) if files and len(pictures) < MOST else None
            if small is not None:
                step = int(files[-1].name.removeprefix("step").split("_")[0])
                pictures.append({"text": f"{run.name}, step {step}: {kind}", "data": base64.b64encode(small).decode()})
    return pictures


def _small(path: Path) -> bytes | None:
    """Return a picture as a JPEG of at most WIDTH px; None if it cannot be read."""
    import cv2  # here, as reports without poses need it not

    picture = cv2.imread(str(path))
    if picture is None:
        return None
    scale = min(1.0, WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return coded.tobytes()

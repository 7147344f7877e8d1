"""The pictures that PosePictures left, made small enough for a report."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import cv2

from .runs import Run

WIDTH = 960  # px
MOST = 6  # pictures


def pose_pictures(runs: Iterable[Run]) -> list[dict[str, str]]:
    """Return the pictures of the best and the worst people of each run's last validation, at most MOST in all."""
    pictures: list[dict[str, str]] = []
    for run in runs:
        for kind in ("best", "worst"):
            files = sorted((run.folder / "pictures").glob(f"step*_{kind}.png"))
            picture = cv2.imread(str(files[-1])) if files else None
            if picture is not None and len(pictures) < MOST:
                scale = min(1.0, WIDTH / picture.shape[1])
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])
                step = int(files[-1].name.removeprefix("step").split("_")[0])
                text = f"{run.name}, step {step}: {kind}"
                pictures.append({"text": text, "data": base64.b64encode(coded.tobytes()).decode()})
    return pictures

"""Find the joints of the person in a photo: a picture and a JSON file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from callbacks.files.safe_files import write_whole_text
from datamodules.files.photos import read_photo

from .drawing import draw_pose, save
from .trained import add_run_arguments, load_estimator


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``predict``."""
    parser = commands.add_parser("predict", help=__doc__, description=__doc__)
    parser.add_argument("photo", type=Path, help="any image file, turned as its EXIF orientation says")
    add_run_arguments(parser)
    parser.add_argument(
        "--box",
        type=float,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="the person's box in px; default: the whole photo",
    )
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the results, default the current one")
    parser.add_argument("--least-score", type=float, default=0.1, help="joints below it are not drawn, default 0.1")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Write ``<photo>_pose.png`` and ``<photo>_pose.json``."""
    photo = read_photo(chosen.photo)
    cli = load_estimator(chosen)
    skeleton = cli.datamodule.skeleton
    joints, scores = (tensor.cpu().numpy().astype(np.float64) for tensor in cli.model.predict(photo, chosen.box))
    picture = chosen.output / f"{chosen.photo.stem}_pose.png"
    save(draw_pose(photo, joints, skeleton, scores >= chosen.least_score), picture)
    pose = {
        "photo": chosen.photo.name,
        "width": photo.shape[1],
        "height": photo.shape[0],
        "box": chosen.box,
        "joints": {
            name: {"x": round(float(x), 2), "y": round(float(y), 2), "score": round(float(score), 4)}
            for name, (x, y), score in zip(skeleton.joints, joints, scores, strict=True)
        },
    }
    numbers = picture.with_suffix(".json")
    write_whole_text(json.dumps(pose, indent=2) + "\n", numbers)
    Console().print(f"{picture}\n{numbers}", soft_wrap=True)

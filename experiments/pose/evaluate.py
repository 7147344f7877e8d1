"""The scores of predicted poses by every convention in use, side by side."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol, torso_size
from lightning_modules.pose.scores import (
    area_under_curve,
    bootstrap_interval,
    correct_joints,
    correct_parts,
    mirrored_joints,
    normalized_errors,
    per_joint,
    plain_mean,
    weighted_mean,
)

from .predictions import Predictions, read_predictions

PROTOCOLS = {"lsp": LSP, "mpii": MPII}
PRINTED_BY = {
    "pckh@0.5_weighted_le": "; the official script and HRNet",
    "pckh@0.5_weighted_lt": "; mmpose",
    "pckh@0.5_plain_lt": "; pytorch-pose",
    "pckh@0.11_weighted_le": "; printed as @0.1 by HRNet and SimpleBaseline",
    "pck@0.2_weighted_le": "; published LSP tables",
}


@dataclass(frozen=True)
class Score:
    """A score and the convention that it follows.

    Args:
        percent: the score in [0, 100]; None if there was nothing to take a share of.
        convention: what is averaged, how errors compare with the threshold, and who prints this score.
    """

    percent: float | None
    convention: str


@dataclass(frozen=True)
class Evaluation:
    """The scores of a file of predictions.

    Args:
        protocol: name of the protocol.
        people: number of people.
        annotated: number of joints that count.
        scores: scores by key; the first one is the main score.
        interval_95: bootstrap interval of the main score over people, in percent.
        columns: scores of the columns of result tables at the main threshold by <=, in percent.
        joints: scores of all joints at the main threshold by <=, in percent; None where nobody has it annotated.
        notes: what is suspicious about the file.
    """

    protocol: str
    people: int
    annotated: int
    scores: dict[str, Score]
    interval_95: tuple[float, float]
    columns: dict[str, float | None]
    joints: dict[str, float | None]
    notes: list[str]


def evaluate(predictions: Predictions, protocol: PoseProtocol, *, seed: int = 0) -> Evaluation:
    """Score predictions by every convention in use; ``seed`` is the seed of the bootstrap."""
    errors = normalized_errors(predictions.pred, predictions.target, predictions.visible, predictions.size)
    fractions = 100 * per_joint(correct_joints(errors, protocol.threshold), predictions.visible)
    scored = list(protocol.scored)
    counted = predictions.visible[:, scored]
    low, high = bootstrap_interval(correct_joints(errors[:, scored], protocol.threshold), counted, seed=seed)
    scores = _joint_scores(errors, predictions, protocol)
    scores |= _part_scores(predictions, protocol) | _mirror_scores(predictions, protocol)
    return Evaluation(
        protocol=protocol.name,
        people=len(errors),
        annotated=int(counted.sum()),
        scores=scores,
        interval_95=(100 * low, 100 * high),
        columns={name: _number(fractions[list(joints)].mean()) for name, joints in protocol.columns.items()},
        joints=dict(zip(protocol.joints, map(_number, fractions), strict=True)),
        notes=_notes(predictions, protocol),
    )


def _joint_scores(errors: torch.Tensor, predictions: Predictions, protocol: PoseProtocol) -> dict[str, Score]:
    scored = list(protocol.scored)
    errors, counted = errors[:, scored], predictions.visible[:, scored]
    limit = protocol.auc_limit
    rows = [
        (protocol.threshold, "weighted_le", weighted_mean, "weighted, <="),
        (protocol.threshold, "weighted_lt", weighted_mean, "weighted, <"),
        (protocol.threshold, "plain_lt", plain_mean, "plain mean of joints, <"),
        *((threshold, "weighted_le", weighted_mean, "weighted, <=") for threshold in protocol.finer),
    ]
    scores = {}
    for threshold, kind, mean, convention in rows:
        key = f"{protocol.measure}@{threshold:g}_{kind}"
        correct = correct_joints(errors, threshold, strict=kind.endswith("_lt"))
        scores[key] = Score(100 * mean(correct, counted), convention + PRINTED_BY.get(key, ""))
    area = 100 * area_under_curve(errors, counted, limit)
    return scores | {f"auc@{limit:g}": Score(area, f"weighted, <=, trapezoids over 0, 0.01, ..., {limit:g}")}


def _part_scores(predictions: Predictions, protocol: PoseProtocol) -> dict[str, Score]:
    scores = {}
    for name, ends in ("strict", "each end"), ("loose", "mean of both ends"):
        poses = (predictions.pred, predictions.target, predictions.visible)
        correct, counted = correct_parts(*poses, protocol.parts, strict=name == "strict")
        percent = 100 * weighted_mean(correct, counted) if counted.any() else None
        scores[f"pcp_{name}"] = Score(percent, f"weighted; {ends} <= half the part; head, limbs, no torso")
    return scores


def _mirror_scores(predictions: Predictions, protocol: PoseProtocol) -> dict[str, Score]:
    scored, threshold = list(protocol.scored), protocol.threshold
    poses = (predictions.pred, predictions.target, predictions.visible, predictions.size)
    mirrored = mirrored_joints(*poses, protocol.mirror, threshold)[:, scored]
    counted, correct = predictions.visible[:, scored], correct_joints(normalized_errors(*poses), threshold)[:, scored]
    wrong = counted & ~correct
    share = 100 * weighted_mean(mirrored, wrong) if wrong.any() else None
    either = 100 * weighted_mean(correct | mirrored, counted)
    return {
        f"mirrored_share@{threshold:g}": Score(share, "of the wrong joints, those right for the other side"),
        f"either_side@{threshold:g}": Score(either, "weighted, <=, where either side is right"),
    }


def _notes(predictions: Predictions, protocol: PoseProtocol) -> list[str]:
    if protocol is not LSP:
        return []
    ends = [protocol.joints.index(name) for name in ("left_shoulder", "right_hip")]
    torso = torso_size(predictions.target)
    other = predictions.visible[:, ends].all(1) & ~torch.isclose(predictions.size, torso, rtol=0.01, atol=0.1)
    if not other.any():
        return []
    person = int(other.nonzero()[0])
    return [
        f"size is not the torso from left shoulder to right hip for {int(other.sum())} of {len(other)} people (person "
        f"{person}: {predictions.size[person]:.1f}, torso {torso[person]:.1f} px): these are not LSP's scores"
    ]


def _number(value: torch.Tensor) -> float | None:
    return None if math.isnan(value) else float(value)


def tables(result: Evaluation) -> list[Table]:
    """Return two tables in percent: the columns of result tables, and all scores."""
    columns = Table(title=f"{result.protocol}: {result.people:,} people, {result.annotated:,} annotated joints")
    for name in result.columns:
        columns.add_column(name, justify="right")
    columns.add_row(*(_shown(value, 2) for value in result.columns.values()))
    scores = Table(caption="weighted: by how often each joint is annotated; 95 %: bootstrap over people")
    scores.add_column("score", no_wrap=True)
    scores.add_column("%", justify="right")
    scores.add_column("95 %", justify="right")
    scores.add_column("convention")
    low, high = result.interval_95
    for index, (name, score) in enumerate(result.scores.items()):
        interval = f"{low:.1f} .. {high:.1f}" if index == 0 else ""
        scores.add_row(name, _shown(score.percent, 3), interval, score.convention)
    return [columns, scores]


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``evaluate``."""
    parser = commands.add_parser("evaluate", help="score a file of predicted poses", description=__doc__)
    parser.add_argument("predictions", type=Path, help=".npz with pred, target, visible, size; or .mat")
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True, help="which joints count, and for which size")
    parser.add_argument("--ground-truth", type=Path, help="for .mat: detections_our_format.mat, or LSP's joints.mat")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(chosen: argparse.Namespace) -> None:
    protocol = PROTOCOLS[chosen.protocol]
    predictions = read_predictions(chosen.predictions, protocol, chosen.ground_truth)
    result = evaluate(predictions, protocol, seed=chosen.seed)
    if chosen.json:
        print(json.dumps(asdict(result), indent=2, allow_nan=False))
        return
    console = Console()
    for table in tables(result):
        console.print(table)
    for note in result.notes:
        console.print(f"NOTE: {note}", style="bold red", highlight=False)

"""python -m experiments pose evaluate on made-up files: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from poses import random_poses

from experiments.pose.command import main
from lightning_modules.pose.protocols import LSP, MPII, PoseProtocol, torso_size
from lightning_modules.pose.scores import correct_joints, normalized_errors, weighted_mean

PROTOCOLS = {"lsp": LSP, "mpii": MPII}
KEYS = ("pred", "target", "visible", "size")


def arrays(protocol: PoseProtocol = LSP, people: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    return {key: tensor.numpy() for key, tensor in zip(KEYS, random_poses(protocol, people, seed), strict=True)}


def evaluate(capsys: pytest.CaptureFixture[str], path: Path, protocol: str, *more: str) -> dict[str, Any]:
    main(["evaluate", str(path), "--protocol", protocol, "--json", *more])
    return json.loads(capsys.readouterr().out)


def percents(result: dict[str, Any]) -> dict[str, float | None]:
    return {key: score["percent"] for key, score in result["scores"].items()}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_json_has_stable_keys_and_the_scores_of_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = PROTOCOLS[name]
    np.savez(tmp_path / "preds.npz", **arrays(protocol))
    result = evaluate(capsys, tmp_path / "preds.npz", name)
    assert list(result) == ["protocol", "people", "annotated", "scores", "interval_95", "columns", "joints", "notes"]
    main_scores = {
        "lsp": ["pck@0.2_weighted_le", "pck@0.2_weighted_lt", "pck@0.2_plain_lt", "pck@0.1_weighted_le", "auc@0.2"],
        "mpii": [
            *("pckh@0.5_weighted_le", "pckh@0.5_weighted_lt", "pckh@0.5_plain_lt"),
            *("pckh@0.1_weighted_le", "pckh@0.11_weighted_le", "auc@0.5"),
        ],
    }[name]
    threshold = f"{protocol.threshold:g}"
    others = ["pcp_strict", "pcp_loose", f"mirrored_share@{threshold}", f"either_side@{threshold}"]
    assert list(result["scores"]) == main_scores + others
    assert result["protocol"] == protocol.name
    assert result["people"] == 20
    poses = random_poses(protocol, 20)
    errors, visible = normalized_errors(*poses)[:, protocol.scored], poses[2][:, protocol.scored]
    score = 100 * weighted_mean(correct_joints(errors, protocol.threshold), visible)
    assert percents(result)[main_scores[0]] == pytest.approx(score)
    assert result["annotated"] == visible.sum()
    assert result["interval_95"][0] < score < result["interval_95"][1]
    assert list(result["joints"]) == list(protocol.joints)
    assert list(result["columns"]) == list(protocol.columns)


def test_le_and_lt_differ_on_errors_at_the_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = np.zeros((2, 16, 2))
    pred = target.copy()
    pred[0, 0] = (3, 4)  # 0.5 heads
    np.savez(tmp_path / "a.npz", pred=pred, target=target, visible=np.ones((2, 16)), size=np.full(2, 10))
    found = percents(evaluate(capsys, tmp_path / "a.npz", "mpii"))
    assert found["pckh@0.5_weighted_le"] == 100
    assert found["pckh@0.5_weighted_lt"] == found["pckh@0.5_plain_lt"] == pytest.approx(100 * 27 / 28)
    assert found["mirrored_share@0.5"] is None  # no error to take a share of


def test_weighted_and_plain_means_differ_where_joints_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, visible = np.zeros((2, 16, 2)), np.ones((2, 16), dtype=bool)
    pred = target.copy()
    pred[:, 6:8] = 1000  # pelvis and thorax count nowhere
    pred[0, 5], visible[1, 5] = 1000, False
    visible[:, 10] = False
    np.savez(tmp_path / "a.npz", pred=pred, target=target, visible=visible, size=np.ones(2))
    result = evaluate(capsys, tmp_path / "a.npz", "mpii")
    assert percents(result)["pckh@0.5_weighted_le"] == pytest.approx(100 * 24 / 25)
    assert percents(result)["pckh@0.5_plain_lt"] == pytest.approx(100 * 12 / 13)
    assert result["joints"]["right_wrist"] is None
    assert result["joints"]["pelvis"] == 0
    assert result["columns"]["Wri"] is None
    assert result["columns"]["Ank"] == 50
    main(["evaluate", str(tmp_path / "a.npz"), "--protocol", "mpii"])
    assert "│   - │" in capsys.readouterr().out


def test_the_table_says_every_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    np.savez(tmp_path / "preds.npz", **arrays(MPII))
    result = evaluate(capsys, tmp_path / "preds.npz", "mpii")
    main(["evaluate", str(tmp_path / "preds.npz"), "--protocol", "mpii"])
    lines = capsys.readouterr().out.splitlines()
    for key, score in result["scores"].items():
        [line] = [line for line in lines if f" {key} " in line]
        assert f" {score['percent']:.3f} " in line
        assert score["convention"] in line
    low, high = result["interval_95"]
    assert f"{low:.1f} .. {high:.1f}" in "\n".join(lines)


def test_a_size_that_is_not_the_torso_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, target, _, _ = random_poses(LSP, 20)
    target = target.nan_to_num(1.0, 2.0)
    right = {
        "pred": pred,
        "target": target,
        "visible": torch.ones(20, 14, dtype=torch.bool),
        "size": torso_size(target),
    }
    np.savez(tmp_path / "right.npz", **right)
    assert evaluate(capsys, tmp_path / "right.npz", "lsp")["notes"] == []
    other = torch.linalg.vector_norm(target[:, 8] - target[:, 3], dim=1)
    np.savez(tmp_path / "other.npz", **right | {"size": other})
    [note] = evaluate(capsys, tmp_path / "other.npz", "lsp")["notes"]
    assert note.startswith("size is not the torso from left shoulder to right hip for 20 of 20 people (person 0: ")
    main(["evaluate", str(tmp_path / "other.npz"), "--protocol", "lsp"])
    assert "NOTE: size is not the torso" in capsys.readouterr().out
    one_shoulder = {"visible": torch.arange(14)[None] != torch.full((20, 1), 9), "size": other}
    np.savez(tmp_path / "unknown.npz", **right | one_shoulder)  # without a shoulder nobody knows the torso
    assert evaluate(capsys, tmp_path / "unknown.npz", "lsp")["notes"] == []


def lsp_files(folder: Path, **changes: Any) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    joints = generator.uniform(1, 100, (3, 14, 2000))
    joints[2] = generator.integers(0, 2, (14, 2000))
    pred = joints[:2, :, 1000:] + generator.normal(0, 10, (2, 14, 1000))
    scipy.io.savemat(folder / "pred.mat", {"pred": changes.get("pred", pred)}, do_compression=True)
    scipy.io.savemat(folder / "joints.mat", {"joints": changes.get("joints", joints)}, do_compression=True)
    return folder / "pred.mat", folder / "joints.mat"


def mpii_files(folder: Path, people: int = 6, **changes: Any) -> tuple[Path, Path]:
    pred, target, visible, _ = (tensor.numpy() for tensor in random_poses(MPII, people))
    fields = {
        "pos_gt_src": target.transpose(1, 2, 0),
        "jnt_missing": (~visible).T.astype(np.uint8),
        "headboxes_src": np.array([[1.0, 1.0], [31.0, 41.0]])[..., None].repeat(people, 2),
    }
    scipy.io.savemat(
        folder / "preds.mat", {"preds": changes.pop("preds", pred).astype(np.float32)}, do_compression=True
    )
    truth = {key: value for key, value in (fields | changes).items() if value is not None}
    scipy.io.savemat(folder / "gt.mat", truth, do_compression=True)
    return folder / "preds.mat", folder / "gt.mat"


def test_mat_files_of_mpii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preds, truth = mpii_files(tmp_path)
    found = percents(evaluate(capsys, preds, "mpii", "--ground-truth", str(truth)))
    same = arrays(MPII, 6)
    np.savez(tmp_path / "a.npz", **same | {"pred": same["pred"].astype(np.float32), "size": np.full(6, 30.0)})
    assert found == percents(evaluate(capsys, tmp_path / "a.npz", "mpii"))
    assert 0 < found["pckh@0.5_weighted_le"] < 100


def test_mat_files_of_lsp_test_images_with_occluded_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, truth = lsp_files(tmp_path)
    result = evaluate(capsys, pred, "lsp", "--ground-truth", str(truth))
    joints = scipy.io.loadmat(truth)["joints"][:2, :, 1000:].transpose(2, 1, 0)
    size = np.hypot(*(joints[:, 9] - joints[:, 2]).T)
    error = np.linalg.norm(scipy.io.loadmat(pred)["pred"].transpose(2, 1, 0) - joints, axis=2) / size[:, None]
    assert percents(result)["pck@0.2_weighted_le"] == pytest.approx(100 * (error <= 0.2).mean())
    assert result["annotated"] == 14_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": None}, "a.npz' has no size; it has pred, target, visible"),
        (
            {"pred": np.zeros((20, 14, 3))},
            "pred in '.*a.npz' has shape \\(20, 14, 3\\); it has shape \\(any, any, 2\\)",
        ),
        ({"target": np.zeros((19, 14, 2))}, "a.npz': target is \\(19, 14, 2\\); for pred of \\(20, 14, 2\\)"),
        ({"visible": np.ones(20, bool)}, "visible in '.*a.npz' has shape \\(20,\\)"),
        ({"visible": np.full((20, 14), 2)}, "visible in '.*a.npz' holds \\[2\\]; it holds 0 and 1"),
        ({"visible": np.full((20, 14), np.nan)}, "visible in '.*a.npz' holds \\[nan"),
        ({"size": np.zeros(20)}, "a.npz': size\\[0\\] is 0.0"),
        ({"size": np.ones(20) * 1j}, "size in '.*a.npz' is complex128"),
        ({"pred": np.full((20, 14, 2), np.nan)}, "a.npz': pred\\[0, 0\\] is \\[nan, nan\\]"),
        ({"pred": np.full((20, 14, 2), "1")}, "pred in '.*a.npz' is <U1; it holds numbers"),
        ({"pred": np.full((20, 14, 2), None)}, "a.npz' cannot be read as .npz: Object arrays cannot be loaded"),
        ({"visible": np.zeros((20, 14), bool)}, "a.npz': visible has no joint that LSP scores"),
        (arrays(MPII), "a.npz': pred holds 16 joints a person, LSP has 14"),
    ],
)
def test_bad_npz_files_are_named_with_the_key(change: dict, message: str, tmp_path: Path) -> None:
    content = {key: value for key, value in (arrays() | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match=message):
        main(["evaluate", str(tmp_path / "a.npz"), "--protocol", "lsp"])


def test_only_pelvis_and_thorax_is_nothing_to_evaluate(tmp_path: Path) -> None:
    visible = np.zeros((20, 16), bool)
    visible[:, 6:8] = True
    content = arrays(MPII) | {"visible": visible, "target": np.zeros((20, 16, 2))}
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match="no joint that MPII scores"):
        main(["evaluate", str(tmp_path / "a.npz"), "--protocol", "mpii"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jnt_missing": None}, "gt.mat' has no jnt_missing; it has headboxes_src, pos_gt_src"),
        ({"pos_gt_src": np.zeros((16, 2, 5))}, "pos_gt_src in '.*gt.mat' has shape \\(16, 2, 5\\); .* \\(16, 2, 6\\)"),
        ({"headboxes_src": np.zeros((2, 2, 6))}, "preds.mat' with '.*gt.mat': size\\[0\\] is 0.0"),
        ({"preds": np.zeros((6, 14, 2))}, "preds in '.*preds.mat' has shape \\(6, 14, 2\\); .* \\(any, 16, 2\\)"),
    ],
)
def test_bad_mpii_files_are_named_with_the_key(change: dict, message: str, tmp_path: Path) -> None:
    preds, truth = mpii_files(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        main(["evaluate", str(preds), "--protocol", "mpii", "--ground-truth", str(truth)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": np.zeros((2, 14, 2000))}, "pred in '.*pred.mat' has shape \\(2, 14, 2000\\); .* \\(2, 14, 1000\\)"),
        ({"joints": np.zeros((14, 3, 10000))}, "joints in '.*joints.mat' has shape \\(14, 3, 10000\\)"),
    ],
)
def test_bad_lsp_files_are_named_with_the_key(change: dict, message: str, tmp_path: Path) -> None:
    pred, truth = lsp_files(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        main(["evaluate", str(pred), "--protocol", "lsp", "--ground-truth", str(truth)])
    with pytest.raises(ValueError, match="pred.mat' has no preds; it has pred"):
        main(["evaluate", str(pred), "--protocol", "mpii", "--ground-truth", str(truth)])


def test_files_that_are_no_such_files(tmp_path: Path) -> None:
    for name, more in ("a.npz", []), ("a.mat", ["--ground-truth", "b.mat"]):
        with pytest.raises(FileNotFoundError, match=name):
            main(["evaluate", str(tmp_path / name), "--protocol", "lsp", *more])
    for content in b"", b"no archive", b"PK\3\4 cut", b"\x93NUMPY":
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(ValueError, match="a.npz' cannot be read as .npz"):
            main(["evaluate", str(tmp_path / "a.npz"), "--protocol", "lsp"])
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz' cannot be read as .npz"):
        main(["evaluate", str(tmp_path / "a.npz"), "--protocol", "lsp"])
    for content in b"", b"no MATLAB", b"\x89HDF\r\n" * 40:
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.raises(ValueError, match="a.mat' cannot be read as .mat"):
            main(["evaluate", str(tmp_path / "a.mat"), "--protocol", "lsp", "--ground-truth", str(tmp_path / "a.mat")])


@pytest.mark.parametrize("arguments", [["a.mat"], ["a.npz", "--ground-truth", "gt.mat"], ["a.csv"]])
def test_ground_truth_belongs_to_mat_files_alone(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="an .npz brings its own, a .mat needs --ground-truth"):
        main(["evaluate", *arguments, "--protocol", "lsp"])


@pytest.mark.parametrize("arguments", [[], ["evaluate"], ["evaluate", "a.npz", "--protocol", "coco"], ["unknown"]])
def test_unknown_commands_and_protocols(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: python -m experiments pose" in capsys.readouterr().err

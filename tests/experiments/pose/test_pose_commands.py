"""From a fit to a picture of a photo and to the scores of a test set, as a user does it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import write_lsp

from experiments.cli import main as experiments
from experiments.pose.command import main
from experiments.run.rows import read_rows

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "experiments/configs/lsp/repose_small.yaml"


pytestmark = pytest.mark.xdist_group("pose-commands")  # the runs that the tests share are made once


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of two steps."""
    folder = tmp_path_factory.mktemp("run")
    write_lsp(folder / "data")
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Lightning that a test's own fixture ignores
        patched.chdir(folder)
        experiments(
            [
                "fit",
                f"--config={CONFIG}",
                "--trainer.max_steps=2",
                "--trainer.precision=32-true",
                "--data.init_args.extended=false",
                "--data.init_args.val_size=2",
                "--data.init_args.batch_size=2",
                "--data.init_args.input_size=64",
                "--data.init_args.num_workers=0",
                "--model.init_args.input_size=64",
                "--model.init_args.scheduler.total_steps=4",
                f"--data.init_args.root={folder / 'data'}",
            ]
        )
    [checkpoint] = folder.glob("runs/*/version_0/checkpoints/last.ckpt")
    return checkpoint


def photo(folder: Path) -> Path:
    path = folder / "someone.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8))
    return path


def test_predict_writes_a_picture_and_numbers(fitted: Path, tmp_path: Path) -> None:
    main(["predict", str(photo(tmp_path)), "--checkpoint", str(fitted), "--output", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "someone_pose.json").read_text())
    assert (found["width"], found["height"]) == (60, 90)
    assert list(found["joints"])[-2:] == ["neck", "head_top"]
    assert len(found["joints"]) == 14
    assert all(0 <= joint["y"] <= 90 for joint in found["joints"].values())
    assert cv2.imread(str(tmp_path / "out" / "someone_pose.png")).shape == (90, 60, 3)


def test_predict_looks_where_the_box_is(fitted: Path, tmp_path: Path) -> None:
    arguments = ["predict", str(photo(tmp_path)), "--checkpoint", str(fitted), "--output", str(tmp_path)]
    main([*arguments, "--box", "10", "10", "30", "30"])
    found = json.loads((tmp_path / "someone_pose.json").read_text())["joints"].values()
    assert all(7 <= joint["x"] <= 33 and 7 <= joint["y"] <= 33 for joint in found)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the test run gets a folder of its own
def test_scores_are_those_of_the_test_set(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["score", "--checkpoint", str(fitted), "--output", str(tmp_path / "preds.npz")])
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "preds.npz"), "--protocol", "lsp", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["people"] == 6
    tested = experiments(
        ["test", f"--config={fitted.parents[1] / 'config.yaml'}", f"--ckpt_path={fitted}", "--trainer.logger=false"]
    )
    score = tested.trainer.callback_metrics["test/pck@0.2"]
    assert printed["scores"]["pck@0.2_weighted_le"]["percent"] == pytest.approx(100 * float(score), abs=0.01)


def test_what_is_missing_is_named(fitted: Path, tmp_path: Path) -> None:
    image = str(photo(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt"):
        main(["predict", image, "--checkpoint", "nowhere.ckpt"])
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(fitted.read_bytes())
    with pytest.raises(FileNotFoundError, match="no config.yaml near .*--config"):
        main(["predict", image, "--checkpoint", str(alone)])
    with pytest.raises(ValueError, match="does not fit the model of"):
        main(["predict", image, "--checkpoint", str(fitted), "--config", str(CONFIG.with_name("repose_base.yaml"))])
    for damaged in (b"", b"no checkpoint", fitted.read_bytes()[:-1000]):
        alone.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"alone\.ckpt' cannot be read as a checkpoint: it is damaged"):
            main(["predict", image, "--checkpoint", str(alone), "--config", str(CONFIG)])
    torch.save({"weights": {}}, alone)
    with pytest.raises(ValueError, match=r"alone\.ckpt' is not a checkpoint: it has no 'state_dict'"):
        main(["predict", image, "--checkpoint", str(alone), "--config", str(CONFIG)])
    with pytest.raises(FileNotFoundError, match="none.jpg"):
        main(["predict", str(tmp_path / "none.jpg"), "--checkpoint", str(fitted)])


def test_reproduce_keeps_a_row_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lsp(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    small = ["data.init_args.extended=false", "data.init_args.val_size=2", "data.init_args.batch_size=2"]
    small += ["data.init_args.input_size=64", "model.init_args.input_size=64", "data.init_args.num_workers=0"]
    small += [f"data.init_args.root={tmp_path / 'data'}", "trainer.precision=32-true", "trainer.logger=false"]
    command = [
        "reproduce",
        str(CONFIG.with_name("repose_small_rigl_80.yaml")),
        "--results",
        "rows.csv",
        "--set",
        *small,
    ]
    main([*command, "trainer.max_steps=8"])
    [row] = read_rows(tmp_path / "rows.csv")
    assert (row["config"], row["data"], row["seed"], row["steps"]) == ("repose_small_rigl_80", "LSP", "0", "8")
    assert (row["train_people"], row["test_people"], row["sparsity"]) == ("4", "6", "0.800")
    assert float(row["low"]) <= float(row["score"]) <= float(row["high"])
    assert 0.2 < float(row["active_gmac"]) / float(row["gmac"]) < 0.7, "ERK keeps more of the costly layers"
    assert (tmp_path / "runs/pose/lsp/repose_small_rigl_80/0/preds.npz").is_file()
    alphas = read_rows(tmp_path / "rows_alphas.csv")
    assert [(one["config"], one["seed"], one["step"]) for one in alphas] == [
        ("repose_small_rigl_80", "0", "4"),
        ("repose_small_rigl_80", "0", "8"),
    ]
    assert len(alphas[0]) == 3 + 28
    capsys.readouterr()
    main([*command, "trainer.max_steps=8"])
    assert "already in rows.csv" in capsys.readouterr().out
    assert len(read_rows(tmp_path / "rows.csv")) == 1

from __future__ import annotations

from pathlib import Path

from run_folders import write_run

from experiments.report.runs import find_runs, read_run
from experiments.report.study import find_studies

ROOT = Path(__file__).parents[3]


def test_a_run_of_an_older_version_has_its_metrics_alone(tmp_path: Path) -> None:
    [run] = find_runs(write_run(tmp_path / "lenet" / "version_0").parent)
    assert (run.name, run.method, run.seed, run.notes) == ("lenet", "", None, [])
    assert run.sparsity is None


def test_a_run_that_has_just_begun_has_a_record_alone(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a" / "version_0", seed=3, status="running")
    (folder / "metrics.csv").unlink()
    [run] = find_runs(tmp_path)
    assert run.seed == 3
    assert "no metrics.csv yet" in run.notes[0]


def test_a_damaged_record_or_configuration_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a" / "version_0", config="a: [")
    (folder / "run.json").write_text("{")
    run = read_run(folder)
    assert run.curves["loss"].last == 2.0
    assert "run.json" in run.notes[0]
    assert "config.yaml" in run.notes[1]


def test_runs_that_go_on_are_one(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "version_0", "step,loss\n1,5\n2,4\n3,3\n4,9\n", first_step=0)
    write_run(tmp_path / "a" / "version_1", "step,loss\n3,3\n4,2\n", first_step=3, continues="../version_0/run.json")
    write_run(tmp_path / "a" / "version_2", "step,loss\n4,1\n", first_step=4, continues="../version_1/run.json")
    [run] = find_runs(tmp_path)
    assert run.folder.name == "version_2"
    assert list(run.curves["loss"].values) == [5, 4, 3, 1]  # what was lost with a kill is not shown


def test_a_run_that_was_only_tested_again_loses_nothing_and_one_set_aside_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "version_0", "step,loss\n1,5\n2,4\n", first_step=0, steps=2)
    tested = {"first_step": 2, "steps": 2, "continues": "../version_0/run.json"}
    write_run(tmp_path / "a" / "version_0_part_2", "step,test/acc\n2,0.5\n", **tested)
    write_run(tmp_path / "a" / "aside_1_version_0")
    [run] = find_runs(tmp_path)
    assert list(run.curves["loss"].values) == [5, 4]
    assert run.curves["test/acc"].last == 0.5


def test_runs_that_say_they_continue_each_other_do_not_hang(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "version_0", first_step=0, continues="../version_1/run.json")
    write_run(tmp_path / "a" / "version_1", first_step=0, continues="../version_0/run.json")
    write_run(tmp_path / "b" / "version_0", first_step=0, continues="run.json")
    write_run(tmp_path / "c" / "version_0", first_step=0, continues="../gone/run.json")
    assert {run.name for run in find_runs(tmp_path)} >= {"b", "c"}


CONFIG = """
seed_everything: 3
trainer:
  max_steps: 10
  logger:
  - class_path: pytorch_lightning.loggers.CSVLogger
    init_args: {save_dir: here}
  callbacks:
  - class_path: callbacks.TrainingFlops
  - class_path: callbacks.RigL
    init_args:
      sparsity: 0.9
      distribution: {class_path: callbacks.sparsity.ERK}
      seed: 3
data: {class_path: datamodules.MNISTDataModule, init_args: {root: data, batch_size: 8}}
"""


def test_settings_are_flat_and_without_seeds_paths_and_loggers(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a" / "version_0", config=CONFIG))
    assert run.config == {
        "trainer.max_steps": "10",
        "trainer.callbacks.0": "TrainingFlops",
        "trainer.callbacks.1": "RigL",
        "trainer.callbacks.1.sparsity": "0.9",
        "trainer.callbacks.1.distribution": "ERK",
        "data": "MNISTDataModule",
        "data.batch_size": "8",
    }


def test_a_study_is_read_from_its_tables() -> None:
    runs, notes = find_studies(ROOT / "experiments" / "results" / "lenet5")
    assert notes == []
    assert len({run.name for run in runs}) == 23
    dense = next(run for run in runs if run.name == "dense" and run.seed == 0)
    assert dense.scores == {"test/acc": 0.9913}
    assert dense.study == "MNIST/lenet5"
    assert dense.curves["grad_flow/probe"].steps[0] == 0


def test_other_tables_are_no_study(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    assert find_studies(tmp_path) == ([], [])

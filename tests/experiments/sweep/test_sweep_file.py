"""Sweep files: what they say becomes the arguments that W&B's agent would give."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from experiments.sweep.sweep_file import Sweep, command_arguments, read_sweep

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))
COMMAND = ["${env}", "${interpreter}", "-m", "experiments", "fit", "${args}"]


def write(folder: Path, parameters: dict[str, Any], more: dict[str, Any]) -> Path:
    parameters = {"config": {"value": "a.yaml"}, **parameters}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"command": COMMAND, "method": "grid", "parameters": parameters} | more))
    return path


def sweep_of(folder: Path, parameters: dict[str, Any], **more: Any) -> Sweep:
    return read_sweep(write(folder, parameters, more))


def test_a_grid_is_every_combination_in_order(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"x": {"values": [1, 2]}, "z": {"value": 3}, "trainer.y": {"values": ["a", None]}})
    found = [command_arguments(combination) for combination in sweep.combinations()]
    assert found == [
        ["--config=a.yaml", f"--trainer.y={y}", f"--x={x}", "--z=3"] for y in ("a", None) for x in (1, 2)
    ]  # safe_dump sorts
    assert [sweep.name(c) for c in sweep.combinations()] == ["y=a,x=1", "y=a,x=2", "y=None,x=1", "y=None,x=2"]
    assert len(sweep.combinations(runs=3)) == 3
    assert len(sweep_of(tmp_path, {"x": {"values": [1, 2]}}, run_cap=1).combinations()) == 1


RANDOM = {
    "a": {"values": ["u", "v"], "probabilities": [1.0, 0.0]},
    "b": {"min": 1, "max": 3},
    "c": {"min": 0.5, "max": 1.0},
    "d": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
    "e": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
    "f": {"values": [True, False]},
}


def test_random_values_are_in_their_ranges_and_the_first_stay_the_same(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, RANDOM, method="random", run_cap=4)
    found = sweep.combinations(runs=300)
    assert found[:4] == sweep.combinations()
    assert found[:4] != sweep.combinations(seed=1)
    assert {c["a"] for c in found} == {"u"}
    assert {c["b"] for c in found} == {1, 2, 3}
    assert all(0.5 <= c["c"] <= 1 for c in found)
    assert 120 < sum(c["d"] < 0.01 for c in found) < 180, "half of its decades"
    assert {c["e"] for c in found} == {0, 0.25, 0.5, 0.75, 1}
    assert {c["f"] for c in found} == {True, False}
    assert len({sweep.name(c) for c in found}) == 300


def test_random_runs_are_not_repeated(tmp_path: Path) -> None:
    found = sweep_of(tmp_path, {"b": {"min": 1, "max": 3}}, method="random", run_cap=9).combinations()
    assert sorted(c["b"] for c in found) == [1, 2, 3]


def test_random_runs_need_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml: random runs have no end: give run_cap"):
        sweep_of(tmp_path, RANDOM, method="random").combinations()


@given(st.lists(st.text(min_size=1) | st.floats() | st.booleans() | st.integers(), min_size=2, unique_by=str))
def test_names_are_safe_and_differ_also_where_case_does_not_count(tmp_path_factory: Any, values: list[Any]) -> None:
    parameter = {"values": values, "distribution": "categorical"}
    sweep = Sweep(Path("a.yaml"), "grid", None, {"trainer.x": parameter}, None)
    names = [sweep.name(combination) for combination in sweep.combinations()]
    assert all(re.fullmatch(r"[A-Za-z0-9_.,=+-]{1,210}", name) for name in names)
    assert max(Counter(name.casefold() for name in names).values()) == 1


def test_names_say_where_short_ones_would_not_do() -> None:
    constant = {"value": 1, "distribution": "constant"}
    values = {"values": ["c/a/x.yaml", "c/b/x.yaml", "c/b/y.yaml"], "distribution": "categorical"}
    two = {"values": [1, 2], "distribution": "categorical"}
    sweep = Sweep(Path("a.yaml"), "grid", None, {"k": constant, "config": values, "p.every": two, "q.every": two}, None)
    names = [sweep.name(combination) for combination in sweep.combinations()]
    assert len(set(names)) == 12
    assert names[-1] == "y,p.every=2,q.every=2"
    assert re.fullmatch(r"x-[0-9a-f]{8},p\.every=1,q\.every=1", names[0])
    many = {f"a{n:02d}{'x' * 30}": two for n in range(20)}
    assert len(Sweep(Path("a.yaml"), "grid", None, many, None).name(dict.fromkeys(many, 1))) <= 210


@pytest.mark.parametrize(
    ("parameters", "more", "message"),
    [
        ({}, {"method": "bayes"}, r"mine\.yaml: method is 'bayes', which needs W&B: choose grid or random, or use"),
        ({}, {"early_terminate": {"type": "hyperband"}}, "early_terminate cannot be honoured without W&B"),
        ({}, {"command": ["python", "train.py", "${args}"]}, "command is .*it must end in"),
        ({}, {"command": "python -m experiments fit ${args}"}, "command is .*it must end in"),
        ({}, {"run_cap": 0}, "run_cap is 0; it is a number of runs, 1 or more"),
        ({}, {"parameters": {"x": {"value": 1}}}, "parameters must hold config"),
        ({}, {"parameters": None}, "parameters must hold config"),
        ({"x": 3}, {}, r"parameters.x is 3: write \{value"),
        ({"x": {"parameters": {"y": {"value": 1}}}}, {}, "parameters.x is .*cannot be honoured here: use one of"),
        ({"x": {"distribution": "beta", "a": 1}}, {}, "parameters.x is .*cannot be honoured here: use one of"),
        ({"x": {"distribution": ["a"], "value": 1}}, {}, "parameters.x is .*cannot be honoured here: use one of"),
        ({"x": {"values": []}}, {}, r"parameters.x: values is \[\]; it is a list of one or more"),
        ({"x": {"values": "abc"}}, {}, "parameters.x: values is 'abc'; it is a list"),
        ({"x": {"values": [1, "1"]}}, {}, "parameters.x: values is .* that all differ"),
        ({"x": {"values": [1, 2], "probabilities": [1]}}, {}, "a number for each value, of sum 1"),
        ({"x": {"values": [1, 2], "probabilities": [0.5, 0.2]}}, {}, "a number for each value, of sum 1"),
        ({"x": {"min": "1e-3", "max": 1.0}}, {}, r"min is '1e-3' and max 1.0; they are numbers in this order \(1.0e-3"),
        ({"x": {"min": 2, "max": 1}}, {}, "min is 2 and max 1; they are numbers in this order"),
        ({"x": {"min": 0, "max": float("nan")}}, {}, "they are numbers in this order"),
        ({"x": {"distribution": "int_uniform", "min": 0.5, "max": 2}}, {}, "of int_uniform they are whole numbers"),
        ({"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}, {}, "of log_uniform_values it is above 0"),
        ({"x": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}}, {}, "q is 0; it is a step above 0"),
    ],
)
def test_what_cannot_be_honoured_is_named_with_file_key_and_way_out(
    parameters: dict[str, Any], more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_sweep(write(tmp_path, parameters, more))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_over_a_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parameters.x is uniform, which a grid cannot go through: list its values"):
        sweep_of(tmp_path, {"x": {"min": 0.0, "max": 1.0}}).combinations()


@pytest.mark.parametrize("text", ["", "a", "[1]", "{", "method: grid", "\x00"])
def test_what_is_no_sweep_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml (is no sweep|cannot be read)"):
        read_sweep(tmp_path / "a.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no sweep '.*b\.yaml'"):
        read_sweep(tmp_path / "b.yaml")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_files_of_the_project_give_the_arguments_of_the_agent(path: Path) -> None:
    sweep = read_sweep(path)
    assert list(sweep.parameters) == sorted(sweep.parameters), "whoever sorts them, config comes first"
    combinations = sweep.combinations()
    names = {sweep.name(combination) for combination in combinations}
    said = re.search(r"(\d+) runs", path.read_text())
    assert said
    assert len(names) == len(combinations) == int(said[1])
    for combination in combinations:
        args = {name: {"value": value} for name, value in combination.items()}
        assert command_arguments(combination) == create_sweep_command_args({"args": args})["args"]

"""Sweeps as W&B describes them, read without W&B: a YAML file becomes the arguments of its runs."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..run.yaml_files import read_yaml

NEEDED = ("command", "method", "parameters")
KNOWN = (*NEEDED, "program", "metric", "run_cap", "name", "description", "project", "entity")
COMMAND = ("-m", "experiments", "fit", "${args}")
LONGEST = 200  # characters; file systems allow 255
Parameter = Mapping[str, Any]
Combination = Mapping[str, Any]

# Distributions with the keys that they need, and a function that draws a value.
DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[random.Random, Parameter], Any]]] = {
    "constant": (("value",), lambda _, of: of["value"]),
    "categorical": (("values",), lambda rng, of: rng.choice(of["values"])),
    "categorical_w_probabilities": (
        ("values", "probabilities"),
        lambda rng, of: rng.choices(of["values"], of["probabilities"])[0],
    ),
    "int_uniform": (("min", "max"), lambda rng, of: rng.randint(of["min"], of["max"])),
    "uniform": (("min", "max"), lambda rng, of: _rounded(rng.uniform(of["min"], of["max"]))),
    "q_uniform": (
        ("min", "max", "q"),
        lambda rng, of: _rounded(round(rng.uniform(of["min"], of["max"]) / of["q"]) * of["q"]),
    ),
    "log_uniform_values": (
        ("min", "max"),
        lambda rng, of: _rounded(math.exp(rng.uniform(math.log(of["min"]), math.log(of["max"])))),
    ),
}


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Args:
        path: the path of the file.
        method: ``grid`` or ``random``.
        metric: the logged key that the sweep is about; None for the first test score.
        parameters: parameters with a ``distribution``, by argument of the command line without dashes.
        run_cap: the greatest number of runs; None for no limit.
    """

    path: Path
    method: str
    metric: str | None
    parameters: Mapping[str, Parameter]
    run_cap: int | None

    @property
    def varied(self) -> list[str]:
        """Return the parameters that differ between runs."""
        return [name for name, of in self.parameters.items() if of["distribution"] != "constant"]

    def combinations(self, runs: int | None = None, seed: int = 0) -> list[Combination]:
        """Return the values of every run, no two alike: all of a grid, in the order of the file, or random ones.

        Args:
            runs: the greatest number of runs, instead of the file's ``run_cap``.
            seed: the seed of random values. The first are the same whatever their number.

        Raises:
            ValueError: random runs without a number, or a grid over what has no list of values.
        """
        most = self.run_cap if runs is None else runs
        if self.method == "grid":
            return list(itertools.islice(self._grid(), most))
        if most is None:
            raise ValueError(f"{self.path}: random runs have no end: give run_cap in the file, or --runs")
        return list(itertools.islice(self._random(random.Random(seed), tries=100 * most), most))

    def _grid(self) -> Iterator[Combination]:
        choices = []
        for name, of in self.parameters.items():
            if of["distribution"] not in ("constant", "categorical"):
                raise ValueError(
                    f"{self.path}: parameters.{name} is {of['distribution']}, which a grid cannot go through: list its "
                    "values, or choose method: random"
                )
            choices.append([of["value"]] if "value" in of else of["values"])
        return (dict(zip(self.parameters, values, strict=True)) for values in itertools.product(*choices))

    def _random(self, generator: random.Random, tries: int) -> Iterator[Combination]:
        seen = set()
        for _ in range(tries):
            values = {name: DISTRIBUTIONS[of["distribution"]][1](generator, of) for name, of in self.parameters.items()}
            if (arguments := tuple(command_arguments(values))) not in seen:
                seen.add(arguments)
                yield values

    def name(self, combination: Combination) -> str:
        """Return a file name that tells a run from the others of the sweep: what is varied, and its value."""
        shorts = [name.rpartition(".")[2] for name in self.varied]
        parts = []
        for name, short in zip(self.varied, shorts, strict=True):
            key = short if shorts.count(short) == 1 else name
            values = self.parameters[name].get("values", [])
            value = _file_name(combination[name], values)
            parts.append(value if name == "config" else f"{_file_name(key, [key])}={value}")
        name = ",".join(parts) or self.path.stem
        return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{_digest(name)}"


def command_arguments(combination: Combination) -> list[str]:
    """Return arguments of the command line, as W&B's agent writes them for ``${args}``."""
    return [f"--{name}={value}" for name, value in combination.items()]


def read_sweep(path: Path) -> Sweep:
    """Read the sweep of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not one, or holds what only W&B can do.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no sweep {str(path)!r}; see experiments/sweeps for some")
    content = read_yaml(path)
    if not isinstance(content, dict) or any(key not in content for key in NEEDED):
        raise ValueError(f"{path} is no sweep of W&B: it needs {', '.join(NEEDED)} at its top")
    if unknown := [key for key in content if key not in KNOWN]:
        raise ValueError(f"{path}: {unknown[0]} cannot be honoured without W&B: leave it out, or use wandb sweep")
    if content["method"] not in ("grid", "random"):
        raise ValueError(
            f"{path}: method is {content['method']!r}, which needs W&B: choose grid or random, or use wandb sweep"
        )
    command = content["command"]
    if not isinstance(command, list) or tuple(map(str, command[-len(COMMAND) :])) != COMMAND:
        raise ValueError(f"{path}: command is {command!r}; it must end in {list(COMMAND)}, which is what is run here")
    run_cap = content.get("run_cap")
    if run_cap is not None and (not isinstance(run_cap, int) or run_cap < 1):
        raise ValueError(f"{path}: run_cap is {run_cap!r}; it is a number of runs, 1 or more")
    parameters, metric = content["parameters"], content.get("metric") or {}
    if not isinstance(parameters, dict) or "config" not in parameters or not isinstance(metric, dict):
        raise ValueError(f"{path}: parameters must hold config, a YAML of experiments/configs, and metric a name")
    read = {str(name): _parameter(f"{path}: parameters.{name}", of) for name, of in parameters.items()}
    return Sweep(path, content["method"], metric.get("name"), read, run_cap)


def _parameter(where: str, of: Any) -> Parameter:
    """Return a parameter with its distribution, which other keys imply where it is left out, as for W&B."""
    if not isinstance(of, dict):
        raise ValueError(f"{where} is {of!r}: write {{value: ...}} or {{values: [...]}}")
    low, high = of.get("min"), of.get("max")
    whole = all(isinstance(end, int) and not isinstance(end, bool) for end in (low, high))
    guesses = {
        ("value",): "constant",
        ("values",): "categorical",
        ("probabilities", "values"): "categorical_w_probabilities",
        ("max", "min"): "int_uniform" if whole else "uniform",
    }
    keys = tuple(sorted(str(key) for key in of if key != "distribution"))
    distribution = str(of.get("distribution", guesses.get(keys)))
    if distribution not in DISTRIBUTIONS or set(keys) != set(DISTRIBUTIONS[distribution][0]):
        known = "; ".join(f"{name} with {', '.join(needs)}" for name, (needs, _) in DISTRIBUTIONS.items())
        raise ValueError(
            f"{where} is {of}, which cannot be honoured here: use one of {known}; or use wandb sweep for all of W&B"
        )
    if "values" in of:
        _check_values(where, of["values"], of.get("probabilities"))
    if "min" in of:
        _check_range(where, distribution, low, high, of.get("q"), whole=whole)
    return {**of, "distribution": distribution}


def _check_values(where: str, values: Any, probabilities: Any) -> None:
    if not isinstance(values, list) or not values or len({str(value) for value in values}) < len(values):
        raise ValueError(f"{where}: values is {values!r}; it is a list of one or more that all differ")
    if probabilities is not None:
        numbers = isinstance(probabilities, list) and all(_is_number(p) and p >= 0 for p in probabilities)
        if not numbers or len(probabilities) != len(values) or not math.isclose(sum(probabilities), 1, abs_tol=1e-6):
            raise ValueError(f"{where}: probabilities is {probabilities!r}; it is a number for each value, of sum 1")


def _check_range(where: str, distribution: str, low: Any, high: Any, step: Any, *, whole: bool) -> None:
    if not (_is_number(low) and _is_number(high) and low <= high):
        raise ValueError(f"{where}: min is {low!r} and max {high!r}; they are numbers in this order (1.0e-3, not 1e-3)")
    if distribution == "int_uniform" and not whole:
        raise ValueError(f"{where}: min is {low!r} and max {high!r}; of int_uniform they are whole numbers")
    if distribution == "log_uniform_values" and low <= 0:
        raise ValueError(f"{where}: min is {low!r}; of log_uniform_values it is above 0")
    if distribution == "q_uniform" and not (_is_number(step) and step > 0):
        raise ValueError(f"{where}: q is {step!r}; it is a step above 0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: float) -> float:
    """Round to as many digits as a name can bear."""
    return float(f"{value:.6g}")


def _file_name(value: Any, among: Sequence[Any]) -> str:
    """Return a value as part of a file name, unlike those of the other values; files are named by their stems."""
    alike = [other for other in among if _letters(other).casefold() == _letters(value).casefold()]
    plain = _letters(value)
    return plain if len(alike) <= 1 and len(plain) <= 60 else f"{plain[:60]}-{_digest(str(value))}"


def _letters(value: Any) -> str:
    text = Path(value).stem if str(value).endswith((".yaml", ".yml")) else str(value)
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

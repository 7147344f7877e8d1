"""Names of earlier releases work for one more release, in Python and in YAML, and say what to write instead."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
from jsonargparse import ArgumentParser

import callbacks
from callbacks import sparsity
from callbacks.settings import settings
from callbacks.sparsity import GradientScore, InvertedScore, KeepValues

ARGUMENTS: dict[str, tuple[Any, ...]] = {"Linear": (0.3,), "Inverted": (GradientScore(),)}
YAML = """
    class_path: callbacks.DynamicSparseTraining
    init_args:
      initialization: {package}Dense
      drop: {{class_path: {package}Inverted, init_args: {{score: {package}Gradient}}}}
      drop_fraction: {{class_path: {package}Linear, init_args: {{initial: 0.4}}}}
"""


def from_yaml(text: str) -> Any:
    parser = ArgumentParser()
    parser.add_argument("--callback", type=pl.Callback)
    return parser.instantiate(parser.parse_args([f"--callback={text}"])).callback


@pytest.mark.parametrize(("old", "new"), sparsity.RENAMED.items())
def test_an_old_class_is_the_new_one(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"callbacks.sparsity.{old} is deprecated.*sparsity.{new}") as warned:
        assert getattr(sparsity, old) is getattr(sparsity, new)
    assert warned[0].filename == __file__
    assert new in sparsity.__all__
    assert old not in sparsity.__all__


def test_an_old_name_is_imported() -> None:
    with pytest.warns(DeprecationWarning, match="use callbacks.sparsity.KeepValues"):
        from callbacks.sparsity import Dense  # type: ignore[attr-defined]
    assert Dense is KeepValues


@pytest.mark.parametrize(("old", "new"), sparsity.RENAMED.items())
def test_a_short_name_makes_the_new_class(old: str, new: str) -> None:
    arguments = ARGUMENTS.get(old, ())
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated.*use {new}"):
        made = getattr(callbacks.deprecated, old)(*arguments)
    assert made == getattr(sparsity, new)(*arguments)


@pytest.mark.parametrize("package", ["callbacks.sparsity.", ""])
def test_old_names_in_yaml(package: str) -> None:
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        callback = from_yaml(YAML.format(package=package))
    method = callback.parts[0].method
    assert method.initialization == KeepValues()
    assert method.drop == InvertedScore(GradientScore())
    assert method.drop_fraction == sparsity.LinearDecay(0.4)


def test_old_files_in_yaml() -> None:
    """The configuration of a run may hold the path of a file, if its YAML did."""
    text = "{class_path: callbacks.dynamic.RigL, init_args: {drop: callbacks.sparsity.scores.Magnitude}}"
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        callback = from_yaml(text)
    assert isinstance(callback, callbacks.RigL)
    assert callback.parts[0].method.drop == sparsity.MagnitudeScore()


def test_what_is_not_old_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback = from_yaml("{class_path: RigL, init_args: {initialization: LayerScaled}}")
    assert callback.parts[0].method.initialization == sparsity.LayerScaled()


@pytest.mark.parametrize("package", ["callbacks", "callbacks.sparsity"])
def test_a_name_that_never_was_is_refused(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nonsense'"):
        importlib.import_module(package).Nonsense  # noqa: B018


def test_times_in_yaml() -> None:
    def window(text: str) -> sparsity.UpdateWindow:
        return from_yaml(f"{{class_path: callbacks.RigL, init_args: {{window: {text}}}}}").parts[0].method.window

    assert repr(window("{start: 12, stop: 1.0}")) == "UpdateWindow(every=100, start=12, stop=1.0)"
    with pytest.raises(ValueError, match=r"stop is the int 1.* write 1\.0"):
        window("{stop: 1}")
    with pytest.warns(DeprecationWarning, match="use the int 7000"):
        assert window("{stop: 7000.0}").stop == 7000  # as in the config.yaml of a run


def test_an_old_argument() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"NM\(start=MagnitudeScore\(\)\) is deprecated.*use first_score"
    ) as one:
        owner = callbacks.NM(2, 4, start=sparsity.MagnitudeScore())
    assert one[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="use first_score"):
        other = from_yaml("{class_path: callbacks.NM, init_args: {start: callbacks.sparsity.MagnitudeScore}}")
    new = callbacks.NM(2, 4, first_score=sparsity.MagnitudeScore())
    assert settings(owner) == settings(new)
    assert other.parts[0].method.first_score == sparsity.MagnitudeScore()


@pytest.mark.parametrize("package", [callbacks, sparsity])
def test_hidden_names_are_where_the_warning_says(package: Any) -> None:
    for name, place in package.HIDDEN.items():
        assert name not in package.__all__
        with pytest.warns(DeprecationWarning, match=f"{package.__name__}.{name} is deprecated.*{place}"):
            assert callable(getattr(package, name))

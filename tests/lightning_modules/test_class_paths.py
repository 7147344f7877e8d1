"""YAML files and the config.yaml of runs name classes by the package, not by the file that a class is in."""

from __future__ import annotations

import jsonargparse
import pytest

import lightning_modules
from lightning_modules import PCK, Decoder


@pytest.mark.parametrize(("kind", "name"), [(Decoder, "DARK"), (Decoder, "QuarterOffset"), (PCK, "PCK"), (PCK, "PCKh")])
@pytest.mark.parametrize("prefix", ["", "lightning_modules."])
def test_a_class_of_the_pose_room_is_found_and_written_under_its_public_path(
    kind: type[object], name: str, prefix: str
) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=kind)
    parsed = parser.parse_args([f"--part={prefix}{name}"])
    assert type(parser.instantiate_classes(parsed).part) is getattr(lightning_modules, name)
    assert f"class_path: lightning_modules.{name}\n" in parser.dump(parsed)

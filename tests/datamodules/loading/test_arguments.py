"""Arguments that all data modules share have one name, one default and one check; old names are still taken."""

import inspect

import albumentations
import pytest
import pytorch_lightning as pl
from jsonargparse import ArgumentParser

import datamodules
from datamodules import CIFAR10DataModule, CIFAR100DataModule, ImageNetDataModule

MODULES = [
    getattr(datamodules, name)
    for name in datamodules.__all__
    if name.endswith("DataModule") and name != "PoseDataModule"
]
RENAMED = [
    (ImageNetDataModule, "size", 64, "input_size"),
    (CIFAR10DataModule, "augment", False, "augmentation"),
    (CIFAR100DataModule, "augment", False, "augmentation"),
]
LEAST = {"batch_size": 1, "num_workers": 0, "val_size": 0, "seed": 0}


def from_yaml(text):
    parser = ArgumentParser()
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    return parser.instantiate(parser.parse_string(text)).data


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_held_out_unless_asked_for(module):
    assert inspect.signature(module).parameters["val_size"].default == 0


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", LEAST)
def test_each_least_value_is_taken_and_none_below(module, name):
    assert vars(module(**{name: LEAST[name]}))
    with pytest.raises(ValueError, match=f"{name} is {LEAST[name] - 1}; pass {LEAST[name]} or more"):
        module(**{name: LEAST[name] - 1})


@pytest.mark.parametrize(("module", "old", "value", "new"), RENAMED)
def test_an_old_name_is_taken_with_a_warning(module, old, value, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated; pass {new}={value}") as warned:
        data = module(**{old: value})
    assert warned[0].filename == __file__
    assert getattr(data, new) == getattr(module(**{new: value}), new) == value


@pytest.mark.parametrize(("module", "old", "value", "new"), RENAMED)
def test_an_old_name_is_taken_from_yaml(module, old, value, new):
    text = f"data: {{class_path: datamodules.{module.__name__}, init_args: {{{old}: {str(value).lower()}}}}}"
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated; pass {new}={value}"):
        data = from_yaml(text)
    assert getattr(data, new) == value
    assert getattr(from_yaml(text.replace(f"{old}:", f"{new}:")), new) == value


def test_an_old_transform_is_taken():
    transform = albumentations.HorizontalFlip()
    with pytest.warns(DeprecationWarning, match="augment is deprecated; pass augmentation=HorizontalFlip"):
        assert CIFAR10DataModule(augment=transform).augmentation is transform


def test_an_old_name_is_checked():
    with (
        pytest.warns(DeprecationWarning, match="size is deprecated"),
        pytest.raises(ValueError, match="input_size is 0; pass 1 or more"),
    ):
        ImageNetDataModule(size=0)

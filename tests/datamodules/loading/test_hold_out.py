"""Samples that are held out for validation."""

import numpy as np
import pytest

from datamodules.loading.hold_out import hold_out

ORDER = np.array([4, 2, 5, 0, 3, 1])


def test_splits_are_the_two_ends_of_the_random_order_in_the_order_of_the_data():
    rows = hold_out(2, ORDER, "there are 6 photos")
    assert rows["val"].tolist() == [2, 4]
    assert rows["train"].tolist() == [0, 1, 3, 5]


def test_nothing_held_out_is_no_split():
    rows = hold_out(0, ORDER, "there are 6 photos")
    assert {name: part.tolist() for name, part in rows.items()} == {"train": [0, 1, 2, 3, 4, 5]}


@pytest.mark.parametrize("val_size", [6, 7, -1])
def test_samples_to_train_on_must_be_left(val_size):
    with pytest.raises(ValueError, match=f"val_size is {val_size}, but there are 6 photos; pass a smaller one"):
        hold_out(val_size, ORDER, "there are 6 photos")

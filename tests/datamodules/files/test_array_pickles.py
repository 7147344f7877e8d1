"""Pickles of arrays: what they may hold, and that nothing in them runs."""

import os
import pickle
import struct

import numpy as np
import pytest
from fakes import python2_pickle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datamodules.files import array_pickles
from datamodules.files.array_pickles import load_arrays

NUMBERS = (
    hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
)


@given(hnp.arrays(NUMBERS, hnp.array_shapes()), st.integers(2, 4), st.booleans())
def test_arrays_come_back(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    loaded = load_arrays(pickle.dumps({"data": array, "rest": [1, "a", b"\xff\0", {"b": None}]}, protocol=protocol))
    assert loaded["data"].dtype == array.dtype
    np.testing.assert_array_equal(loaded["data"], array)
    assert loaded["rest"] == [1, "a", b"\xff\0", {"b": None}]


def test_pickles_of_python_2():
    array = np.arange(250, 256, dtype=np.uint8).reshape(2, 3)
    loaded = load_arrays(b"\x80\x02" + python2_pickle({"data": array, "labels": [3, 4], "names": ["\xe9"]}) + b".")
    np.testing.assert_array_equal(loaded["data"], array)
    assert loaded["labels"] == [3, 4]


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "name"), [(os.mkdir, "mkdir"), (eval, "eval"), (getattr, "getattr"), (np.save, "save")]
)
def test_code_is_not_run(tmp_path, monkeypatch, protocol, function, name):
    monkeypatch.chdir(tmp_path)
    arguments = {"eval": ("open('ran', 'w')",), "getattr": (os, "mkdir"), "save": ("ran", 1), "mkdir": ("ran",)}[name]
    arguments = ("", "x") if name == "getattr" else arguments
    raw = pickle.dumps({"data": Runs(function, *arguments)}, protocol=protocol)
    with pytest.raises(ValueError, match=rf"asks for \S*{name}, which no data need; it was not run"):
        load_arrays(raw)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no pickle",
        pickle.dumps({"data": np.arange(9)}, protocol=2)[:-30],
        pickle.dumps([1]),
        pickle.dumps({"data": np.array([{}, None])}, protocol=2),
        pickle.dumps({"data": np.array(["text"])}, protocol=2),
        pickle.dumps({"data": np.zeros(2, "u1,f4")}, protocol=2),
        pickle.dumps({"data": np.arange(9)}, protocol=2).replace(b"K\t\x85", b"K\x99\x85"),  # another shape
        b"\x80\x02}(U\x01aJ" + struct.pack("<i", 5) + b"c_codecs\nencode\n(X\x01\0\0\0aX\x03\0\0\0hextRu.",
        b"\x80\x02cnumpy\nndarray\n}U\x05arrayK\x01sb.",  # would change the class
        b"\x80\x02c_codecs\nencode\n}U\x05arrayK\x01sb.",
    ],
)
def test_other_content_is_refused(raw):
    with pytest.raises(ValueError, match=r"it is no pickle of arrays|it holds a list, not a dict"):
        load_arrays(raw)
    assert not hasattr(array_pickles._Array, "array")
    assert not hasattr(array_pickles._Bytes, "array")

"""Damaged files of sparse networks: whoever reads one refuses it, or finds the masks that were saved."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Operations
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from callbacks import read_masks
from callbacks.packed import load_sparse, read_sparse, save_sparse
from callbacks.packed.checksums import of_positions
from callbacks.packed.positions import CODES
from callbacks.sparsity import Masks

READERS = {"read_sparse": lambda path: read_sparse(path).masks, "read_masks": read_masks}


class Tied(nn.Module):
    """Weights of both codes, one without an active entry, one under two names; entries leave part of a byte."""

    def __init__(self) -> None:
        super().__init__()
        self.few = nn.Linear(61, 9)
        self.many = nn.Linear(7, 5)
        self.none = nn.Linear(30, 10, bias=False)
        self.tied = nn.Linear(61, 9)
        self.tied.weight = self.few.weight


def save(path: Path) -> Masks:
    module, counts = Tied(), {"few.weight": 20, "many.weight": 12, "none.weight": 0}
    masks = Masks.random({name: module.get_parameter(name).shape for name in counts}, counts, seed=0)
    masks.apply_to_weights({name: module.get_parameter(name) for name in masks})
    save_sparse(module, path, masks=masks)
    return Masks({**masks, "tied.weight": masks["few.weight"]})


def test_the_file_is_read_and_has_both_codes(tmp_path: Path) -> None:
    masks = save(tmp_path / "good")
    codes = {name.partition("weight::")[2] for name in load_file(tmp_path / "good") if name.startswith(("few", "many"))}
    assert codes == {"values", "bits", "high", "low", ""}
    for read in READERS.values():
        assert same(read(tmp_path / "good"), masks)


def save_version_1(path: Path) -> Masks:
    """Writes the file as an earlier release did: with one checksum, of all that says which weights are active."""
    masks, tensors, header = save(path), load_file(path), header_of(path)
    with safe_open(path, framework="pt") as file:
        in_order = list(file.keys())
    codes = {
        name: {part: tensors[key] for part in CODES if (key := f"{name}::{part}") in in_order}
        for name in json.loads(header["shapes"])
    }
    del header["checksums"]
    checksum = of_positions(header["shapes"], header["same"], codes)
    save_file(tensors, path, {**header, "format": "sparse-lightning 1", "checksum": checksum})
    return masks


def header_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def same(masks: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return dict(masks).keys() == dict(others).keys() and all(torch.equal(masks[name], others[name]) for name in masks)


# --- a table of damage --------------------------------------------------------------------------

Content = dict[str, Any]  # the tensors of a file and the entries of its header, by name
Damage = Callable[[Content], None]


def flipped(code: str, *bits: int) -> Damage:
    """Flips these bits of a code, counted from the first."""

    def damage(content: Content) -> None:
        for bit in bits:
            content[code].view(-1)[bit // 8] ^= 1 << bit % 8

    return damage


def changed(part: str, change: Callable[[Tensor], Tensor]) -> Damage:
    return lambda content: content.update({part: change(content[part]).clone()})


def put(name: str, value: object) -> Damage:
    return lambda content: content.update({name: value})


def without(name: str) -> Damage:
    def damage(content: Content) -> None:
        del content[name]

    return damage


def shaped(shape: object) -> Damage:
    """The header gives the weight ``few`` another shape."""
    return lambda content: content.update(
        shapes=json.dumps({**json.loads(content["shapes"]), "few.weight": shape}),
    )


def coinciding(content: Content) -> None:
    """Two positions of ``few`` become one: the second ends beside the first, and gets its low digits."""
    high, low = content["few.weight::high"], content["few.weight::low"]
    ends = [bit for bit in range(56) if high[bit // 8] >> bit % 8 & 1]
    for bit, value in ((ends[1], 0), (ends[0] + 1, 1)):
        high[bit // 8] = high[bit // 8] & ~(1 << bit % 8) & 255 | value << bit % 8
    for row in low:
        row[0] = int(row[0]) & 0b11111101 | (int(row[0]) & 1) << 1


FEW, MANY = "few.weight::", "many.weight::"

DAMAGE: dict[str, tuple[Damage, str]] = {
    # counts
    "an active entry more": (flipped(MANY + "bits", 0, 1, 2, 3), r"'many.weight'.* where 12 belong"),
    "a value less": (changed(MANY + "values", lambda values: values[1:]), r"'many.weight'.*12 .* where 11 belong"),
    "a value more": (changed(FEW + "values", lambda values: torch.cat([values, values[:1]])), r"'few.weight'"),
    "no end of a position": (flipped(FEW + "high", 0), r"'few.weight'"),
    "an end of no position": (flipped("none.weight::high", 0), r"'none.weight'.*1 positions where 0 belong"),
    # places
    "two positions at one place": (coinciding, r"'few.weight'.*ascend"),
    "a position behind the last entry": (shaped([9, 57]), "'few.weight'.*not within 513 entries"),
    # padding
    "a bit behind the last entry": (flipped(MANY + "bits", 35), r"'many.weight'.*beyond"),
    "a bit behind the last end": (flipped(FEW + "high", 55), r"'few.weight'.*beyond"),
    "a bit behind the last digit": (flipped(FEW + "low", 23), r"'few.weight'.*beyond"),
    # lengths, shapes and types of the codes
    "a byte of bits less": (changed(MANY + "bits", lambda bits: bits[:-1]), r"'many.weight'.*does not hold 35"),
    "a byte of bits more": (changed(MANY + "bits", lambda bits: nn.functional.pad(bits, (0, 1))), "'many.weight'"),
    "bits in rows": (changed(MANY + "bits", lambda bits: bits[None]), r"'many.weight'.*does not hold 35"),
    "bits with a sign": (changed(MANY + "bits", lambda bits: bits.view(torch.int8)), r"'many.weight'.*int8"),
    "a byte of ends less": (changed(FEW + "high", lambda high: high[:-1]), r"'few.weight'.*does not hold 55"),
    "a byte of ends more": (changed(FEW + "high", lambda high: nn.functional.pad(high, (0, 1))), r"'few.weight'"),
    "ends as bools": (changed(FEW + "high", lambda high: high.bool()), r"'few.weight'.*bool"),
    "a digit less": (changed(FEW + "low", lambda low: low[:-1]), r"'few.weight'.*\(3, 3\) where uint8 \(4, 3\)"),
    "a digit more": (
        changed(FEW + "low", lambda low: low[[0, 1, 2, 3, 3]]),
        r"'few.weight'.*where uint8 \(4, 3\) belongs",
    ),
    "a byte of digits less": (
        changed(FEW + "low", lambda low: low[:, :-1]),
        r"'few.weight'.*where uint8 \(4, 3\) belongs",
    ),
    "digits in one row": (
        changed(FEW + "low", lambda low: low.flatten()),
        r"'few.weight'.*where uint8 \(4, 3\) belongs",
    ),
    "digits with a sign": (changed(FEW + "low", lambda low: low.view(torch.int8)), r"'few.weight'.*int8"),
    "values in rows": (changed(FEW + "values", lambda values: values[None]), r"'few.weight'.*values.*\(1, 20\)"),
    "one value without a row": (changed(FEW + "values", lambda values: values[0]), r"'few.weight'.*values.*\(\)"),
    # what is there
    "no values": (without(FEW + "values"), r"\['high', 'low'\] of 'few.weight'"),
    "no bits": (without(MANY + "bits"), r"\['values'\] of 'many.weight'"),
    "no ends": (without(FEW + "high"), r"\['low', 'values'\] of 'few.weight'"),
    "no digits": (without(FEW + "low"), r"\['high', 'values'\] of 'few.weight'"),
    "both codes": (
        put(FEW + "bits", torch.zeros(69, dtype=torch.uint8)),
        r"'bits', 'high', 'low', 'values'\] of 'few.weight'",
    ),
    "values of no weight": (put("more.weight::values", torch.zeros(3)), r"'more.weight::values'.*no weight"),
    "another part": (put(FEW + "middle", torch.zeros(3)), r"'few.weight::middle'.*no weight"),
    "a weight that is also there as it is": (put("few.weight", torch.zeros(9, 61)), "'few.weight' .*twice"),
    # the header
    "no format": (without("format"), "format is None"),
    "a later format": (put("format", "sparse-lightning 3"), "format is 'sparse-lightning 3'"),
    "the format of another version": (put("format", "sparse-lightning 2"), "'checksums'"),
    "an entry that nobody knows": (put("checksun", "00000000"), "an entry 'checksun'"),
    "no shapes": (without("shapes"), "shapes"),
    "shapes that are no JSON": (put("shapes", "{'few.weight': [9, 61]}"), "shapes"),
    "shapes without names": (put("shapes", "[[9, 61]]"), "shapes"),
    "no weight of many": (put("shapes", '{"few.weight": [9, 61]}'), "'many.weight::.*no weight"),
    "no same": (without("same"), "same"),
    "same without names": (put("same", '["tied.weight"]'), "same"),
    "the same as nothing": (put("same", '{"tied.weight": "fax.weight"}'), "'tied.weight'.*'fax.weight'"),
    "the same as a number": (put("same", '{"tied.weight": 1}'), "'tied.weight'.* 1"),
    "the same as itself": (put("same", '{"tied.weight": "tied.weight"}'), "'tied.weight'.*'tied.weight'"),
    "the same as what is the same": (
        put("same", '{"tied.weight": "few.weight", "more.weight": "tied.weight"}'),
        "'more.weight'.*'tied.weight'",
    ),
    "a weight that is the same as another": (put("same", '{"many.weight": "few.weight"}'), "'many.weight'.*'few"),
    "a checksum of other masks": (put("checksum", "00000000"), "checksum"),
    # shapes
    "fewer entries": (shaped([9, 10]), r"'few.weight'"),
    "a shape in another order": (shaped([61, 9]), "checksum"),
    "a length below 0": (shaped([-9, -61]), r"'few.weight'.*\[-9, -61\]"),
    "a length that is no whole number": (shaped([9, 61.0]), r"'few.weight'.*\[9, 61.0\]"),
    "a length that is a truth": (shaped([549, True]), r"'few.weight'.*\[549, True\]"),
    "a length that is a list": (shaped([[9, 61]]), r"'few.weight'"),
    "a shape that is a word": (shaped("9"), r"'few.weight'.*'9'"),
    "a shape that is a number": (shaped(549), r"'few.weight'.*549"),
    "a shape of one length": (shaped([549]), "checksum"),
    "no length": (shaped([]), r"'few.weight'"),
    "a length of 0": (shaped([0, 61]), r"'few.weight'"),
    "too many entries": (shaped([2**16, 2**16]), r"claims 4294967"),
    "so many that they count as 0": (shaped([2**32, 2**32]), r"claims 18446744073709551\d+ entries"),
    "a length that no tensor has": (shaped([2**63]), "claims 922337203685477"),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("damage", list(DAMAGE))
def test_both_readers_refuse_the_same_damage_in_one_line(tmp_path: Path, damage: str, version: int) -> None:
    (save_version_1 if version == 1 else save)(tmp_path / "good")
    content = {**load_file(tmp_path / "good"), **header_of(tmp_path / "good")}
    change, reason = DAMAGE[damage]
    reason = reason if version == 1 else ""  # the checksums see most of it first
    if damage == "the format of another version" and version == 2:
        change = put("format", "sparse-lightning 1")
    change(content)
    header = {name: text for name, text in content.items() if isinstance(text, str)}
    save_file({name: tensor for name, tensor in content.items() if name not in header}, tmp_path / "bad", header)
    for read in READERS.values():
        with pytest.raises(ValueError, match=rf"^'.*bad' cannot be read as a file of save_sparse: .*{reason}") as error:
            read(tmp_path / "bad")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [[2**16, 2**16], [2**32], [2, 2**15, 1, 2**16], [2**40, 2**40], [2**32] * 8])
def test_a_size_is_refused_before_memory_is_asked_for(tmp_path: Path, shape: list[int]) -> None:
    parts = {"w::values": torch.zeros(0), "w::high": torch.zeros(1, dtype=torch.uint8)}
    parts["w::low"] = torch.zeros(math.prod(shape).bit_length() - 1, 0, dtype=torch.uint8)
    header = {"format": "sparse-lightning 1", "shapes": json.dumps({"w": shape}), "same": "{}"}
    save_file(parts, tmp_path / "huge", header)
    assert (tmp_path / "huge").stat().st_size < 400
    for read in READERS.values():
        watch = Operations()
        with pytest.raises(ValueError, match=rf"huge' .*claims {math.prod(shape)} entries, more than .* \d+ bytes"):
            watch.of(read)(tmp_path / "huge")
        assert watch.largest < 1000


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_parameter("a::b", nn.Parameter(torch.zeros(3)))

    with pytest.raises(ValueError, match="'a::b'"):
        save_sparse(Odd(), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_layer_without_active_weights_can_be_read_whatever_its_size(tmp_path: Path) -> None:
    layer = nn.Linear(2**12, 2**12, bias=False)
    nn.init.zeros_(layer.weight)
    save_sparse(layer, tmp_path / "net")
    for read in READERS.values():
        assert not read(tmp_path / "net")["weight"].any()


# --- any damage ---------------------------------------------------------------------------------


def read_or_refused(read: Callable[[Path], Mapping[str, Tensor]], path: Path) -> Mapping[str, Tensor] | str:
    try:
        return read(path)
    except ValueError as error:
        return str(error)


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_leave_the_masks(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    masks = save(folder / "good")
    content = bytearray((folder / "good").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=2, unique=True)):
        content[place] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    (folder / "bad").write_bytes(content[:end])
    whole, alone = (read_or_refused(read, folder / "bad") for read in READERS.values())
    for found in whole, alone:
        assert str(folder / "bad") in found if isinstance(found, str) else same(found, masks)
    assert isinstance(whole, str) or not isinstance(alone, str), "who reads the masks alone reads no values"


@pytest.mark.filterwarnings("ignore:.*without checksums of its values")
def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    masks = save_version_1(tmp_path / "new")
    header = {entry: text for entry, text in header_of(tmp_path / "new").items() if entry != "checksum"}
    save_file(load_file(tmp_path / "new"), tmp_path / "old", header)
    for file in ("new", "old"):
        for read in READERS.values():
            assert same(read(tmp_path / file), masks)
        load_sparse(tmp_path / file, Tied())


def test_a_note_says_that_the_values_of_an_earlier_release_cannot_be_verified(tmp_path: Path) -> None:
    save_version_1(tmp_path / "old")
    read_masks(tmp_path / "old")  # what says which weights are active has a checksum
    with pytest.warns(UserWarning, match=r"old', without checksums of its values: .* save_sparse writes them"):
        read_sparse(tmp_path / "old")


def test_no_bit_of_a_file_changes_in_silence(tmp_path: Path) -> None:
    save(tmp_path / "good")
    content, expected = (tmp_path / "good").read_bytes(), read_sparse(tmp_path / "good").state
    places = torch.randint(8 * len(content), (300,), generator=torch.Generator().manual_seed(0)).tolist()
    refused = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "bad").write_bytes(flipped)
        try:
            assert same(read_sparse(tmp_path / "bad").state, expected)
        except ValueError:
            refused += 1
    assert refused > 290  # the rest are spaces that fill the header

"""The highest scores of one layer, or of several together, exactly, in little more memory than the scores take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from ..masks.zeros import fetch

_PIECE = 2**18  # entries that are looked at together on a CPU: they stay in its cache
_DIGIT = 16  # bits of a score that are counted at a time


def top_k(score: Tensor, k: int, among: Tensor) -> Tensor:
    """Return a bool mask of the ``k`` highest scores where ``among`` is True; ties go to the lower index.

    With the active entries as ``among`` this prunes a layer to ``k`` weights.

    Raises:
        ValueError: ``k`` is negative or ``among`` has fewer than ``k`` entries, or a score is NaN.

    Example:
        >>> top_k(torch.tensor([3.0, 1.0, 3.0, 9.0]), 2, torch.tensor([True, True, True, False]))
        tensor([ True, False,  True, False])
    """
    return top_k_together([score], k, [among])[0]


def top_k_together(scores: Sequence[Tensor], k: int, among: Sequence[Tensor]) -> list[Tensor]:
    """Return bool masks of the ``k`` highest scores of several layers; ties go to the earlier layer, as to the index.

    Raises:
        ValueError: as :func:`top_k`.

    Example:
        >>> scores = [torch.tensor([3.0, 1.0]), torch.tensor([3.0])]
        >>> top_k_together(scores, 1, [score > 0 for score in scores])
        [tensor([ True, False]), tensor([False])]
    """
    if k == 0:
        return [torch.zeros_like(allowed) for allowed in among]
    size = sum(score.numel() for score in scores)
    if not 0 < k <= size:
        _refuse(k, among)
    scores = [score if score.is_floating_point() else score.double() for score in scores]
    find = _kth_by_digits if scores[0].device.type == "cpu" and size > _PIECE else _kth_largest
    threshold = find(scores, k, among)
    chosen = [
        torch.ge(score, threshold).logical_and_(allowed).contiguous()
        for score, allowed in zip(scores, among, strict=True)
    ]
    surplus = sum(fetch(map(torch.count_nonzero, chosen))) - k
    if surplus < 0:
        _refuse(k, among)
    for score, mask in zip(reversed(scores), reversed(chosen), strict=True):
        surplus -= _leave_out_last(score, threshold, mask, surplus) if surplus else 0
    return chosen


def _refuse(k: int, among: Sequence[Tensor]) -> NoReturn:
    available = sum(int(allowed.count_nonzero()) for allowed in among)
    if not 0 <= k <= available:
        raise ValueError(f"k is {k}, but there are {available} entries to choose from")
    raise ValueError("a score is NaN, which has no place in an order: let the Score return finite numbers")


def _leave_out_last(score: Tensor, threshold: Tensor, chosen: Tensor, surplus: int) -> int:
    """Choose ``surplus`` fewer of the entries at the threshold, if there are that many, and return how many."""
    scores, flags, left = score.reshape(-1), chosen.view(-1), surplus
    piece = _PIECE if score.device.type == "cpu" else len(scores)
    for part, flag in zip(reversed(torch.split(scores, piece)), reversed(torch.split(flags, piece)), strict=True):
        ties = ((part == threshold) & flag).nonzero().flatten()
        flag.index_fill_(0, ties[max(len(ties) - left, 0) :], False)
        left = max(left - len(ties), 0)
        if not left:
            break
    return surplus - left


def _kth_largest(scores: Sequence[Tensor], k: int, among: Sequence[Tensor]) -> Tensor:
    """Return the k-th largest score where ``among`` is True, NaN first, then -infinity, without waiting for a GPU."""
    inside = [torch.where(allowed, score, -torch.inf).flatten() for score, allowed in zip(scores, among, strict=True)]
    values = inside[0] if len(inside) == 1 else torch.cat(inside)
    return values.topk(k, sorted=False).values.min()


def _kth_by_digits(scores: Sequence[Tensor], k: int, among: Sequence[Tensor]) -> Tensor:
    """Return the same on a CPU, from counts of the scores that share their highest bits, then of their next ones.

    The bits of a floating-point number are turned into a whole number of the same order; 0 stands for what is not
    ``among``, and for a NaN in the end.
    """
    dtype = torch.float64 if any(score.dtype == torch.float64 for score in scores) else torch.float32
    whole = torch.int64 if dtype == torch.float64 else torch.int32
    bits, sign = torch.iinfo(whole).bits, torch.iinfo(whole).min
    found = 0  # the highest bits of the number that is looked for
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        known = bits - _DIGIT - shift
        counts = torch.zeros(2**_DIGIT, dtype=torch.int64)
        for score, allowed in _pieces(scores, among):
            values = score.to(dtype)
            if not known and bool(values.sum().isnan()) and bool((values.isnan() & allowed).any()):
                return values.new_tensor(torch.nan)
            number = values.view(whole)
            number = (number >> (bits - 1)).bitwise_or_(sign).bitwise_xor_(number).mul_(allowed)
            if known:
                number = number[number >> (bits - known) == _signed(found, known)]
            counts += (number >> shift).bitwise_and_(2**_DIGIT - 1).bincount(minlength=2**_DIGIT)
        above = counts.flip(0).cumsum(0)
        place = int((above < k).count_nonzero())
        k -= int(above[place - 1]) if place else 0
        found = found << _DIGIT | (2**_DIGIT - 1 - place)
    number = torch.tensor(_signed(found, bits), dtype=whole)
    return (number ^ ((~number >> (bits - 1)) | sign)).view(dtype)


def _signed(number: int, bits: int) -> int:
    """Return the whole number that a computer reads from so many bits."""
    return number - (number >> (bits - 1) << bits)


def _pieces(scores: Sequence[Tensor], among: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for score, allowed in zip(scores, among, strict=True):
        pieces = (torch.split(tensor.reshape(-1), _PIECE) for tensor in (score, allowed))
        yield from zip(*pieces, strict=True)

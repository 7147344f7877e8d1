"""Masks: which weights of a network are active."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor
from torch.optim import Optimizer

from .optimizer_state import clear_state
from .packing import pack, unpack
from .randomness import generator_for
from .sharding import local_shard
from .zeros import fetch, zero_inactive


class Masks(Mapping[str, Tensor]):
    """An immutable mapping from parameter name to a bool tensor of the parameter's shape; True = active.

    Names, order and shapes never change; :meth:`replace` gives a new value. A mask takes one byte a
    weight in memory and, packed by :meth:`state_dict`, one bit in a checkpoint.

    Attributes:
        size: number of entries, active and inactive.

    Example:
        >>> masks = Masks.random({"fc.weight": (4, 5)}, {"fc.weight": 6}, seed=0)
        >>> masks.counts, round(masks.sparsity, 2)
        ({'fc.weight': 6}, 0.7)
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise TypeError(f"mask {name!r} is {mask.dtype}; masks are torch.bool, True = active")
        self._masks = dict(masks)
        self.size = sum(map(Tensor.numel, masks.values()))

    @classmethod
    def random(
        cls, shapes: Mapping[str, torch.Size | tuple[int, ...]], counts: Mapping[str, int], *, seed: int
    ) -> Masks:
        """Draw masks with exactly ``counts[name]`` active weights each, positions uniform.

        The draw depends on ``seed`` and the position of a name in ``shapes`` alone.

        Raises:
            ValueError: a count is negative or larger than its tensor.
        """
        masks = {}
        for index, (name, shape) in enumerate(shapes.items()):
            size, count = torch.Size(shape).numel(), counts[name]
            if not 0 <= count <= size:
                raise ValueError(f"counts[{name!r}] is {count}, but the tensor has {size} entries")
            mask = torch.zeros(size, dtype=torch.bool)
            places = torch.int32 if size < 2**31 else torch.int64  # which makes no difference but to memory
            mask[torch.randperm(size, generator=generator_for(seed, 0, index), dtype=places)[:count]] = True
            masks[name] = mask.view(shape)
        return cls(masks)

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __repr__(self) -> str:
        return f"Masks({len(self)} weights, {self.size:,} entries, sparsity {self.sparsity:.4f})"

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of active weights by name."""
        return dict(zip(self._masks, fetch(map(torch.count_nonzero, self._masks.values())), strict=True))

    @cached_property
    def density(self) -> dict[str, float]:
        """Share of active weights by name, in [0, 1]."""
        return {name: count / self[name].numel() for name, count in self.counts.items()}

    @property
    def sparsity(self) -> float:
        """Fraction of inactive weights over all masks, in [0, 1]; 0 without masks."""
        return 1 - sum(self.counts.values()) / self.size if self.size else 0.0

    def replace(self, changed: Mapping[str, Tensor]) -> Masks:
        """Return the same masks with those in ``changed`` exchanged, which come to lie where and as the old ones did.

        Raises:
            ValueError: a name is unknown, or a shape differs.
        """
        masks = dict(self._masks)
        for name, mask in changed.items():
            old = masks.get(name)
            if old is None or mask.shape != old.shape:
                raise ValueError(f"{name!r} {tuple(mask.shape)} does not replace a mask of {self}")
            alike = mask.stride() == old.stride() and mask.device == old.device
            masks[name] = mask if alike else torch.empty_like(old).copy_(mask)
        return Masks(masks)

    def to_match(self, weights: Mapping[str, Tensor]) -> Masks:
        """The same masks, each on the device and in the memory format of ``weights[name]``."""
        return Masks(
            {
                name: mask.to(weights[name].device, memory_format=memory_format(local_shard(weights[name])))
                for name, mask in self.items()
            }
        )

    @torch.no_grad()
    def apply_to_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set the inactive entries of ``weights`` to exactly 0, in place.

        Only the masks named in ``weights`` are used, here and in the methods below.
        """
        for name, weight in weights.items():
            zero_inactive(weight, self[name])

    @torch.no_grad()
    def apply_to_gradients(self, weights: Mapping[str, Tensor]) -> None:
        """Set the inactive entries of every ``weight.grad`` to exactly 0, in place, NaN included."""
        for name, weight in weights.items():
            if weight.grad is not None:
                zero_inactive(weight.grad, self[name])

    @torch.no_grad()
    def apply_to_optimizer(self, optimizer: Optimizer, weights: Mapping[str, Tensor]) -> None:
        """Set the optimizer's state of inactive entries to 0: every tensor of a weight's shape."""
        for name, weight in weights.items():
            clear_state(optimizer, weight, self[name])

    def digest(self) -> int:
        """A 63-bit hash of names, shapes and entries: equal masks, equal digest, on any machine."""
        digest = hashlib.blake2b(digest_size=8)
        for name, mask in self.items():
            digest.update(f"{name}{tuple(mask.shape)}".encode())
            digest.update(mask.contiguous().cpu().numpy().data)
        return int.from_bytes(digest.digest(), "big") >> 1

    def state_dict(self) -> dict[str, dict[str, object]]:
        """Plain values and bit-packed tensors, safe for ``torch.load(weights_only=True)``."""
        return {name: {"shape": list(mask.shape), "bits": pack(mask).cpu()} for name, mask in self.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Mapping[str, object]]) -> Masks:
        """The inverse of :meth:`state_dict`.

        Raises:
            ValueError: an entry is not one that :meth:`state_dict` writes.
        """
        masks = {}
        for name, entry in state.items():
            shape, bits = entry.get("shape"), entry.get("bits")
            if not isinstance(shape, list) or not isinstance(bits, Tensor):
                raise ValueError(f"mask {name!r} needs 'shape' and 'bits', found {sorted(entry)}")
            if not all(type(length) is int and 0 <= length < 2**63 for length in shape):
                raise ValueError(f"mask {name!r} has shape {shape}, which is no list of lengths")
            try:
                masks[name] = unpack(bits, torch.Size(shape))
            except ValueError as error:
                raise ValueError(f"mask {name!r} is damaged: {error}") from error
        return cls(masks)


def check_not_empty(masks: Mapping[str, Tensor] | None, argument: str = "masks") -> None:
    """Refuse a mapping without masks, as a callback has before its fit, where None says that there are none.

    Raises:
        ValueError: ``masks`` is empty; ``argument`` is what it is called in the error.
    """
    if masks is not None and not masks:
        raise ValueError(
            f"{argument} is empty: None is what says that all weights are active. Give the masks of a sparse network, "
            "such as callback.masks after its fit, or None"
        )


def memory_format(tensor: Tensor) -> torch.memory_format:
    """The format in which a tensor of the same shape lies as this one does, as far as there is one."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = formats.get(tensor.dim(), torch.contiguous_format)
    return last if not tensor.is_contiguous() and tensor.is_contiguous(memory_format=last) else torch.contiguous_format

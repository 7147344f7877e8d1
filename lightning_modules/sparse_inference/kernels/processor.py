"""The processor of this machine, and what it can do."""

from __future__ import annotations

from llvmlite import binding

NAME: str = binding.get_host_cpu_name()
FEATURES: str = binding.get_host_cpu_features().flatten()
_FEATURES = set(FEATURES.split(","))
AVX512 = "+avx512f" in _FEATURES


class UnfitTargetError(Exception):
    """The error of settings of numba with which there can be no kernels; it says why."""


def widest_vector() -> int:
    """Return the number of floats in the widest vectors: 16 with AVX-512, 8 with AVX, else 4."""
    return 16 if AVX512 else 8 if "+avx" in _FEATURES else 4


def has_lookup(vector_width: int) -> bool:
    """Return whether one instruction picks the floats of a vector out of two vectors."""
    return AVX512 and vector_width == 16

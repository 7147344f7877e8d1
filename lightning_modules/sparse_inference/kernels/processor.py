"""What the processor of this machine can do."""

from __future__ import annotations

from llvmlite import binding

NAME: str = binding.get_host_cpu_name()
FEATURES: str = binding.get_host_cpu_features().flatten()
_HAS = set(FEATURES.split(","))
AVX512 = "+avx512f" in _HAS


class UnfitTargetError(Exception):
    """There can be no kernels with the settings of numba; says why."""


def widest_vector() -> int:
    """Floats in the widest vectors: 16 with AVX-512, 8 with AVX, else 4."""
    return 16 if AVX512 else 8 if "+avx" in _HAS else 4


def looks_up(width: int) -> bool:
    """Whether one instruction picks the floats of a vector out of two."""
    return AVX512 and width == 16

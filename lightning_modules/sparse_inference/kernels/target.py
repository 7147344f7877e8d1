"""The processor for which numba compiles: that of this machine, unless settings name another."""

from __future__ import annotations

from llvmlite import binding
from numba.core import config
from numba.core.codegen import JITCPUCodegen

from .processor import UnfitTargetError, widest_vector

_SUM = """
define <16 x float> @sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
"""


def check_target(vector_width: int) -> None:
    """Make sure that LLVM can compile the kernels, as it ends the process where it cannot.

    Raises:
        UnfitTargetError: the vectors of the target are shorter than those that kernels of this width need on this
            machine, or longer than any that this machine has.
    """
    machine, target = widest_vector(), target_width()
    if min(vector_width, machine) <= target <= machine:
        return
    settings = ", ".join(f"NUMBA_{name}={getattr(config, name)}" for name in ("CPU_NAME", "CPU_FEATURES", "ENABLE_AVX"))
    raise UnfitTargetError(
        f"no kernels can be compiled, as vectors of this processor have {machine} floats, and those of the one that "
        f"the settings of numba name have {target} ({settings}): remove these settings"
    )


def target_width() -> int:
    """Return the number of floats in the widest vectors that LLVM uses: 16, 8 or 4."""
    code = JITCPUCodegen("sparse_inference")  # type: ignore[no-untyped-call]  # its parts live as long as it does
    assembly = code._tm.emit_assembly(binding.parse_assembly(_SUM))
    return 16 if "zmm" in assembly else 8 if "ymm" in assembly else 4

"""What a sparse network does in which layer."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class LayerReport:
    """A layer with weights.

    Args:
        layer: name of its weight.
        shape: of its weight.
        sparsity: share of zeros in it.
        ms_dense: milliseconds it takes with dense weights.
        ms_sparse: milliseconds it takes with sparse ones.
        chosen: "dense" or "sparse".
    """

    layer: str
    shape: tuple[int, ...]
    sparsity: float
    ms_dense: float
    ms_sparse: float
    chosen: str

    @property
    def cells(self) -> list[str]:
        size = " x ".join(map(str, self.shape))
        return [self.layer, size, f"{self.sparsity:.1%}", f"{self.ms_dense:.3f}", f"{self.ms_sparse:.3f}", self.chosen]


@dataclass(frozen=True)
class Report:
    """A table when it is printed.

    Args:
        input: shape of the images.
        threads: that share the work.
        layers: all with weights that run in kernels, in order.
        fallbacks: what runs in torch, and why.
    """

    input: tuple[int, ...]
    threads: int
    layers: tuple[LayerReport, ...]
    fallbacks: tuple[str, ...]

    def __str__(self) -> str:
        rows = [
            [field.name.replace("_", " ") for field in fields(LayerReport)],
            *(layer.cells for layer in self.layers),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"input {' x '.join(map(str, self.input))}, {self.threads} thread{'s' * (self.threads > 1)}"]
        for name, *numbers in rows if self.layers else []:
            cells = [name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]
            lines.append("  ".join(cells))
        return "\n".join([*lines, *(f"in torch: {reason}" for reason in self.fallbacks)])

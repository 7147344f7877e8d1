"""The report of a sparse network: what it does in which layer."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class LayerReport:
    """A layer with weights.

    Args:
        layer: the name of its weight.
        shape: the shape of its weight.
        sparsity: the share of zeros in its weight.
        ms_dense: the milliseconds that it takes with dense weights.
        ms_sparse: the milliseconds that it takes with sparse weights.
        chosen: what it takes, "dense" or "sparse" weights.
    """

    layer: str
    shape: tuple[int, ...]
    sparsity: float
    ms_dense: float
    ms_sparse: float
    chosen: str

    @property
    def cells(self) -> list[str]:
        """Return a row of the table."""
        size = " x ".join(map(str, self.shape))
        return [self.layer, size, f"{self.sparsity:.1%}", f"{self.ms_dense:.3f}", f"{self.ms_sparse:.3f}", self.chosen]


@dataclass(frozen=True)
class Report:
    """The report of a network for one shape of input; it prints as a table.

    Args:
        input: the shape of the images.
        threads: how many threads share the work.
        layers: all layers with weights that run in kernels, in order.
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

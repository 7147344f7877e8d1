"""What the benches of sparse inference find: timings of cases, and facts about networks."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_modules.sparse_inference.report import Report

from ...pages.inference_page import EAGER


@dataclass(frozen=True)
class Case:
    """A network at a sparsity, and the images it is given at once."""

    network: str
    sparsity: float
    batch: int = 1
    image: tuple[int, ...] = (3, 224, 224)


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the milliseconds of a call, and the largest difference from eager torch's outputs.

    The difference is divided by the largest output.
    """

    ms: float
    low: float
    high: float
    error: float


@dataclass
class Measured:
    """The results for a case: timings by name, why others are missing, and what SparseModel does layer by layer."""

    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    report: Report | None = None
    minutes: float = 0.0

    @property
    def eager(self) -> float:
        """Return the milliseconds of eager torch in the memory format in which it is faster."""
        return min(self.timings[name].ms for name in EAGER if name in self.timings)


@dataclass(frozen=True)
class Fact:
    """A number about a network that is not a latency."""

    network: str
    sparsity: float
    what: str
    value: float
    unit: str

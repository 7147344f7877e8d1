"""The callbacks that one puts into a Trainer: owners of masks with one method each, and of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import methods
from .methods import Method
from .owner import MaskOwner
from .parts.reservoir import ReservoirPart
from .signatures.arguments import arguments_of
from .sparsity import Masks


class SparseTraining(MaskOwner):
    """Train with a fixed random mask (static sparse training).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.SparseTraining`.

    Example:
        >>> pl.Trainer(callbacks=[SparseTraining(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.SparseTraining)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.SparseTraining(*args, **arguments))


class DynamicSparseTraining(MaskOwner):
    """Drop some weights of each layer and grow as many, every so many optimizer steps, by any pair of scores.

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.DynamicSparseTraining`.

    Example:
        >>> pl.Trainer(callbacks=[DynamicSparseTraining(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.DynamicSparseTraining)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.DynamicSparseTraining(*args, **arguments))


class SET(MaskOwner):
    """Drop the smallest magnitudes, grow at random (Mocanu et al. 2018).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.SET`.

    Example:
        >>> pl.Trainer(callbacks=[SET(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.SET)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.SET(*args, **arguments))


class RigL(MaskOwner):
    """Drop the smallest magnitudes, grow where the dense gradient is largest (Evci et al. 2020).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.RigL`.

    Example:
        >>> pl.Trainer(callbacks=[RigL(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.RigL)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.RigL(*args, **arguments))


class SNFS(MaskOwner):
    """Grow where the smoothed gradient is largest, in the layers that need it (Dettmers and Zettlemoyer 2019).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.SNFS`.

    Example:
        >>> pl.Trainer(callbacks=[SNFS(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.SNFS)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.SNFS(*args, **arguments))


class SRigL(MaskOwner):
    """Train with RigL at a constant fan-in: every neuron has as many inputs, or none (Lasby et al. 2024).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.SRigL`.

    Example:
        >>> pl.Trainer(callbacks=[SRigL(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.SRigL)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.SRigL(*args, **arguments))


class NM(MaskOwner):
    """Keep exactly ``n`` of every ``m`` consecutive inputs of a neuron active (Mishra et al. 2021).

    Args:
        n: the arguments, and their errors, are those of :class:`callbacks.methods.NM`.

    Example:
        >>> pl.Trainer(callbacks=[NM(2, 4)])  # doctest: +SKIP
    """

    @arguments_of(methods.NM)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.NM(*args, **arguments))


class TopKAST(MaskOwner):
    """Keep the largest weights active, and train those next in size behind the scenes (Jayakumar et al. 2020).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.TopKAST`.

    Example:
        >>> pl.Trainer(callbacks=[TopKAST(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.TopKAST)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.TopKAST(*args, **arguments))

    @property
    def reservoir(self) -> dict[str, Tensor]:
        """The values of inactive weights by parameter name, 0 at active ones; empty when exploring is over."""
        part = self.parts[0]
        return part.reservoir if isinstance(part, ReservoirPart) else {}

    @property
    def backward_masks(self) -> Masks:
        """The wider set of weights that the optimizer moves; True = trained."""
        part = self.parts[0]
        return Masks(part.trained) if isinstance(part, ReservoirPart) else self.masks


class GradualPruning(MaskOwner):
    """Start dense and prune, update by update, to the final sparsity (Zhu and Gupta 2017).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.GradualPruning`.

    Example:
        >>> pl.Trainer(callbacks=[GradualPruning(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.GradualPruning)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.GradualPruning(*args, **arguments))


class GraNet(MaskOwner):
    """Prune gradually, and let weights come back where the gradient is (Liu et al. 2021).

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.GraNet`.

    Example:
        >>> pl.Trainer(callbacks=[GraNet(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.GraNet)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.GraNet(*args, **arguments))


class PruneAtStart(MaskOwner):
    """Prune before the first step, then train with the mask fixed: SNIP, GraSP, SynFlow, magnitude.

    Args:
        sparsity: the arguments, and their errors, are those of :class:`callbacks.methods.PruneAtStart`.

    Example:
        >>> pl.Trainer(callbacks=[PruneAtStart(0.9)])  # doctest: +SKIP
    """

    @arguments_of(methods.PruneAtStart)
    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(methods.PruneAtStart(*args, **arguments))


class SparseGroups(MaskOwner):
    """Train parts of a network with methods, or sparsities, of their own.

    Each method plans, draws and updates the weights that its ``include`` and ``exclude`` select, as it would alone;
    what none selects stays dense. When updates replace steps, that of any method replaces the step of the whole
    optimizer. Methods with equal seeds draw equal numbers for weights of equal shape: give each a seed of its own.

    Args:
        methods: callbacks of this family, not in the Trainer's list themselves, or methods.

    Raises:
        ValueError: there is no method; in ``setup``, when two select the same weight; when resuming, for a checkpoint
            of other methods; and as the methods do.

    Example:
        >>> late = SET(0.8, include="*layer4*", seed=1)
        >>> SparseGroups([RigL(0.9, include="*layer3*"), late, SparseTraining(0.5, include="fc*", seed=2)]).masks
        Masks(0 weights, 0 entries, sparsity 0.0000)
    """

    def __init__(self, methods: Sequence[MaskOwner | Method]) -> None:
        super().__init__([method for given in methods for method in _methods_of(given)])


def _methods_of(given: MaskOwner | Method) -> list[Method]:
    """Return the methods of a callback, unless it does more than its methods say."""
    if isinstance(given, Method):
        return [given]
    if more := [name for name in vars(type(given)) if name.startswith("on_")]:
        raise ValueError(
            f"{type(given).__name__} works only alone: it relies on {', '.join(more)}, which groups do not call"
        )
    return [part.method for part in given.parts]

"""The curvature of a loss at the active weights: the Hessian, its products with vectors, its extreme eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..masks.randomness import generator_for

LossClosure = Callable[[], Tensor]
Progress = Callable[[int, int], None]  # called with how many second derivatives are done, of how many


def hessian(
    loss: LossClosure,
    parameters: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    *,
    max_gib: float = 2.0,
    progress: Progress | None = None,
) -> Tensor:
    """Return the exact Hessian at the active entries, float64 (n, n) on the CPU, by double backpropagation.

    n counts the active entries of masked parameters and all entries of the others, in the order of
    ``parameters``. Only these rows are computed, one at a time, in the parameters' own precision. A row is
    differentiated by its own and later parameters alone, and the rest follows by symmetry: with parameters in
    the order of the network this leaves the costly early layers out of most rows.

    Args:
        loss: computes the loss, one real number, from ``parameters``; called once.
        parameters: float32 or float64 tensors that require grad, by name.
        masks: bool masks of those that are sparse. None: all entries of all parameters, inactive ones too.
        max_gib: the most memory the matrix may take, n * n * 8 bytes; eigenvalues take about as much again.
        progress: called after every row with how many of how many are done.

    Raises:
        ValueError: the matrix would be larger than ``max_gib``; the loss or the Hessian is not finite; a mask
            does not fit; a parameter does not require grad or is of another type; nothing is active.

    Reference:
        Evci et al. 2022, released code: exact, over active weights and biases ("sparse") or over all with zero rows
        for masked weights ("dense"). Differs: without masks the curvature along inactive weights is measured.
        Their dense spectrum is the sparse one and a 0 for every masked weight.

    Example:
        >>> w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> hessian(lambda: (w**3).sum() + w[0] * w[2], {"w": w}, {"w": torch.tensor([True, False, True])})
        tensor([[ 6.,  1.],
                [ 1., 18.]], dtype=torch.float64)
    """
    active = active_entries(parameters, masks)
    size = sum(map(len, active.values()))
    needed = size**2 * 8 / 2**30
    if needed > max_gib:
        raise ValueError(
            f"the exact Hessian of {size:,} entries takes {needed:.3g} GiB, more than max_gib={max_gib}: use "
            "LanczosSpectrum, which needs only products, or a higher sparsity, or raise max_gib"
        )
    gradient = ActiveGradient(loss, parameters, active)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    start = 0
    for layer, (name, entries) in enumerate(active.items()):
        stop = start + len(entries)
        for row, entry in enumerate(entries.tolist(), start):
            matrix[row, start:] = gradient.row(layer, entry)
            if progress:
                progress(row + 1, size)
        if not matrix[start:stop].isfinite().all():
            raise ValueError(f"the second derivatives by {name!r} are not finite: {_DIVERGED}")
        block = matrix[start:stop, start:stop]
        block.copy_((block + block.T) / 2)
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T
        start = stop
    return matrix


def hessian_vector_product(
    loss: LossClosure, parameters: Mapping[str, Tensor], vector: Tensor, masks: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Return the product of :func:`hessian` and ``vector``, without the matrix.

    Args:
        loss: as in :func:`hessian`.
        parameters: as there.
        vector: (n,).
        masks: as there.

    Returns:
        float64 (n,) on the CPU.

    Raises:
        ValueError: ``vector`` is not of n entries; and as :func:`hessian`, but for the size.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> hessian_vector_product(lambda: (w**3).sum(), {"w": w}, torch.tensor([1.0, -1.0]))
        tensor([  6., -12.], dtype=torch.float64)
    """
    gradient = ActiveGradient(loss, parameters, active_entries(parameters, masks))
    if vector.shape != (gradient.size,):
        raise ValueError(f"vector is {tuple(vector.shape)}, but the Hessian has {gradient.size} active entries")
    return gradient.product(vector)


def lanczos_extremes(
    loss: LossClosure, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None, *, k: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the k smallest and k largest eigenvalues of :func:`hessian`, from its products with vectors.

    Args:
        loss: as in :func:`hessian`.
        parameters: as there.
        masks: as there.
        k: 1 or more, and below n / 2.

    Returns:
        Two float64 (k,) on the CPU, ascending, right to about 1e-5 of the largest magnitude.

    Raises:
        ValueError: ``k`` is out of range; and as :func:`hessian`, but for the size.
        RuntimeError: the iteration does not converge.

    Reference:
        Lehoucq, Sorensen, Yang: ARPACK Users' Guide, 1998.

    Example:
        >>> w = torch.arange(1.0, 6.0, requires_grad=True)
        >>> smallest, largest = lanczos_extremes(lambda: (w**3).sum(), {"w": w})
        >>> round(float(smallest), 3), round(float(largest), 3)
        (6.0, 30.0)
    """
    # imported here, because it takes a third of a second that nothing else needs
    try:
        from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('scipy is not installed: pip install "sparse-lightning[analysis]"') from error

    gradient = ActiveGradient(loss, parameters, active_entries(parameters, masks))
    size = gradient.size
    if not 1 <= k < size / 2:
        raise ValueError(f"k is {k}; it lies between 1 and half of the {size} active entries: for more use hessian")
    operator = LinearOperator(
        (size, size), matvec=lambda vector: gradient.product(torch.tensor(vector)).numpy(), dtype="float64"
    )
    start = torch.randn(size, generator=generator_for(size), dtype=torch.float64)
    if not gradient.product(start).any():  # the Hessian is 0, and ARPACK would raise an error
        return torch.zeros(k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
    try:
        values: Any = eigsh(operator, 2 * k, which="BE", v0=start.numpy(), tol=1e-6, return_eigenvectors=False)
    except ArpackError as error:
        raise RuntimeError(f"the extreme eigenvalues of {size} entries were not found: {error}") from error
    eigenvalues = torch.tensor(values).sort().values
    return eigenvalues[:k], eigenvalues[k:]


_DIVERGED = "the weights have diverged, or the loss has no curvature there"


def active_entries(parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the flat indices of the active entries of every parameter, on its device."""
    for name, mask in (masks or {}).items():
        if name not in parameters or mask.shape != parameters[name].shape or mask.dtype != torch.bool:
            raise ValueError(f"masks[{name!r}] {mask.dtype} {tuple(mask.shape)} is not a bool mask of a parameter")
    active = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad or parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"parameter {name!r} is {parameter.dtype}, requires_grad={parameter.requires_grad}; second derivatives "
                "are taken by float32 or float64 tensors that require grad"
            )
        everything = torch.arange(parameter.numel(), device=parameter.device)
        active[name] = everything[masks[name].flatten().to(parameter.device)] if masks and name in masks else everything
    if not any(map(len, active.values())):
        raise ValueError("no parameter has an active entry, so there is no Hessian")
    return active


class ActiveGradient:
    """The gradient of a loss with its graph, ready to be differentiated again."""

    def __init__(self, loss: LossClosure, parameters: Mapping[str, Tensor], active: Mapping[str, Tensor]) -> None:
        self.parameters = list(parameters.values())
        self.active = list(active.values())
        self.size = sum(map(len, self.active))
        with torch.enable_grad():
            value = loss()
            if value.numel() != 1 or not value.requires_grad:
                raise ValueError(
                    f"the loss is {tuple(value.shape)}, requires_grad={value.requires_grad}; it is one number that "
                    "depends on the parameters"
                )
            if not value.isfinite().all():
                raise ValueError(f"the loss is {value.item()}, so it has no curvature: the weights have diverged")
            self.gradients = torch.autograd.grad(
                value, self.parameters, create_graph=True, allow_unused=True, materialize_grads=True
            )

    def row(self, layer: int, entry: int) -> Tensor:
        """Return the second derivatives by one entry and the active ones of its own and later parameters."""
        direction = torch.zeros_like(self.gradients[layer], memory_format=torch.contiguous_format)
        direction.view(-1)[entry] = 1
        return self._derivative([self.gradients[layer]], [direction], layer)

    def product(self, vector: Tensor) -> Tensor:
        directions = []
        pieces = torch.split(vector, [len(entries) for entries in self.active])
        for parameter, entries, piece in zip(self.parameters, self.active, pieces, strict=True):
            direction = torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
            direction[entries] = piece.to(direction)
            directions.append(direction.view(parameter.shape))
        product = self._derivative(list(self.gradients), directions, 0)
        if not product.isfinite().all():
            raise ValueError(f"the product of the Hessian and a vector is not finite: {_DIVERGED}")
        return product

    def _derivative(self, gradients: list[Tensor], directions: list[Tensor], first: int) -> Tensor:
        """Return derivatives of gradients along directions, by the active entries of parameters from ``first`` on."""
        curved = [(g, d) for g, d in zip(gradients, directions, strict=True) if g.requires_grad]
        later = self.parameters[first:]
        columns: tuple[Tensor | None, ...] = (None,) * len(later)
        if curved:  # a linear loss has constant gradients
            outputs, along = zip(*curved, strict=True)
            columns = torch.autograd.grad(outputs, later, along, retain_graph=True, allow_unused=True)
        pieces = [
            torch.zeros(len(entries)) if column is None else column.detach().flatten()[entries].cpu()
            for column, entries in zip(columns, self.active[first:], strict=True)
        ]
        return torch.cat([piece.double() for piece in pieces])

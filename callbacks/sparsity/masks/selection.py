"""Selection: which parameters of a module are made sparse."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations
from torch.nn.utils.weight_norm import WeightNorm

# The layers whose matrices are sparse unless told otherwise; subclasses included.
WEIGHTED_LAYERS = (nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class SparseWeight:
    """A selected parameter and how its dimensions connect input units to output units.

    Args:
        parameter: the weight itself.
        transposed: dimension 0 holds the inputs (transposed convolutions).
        groups: number of channel groups.
    """

    parameter: nn.Parameter
    transposed: bool = False
    groups: int = 1

    @property
    def neurons(self) -> int:
        """The number of output units."""
        return self.parameter.shape[1] * self.groups if self.transposed else self.parameter.shape[0]

    @property
    def inputs(self) -> int:
        """The number of connections into an output unit, kernel taps counted one by one."""
        return self.parameter.numel() // self.neurons

    def by_unit(self, tensor: Tensor) -> Tensor:
        """View a tensor of the weight's shape as (group, output unit, input unit, kernel tap)."""
        if self.transposed:  # the tensor's dimensions are (input unit, output unit of its group, kernel)
            shape = (self.groups, tensor.shape[0] // self.groups, tensor.shape[1], -1)
            return tensor.reshape(shape).transpose(1, 2)
        return tensor.reshape(self.groups, tensor.shape[0] // self.groups, tensor.shape[1], -1)

    def by_neuron(self, tensor: Tensor) -> Tensor:
        """Return a tensor of the weight's shape as (output unit, connection), the input units of a kernel tap in a row.

        Connection ``tap * inputs + input``: for a linear layer the weight itself, for a convolution the order in
        which matrix kernels sum, that of a weight laid out channels last.
        """
        return self.by_unit(tensor).transpose(2, 3).flatten(2).flatten(0, 1)

    def from_neurons(self, rows: Tensor) -> Tensor:
        """Return a tensor of the weight's shape from what :meth:`by_neuron` gave."""
        tensor = rows.new_empty(self.parameter.shape)
        by_tap = self.by_unit(tensor).transpose(2, 3)  # a view of the tensor
        by_tap.copy_(rows.view(by_tap.shape))
        return tensor


def select(
    module: nn.Module, include: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()
) -> dict[str, SparseWeight]:
    """Return the parameters to make sparse, by name, in the order of ``module.named_parameters()``.

    A pattern is a shell-style glob on the parameter's name (``"network.fc*"``) or on the class of the
    layer that owns it (``"Conv2d"``). Left dense by default, whatever a glob matches: biases, norms,
    embeddings, depth-wise convolutions, frozen parameters, and parameters of layers that are not linear,
    convolutional, recurrent or attention. To make one of those sparse that has two or more dimensions, include
    its exact name.
    A tensor shared by two layers is taken once, under its first name.

    A weight that a parametrization computes would stay dense, as what is zero in its parameters need not be zero in
    it; it is refused until it is excluded, or the exact name of its parameter is included. ``weight_norm`` is
    refused in any case: it divides by the norm of a row, which must not become 0. Under the hook
    ``torch.nn.utils.spectral_norm`` ``weight_orig`` is taken, whose zeros are the weight's.

    Raises:
        ValueError: a pattern matches nothing; nothing is selected; a name asks for a parameter of
            fewer than two dimensions; a parameter has no shape yet (lazy layers); a selected weight is computed
            from parameters by a parametrization or ``weight_norm``.

    Example:
        >>> list(select(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)), exclude=["2.*"]))
        ['0.weight']
    """
    include = [include] if isinstance(include, str) else include
    exclude = [exclude] if isinstance(exclude, str) else exclude
    owned = list(_owned_parameters(module))
    for argument, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not any(_matches(pattern, name, owner) for name, owner, _ in owned):
                names = ", ".join(name for name, _, _ in owned[:8])
                raise ValueError(
                    f"{argument} pattern {pattern!r} matches no parameter name and no layer class of "
                    f"{type(module).__name__}; its parameters are {names}{', ...' if len(owned) > 8 else ''}"
                )
    chosen = [
        (name, owner, parameter)
        for name, owner, parameter in owned
        if (name in include or not _dense_by_default(name, owner, parameter))
        and any(_matches(pattern, name, owner) for pattern in include)
        and not any(_matches(pattern, name, owner) for pattern in exclude)
    ]
    for name, owner, _ in chosen:
        _refuse_computed(module, name, owner, by_name=name in include)
    selected = {name: _sparse_weight(name, owner, parameter) for name, owner, parameter in chosen}
    if not selected:
        raise ValueError(
            f"include={list(include)} and exclude={list(exclude)} leave nothing to make sparse in "
            f"{type(module).__name__}: biases, norms, embeddings, depth-wise convolutions and frozen or "
            "unknown parameters are taken only by their exact name, if at all"
        )
    return selected


def _owned_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Yield the name, the layer and the parameter, each parameter once; a parametrization is part of its layer."""
    for name, parameter in module.named_parameters():
        holder = name.rpartition(".")[0]
        owner = module.get_submodule(holder)
        if isinstance(owner, ParametrizationList):
            owner = module.get_submodule(holder.rpartition("parametrizations.")[0].rstrip("."))
        yield name, owner, parameter


def _matches(pattern: str, name: str, owner: nn.Module) -> bool:
    layer = type_before_parametrizations(owner).__name__
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(layer, pattern)


def _refuse_computed(module: nn.Module, name: str, owner: nn.Module, *, by_name: bool) -> None:
    """Refuse a parameter whose zeros are not those of the weight that is computed from it.

    Raises:
        ValueError: it is one; says how to train without it.
    """
    holder, _, own = name.rpartition(".")
    for hook in owner._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and own in (f"{hook.name}_g", f"{hook.name}_v"):
            raise ValueError(
                f"{name!r} is a part of a weight under weight_norm, which divides by the norm of each row, so that a "
                f"row without active entries is not a number: leave such weights dense with exclude='*{hook.name}_[gv]'"
                ", or make them ordinary ones with torch.nn.utils.remove_weight_norm"
            )
    steps = module.get_submodule(holder)
    if not isinstance(steps, ParametrizationList):
        return
    norm = any(isinstance(step, _WeightNorm) for step in steps)
    if norm or not by_name:
        cause = (
            "weight_norm divides by the norm of each row, so that a row without active entries is not a number"
            if norm
            else "zeros in it need not be zeros in the weight; where they are, include its exact name"
        )
        raise ValueError(
            f"{name!r} is what a parametrization computes a weight from, and {cause}: leave such weights dense with "
            f"exclude='*parametrizations.{holder.rpartition('.')[2]}.*', or make them ordinary ones with "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )


def _dense_by_default(name: str, owner: nn.Module, parameter: nn.Parameter) -> bool:
    if isinstance(parameter, nn.UninitializedParameter):
        return not isinstance(owner, WEIGHTED_LAYERS)
    if parameter.dim() < 2 or not parameter.requires_grad or not isinstance(owner, WEIGHTED_LAYERS):
        return True
    if name.rpartition(".")[2].startswith("bias"):  # attention's bias_k has three dimensions
        return True
    # a depth-wise convolution connects each output to a single input channel
    return isinstance(owner, _ConvNd) and owner.groups > 1 and owner.groups == owner.in_channels


def _sparse_weight(name: str, owner: nn.Module, parameter: nn.Parameter) -> SparseWeight:
    if isinstance(parameter, nn.UninitializedParameter):
        raise ValueError(f"{name!r} has no shape yet: run one forward through the lazy layers before the fit")
    if parameter.dim() < 2:
        raise ValueError(
            f"{name!r} has shape {tuple(parameter.shape)}; only weights of two or more dimensions can be sparse"
        )
    if not torch.is_floating_point(parameter):
        raise ValueError(f"{name!r} is {parameter.dtype}; only real floating-point weights can be sparse")
    if isinstance(owner, _ConvNd):
        return SparseWeight(parameter, isinstance(owner, _ConvTransposeNd), owner.groups)
    return SparseWeight(parameter)

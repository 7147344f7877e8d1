"""Selection: which parameters of a module are made sparse."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
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
        """Number of output units."""
        return self.parameter.shape[1] * self.groups if self.transposed else self.parameter.shape[0]

    @property
    def inputs(self) -> int:
        """Connections into an output unit, kernel taps one by one."""
        return self.parameter.numel() // self.neurons

    def by_unit(self, tensor: Tensor) -> Tensor:
        """View a tensor of the weight's shape as (group, output unit, input unit, kernel tap)."""
        if self.transposed:  # (input unit, output unit of its group, kernel)
            shape = (self.groups, tensor.shape[0] // self.groups, tensor.shape[1], -1)
            return tensor.reshape(shape).transpose(1, 2)
        return tensor.reshape(self.groups, tensor.shape[0] // self.groups, tensor.shape[1], -1)

    def by_neuron(self, tensor: Tensor) -> Tensor:
        """A tensor of the weight's shape as (output unit, connection), the input units of a kernel tap in a row.

        Connection ``tap * inputs + input``: for a linear layer the weight itself, for a convolution the order in
        which matrix kernels sum, that of a weight laid out channels last.
        """
        return self.by_unit(tensor).transpose(2, 3).flatten(2).flatten(0, 1)

    def from_neurons(self, rows: Tensor) -> Tensor:
        """The inverse of :meth:`by_neuron`."""
        tensor = rows.new_empty(self.parameter.shape)
        by_tap = self.by_unit(tensor).transpose(2, 3)  # a view
        by_tap.copy_(rows.view(by_tap.shape))
        return tensor


def select(
    module: nn.Module, include: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()
) -> dict[str, SparseWeight]:
    """The parameters to make sparse, by name, in the order of ``module.named_parameters()``.

    A pattern is a shell-style glob on the parameter's name (``"network.fc*"``) or on the class of the
    layer that owns it (``"Conv2d"``). Left dense by default, whatever a glob matches: biases, norms,
    embeddings, depth-wise convolutions, frozen parameters, and parameters of layers that are not linear,
    convolutional, recurrent or attention. To make one of those sparse that has two or more dimensions, include
    its exact name.
    A tensor shared by two layers is taken once, under its first name.

    A weight that a layer computes from other parameters (``weight_norm``, and whatever ``torch.nn.utils.parametrize``
    does) is refused: zeros in those parameters are no zeros of the weight, or make it NaN.

    Raises:
        ValueError: a pattern matches nothing; nothing is selected; a name asks for a parameter of
            fewer than two dimensions; a parameter has no shape yet (lazy layers); patterns match a weight that is
            computed from others.

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
    asked = [
        (name, owner, parameter)
        for name, owner, parameter in owned
        if any(_matches(pattern, name, owner) for pattern in include)
        and not any(_matches(pattern, name, owner) for pattern in exclude)
    ]
    for name, owner, _ in asked:
        _check_not_computed(module, name, owner)
    selected = {
        name: _sparse_weight(name, owner, parameter)
        for name, owner, parameter in asked
        if name in include or not _dense_by_default(name, owner, parameter)
    }
    if not selected:
        raise ValueError(
            f"include={list(include)} and exclude={list(exclude)} leave nothing to make sparse in "
            f"{type(module).__name__}: biases, norms, embeddings, depth-wise convolutions and frozen or "
            "unknown parameters are taken only by their exact name, if at all"
        )
    return selected


def _owned_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """(name, owning layer, parameter), each parameter once."""
    for name, parameter in module.named_parameters():
        yield name, module.get_submodule(name.rpartition(".")[0]), parameter


def _matches(pattern: str, name: str, owner: nn.Module) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(type(owner).__name__, pattern)


def _check_not_computed(module: nn.Module, name: str, owner: nn.Module) -> None:
    """Refuse a parameter from which a layer computes its weight.

    Raises:
        ValueError: it is one.
    """
    for hook in owner._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and name.rpartition(".")[2] in (f"{hook.name}_g", f"{hook.name}_v"):
            raise ValueError(
                f"{name!r} is a part of weight_norm, which divides by the norms of the weight's rows: a row of zeros "
                "would be NaN. Remove it with torch.nn.utils.remove_weight_norm(layer), or leave the layer dense with "
                f"exclude={name.rpartition('.')[0] + '.*'!r}"
            )
    layer, parametrized, rest = name.partition(".parametrizations.")
    if parametrized and isinstance(module.get_submodule(layer), WEIGHTED_LAYERS):
        computed = rest.partition(".")[0]
        raise ValueError(
            f"{layer + '.' + computed!r} is computed from {name!r} (torch.nn.utils.parametrize), whose zeros would not "
            f"be zeros of the weight. Remove it with torch.nn.utils.parametrize.remove_parametrizations(layer, "
            f"{computed!r}), or leave the layer dense with exclude={layer + '.*'!r}"
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

"""Selection: which parameters of a module are made sparse."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations
from torch.nn.utils.weight_norm import WeightNorm

from .sparse_weight import SparseWeight

# The layers whose matrices are sparse unless told otherwise; subclasses included.
WEIGHTED_LAYERS = (nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
# Their parameters that multiply the input, also as spectral_norm and parametrizations name them.
MATRIX_OF_A_LAYER = re.compile(
    r"original\d*|(weight|in_proj_weight|[qkv]_proj_weight|weight_(ih|hh|hr)(_l\d+(_reverse)?)?)(_orig|_[gv])?"
)
DENSE_LAYERS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class _Owned:
    """A parameter of a module, with all names that it has there and the layers that own it under them."""

    parameter: nn.Parameter
    names: tuple[str, ...] = ()
    owners: tuple[nn.Module, ...] = ()

    def matches(self, pattern: str) -> bool:
        """Return whether a pattern matches one of the names, or the class of one of the layers."""
        layers = [type_before_parametrizations(owner).__name__ for owner in self.owners]
        return any(fnmatch.fnmatchcase(name, pattern) for name in (*self.names, *layers))


def select(
    module: nn.Module,
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    *,
    transposed: str | Sequence[str] = (),
) -> dict[str, SparseWeight]:
    """Return the parameters to make sparse, by name, in the order of ``module.named_parameters()``.

    A pattern is a shell-style glob on the parameter's name (``"network.fc*"``) or on the class of the
    layer that owns it (``"Conv2d"``). Of linear, convolutional, recurrent and attention layers, and of the ``Conv1D``
    of transformers, the matrices that multiply the input are taken, unless the convolution is depth-wise. Matrices of
    other layers are taken when a pattern other than ``"*"`` matches their name or class; a parameter with a first
    dimension of 1, such as a position embedding, is none of them. Left dense, whatever a glob matches, are biases,
    norms, embeddings, frozen, complex and empty parameters. To make one of those sparse that has two or more
    dimensions, include its exact name.

    A tensor with several names, as of tied layers, is taken once, under its first name. A pattern that matches any of
    its names is for the tensor, and a tensor that is an embedding too is left dense.

    A weight that a parametrization computes would stay dense, as what is zero in its parameters need not be zero in
    it; it is refused until it is excluded, or the exact name of its parameter is included. ``weight_norm`` is
    refused in any case: it divides by the norm of a row, which must not become 0. Under the hook
    ``torch.nn.utils.spectral_norm`` ``weight_orig`` is taken, whose zeros are the weight's.

    Args:
        module: any module.
        include: patterns of what to make sparse.
        exclude: patterns of what to leave dense.
        transposed: patterns of layers of other libraries whose dimension 0 holds the inputs.

    Raises:
        ValueError: a pattern matches nothing; nothing is selected; a name asks for a parameter of
            fewer than two dimensions; a parameter has no shape yet (lazy layers); a selected weight is computed
            from parameters by a parametrization or ``weight_norm``, or has sparse gradients.

    Example:
        >>> list(select(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)), exclude=["2.*"]))
        ['0.weight']
    """
    include, exclude, transposed = (
        [patterns] if isinstance(patterns, str) else list(patterns) for patterns in (include, exclude, transposed)
    )
    owned = _owned_parameters(module)
    for argument, patterns in (("include", include), ("exclude", exclude), ("transposed", transposed)):
        for pattern in patterns:
            if not any(one.matches(pattern) for one in owned):
                names = ", ".join(one.names[0] for one in owned[:8])
                raise ValueError(
                    f"{argument} pattern {pattern!r} matches no parameter name and no layer class of "
                    f"{type(module).__name__}; its parameters are {names}{', ...' if len(owned) > 8 else ''}"
                )
    selected = {}
    for one in _chosen(owned, include, exclude, frozen=False):
        for name, owner in zip(one.names, one.owners, strict=True):
            _refuse_computed(module, name, owner, by_name=name in include)
        selected[one.names[0]] = _sparse_weight(one, turned=any(map(one.matches, transposed)))
    if not selected:
        frozen = [name for name, matrix in matrices(module).items() if not matrix.requires_grad]
        raise ValueError(
            f"include={include} and exclude={exclude} leave nothing to make sparse in "
            f"{type(module).__name__}: biases, norms, embeddings, depth-wise convolutions and frozen or "
            "unknown parameters are taken only by their exact name, if at all"
            + (f". Frozen are {', '.join(frozen[:4])}{', ...' if len(frozen) > 4 else ''}" if frozen else "")
        )
    return selected


def selected_later(module: nn.Module, include: str | Sequence[str], exclude: str | Sequence[str]) -> list[str]:
    """Return the names of what :func:`select` leaves dense only because it is frozen.

    Example:
        >>> selected_later(nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.Linear(3, 2)), "*", ())
        ['0.weight']
    """
    include, exclude = ([patterns] if isinstance(patterns, str) else list(patterns) for patterns in (include, exclude))
    owned = _owned_parameters(module)
    now, later = ([one.names[0] for one in _chosen(owned, include, exclude, frozen=f)] for f in (False, True))
    return [name for name in later if name not in now]


def _chosen(owned: Sequence[_Owned], include: list[str], exclude: list[str], *, frozen: bool) -> list[_Owned]:
    """Return what patterns choose; with ``frozen`` as if nothing were frozen."""
    return [
        one
        for one in owned
        if (set(one.names) & set(include) or not _dense_by_default(one, include, frozen=frozen))
        and any(map(one.matches, include))
        and not any(map(one.matches, exclude))
    ]


def matrices(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return all parameters of two or more dimensions that multiply something, by their first name.

    Those with a first dimension of 1, which are added to a batch, and empty ones are none.

    Example:
        >>> list(matrices(nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 3))))
        ['0.weight', '2.weight']
    """
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if not isinstance(parameter, nn.UninitializedParameter)
        and parameter.dim() > 1
        and parameter.shape[0] > 1
        and parameter.numel()
        and not _is_bias(name)
    }


def _owned_parameters(module: nn.Module) -> list[_Owned]:
    """Return the parameters, each once; those of a parametrized weight belong to the layer itself."""
    owned: dict[int, _Owned] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        holder = name.rpartition(".")[0]
        owner = module.get_submodule(holder)
        if isinstance(owner, ParametrizationList):
            owner = module.get_submodule(holder.rpartition("parametrizations.")[0].rstrip("."))
        before = owned.get(id(parameter), _Owned(parameter))
        owned[id(parameter)] = _Owned(parameter, (*before.names, name), (*before.owners, owner))
    return list(owned.values())


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


def _dense_by_default(one: _Owned, include: Sequence[str], *, frozen: bool) -> bool:
    """Return whether a parameter stays dense unless its exact name is included."""
    if not (one.parameter.requires_grad or frozen or isinstance(one.parameter, nn.UninitializedParameter)):
        return True
    return any(_dense_as(name, owner, one, include) for name, owner in zip(one.names, one.owners, strict=True))


def _dense_as(name: str, owner: nn.Module, one: _Owned, include: Sequence[str]) -> bool:
    """Return whether a parameter stays dense for what it is under one of its names."""
    parameter = one.parameter
    if isinstance(parameter, nn.UninitializedParameter):
        return not isinstance(owner, WEIGHTED_LAYERS)
    if parameter.dim() < 2 or not parameter.numel() or parameter.is_complex():
        return True
    if _is_bias(name) or isinstance(owner, DENSE_LAYERS):  # attention's bias_k has three dimensions
        return True
    if isinstance(owner, WEIGHTED_LAYERS):
        # a depth-wise convolution connects each output to a single input channel
        alone = isinstance(owner, _ConvNd) and owner.groups > 1 and owner.groups == owner.in_channels
        return alone or not MATRIX_OF_A_LAYER.fullmatch(name.rpartition(".")[2])
    if _is_conv1d(owner):
        return False
    return parameter.shape[0] == 1 or not any(one.matches(pattern) for pattern in include if pattern.strip("*"))


def _is_bias(name: str) -> bool:
    return name.endswith("bias") or name.rpartition(".")[2].startswith("bias")


def _is_conv1d(owner: nn.Module) -> bool:
    """Return whether a layer is the ``Conv1D`` of transformers, a linear layer with a weight of (inputs, outputs)."""
    kinds = type(owner).__mro__
    return any(kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.") for kind in kinds)


def _sparse_weight(one: _Owned, *, turned: bool) -> SparseWeight:
    name, owner, parameter = one.names[0], one.owners[0], one.parameter
    if isinstance(parameter, nn.UninitializedParameter):
        raise ValueError(f"{name!r} has no shape yet: run one forward through the lazy layers before the fit")
    if parameter.dim() < 2:
        raise ValueError(
            f"{name!r} has shape {tuple(parameter.shape)}; only weights of two or more dimensions can be sparse"
        )
    if not torch.is_floating_point(parameter):
        raise ValueError(f"{name!r} is {parameter.dtype}; only real floating-point weights can be sparse")
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)) and owner.sparse:
        raise ValueError(
            f"{name!r} has gradients that are sparse tensors, without an entry for most weights: make the layer with "
            "sparse=False, or leave it out of include"
        )
    if isinstance(owner, _ConvNd):
        return SparseWeight(parameter, isinstance(owner, _ConvTransposeNd), owner.groups)
    return SparseWeight(parameter, transposed=turned or _is_conv1d(owner))

"""SparseWeight: how the dimensions of a weight connect units to units."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


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

"""What an optimizer really does, seen from around its ``step``. Plain torch."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

# Optimizers that leave a weight at 0 while its gradient and state are 0. After a step of any other, which may
# mix entries, the masks are applied again.
ENTRYWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
)

Closure = Callable[[], Any]


class _LeftOutError(Exception):
    """Leads out of a step that changes nothing, with what its closure returned."""


class OptimizerSteps:
    """The steps of one optimizer: when one begins, whether it is a new one, and one that is left out.

    An optimizer may call its closure several times in a step, as SAM does, and each time gradients are complete
    again. And a step can be left out whatever the optimizer: the exception that leads out of it passes through the
    optimizer before that has changed anything, so that weights, their gradients, momentum and counters stay.

    Args:
        optimizer: its ``step`` is wrapped until :meth:`release`.
        before: is called with the closure before a step that has one, and returns whether the optimizer may move
            weights before it calls the closure. Such a step can not be left out.

    Attributes:
        optimizer: the optimizer.
        left_out: the step that is under way, or the next one, is to change nothing.
        moved: the optimizer may have moved weights in the step that is under way, before its closure.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> sgd = torch.optim.SGD([weight], lr=0.1)
        >>> steps = OptimizerSteps(sgd)
        >>> weight.grad, steps.left_out = torch.ones(2), True
        >>> sgd.step(), weight.tolist()
        (None, [1.0, 1.0])
        >>> sgd.step(), weight.mul(10).round().tolist()
        (None, [9.0, 9.0])
    """

    def __init__(self, optimizer: Optimizer, before: Callable[[Closure], bool] | None = None) -> None:
        self.optimizer = optimizer
        self._before = before
        self.left_out = self.moved = False
        self._under_way = False
        self._complete = False  # gradients were complete before in the step that is under way
        self._own = "step" in vars(optimizer)  # a scheduler has wrapped it too
        self._step: Callable[..., Any] = optimizer.step

        @functools.wraps(optimizer.step)
        def step(_: Optimizer, *args: Any, **arguments: Any) -> Any:
            return self._watch(*args, **arguments)

        self._watched = types.MethodType(step, optimizer)  # schedulers want a method
        optimizer.step = self._watched  # type: ignore[method-assign]

    def begins(self) -> bool:
        """Return, when gradients are complete, whether that is for the first time in a step."""
        again, self._complete = self._complete, self._under_way
        if not again:
            self.left_out = False  # of a step that a gradient scaler left out itself
        return not again

    def _watch(self, closure: Closure | None = None, *args: Any, **arguments: Any) -> Any:
        if closure is None:
            left_out, self.left_out = self.left_out, False
            return None if left_out else self._step(*args, **arguments)

        def closure_or_out() -> Any:
            result = closure()
            if self.left_out and not self.moved:
                raise _LeftOutError(result)
            return result

        self._under_way, self._complete = True, False
        self.moved = self._before is not None and self._before(closure)
        try:
            return self._step(closure_or_out, *args, **arguments)
        except _LeftOutError as out:
            return out.args[0]
        finally:
            self._under_way = self.left_out = self.moved = False

    def release(self) -> None:
        """Leave the optimizer as it was, unless somebody else has wrapped its ``step`` since."""
        if vars(self.optimizer).get("step") is self._watched:
            if self._own:
                self.optimizer.step = self._step  # type: ignore[method-assign]
            else:
                del self.optimizer.step


def lr_ratio_of(optimizer: Optimizer, held: Mapping[str, nn.Parameter], weights: Mapping[str, nn.Parameter]) -> float:
    """Return the learning rate of the first of ``weights`` that the optimizer has ``held``, over its highest.

    The highest is that of a one-cycle schedule, or else the initial one.
    """
    first = next(filter(held.__contains__, weights))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter is held[first]:
                lr = float(group.get("lr", 1.0))  # not every optimizer has one
                highest = float(group.get("max_lr", group.get("initial_lr", lr)))
                return min(lr / highest, 1.0) if highest else 1.0
    raise ValueError(f"the optimizer does not hold {first!r}")


def optimizers_within(optimizer: Optimizer) -> Iterator[Optimizer]:
    """Yield an optimizer and those that it holds, such as the one a Lookahead or SAM lets step.

    Example:
        >>> import torch
        >>> outer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
        >>> outer.inner = torch.optim.Adam(outer.param_groups)
        >>> [type(optimizer).__name__ for optimizer in optimizers_within(outer)]
        ['SGD', 'Adam']
    """
    seen: list[Optimizer] = []
    waiting = [optimizer]
    while waiting:
        one = waiting.pop(0)
        if all(one is not other for other in seen):
            seen.append(one)
            yield one
            waiting += [value for value in vars(one).values() if isinstance(value, Optimizer)]

"""The trace of a network: what it does with an image, as a list of calls into torch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class UntraceableError(Exception):
    """The error of a network that does what a list of calls cannot repeat; it says what and where."""


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the image, by its number in a :class:`Trace`."""

    number: int


@dataclass(frozen=True)
class Call:
    """A call of one operator of torch: ``arguments`` and ``keywords`` hold Values, and constants as they are."""

    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> list[Value]:
        """Return the tensors among the arguments that depend on the image."""
        return leaves(Value, (self.arguments, self.keywords))


@dataclass
class Trace:
    """The calls of a network in order.

    Attributes:
        calls: the calls.
        shapes: the shapes of all values, by number; the image is value 0.
        dtypes: the types of all values, by number.
        result: what the network returned, with Values for tensors.
    """

    calls: list[Call] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[torch.dtype] = field(default_factory=list)
    result: Any = None


@torch.no_grad()
def trace(module: nn.Module, image: Tensor) -> Trace:
    """Run a network once and write down what it does with the image; all else is constant.

    Control flow is followed as it goes for this image's shape.

    Raises:
        UntraceableError: the network looks at the image's values, draws random numbers, changes itself, or returns
            something other than tensors in tuples, lists and dictionaries.
    """
    recorder = _Recorder(image)
    with recorder:
        result = module(image)
    recorder.trace.result = replace(result, Tensor, recorder.read)
    if any(not isinstance(leaf, Value) for leaf in leaves(object, recorder.trace.result)):
        raise UntraceableError(f"it returns a {type(result).__name__} of other things than tensors made of the image")
    return recorder.trace


def replace(tree: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """Return the same tuples, lists and dictionaries with all leaves of a type replaced."""
    if isinstance(tree, kind):
        return by(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(replace(branch, kind, by) for branch in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(replace(branch, kind, by) for branch in tree)
    if isinstance(tree, dict):
        return {key: replace(branch, kind, by) for key, branch in tree.items()}
    return tree


def leaves(kind: type, tree: Any) -> list[Any]:
    """Return all leaves of a type in tuples, lists and dictionaries, in order."""
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in leaves(kind, branch)]
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(kind, branch)]
    return [tree] if isinstance(tree, kind) else []


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode that writes down all calls into torch while it is on.

    Attributes:
        trace: what has been written down.
        values: the value of each tensor, by its id; None where the tensor was changed through another one.
        tensors: all of these tensors, which are kept so that no id comes twice.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.values: dict[int, Value | None] = {}
        self.tensors: list[Tensor] = []
        self.add_value(image)

    def add_value(self, tensor: Tensor) -> Value:
        """Give a tensor the next number."""
        value = Value(len(self.trace.shapes))
        self.values[id(tensor)] = value
        self.tensors.append(tensor)
        self.trace.shapes.append(tuple(tensor.shape))
        self.trace.dtypes.append(tensor.dtype)
        return value

    def read(self, tensor: Tensor) -> Value | Tensor:
        """Return the value of a tensor; the tensor itself if it does not depend on the image."""
        value = self.values.get(id(tensor), tensor)
        if value is None:
            raise UntraceableError(f"a tensor is used after a view of it was changed in place, at {_calling_line()}")
        return value

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments, keywords = replace(args, Tensor, self.read), replace(kwargs or {}, Tensor, self.read)
        changed = _written(function, args)
        known = [id(tensor) in self.values for tensor in changed]
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise UntraceableError(f"{function} draws random numbers, at {_calling_line()}")
        if torch.Tag.dynamic_output_shape in function.tags and _image_decides_shape(function, args, arguments):
            raise UntraceableError(f"a shape depends on the image's values ({function}), at {_calling_line()}")
        result = function(*args, **(kwargs or {}))
        if not leaves(Value, (arguments, keywords)):
            return result
        if not all(known):
            raise UntraceableError(f"{function} changes what is kept between calls, at {_calling_line()}")
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        if not all(isinstance(output, Tensor) for output in outputs):
            raise UntraceableError(f"what comes next depends on a value ({function}), at {_calling_line()}")
        for tensor in changed:
            storage = tensor.untyped_storage().data_ptr()
            for other in self.tensors:
                if other is not tensor and other.untyped_storage().data_ptr() == storage:
                    self.values[id(other)] = None
        self.trace.calls.append(Call(function, arguments, keywords, tuple(map(self.add_value, outputs))))
        return result


def _image_decides_shape(function: Any, args: Sequence[Any], arguments: Any) -> bool:
    """Return whether the image decides how many entries come out.

    Indices are as many for every image; how many entries a mask selects depends on the image.
    """
    if function.overloadpacket is not torch.ops.aten.index:
        return bool(leaves(Value, arguments))
    pairs = zip(args[1], arguments[1], strict=True)
    return any(isinstance(value, Value) and tensor.dtype in (torch.bool, torch.uint8) for tensor, value in pairs)


def _written(function: Any, args: Sequence[Any]) -> list[Tensor]:
    """Return the arguments that an operator writes to."""
    schema = function._schema.arguments
    return [
        a
        for a, s in zip(args, schema, strict=False)
        if s.alias_info and s.alias_info.is_write and isinstance(a, Tensor)
    ]


def _calling_line() -> str:
    """Return file and line of the innermost call that is neither in this file nor in torch."""
    inside = (str(Path(torch.__file__).parent), __file__)
    frames = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(inside)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"

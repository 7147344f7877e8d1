"""What an object was given, as text that is equal in every process that gave it the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from .sparsity import RENAMED, Masks


def described(value: object) -> str:
    """What ``repr`` says, but nothing of devices, addresses in memory and the order of sets."""
    match value:
        case Masks():
            return str(value.digest())
        case Tensor():
            return f"Tensor({tuple(value.shape)}, {value.dtype}, {_digest(value)})"
        case torch.device():
            return f"device(type={value.type!r})"
        case nn.Module():
            return f"{type(value).__qualname__}()"
        case MethodType():
            return f"<bound method {value.__qualname__} of {described(value.__self__)}>"
        case partial():
            given = [*map(described, (value.func, *value.args)), *filter(None, [_listed(value.keywords)])]
            return f"functools.partial({', '.join(given)})"
        case Mapping():
            return f"{{{', '.join(f'{described(key)}: {described(item)}' for key, item in value.items())}}}"
        case Set():
            return f"{{{', '.join(sorted(map(described, value)))}}}"
        case list():
            return f"[{', '.join(map(described, value))}]"
        case tuple():
            return f"({', '.join(map(described, value))}{',' if len(value) == 1 else ''})"
    if is_dataclass(value) and not isinstance(value, type):
        shown = {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
        for field in fields(value):
            if "added" in field.metadata and shown[field.name] == field.default:
                del shown[field.name]
        return f"{type(value).__qualname__}({_listed(shown)})"
    return re.sub(r" at 0x[0-9a-fA-F]+|(?<=cuda):\d+", "", repr(value))


def settings(owner: Any) -> str:
    """Return what a MaskOwner was given: the call that makes it, or its only method where both have one name."""
    name, given = type(owner).__name__, [described(part.method) for part in owner.parts]
    given += [f"{argument}={described(getattr(owner, argument))}" for argument in owner.shown_arguments]
    return given[0] if len(given) == 1 and given[0].startswith(f"{name}(") else f"{name}({', '.join(given)})"


def rewritten(settings: str) -> str:
    """Return settings that an earlier release may have described as this one describes them.

    Settings that this release described stay equal exactly when they were, so that both sides of a comparison are
    rewritten.
    """
    text = re.sub(r"\w+(?=\()", lambda name: RENAMED.get(name[0], name[0]), settings)
    text = re.sub(r"\bstart=(?=\w+\()", "first_score=", text)  # of NM
    text = re.sub(r"\b(start|stop)=(\d+)(?:\.0)?(?=[,)])", _time, text)
    text = re.sub(r"\bSparseGroups\(\[(.*)\]\)", r"SparseGroups(\1)", text)
    return re.sub(r"(, drop=.*?)(, update_replaces_step=\w+)(, gradient_steps=\d+)", r"\3\2\1", text)


def _time(found: re.Match[str]) -> str:
    """Return a time as it is today: 0 and 1 are fractions of a run, what is above counts its steps."""
    return f"{found[1]}={found[2] if int(found[2]) > 1 else float(found[2])}"


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={described(value)}" for name, value in values.items())


def _digest(tensor: Tensor) -> str:
    content = tensor.detach().cpu().flatten().contiguous().view(torch.uint8)
    return hashlib.blake2b(content.numpy().data, digest_size=8).hexdigest()

"""Constructors that take the arguments of a method: for type checkers, help() and the command line."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable
from dataclasses import InitVar
from typing import Any, Concatenate, ParamSpec

from ..methods import Method

P = ParamSpec("P")


def arguments_of(method: Callable[P, Method]) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Let a constructor, which takes any arguments, take those of a method, by name, type and default.

    Raises:
        TypeError: when the constructor is called: an argument is not one of the method's.
    """
    takes = inspect.signature(method)
    types = typing.get_type_hints(method)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    types = {name: hint.type if isinstance(hint, InitVar) else hint for name, hint in types.items()}
    given = [parameter.replace(annotation=types[parameter.name]) for parameter in takes.parameters.values()]

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        def checked(self: Any, /, *args: P.args, **arguments: P.kwargs) -> None:
            for name in arguments.keys() - takes.parameters.keys():
                likely = difflib.get_close_matches(name, takes.parameters, n=1)
                hint = f"did you mean {likely[0]!r}? " if likely else ""
                raise TypeError(
                    f"{type(self).__name__} takes no {name!r}: {hint}it takes {', '.join(takes.parameters)}"
                )
            init(self, *args, **arguments)

        checked.__signature__ = takes.replace(parameters=[own, *given])  # type: ignore[attr-defined]
        return checked

    return decorate

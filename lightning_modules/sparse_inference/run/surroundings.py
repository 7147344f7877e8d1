"""Torch as if nothing surrounded a call: no gradients, no autocast, no default but float32 on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

CPU = torch.device("cpu")

_alone = threading.RLock()


@contextmanager
def unsurrounded() -> Iterator[None]:
    """Make a plan in here: it is the same whatever surrounds the call that needs it.

    One thread at a time, as the default dtype is that of all threads.
    """
    with _alone, torch.inference_mode(False), in_float32(), in_cpu_memory():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def in_float32() -> Iterator[None]:
    """Run parts of a network in torch in here, between kernels, which take float32."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def in_cpu_memory() -> Iterator[None]:
    """Make tensors on the CPU in here; does nothing where they are made there anyway, since it slows all calls."""
    with nullcontext() if torch.get_default_device() == CPU else CPU:
        yield

"""States of torch that do not depend on what surrounds a call: gradients, autocast, default types and devices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

CPU = torch.device("cpu")

_one_at_a_time = threading.RLock()


@contextmanager
def neutral_surroundings() -> Iterator[None]:
    """Let plans be made in here: they are the same whatever surrounds the call that needs them.

    One thread enters at a time, as the default dtype is that of all threads.
    """
    with _one_at_a_time, torch.inference_mode(False), in_float32(), in_cpu_memory():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def in_float32() -> Iterator[None]:
    """Let parts of a network run in torch in here, between kernels, which take float32."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def in_cpu_memory() -> Iterator[None]:
    """Let tensors be made on the CPU in here.

    Where they are made there anyway, nothing is done, since a device as a context slows all calls.
    """
    with nullcontext() if torch.get_default_device() == CPU else CPU:
        yield

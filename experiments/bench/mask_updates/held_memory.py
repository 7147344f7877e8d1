"""Memory that tensors hold, as the allocator records it."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from torch.profiler import ProfilerActivity, profile


class HeldMemory:
    """A context that counts by how many bytes tensors on the CPU grow at most inside of it.

    Attributes:
        most: the bytes, once the context is left.
    """

    def __init__(self) -> None:
        self.profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self.most = 0

    def __enter__(self) -> HeldMemory:
        self.profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.profiler.stop()
        recorded: Any = self.profiler.profiler
        sizes = [
            (event.start_ns(), event.nbytes())
            for event in recorded.kineto_results.events()
            if event.name() == "[memory]"
        ]
        self.most = max(accumulate((size for _, size in sorted(sizes)), initial=0))

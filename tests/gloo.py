"""Gloo with one thread instead of two.

Both of torch's threads (as of 2.13) write what each has done last to one string without a lock. Rarely that corrupts
memory: AddressSanitizer reports a write to freed memory in ``ProcessGroupGloo::runLoop``, and one run with sharded
weights has ended with a segmentation fault in that thread's next allocation.
"""

from __future__ import annotations

from datetime import timedelta

from torch.distributed import Store, distributed_c10d

Gloo = distributed_c10d.ProcessGroupGloo


class OneThread(Gloo):
    def __init__(self, store: Store, rank: int, size: int, timeout: timedelta) -> None:
        options = Gloo._Options()
        options._timeout, options._threads, options._devices = timeout, 1, [Gloo.create_default_device()]
        super().__init__(store, rank, size, options)


def use_one_thread() -> None:
    """For all process groups that this process makes from now on."""
    distributed_c10d.ProcessGroupGloo = OneThread

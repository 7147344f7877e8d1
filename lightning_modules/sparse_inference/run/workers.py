"""Threads that help the one that calls, if they come in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[int], None]


class Workers:
    """Daemon threads that wait for work; a forked process starts its own.

    The parallel loops of numba are not used, as they take seconds to compile and end a forked process.
    """

    def __init__(self) -> None:
        self._forget_threads()
        os.register_at_fork(after_in_child=self._forget_threads)

    def _forget_threads(self) -> None:
        """Begin without a thread."""
        self._queue: SimpleQueue[tuple[Task, int]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0

    def help(self, task: Task, helpers: int) -> None:
        """Let threads call ``task`` with 1, 2, ..., ``helpers``, as they become free."""
        with self._lock:
            while self._started < helpers:
                threading.Thread(target=_serve, args=(self._queue,), daemon=True, name="sparse inference").start()
                self._started += 1
        for number in range(1, helpers + 1):
            self._queue.put((task, number))


def _serve(queue: SimpleQueue[tuple[Task, int]]) -> None:
    """Do one task after the other, for ever."""
    while True:
        task, number = queue.get()
        task(number)
        del task  # frees what the task holds before the next one comes


workers = Workers()

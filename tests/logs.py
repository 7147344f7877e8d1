"""A logger that the tests can read."""

from __future__ import annotations

from pytorch_lightning.loggers import Logger


class Memory(Logger):
    """Keeps what is logged: step -> values."""

    name, version = "memory", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.setdefault(step, {}).update(metrics)

    def log_hyperparams(self, *_: object, **__: object) -> None:
        pass

    def of(self, key: str) -> dict[int, float]:
        return {step: float(row[key]) for step, row in self.rows.items() if key in row}

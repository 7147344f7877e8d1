"""What is in the file of an offline W&B run."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto import wandb_internal_pb2


@dataclass
class RunFile:
    run: Any = None  # the record of the run: name, group, job type
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)  # by name, or by glob
    artifacts: list[Any] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        return {key for row in self.rows for key in row}


def read_run(path: Path) -> RunFile:
    """Reads a finished run, once W&B's service has ended: it writes the file after it says that the run is finished."""
    wandb.teardown()
    found = RunFile()
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = found.run or record.run
            _update(found.config, record.run.config.update)
        elif kind == "config":
            _update(found.config, record.config.update)
        elif kind == "history":
            found.rows.append({item.key or item.nested_key[0]: _value(item) for item in record.history.item})
        elif kind == "metric":
            name = record.metric.name or record.metric.glob_name
            found.metrics.setdefault(name, wandb_internal_pb2.MetricRecord()).MergeFrom(record.metric)
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
    return found


HEADER, BLOCK = 7, 2**15
FULL, FIRST, LAST = 1, 2, 4  # the parts between are 3


def _records(content: bytes) -> Iterator[bytes]:
    """Those of a LevelDB log, in blocks none of which a header crosses."""
    assert content.startswith(b":W&B")
    at, parts = HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        part = content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts


def _update(config: dict[str, Any], items: Any) -> None:
    config.update({item.key or "/".join(item.nested_key): _value(item) for item in items})


def _value(item: Any) -> Any:
    return json.loads(item.value_json)

"""python -m experiments.bench [NAME ...]: the benches named, or all but scale, which writes rows, and kill."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..command import run_command
from . import kill, loaders, overhead, poses, reports, scale, updates

BENCHES = {
    "callbacks": overhead.main,
    "ddp": overhead.on_two_processes,
    "gpu": overhead.on_gpu,
    "updates": updates.main,
    "loaders": loaders.main,
    "poses": poses.main,
    "reports": reports.main,
}
ALONE = ("scale", "kill")


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES, *ALONE], help="default: all but scale and kill")
    parser.add_argument("--kills", type=int, default=30, help="how often kill kills")
    chosen = parser.parse_args(args)
    for name in chosen.names or BENCHES:
        if name == "kill":
            kill.main(chosen.kills)
        elif name == "scale":
            scale.main()
        else:
            BENCHES[name]()


if __name__ == "__main__":
    run_command(main)

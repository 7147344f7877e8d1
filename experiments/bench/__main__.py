"""python -m experiments.bench [NAME ...]: the benches named, or all but scale, which writes rows, and kill."""

from __future__ import annotations

import argparse

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

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES, *ALONE], help="default: all but scale and kill")
    parser.add_argument("--kills", type=int, default=30, help="how often kill kills")
    chosen = parser.parse_args()
    for name in chosen.names or BENCHES:
        if name == "kill":
            kill.main(chosen.kills)
        elif name == "scale":
            scale.main()
        else:
            BENCHES[name]()

"""python -m experiments.bench [callbacks] [updates] [loaders] [poses]: all of them, or those named."""

from __future__ import annotations

import argparse

from . import loaders, overhead, poses, updates

BENCHES = {"callbacks": overhead.main, "updates": updates.main, "loaders": loaders.main, "poses": poses.main}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="default: all")
    for name in parser.parse_args().names or BENCHES:
        BENCHES[name]()

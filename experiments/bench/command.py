"""Run the named benches, or all but those that write rows, need files or kill fits: python -m experiments bench [NAME].

sparse-inference and sparse-trained take arguments of their own: --help after their name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..run.command import command_parser
from . import kill, loaders, overhead, poses, reports
from .inference import sparse_inference, sparse_trained
from .mask_updates import scale, share
from .optimizers import grown_weights, optimizers

BENCHES = {
    "callbacks": overhead.main,
    "ddp": overhead.on_two_processes,
    "gpu": overhead.on_gpu,
    "updates": share.main,
    "loaders": loaders.main,
    "poses": poses.main,
    "reports": reports.main,
    "sparse-inference": sparse_inference.main,
}
ROWS: dict[str, Callable[[], None]] = {
    "scale": scale.main,
    "optimizers": optimizers.main,
    "grown-weights": grown_weights.main,
}
ALONE = ("kill", *ROWS)
WITH_ARGUMENTS = {"sparse-inference": sparse_inference.main, "sparse-trained": sparse_trained.main}


def main(args: Sequence[str]) -> None:
    if args and args[0] in WITH_ARGUMENTS:
        WITH_ARGUMENTS[args[0]](args[1:])
        return
    parser = command_parser("bench", __doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES, *ALONE], help=f"default: all but {', '.join(ALONE)}")
    parser.add_argument("--kills", type=int, default=30, help="how often kill kills")
    chosen = parser.parse_args(args)
    for name in chosen.names or BENCHES:
        if name == "kill":
            kill.main(chosen.kills)
        elif name in ROWS:
            ROWS[name]()
        else:
            BENCHES[name]()

"""The one door to all experiments: ``python -m experiments VERB ...``; without a verb it lists them all."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence

from .run.command import DEBUG, PROGRAM, run_command

# verb -> the module whose ``main`` runs it, and what it does
VERBS = {
    "fit": ("cli", "train what a YAML file describes, and test it"),
    "validate": ("cli", "score a checkpoint on the validation data"),
    "test": ("cli", "score a checkpoint on the test data"),
    "predict": ("cli", "predict with a checkpoint"),
    "lottery": ("lottery", "find lottery tickets as a YAML file describes it; killed, the same command goes on"),
    "sweep": ("sweep.command", "run all runs of a W&B sweep without W&B, on several processes"),
    "reproduce": ("reproduce", "train YAML files over seeds and add a row of results for each run"),
    "report": ("report.command", "write one HTML file about the runs in some folders"),
    "dashboard": ("dashboard.command", "make the W&B workspace that shows a project's runs"),
    "flops": ("flops", "count what a method costs on a network, without training it"),
    "bench": ("bench.command", "measure speed, memory, and whether killed fits go on"),
    "pose": ("pose.command", "predict, score and evaluate human poses"),
    "paper": ("paper.command", "run the studies of the paper on gradient flow again"),
    "tables": ("tables", "write the tables of the READMEs and the pages of results from the committed rows"),
    "quickstart": ("quickstart", "train three short runs on MNIST"),
    "quickstart-pose": ("quickstart_pose", "train a small pose network on drawn figures"),
}


def main(args: Sequence[str]) -> None:
    """Run the verb that comes first, or list all verbs if there is none; only the verb's own module is imported.

    Raises:
        ValueError: there is no such verb.
    """
    verb, *rest = args or ["--help"]
    if verb in ("-h", "--help"):
        print(f"{PROGRAM} VERB ...   --help after a verb says more, {DEBUG} anywhere shows the trace of an error\n")
        print("\n".join(f"  {name:<17}{help_line}" for name, (_, help_line) in VERBS.items()))
        return
    if verb not in VERBS:
        close = " or ".join(repr(name) for name in difflib.get_close_matches(verb, VERBS))
        meant = f" (did you mean {close}?)" if close else ""
        raise ValueError(f"there is no command {verb!r}{meant}: `{PROGRAM}` lists all commands")
    module = VERBS[verb][0]
    run = importlib.import_module(f".{module}", __package__).main
    run([verb, *rest] if module == "cli" else rest)


if __name__ == "__main__":
    run_command(main)

"""Make the W&B workspace that shows a project's runs: python -m experiments dashboard --project P."""

from __future__ import annotations

import json
from collections.abc import Sequence

import wandb

from ..run.command import command_parser
from ..run.wandb_probe import find_account, why_refused
from .workspace import workspace


def main(args: Sequence[str] | None = None) -> None:
    parser = command_parser("dashboard", __doc__)
    parser.add_argument("--project", required=True, help="of W&B, as in the YAML files")
    parser.add_argument("--entity", help="user or team; default: that of the account")
    parser.add_argument("--print", action="store_true", help="show the workspace as JSON, and save nothing")
    chosen = parser.parse_args(args)
    if chosen.print:
        print(json.dumps(workspace(chosen.project, chosen.entity or "entity")._spec, indent=2))
        return
    account = find_account()
    if wrong := why_refused(*account, timeout=5.0) if account else "has no account here":
        parser.exit(1, f"W&B {wrong}: `wandb login`, or see what would be saved with --print\n")
    entity = chosen.entity or wandb.Api().default_entity
    workspace(chosen.project, entity or parser.error("the account has no entity: give --entity")).save()  # type: ignore[no-untyped-call]

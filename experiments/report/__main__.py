"""python -m experiments.report."""

from ..run.command import run_command
from .command import main

run_command(main)

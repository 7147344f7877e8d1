"""python -m experiments.bench."""

from ..run.command import run_command
from .command import main

run_command(main)

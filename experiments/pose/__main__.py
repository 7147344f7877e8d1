"""python -m experiments.pose."""

from ..run.command import run_command
from .command import main

run_command(main)

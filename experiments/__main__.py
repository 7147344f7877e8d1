"""python -m experiments."""

from .cli import main
from .run.command import run_command

run_command(main)

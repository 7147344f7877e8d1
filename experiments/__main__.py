"""python -m experiments."""

from .cli import main
from .command import run_command

run_command(main)

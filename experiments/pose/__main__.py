"""The old form of ``python -m experiments pose``, until the next release."""

from ..run.command import run_old_form
from .command import main

if __name__ == "__main__":
    run_old_form("pose", main)

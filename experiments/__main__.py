"""python -m experiments."""

from .cli import main

main()

"""python -m experiments.bench."""

from .overhead import main

main()

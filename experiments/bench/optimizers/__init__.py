"""Benches of optimizers: what holds with each of them, and how weights that grow begin."""

"""Sweeps of W&B's YAML files, run without W&B on several processes."""

"""Measurements of sparse networks: gradients, signals, curvature, operations and storage."""

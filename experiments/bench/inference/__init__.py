"""Sparse inference against other runtimes: latency, size, first calls, and scores of trained networks."""

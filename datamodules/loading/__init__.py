"""Loaders of batches: splits, training orders that go on after a resume, and random numbers from counters."""

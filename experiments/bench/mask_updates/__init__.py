"""Benches of mask updates: their share of the time, and what they take of time and memory by size and method."""

"""Masks, and the weights they are masks of."""

"""Numbers about sparse networks."""

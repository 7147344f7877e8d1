"""Human poses: annotated people as crops with their joints."""

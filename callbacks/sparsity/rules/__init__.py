"""Rules: how much, which, when, and from which values."""

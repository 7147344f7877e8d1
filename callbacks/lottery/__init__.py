"""Lottery tickets: fits that follow each other."""

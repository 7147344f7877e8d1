"""Callbacks that measure a fit and change nothing."""

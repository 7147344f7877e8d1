"""Measurements on a copy of the module, with data of their own."""

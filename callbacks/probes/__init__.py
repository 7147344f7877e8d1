"""Looks at a copy of the module, on data of their own."""

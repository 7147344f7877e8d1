"""Files of fits: whole or not there, and read without executing what is in them."""

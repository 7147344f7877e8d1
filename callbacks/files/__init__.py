"""Files that are whole or not there, and are read without executing what is in them."""

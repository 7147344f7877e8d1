"""Files of data sets: fetched whole, checked, and read without running what is in them."""

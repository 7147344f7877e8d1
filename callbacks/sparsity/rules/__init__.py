"""The rules of sparse training: how many weights are active, which, when that changes, and their first values."""

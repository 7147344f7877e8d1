"""python -m experiments.pose: commands for human poses."""

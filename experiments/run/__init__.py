"""What every run and every command shares: its record, its rows, its configuration, W&B, progress and errors."""

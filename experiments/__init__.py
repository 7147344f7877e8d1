"""Runs, benches and results; not installed. The only home of W&B."""

import warnings

# raised inside Lightning for every batch structure it walks; nothing a user can do about it
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")

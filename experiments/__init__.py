"""Runs, benches and results; not installed. The only home of W&B."""

import os
import warnings

# Both come from what Lightning does inside; a user can do nothing about them.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")

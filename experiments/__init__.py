"""Runs, benches and results; not installed. The only home of W&B."""

import os
import warnings

# both are raised by what Lightning does inside; nothing a user can do about them
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")

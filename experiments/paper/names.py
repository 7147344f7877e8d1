"""The names of the study's arms on its page and in its figures."""

from __future__ import annotations

NAMES = {
    "dense": "dense",
    "pruned": "gradual pruning",
    "prune-restart": "prune restart",
    "scratch-same-init": "scratch+, one initialization",
    "small-dense": "small dense",
    "rigl-inverted-unit": "RigL+ inverted",
}
METHODS = {"scratch": "scratch", "set": "SET", "rigl": "RigL"}
INITIALIZATIONS = {"dense": "masked dense", "liu": "Liu et al.", "unit": "sparsity-aware (+)"}


def arm_name(arm: str) -> str:
    if arm in NAMES:
        return NAMES[arm]
    first, _, second = arm.partition("-")
    return f"lottery, ticket {second}" if first == "lottery" else f"{METHODS[first]}, {INITIALIZATIONS[second]}"

"""Plain torch networks."""

from .lenet import LeNet5, LeNet300100

__all__ = ["LeNet5", "LeNet300100"]

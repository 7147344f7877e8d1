"""Plain torch networks."""

from .kinematics import Kinematics, KinematicUpdates
from .lenet import LeNet5, LeNet300100
from .repose import RePose

__all__ = ["KinematicUpdates", "Kinematics", "LeNet5", "LeNet300100", "RePose"]

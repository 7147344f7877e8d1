"""python -m experiments.pose: commands for human poses; pictures of them."""

from .pose_pictures import PosePictures

__all__ = ["PosePictures"]

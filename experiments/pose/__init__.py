"""Human poses: the commands of ``python -m experiments pose``, and pictures of poses."""

from .pose_pictures import PosePictures

__all__ = ["PosePictures"]

"""Human poses: annotated people as crops with their joints."""

from ..loading.extras import require

require("pose", cv2="opencv-python-headless", albumentations="albumentations", scipy="scipy")

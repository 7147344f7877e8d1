"""ImageNet, parts of it, and Tiny ImageNet: photos that are read when they are needed."""

from ..loading.extras import require

require("imagenet", cv2="opencv-python-headless", albumentations="albumentations", scipy="scipy")

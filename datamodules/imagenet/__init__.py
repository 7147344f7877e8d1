"""ImageNet, parts of it, and Tiny ImageNet: photos that are read when they are needed."""

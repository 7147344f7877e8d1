"""Published results on LSP, by networks that were trained on LSP and LSP-extended alone.

Reference:
    Recomputed from the predictions that the authors released, which give the published rows to the last digit: Yang et
    al. 2016, "End-to-end learning of deformable mixture of parts and deep CNNs"; Wei et al. 2016, "Convolutional pose
    machines" (31M weights, 351 GFLOPs).
"""

# method -> PCK@0.2 of head, shoulders, elbows, wrists, hips, knees and ankles, and of all joints
LSP: dict[str, tuple[float, ...]] = {
    "Yang et al. 2016": (90.6, 78.1, 73.8, 68.8, 74.8, 69.9, 58.9, 73.56),
    "Wei et al. 2016 (CPM)": (96.8, 87.1, 80.4, 75.1, 86.5, 83.2, 81.2, 84.32),
}

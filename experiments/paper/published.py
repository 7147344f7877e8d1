"""The paper's values of LeNet-5 on MNIST at 95 % sparsity, as far as its sources can be read.

Reference:
    Evci et al. 2022. Accuracy, ensembles and disagreement: the table in the source of the authors' own article on the
    paper (Calgary ML lab, 2025). Curves: read off the vector originals of its figures, to about a line's width.
    The paper's table of methods by initialization could not be had.
"""

# group -> test accuracy %, its std, ensemble %, disagreement, its std, disagreement with the pruned solution, its std
SIMILARITY: dict[str, tuple[float, float, float, float, float, float, float]] = {
    "lottery": (98.52, 0.02, 98.58, 0.0043, 0.0006, 0.0089, 0.0002),
    "scratch": (97.04, 0.15, 98.00, 0.0316, 0.0023, 0.0278, 0.0020),
    "scratch (diff. init)": (97.19, 0.33, 98.43, 0.0352, 0.0037, 0.0278, 0.0032),
    "prune restart": (98.60, 0.01, 98.63, 0.0027, 0.0003, 0.0077, 0.0003),
    "diff. pruned": (98.30, 0.23, 99.07, 0.0214, 0.0023, 0.0197, 0.0019),
}
PRUNED_ACCURACY = 98.53

# arm of ours -> step -> norm of the active gradient on 1,000 training samples
GRADIENT_NORM: dict[str, dict[int, float]] = {
    "lottery-0": {100: 0.032, 200: 0.086, 400: 0.448, 600: 0.615, 800: 0.274, 1000: 0.245, 2000: 0.284, 5000: 0.238},
    "scratch-dense": {
        100: 0.047,
        200: 0.034,
        400: 0.030,
        600: 0.034,
        800: 0.034,
        1000: 0.505,
        2000: 0.255,
        5000: 0.223,
    },
    "scratch-unit": {100: 1.156, 200: 1.138, 400: 0.575, 600: 0.574, 800: 0.733, 1000: 0.528, 2000: 0.533, 5000: 0.404},
    "rigl-unit": {200: 2.537, 400: 1.283, 600: 1.696, 800: 1.460, 1000: 1.065, 2000: 0.501, 5000: 0.457},
    "small-dense": {200: 1.091, 400: 0.868, 600: 0.553, 800: 0.554, 1000: 0.539, 2000: 0.503, 5000: 0.459},
}

# arm of ours -> step -> change of that norm by the mask update
GRADIENT_CHANGE: dict[str, dict[int, float]] = {
    "rigl-unit": {100: 1.21, 200: 1.49, 300: 0.77, 400: 0.71, 600: 1.00, 800: 0.68, 1000: 0.49, 1500: 0.22, 3500: 0.10},
    "set-unit": {100: 0.06, 200: 0.19, 300: 0.05, 400: 0.21, 600: 0.13, 800: 0.14, 1000: 0.00, 1500: 0.04, 3500: 0.00},
    "rigl-inverted-unit": {
        100: -0.06, 200: 0.00, 300: 0.00, 400: 0.00, 600: 0.00, 800: 0.00, 1000: 0.00, 1500: 0.00, 3500: 0.00,
    },
}  # fmt: skip

# from where -> alpha -> training loss on the line to the pruned solution
INTERPOLATION: dict[str, dict[float, float]] = {
    "lottery start": {
        -0.2: 2.304, 0: 2.303, 0.2: 2.260, 0.4: 1.927, 0.5: 1.516, 0.6: 0.939, 0.8: 0.135, 1: 0.042, 1.2: 0.060,
    },
    "lottery end": {
        -0.2: 0.034, 0: 0.031, 0.2: 0.035, 0.4: 0.041, 0.5: 0.042, 0.6: 0.043, 0.8: 0.042, 1: 0.042, 1.2: 0.048,
    },
    "scratch start": {
        -0.2: 2.304, 0: 2.303, 0.2: 2.300, 0.4: 2.170, 0.5: 1.898, 0.6: 1.372, 0.8: 0.205, 1: 0.042, 1.2: 0.071,
    },
    "scratch end": {
        -0.2: 0.251, 0: 0.084, 0.2: 0.322, 0.4: 1.536, 0.5: 1.849, 0.6: 1.544, 0.8: 0.246, 1: 0.042, 1.2: 0.131,
    },
}  # fmt: skip

# initialization -> sparsity -> standard deviation of the outputs for N(0, 1) inputs
SIGNAL: dict[str, dict[float, float]] = {
    "dense": {
        0.00: 0.15, 0.07: 0.24, 0.21: 0.070, 0.35: 0.095, 0.49: 0.036,
        0.63: 0.015, 0.77: 0.0062, 0.84: 0.0010, 0.91: 4.2e-4, 0.98: 4.6e-6,
    },
    "liu": {
        0.00: 0.23, 0.07: 1.9, 0.21: 2.2, 0.35: 1.3, 0.49: 1.3, 0.63: 2.1, 0.77: 1.3,
        0.84: 1.4, 0.91: 1.5, 0.98: 0.0097,
    },
    "unit": {
        0.00: 0.25, 0.07: 1.8, 0.21: 2.4, 0.35: 1.0, 0.49: 1.6, 0.63: 1.2, 0.77: 1.3,
        0.84: 0.21, 0.91: 0.075, 0.98: 0.057,
    },
}  # fmt: skip

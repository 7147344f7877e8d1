"""From layers to a program for the kernels: where activations lie, how weights are ordered, which operations run."""

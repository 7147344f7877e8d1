"""What a network does with an image: the calls of torch that it makes, and the layers that kernels exist for."""

"""CIFAR-10 and CIFAR-100: small pictures that stay in memory."""

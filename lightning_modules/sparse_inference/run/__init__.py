"""Running programs: the loaded kernels, their memory, the threads that share the work, and the state of torch."""

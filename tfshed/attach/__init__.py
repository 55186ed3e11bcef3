"""Where pruning is attached to a model: which kernels, by which optimizer, in which Keras."""

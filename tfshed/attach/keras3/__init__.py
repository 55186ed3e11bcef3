"""Models of Keras 3: the wrapper layer, the optimizer that prunes, the callbacks."""

"""Models of tf_keras (Keras 2), together with the real tensorflow-model-optimization."""

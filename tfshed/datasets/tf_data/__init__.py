"""Input pipelines of TensorFlow. Nothing here is imported where TensorFlow is not needed."""

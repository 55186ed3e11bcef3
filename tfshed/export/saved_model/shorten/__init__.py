"""Rewrites a saved_model.pb so that it is shorter and computes bit-identical outputs."""

"""What one looks at while a net is pruned: keep-ratios, thresholds, counts."""

"""Retraining of pruned nets: where weights come from x where masks come from x rate x epochs."""

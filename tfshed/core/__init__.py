"""Pruning as functions of arrays and numbers: schedules, criteria, granularities, selection."""

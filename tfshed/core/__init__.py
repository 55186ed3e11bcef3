"""What pruning is: schedules, criteria, granularities, selection. Arrays and numbers only."""

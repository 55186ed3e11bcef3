"""SavedModels in which zeros take no space."""

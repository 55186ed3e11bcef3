"""How `tfshed.export.saved_model` writes SavedModels in which zeros take no space."""

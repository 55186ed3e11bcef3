"""How `tfshed.export.report` counts, measures, and shows the sizes of a sparse model."""

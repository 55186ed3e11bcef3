"""What `tfshed.export.report` counts and measures, and how it shows it."""

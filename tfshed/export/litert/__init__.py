"""How `tfshed.export.litert` converts, repairs, reads and checks a LiteRT file."""

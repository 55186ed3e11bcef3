"""The parts of `tfshed.export.shrink`.

    trace (which channels are one, which are constant) -> solve (which go) -> rebuild

`trace` walks the graph with the rules of `rules` and `kernels`; `report` is what the user sees.
"""

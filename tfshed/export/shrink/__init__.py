"""How `tfshed.export.shrink` makes a smaller model after filters have been pruned.

    trace -> solve -> rebuild

`trace` walks the model's graph with the rules of `layer_rules` and `kernel_rules`. It finds out
which channels can only be removed together, and which are constant. `solve` decides which channels
are removed, and `rebuild` makes the new model. `shrink_report` is what the user sees.
"""

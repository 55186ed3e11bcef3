"""Lists the recipes: what each shows, what it costs, and its fields.

tfshed recipes                                lists all recipes and grids
tfshed recipes digits_resnet8                 describes one, with its arms and commands
tfshed recipes digits_resnet8 --fields        and lists all its fields with their values
tfshed recipes --fields                       explains all fields, with their defaults
"""

from __future__ import annotations

import inspect
from typing import Any

from absl import flags

from tfshed.commands.command import Command
from tfshed.commands.run_flags import define_backend
from tfshed.experiments import recipe_files
from tfshed.experiments.recipe import recipe


def define(values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "name",
        None,
        "A recipe or a grid, with an arm after a colon if it has several.",
        flag_values=values,
    )
    flags.DEFINE_bool("fields", False, "List all fields with their values.", flag_values=values)
    define_backend(values)


def run(given: flags.FlagValues) -> int:
    """Prints the list, or one recipe."""
    if given.name:
        print(describe(given.name))
        if given.fields:
            print(f"\n{fields(recipe_files.load_recipe(given.name))}")
    elif given.fields:
        explained = inspect.getdoc(recipe) or ""
        print(explained.partition("Example:")[0].strip())
        print(f"\nThe defaults:\n\n{fields(recipe())}")
    else:
        print(listing())
    return 0


def listing() -> str:
    """All recipes and grids: the name, what it shows, its arms and what it costs."""
    lines = [
        "Recipes, for --config=NAME or --config=NAME:ARM of `tfshed train`, `prune`, `retrain`:"
    ]
    for kind in recipe_files.KINDS:
        if kind == "grid":
            lines += ["", "Grids, for --config=NAME of `tfshed compare`:"]
        for name in recipe_files.names(kind):
            found = recipe_files.read(name, kind)
            lines += ["", f"  {name}", f"      {found.title}"]
            if found.arms:
                lines.append(f"      Arms: {', '.join(found.arms)}.")
            lines.append(f"      Time: {found.time}")
    lines += [
        "",
        "`tfshed recipes NAME` describes one; `tfshed recipes --fields` explains the fields.",
    ]
    return "\n".join(lines)


def describe(given: str) -> str:
    """The whole description of a recipe or a grid."""
    kind = "grid" if given.partition(":")[0] in recipe_files.names("grid") else "recipe"
    found = recipe_files.read(given, kind)
    arms = f"Arms: {', '.join(found.arms)}.\n" if found.arms else ""
    return f"{found.text}\n\n{arms}File: {found.path}"


def fields(config: Any) -> str:
    """The fields of a recipe, one a line, as they are given on the command line."""
    return "\n".join(_lines("--config", config))


def _lines(path: str, group: Any) -> list[str]:
    found = []
    for name in sorted(group):
        value, inner = group[name], f"{path}.{name}"
        if hasattr(value, "keys") and len(value):
            found += _lines(inner, value)
        else:
            found.append(f"{inner}={dict(value) if hasattr(value, 'keys') else value}")
    return found


COMMAND = Command(__doc__ or "", define, run, first_word="name")

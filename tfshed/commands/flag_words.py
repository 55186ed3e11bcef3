"""From the words of a command line to parsed flags and a recipe."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfshed.commands.command import Command
from tfshed.core.extras import need
from tfshed.experiments.recipe_files import load_recipe

# Networks and learning rates have options of their own, which are in a recipe only where it sets
# them: --config.model.options.width=8, --config.train.learning_rate.options.rate=0.1
OPTION = re.compile(r"^--?config\.((?:\w+\.)*options)\.(\w+)(?:=(.*))?$", re.DOTALL)


def parse(command: Command, words: Sequence[str]) -> flags.FlagValues:
    """Returns the flags of a command with their values.

    Args:
        command: The command, which defines the flags.
        words: The words after the name of the command.

    Raises:
        absl.flags.Error: A flag is unknown or missing, or its value is wrong.
        ValueError: The recipe is unknown, or a word is no flag.
        AttributeError, KeyError: A field of a recipe does not exist.
    """
    words = list(words)
    values = flags.FlagValues()
    command.define(values)
    if command.first_word and words and not words[0].startswith("-"):
        words[0] = f"--{command.first_word}={words[0]}"
    if command.takes_recipe:
        words = _with_recipe(values, words)
    rest = values(["tfshed", *words])[1:]
    if rest:
        raise ValueError(f"expected flags only, received {' '.join(rest)}")
    return values


def help_text(command: Command) -> str:
    """The text of `tfshed COMMAND --help`: what the command does, and its flags with defaults."""
    values = flags.FlagValues()
    command.define(values)
    lines = [command.help.strip(), "", "Flags:"]
    if command.takes_recipe:
        lines += [
            "  --config: The name of a recipe, with an arm after a colon if it has several, or a",
            "      Python file of your own. `tfshed recipes` lists the names.",
            "  --config.FIELD: A new value for a field of the recipe, such as",
            "      --config.prune.momentum=0 or --config.model.options.width=8.",
            "      `tfshed recipes --fields` lists all fields.",
        ]
    for name in values:
        flag = values[name]
        known = f" One of {', '.join(flag.parser.enum_values)}." if _is_enum(flag) else ""
        default = "" if flag.default in (None, []) else f" Default {flag.default_as_str}."
        dashes = "--[no]" if flag.boolean else "--"
        lines.append(f"  {dashes}{name}: {flag.help}{known}{default}")
    return "\n".join(lines)


def _is_enum(flag: flags.Flag) -> bool:
    return isinstance(flag.parser, flags.EnumParser)


def _with_recipe(values: flags.FlagValues, words: list[str]) -> list[str]:
    """Loads the recipe, defines flags for its given fields, and returns the other words."""
    config_flags = need("ml_collections.config_flags", "A recipe")
    name, words = _take(words, "config")
    if not name:
        raise ValueError(
            "config: expected the name of a recipe or a file, received none. `tfshed recipes` "
            "lists the recipes."
        )
    config = load_recipe(name)
    words = _set_options(config, words)
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=values, sys_argv=["tfshed", *words]
    )
    return words


def _take(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """Returns the last value of a flag, and the words without the flag."""
    found, rest, i = None, [], 0
    while i < len(words):
        key, equals, value = words[i].lstrip("-").partition("=")
        if words[i].startswith("-") and key == name:
            if not equals:
                i += 1
                value = words[i] if i < len(words) else ""
            found = value
        else:
            rest.append(words[i])
        i += 1
    return found, rest


def _set_options(config: Any, words: list[str]) -> list[str]:
    """Sets the options that a recipe does not have yet, and returns the other words.

    Which options there are is checked by the network or the learning rate that gets them.
    """
    rest, i = [], 0
    while i < len(words):
        found = OPTION.match(words[i])
        group: Any = config
        for part in found[1].split(".") if found else ():
            group = group[part]  # a KeyError names what there is
        if found is None or found[2] in group:
            rest.append(words[i])
        else:
            value = found[3]
            if value is None:
                i += 1
                value = words[i] if i < len(words) else ""
            with group.unlocked():
                group[found[2]] = _literal(value)
        i += 1
    return rest


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text.lower(), text)

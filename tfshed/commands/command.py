"""What a command is: its help text, its flags and the function that it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from absl import flags


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `tfshed`.

    Attributes:
        help: The text of `--help`, which is the docstring of the command's module.
        define: Defines the flags.
        run: Runs the command with the parsed flags and returns the exit code.
        first_word: The flag that a first word without dashes stands for, such as "model" in
            `tfshed report model.keras`. None: all words are flags.
        takes_recipe: Whether the command has the flag `--config`, which names a recipe and lets
            users change its fields.
    """

    help: str
    define: Callable[[flags.FlagValues], None]
    run: Callable[[flags.FlagValues], int]
    first_word: str | None = None
    takes_recipe: bool = False

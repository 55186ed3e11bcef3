"""Packages that only a part of tfshed needs, and what to say when one of them is not installed."""

from __future__ import annotations

import importlib
from types import ModuleType

# The names under which packages are installed, where these are not the names that are imported.
INSTALLED_AS = {"sklearn": "scikit-learn", "PIL": "pillow", "ml_collections": "ml-collections"}


def need(module: str, user: str, extra: str = "experiments") -> ModuleType:
    """Imports a module of a package that an extra of tfshed installs.

    Args:
        module: The module, such as "matplotlib.figure".
        user: What needs it, as the subject of a sentence, such as "A plot".
        extra: The extra that installs it. Default "experiments".

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: The package is not installed. The error names the extra to install.

    >>> need("json", "This example").dumps([1])
    '[1]'
    >>> need("no_such_package.inner", "This example")
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: This example needs no_such_package, which is not installed. Install it with
    `pip install "tfshed[experiments]"`.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there and broken, or lacks a package of its own, says so itself.
        if (error.name or "").partition(".")[0] != package:
            raise
        name = INSTALLED_AS.get(package, package)
        raise ModuleNotFoundError(
            f"{user} needs {name}, which is not installed. Install it with "
            f'`pip install "tfshed[{extra}]"`.',
            name=error.name,
        ) from None

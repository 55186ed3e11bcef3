"""Importing every file of a folder, so that each registers what it holds."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys


@functools.cache
def import_folder(package: str) -> None:
    """Imports every module of a package, once in a process.

    A registry calls it before it looks a name up. A new file in the folder is then found without a
    line anywhere else, and importing the package itself stays cheap.

    Args:
        package: the name of a package that has been imported, such as "tfshed.datasets".

    >>> import tfshed.core.schedules
    >>> import_folder("tfshed.core.schedules")
    >>> "tfshed.core.schedules.exponential" in sys.modules
    True
    """
    for module in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
        importlib.import_module(module.name)

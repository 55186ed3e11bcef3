"""Imports every file of a folder, so that each file registers its contents."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys


@functools.cache
def import_folder(package: str) -> None:
    """Imports every module of a package, once in a process.

    It is called before a name is looked up in a registry. A new file in the folder is therefore
    found without being mentioned anywhere else, and importing the package itself stays fast.

    Args:
        package: The name of a package that has been imported, such as "tfshed.datasets".

    >>> import tfshed.core.schedules
    >>> import_folder("tfshed.core.schedules")
    >>> "tfshed.core.schedules.exponential" in sys.modules
    True
    """
    for module in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
        importlib.import_module(module.name)

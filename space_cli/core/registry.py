"""Plug-ins are files: a module of `space_cli.methods` named `npo` is the method `npo`."""

import importlib
import pkgutil

from types import ModuleType

from space_cli.core.errors import UsageFault
from space_cli.core.offering import offered


def names(package: str) -> list[str]:
    """List the plug-ins of `space_cli.<package>`, without importing them.

    Example:
        >>> "dcsi" in names("methods")
        True
    """
    found = importlib.import_module(f"space_cli.{package}")
    modules = (module.name for module in pkgutil.iter_modules(found.__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import the plug-in `name` of `space_cli.<package>`.

    Raises:
        UsageFault: There is no such file.
    """
    known = names(package)
    spoken = name.replace("_", "-")
    if spoken not in known:
        raise UsageFault(
            f"unknown {package.removesuffix('s')} `{name}`: {offered(spoken, known)}",
            hint=f"space list {package}",
        )
    return importlib.import_module(f"space_cli.{package}.{spoken.replace('-', '_')}")

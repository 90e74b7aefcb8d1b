"""Modules that a library imports and that are hardly ever looked into: loaded when somebody does."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """Stands in for a module, and becomes it at the first look inside."""

    def __getattr__(self, name: str) -> Any:
        """Load the module; only called for what is not here yet."""
        own = self.__name__
        if sys.modules.get(own) is self:
            del sys.modules[own]
        self.__dict__.update(import_module(own).__dict__)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {own!r} has no attribute {name!r}") from None


def postpone(*names: str) -> None:
    """Let modules be imported without being loaded; their packages are loaded, and what is loaded already stays."""
    for name in names:
        if name not in sys.modules:
            package, _, last = name.rpartition(".")
            sys.modules[name] = stand_in = _Postponed(name)
            setattr(import_module(package), last, stand_in)

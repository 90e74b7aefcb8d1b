"""What a command function receives: Typer's context with the call in it. The call itself is in ``call.py``."""

import typer

from cmdop_cli.call import Call

__all__ = ["Call", "Ctx"]


class Ctx(typer.Context):
    """What a command function receives; ``call`` is all it needs of it."""

    @property
    def call(self) -> Call:
        """Return this call."""
        if not isinstance(self.obj, Call):
            raise TypeError("the context carries no call")
        return self.obj

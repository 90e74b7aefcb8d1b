"""The server with doors that can be taken off their hinges: proof that the matrix would notice.

Started like the server itself. A line on stdin opens gates (``decide ACTION…``, ``keys``, ``bearer TOKEN``), an empty
one closes them all; each line is answered with one on stdout. Nothing of this exists in the server.
"""

import sys
import threading
from typing import Any

from cmdop_server.__main__ import main
from cmdop_server.access import policy
from cmdop_server.access.actor import Actor
from cmdop_server.access.policy import Decision

_opened: set[str] = set()
_stand_in = ""


def _replace(real: Any, fake: Any) -> None:
    """Put ``fake`` wherever a module of the server holds ``real``."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cmdop_server"):
            for attribute, value in list(vars(module).items()):
                if value is real:
                    setattr(module, attribute, fake)


def install() -> None:
    """Put a gate that can be opened in front of every real one."""
    from cmdop_server.api.auth import Bearer
    from cmdop_server.credentials import queries

    decide, require_person, authenticate, call = (
        policy.decide,
        queries.require_person,
        Bearer.authenticate,
        Bearer.__call__,
    )
    is_key = Actor.is_key.fget  # type: ignore[attr-defined]

    def allowing(actor: Any, action: Any, facts: Any) -> Decision:
        return Decision(True, "a mutant") if str(action) in _opened else decide(actor, action, facts)

    def anybody(actor: Any, action: Any) -> None:
        if "keys" not in _opened:
            require_person(actor, action)

    def welcoming(self: Any, request: Any, token: str) -> Any:
        if "bearer" not in _opened:
            return authenticate(self, request, token)
        try:
            return authenticate(self, request, token)
        except Exception:
            return authenticate(self, request, _stand_in)

    def present(self: Any, request: Any) -> Any:
        proof = call(self, request)
        return authenticate(self, request, _stand_in) if proof is None and "bearer" in _opened else proof

    _replace(decide, allowing)
    _replace(require_person, anybody)
    Bearer.authenticate = welcoming  # type: ignore[method-assign]
    Bearer.__call__ = present  # type: ignore[method-assign]
    Actor.is_key = property(lambda actor: "keys" not in _opened and is_key(actor))  # type: ignore[assignment]


def listen() -> None:
    """Open and close gates as told until the pipe closes."""
    global _stand_in
    installed = False
    for line in sys.stdin:
        if not installed:
            install()
            installed = True
        words = line.split()
        _opened.clear()
        _opened.update(words)
        _stand_in = words[-1] if words else ""
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    threading.Thread(target=listen, daemon=True).start()
    sys.exit(main())

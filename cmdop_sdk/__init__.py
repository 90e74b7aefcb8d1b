"""The SDK: ``AsyncCMDOPClient`` for programs, and what the command line stands on.

Names load when they are first used (PEP 562), so importing ``cmdop_sdk.store`` or ``cmdop_sdk.errors`` costs neither
httpx nor asyncio. The list is pinned by a test: adding a name is a promise.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmdop_sdk.auth import MemoryTokenSource, Secret, TokenPair, TokenSource
    from cmdop_sdk.blocking import run_blocking
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.errors import (
        AgentNotRunning,
        AgentOffline,
        AuthenticationError,
        CMDOPError,
        Conflict,
        GateDenied,
        Gone,
        GrantError,
        InvalidRequest,
        LimitReached,
        LocalStateError,
        MachineRefused,
        NotFound,
        PermissionDenied,
        RateLimited,
        ServiceUnavailable,
        SessionConflict,
        StreamClosed,
        TimedOut,
        UnexpectedAnswer,
        Unreachable,
        UntrustedServer,
        WrongOrigin,
    )
    from cmdop_sdk.local import LocalAgent
    from cmdop_sdk.store import FileTokenSource, Store

_HOMES = {
    "auth": ("MemoryTokenSource", "Secret", "TokenPair", "TokenSource"),
    "blocking": ("run_blocking",),
    "client": ("AsyncCMDOPClient",),
    "errors": (
        "AgentNotRunning",
        "AgentOffline",
        "AuthenticationError",
        "CMDOPError",
        "Conflict",
        "GateDenied",
        "Gone",
        "GrantError",
        "InvalidRequest",
        "LimitReached",
        "LocalStateError",
        "MachineRefused",
        "NotFound",
        "PermissionDenied",
        "RateLimited",
        "ServiceUnavailable",
        "SessionConflict",
        "StreamClosed",
        "TimedOut",
        "UnexpectedAnswer",
        "Unreachable",
        "UntrustedServer",
        "WrongOrigin",
    ),
    "local": ("LocalAgent",),
    "store": ("FileTokenSource", "Store"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AgentNotRunning",
    "AgentOffline",
    "AsyncCMDOPClient",
    "AuthenticationError",
    "CMDOPError",
    "Conflict",
    "FileTokenSource",
    "GateDenied",
    "Gone",
    "GrantError",
    "InvalidRequest",
    "LimitReached",
    "LocalAgent",
    "LocalStateError",
    "MachineRefused",
    "MemoryTokenSource",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "Secret",
    "ServiceUnavailable",
    "SessionConflict",
    "Store",
    "StreamClosed",
    "TimedOut",
    "TokenPair",
    "TokenSource",
    "UnexpectedAnswer",
    "Unreachable",
    "UntrustedServer",
    "WrongOrigin",
    "run_blocking",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

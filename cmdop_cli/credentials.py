"""What a call acts with, turned into a client: the server's address, the key or the stored sign-in (D-18, D-23).

Thin: files, secrets and refreshing are ``cmdop_sdk.store``'s.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure
from cmdop_cli.options import Options
from cmdop_cli.resolver import other_workspace, unexpected
from cmdop_cli.state import Place
from cmdop_cli.state_shape import MODES

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.client import Options as ClientOptions


class Server(NamedTuple):
    """Where to talk to: canonical origin, pinned certificate, and where the address came from."""

    origin: str
    source: str
    ca_pin: str | None = None

    @property
    def is_explicit(self) -> bool:
        """Tell whether the address was given for this call or shell."""
        return self.source in ("--server", environment.SERVER_URL)


def explicit_origin(options: Options, environ: Mapping[str, str]) -> str | None:
    """Return the canonical origin of ``--server`` or ``CMDOP_SERVER_URL``, or ``None``; a bad address raises."""
    named = options.server or environ.get(environment.SERVER_URL)
    if not named:
        return None
    from cmdop_sdk.errors import CMDOPError
    from cmdop_sdk.origin import origin_of

    try:
        return origin_of(named)
    except CMDOPError as wrong:
        if options.server:
            raise
        raise Failure(
            Code.LOCAL_STATE, f"{environment.SERVER_URL}: {wrong.message}", hint=f"unset {environment.SERVER_URL}"
        ) from None


def server_of(call: "Call") -> Server:
    """Return the server of ``call``: named for it, else the profile's for the mode, else this machine's own."""
    from cmdop_sdk.origin import DEFAULT_SERVER, origin_of

    named = explicit_origin(call.options, call.environ)
    saved = call.local.profiles().server(call.resolution.profile, call.resolution.mode)
    if named is not None:
        pin = saved.ca_pin if saved is not None and origin_of(saved.url) == named else None
        return Server(named, "--server" if call.options.server else environment.SERVER_URL, pin)
    if saved is not None:
        return Server(origin_of(saved.url), f"profile {call.resolution.profile}", saved.ca_pin)
    return Server(DEFAULT_SERVER, "built in")


def client(call: "Call", place: Place | None = None) -> "AbstractAsyncContextManager[AsyncCMDOPClient]":
    """Return a client that acts as ``call`` resolves, in its workspace (or in ``place``)."""
    call.check_credential()
    resolution = call.resolution
    if resolution.key is not None:
        return key_client(call, resolution.key.key.text)
    from cmdop_cli.stored_sign_ins import signed_in_client

    # A workspace that was named is entered or refused, also where any other would do (D-22).
    must_enter = place is not None or call.declared.needs == "workspace" or resolution.is_explicit
    return signed_in_client(call, place or resolution.workspace, enter=must_enter)


def key_client(call: "Call", text: str) -> "AbstractAsyncContextManager[AsyncCMDOPClient]":
    """Return a client that acts with the key ``text``, at the server of ``call`` and nowhere else."""
    from cmdop_sdk.client import AsyncCMDOPClient

    return AsyncCMDOPClient.remote(api_key=text, server=call.server.origin, **client_options(call))


def public_client(call: "Call", *, ca_pin: str | None = None) -> "AbstractAsyncContextManager[AsyncCMDOPClient]":
    """Return a client without a credential, for what the server answers to anybody.

    ``ca_pin`` beats the one that is saved, for a sign-in that brings its own.
    """
    from cmdop_sdk.client import AsyncCMDOPClient

    options = client_options(call)
    if ca_pin is not None:
        options["ca_pin"] = ca_pin
    return AsyncCMDOPClient.anonymous(call.server.origin, mode=call.resolution.mode, **options)


def client_options(call: "Call", origin: str | None = None) -> "ClientOptions":
    """Return how every client of ``call`` behaves: time-outs, tries, and which certificates it believes.

    ``origin`` is where it goes when that is not the server of the call, as for a sign-in of another mode.
    """
    return {
        "timeout": call.setting("timeout"),
        "retries": call.setting("retries"),
        "ca_file": call.environ.get(environment.CA_FILE) or None,
        "ca_pin": call.server.ca_pin if origin in (None, call.server.origin) else _saved_pin(call, origin),
    }


def _saved_pin(call: "Call", origin: str | None) -> str | None:
    from cmdop_sdk.origin import origin_of

    profiles = call.local.profiles()
    saved = (profiles.server(name, mode) for name in profiles.names() for mode in MODES)
    return next((each.ca_pin for each in saved if each is not None and origin_of(each.url) == origin), None)


def verified(call: "Call", place: Place) -> Place:
    """Ask the server, before anything else is sent, who the workspace is; decide by id (D-18).

    A key of another workspace than the named one is exit 2; a workspace that is not the expected one is exit 7.
    """
    from cmdop_cli import door

    resolution = call.resolution
    found = door.ask(call, client(call, place), lambda opened: opened.me.show()).workspace
    actual = Place(found.id, found.slug)
    if resolution.key is not None and not actual.is_called(place.ref):
        raise other_workspace(resolution, actual)
    if resolution.expected and not actual.is_called(resolution.expected):
        raise unexpected(resolution, actual)
    return actual

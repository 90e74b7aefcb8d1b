"""``AsyncCMDOPClient``: one server, one credential, one workspace. What it can do stands in ``resources``."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from cmdop_sdk.auth import KeyCredential, TokenSource
from cmdop_sdk.bearers import Bearer, KeyBearer, PairBearer
from cmdop_sdk.errors import AuthenticationError, InvalidRequest, LocalCode, UnexpectedAnswer
from cmdop_sdk.models import Discovery, Version
from cmdop_sdk.origin import DEFAULT_SERVER, origin_of
from cmdop_sdk.profiles import saved_sign_in
from cmdop_sdk.resources.audit import AuditResource
from cmdop_sdk.resources.base import WorkspacePlace
from cmdop_sdk.resources.files import FilesResource
from cmdop_sdk.resources.keys import KeysResource
from cmdop_sdk.resources.machines import MachinesResource
from cmdop_sdk.resources.me import MeResource
from cmdop_sdk.resources.members import MembersResource
from cmdop_sdk.resources.sessions import SessionsResource
from cmdop_sdk.resources.sign_in import SignInResource
from cmdop_sdk.resources.terminal import TerminalResource
from cmdop_sdk.resources.workspace import WorkspaceResource
from cmdop_sdk.store import FileTokenSource, Store
from cmdop_sdk.transport import API_BASE, READ_TIMEOUT, RETRIES, Transport
from cmdop_wire.ids import is_id

if TYPE_CHECKING:
    import httpx

    from cmdop_sdk.dialing import Dialer, Purpose, Ticketed
    from cmdop_sdk.local import LocalAgent

DEFAULT_MODE = "prod"


class Options(TypedDict, total=False):
    """What every way of making a client takes besides its own arguments."""

    timeout: float  # seconds between two pieces of an answer; connecting has 5, a whole exchange twice this
    retries: int  # after the first try, of reads and of creates
    ca_file: str | Path | None  # an authority to believe beside the system's
    ca_pin: str | None  # ``sha256:…``: believe exactly this server certificate
    transport: "httpx.AsyncBaseTransport | None"  # such as ``httpx.ASGITransport``: the control plane in this process


class AsyncCMDOPClient:
    """A client for one workspace; use it in ``async with``, and make another one for another workspace.

    Made by ``remote`` (a key), ``from_env``, ``from_profile`` (a sign-in of the command line), ``with_source`` (any
    token source) or ``anonymous`` (to sign in); all of them take ``Options``.
    """

    def __init__(
        self,
        server: str,
        *,
        mode: str = DEFAULT_MODE,
        workspace: str | None = None,
        workspace_is_hint: bool = False,
        **options: Unpack[Options],
    ) -> None:
        ca_file = options.get("ca_file")
        self.mode = mode
        self._transport = Transport(
            server,
            timeout=options.get("timeout", READ_TIMEOUT),
            retries=options.get("retries", RETRIES),
            ca_file=None if ca_file is None else Path(ca_file),
            ca_pin=options.get("ca_pin"),
            inner=options.get("transport"),
        )
        self._bearer: Bearer | None = None
        self._dialer: Dialer | None = None
        self._options = options
        self._place = WorkspacePlace(self._transport, workspace, is_hint=workspace_is_hint)
        self.workspace = WorkspaceResource(self._place)
        self.members = MembersResource(self._place)
        self.keys = KeysResource(self._place)
        self.machines = MachinesResource(self._place)
        self.terminal = TerminalResource(self._place, self.dialer)
        self.sessions = SessionsResource(self._place)
        self.files = FilesResource(self.dialer)
        self.audit = AuditResource(self._place)
        self.me = MeResource(self._transport)
        self.sign_in = SignInResource(self._transport, mode)

    @classmethod
    def remote(
        cls, *, api_key: str, server: str = DEFAULT_SERVER, workspace: str | None = None, **options: Unpack[Options]
    ) -> Self:
        """Return a client that acts with a key, in the key's workspace.

        A key whose form or checksum is wrong is ``AuthenticationError`` here, before anything is sent.
        """
        key = KeyCredential.from_text(api_key, origin_of(server))
        client = cls(server, workspace=workspace or key.slug, workspace_is_hint=workspace is None, **options)
        client._transport.use_key(key)
        client._bearer = KeyBearer(key, client.origin)
        return client

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **options: Unpack[Options]) -> Self:
        """Return a client that acts with the key in ``CMDOP_API_KEY``.

        ``CMDOP_SERVER_URL``, ``CMDOP_CA_FILE``, ``CMDOP_TIMEOUT`` and ``CMDOP_RETRIES`` count where they are set and
        the argument is not given. Key or server set but empty is an error, not unset.
        """
        key = _chosen(environ, "CMDOP_API_KEY")
        if key is None:
            raise AuthenticationError(
                "CMDOP_API_KEY is not set", code=LocalCode.NO_CREDENTIAL, hint="export CMDOP_API_KEY=cmd_…"
            )
        server = _chosen(environ, "CMDOP_SERVER_URL") or DEFAULT_SERVER
        return cls.remote(api_key=key, server=server, **_tuned(environ, options))

    @classmethod
    def from_profile(
        cls,
        name: str | None = None,
        mode: str | None = None,
        workspace: str | None = None,
        *,
        store: Store | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Return a client that acts with a sign-in of the command line, sharing and refreshing its tokens.

        ``name`` and ``mode`` default to the current ones, ``workspace`` (id or slug) to the active one. Whoever
        was never signed in there gets ``AuthenticationError`` with the ``cmdop login`` to run.
        """
        store = store or Store()
        saved = saved_sign_in(store, name, mode, workspace)
        source = FileTokenSource(
            store,
            origin=saved.origin,
            account_id=saved.account_id,
            workspace_id=saved.workspace_id,
            mode=saved.mode,
        )
        options.setdefault("ca_pin", saved.ca_pin)
        return cls.with_source(source, saved.origin, saved.workspace_id, mode=saved.mode, **options)

    @classmethod
    def with_source(
        cls,
        source: TokenSource,
        server: str,
        workspace: str | None,
        *,
        mode: str = DEFAULT_MODE,
        **options: Unpack[Options],
    ) -> Self:
        """Return a client that acts with the tokens of ``source`` in ``workspace`` (id or slug)."""
        client = cls(server, mode=mode, workspace=workspace, **options)
        client._transport.use_source(source, client.sign_in.refresh, mode=mode, workspace=workspace)
        client._bearer = PairBearer(
            source, client.sign_in.refresh, origin=client.origin, mode=mode, workspace=workspace
        )
        return client

    @classmethod
    def anonymous(cls, server: str = DEFAULT_SERVER, *, mode: str = DEFAULT_MODE, **options: Unpack[Options]) -> Self:
        """Return a client without a credential: for ``sign_in``, ``version`` and ``discovery``."""
        return cls(server, mode=mode, **options)

    @property
    def origin(self) -> str:
        """Return where the server is: the only place that this client's credential is ever sent to (D-23)."""
        return self._transport.origin

    @property
    def workspace_ref(self) -> str | None:
        """Return what the workspace is called in requests: an id, or a slug while nothing better is known."""
        return self._place.ref

    @classmethod
    def local(cls, config_dir: Path | None = None) -> "LocalAgent":
        """Return the agent of this machine and user, reached over its local socket; no server is involved.

        ``config_dir`` is another configuration directory than the usual one (``CMDOP_CONFIG_DIR``).
        """
        from cmdop_sdk.local import LocalAgent

        return LocalAgent(config_dir)

    def dialer(self) -> "Dialer":
        """Return what opens streams to this client's server as this client's caller; they share one trust."""
        if self._bearer is None:
            raise AuthenticationError(
                f"there is no credential for {self.origin}", code=LocalCode.NO_CREDENTIAL, hint="cmdop login"
            )
        if self._dialer is None:
            # Websockets are not free to import, and most calls are plain HTTP.
            from cmdop_sdk.dialing import Dialer, Target

            ca_file = self._options.get("ca_file")
            target = Target(
                self.origin,
                ca_file=None if ca_file is None else Path(ca_file),
                ca_pin=self._options.get("ca_pin"),
            )
            self._dialer = Dialer(
                target, self._bearer, tickets=self.stream_ticket, retries=self._options.get("retries", RETRIES)
            )
        return self._dialer

    async def stream_ticket(self, purpose: "Purpose") -> "Ticketed":
        """Return a ticket for one stream, as a relay with an address of its own wants it in place of a credential."""
        from cmdop_sdk.dialing import Ticketed

        is_session = is_id(purpose.machine, "session")  # which an observer may name in place of the machine
        made = await (
            self.sessions.ticket(purpose.machine)
            if is_session
            else self.machines.ticket(purpose.machine, purpose.right)
        )
        if made.secret is None:
            raise UnexpectedAnswer("the server made a ticket without telling its text")
        return Ticketed(made.secret, made.relay.url)

    async def version(self) -> Version:
        """Return what answers at the server; needs no credential."""
        return (await self._transport.request("GET", f"{API_BASE}/version", Version, is_public=True)).value

    async def discovery(self) -> Discovery:
        """Return what the server tells everybody about itself; needs no credential."""
        return (await self._transport.request("GET", "/.well-known/cmdop", Discovery, is_public=True)).value

    async def close(self) -> None:
        """Close the connections; ``async with`` does it."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncCMDOPClient({self.origin}, workspace={self.workspace_ref!r})"


def _chosen(environ: Mapping[str, str], name: str) -> str | None:
    """Return a variable that selects authority; set but empty is a broken script, never «unset»."""
    value = environ.get(name)
    if value is not None and not value.strip():
        raise InvalidRequest(f"{name} is set but empty", hint=f"unset {name}")
    return value


def _tuned(environ: Mapping[str, str], options: Options) -> Options:
    tuned = options.copy()
    if environ.get("CMDOP_CA_FILE"):
        tuned.setdefault("ca_file", environ["CMDOP_CA_FILE"])
    try:
        if environ.get("CMDOP_TIMEOUT"):
            tuned.setdefault("timeout", float(environ["CMDOP_TIMEOUT"]))
        if environ.get("CMDOP_RETRIES"):
            tuned.setdefault("retries", int(environ["CMDOP_RETRIES"]))
    except ValueError:
        raise InvalidRequest(
            "CMDOP_TIMEOUT and CMDOP_RETRIES are numbers", hint="unset CMDOP_TIMEOUT CMDOP_RETRIES"
        ) from None
    return tuned

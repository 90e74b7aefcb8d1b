"""The relay as an ASGI application: upgrades, the two paths, start and end."""

import asyncio
import contextlib
import hashlib
import logging
from functools import partial
from urllib.parse import urlsplit

from django.conf import settings

from cmdop_server import rates
from cmdop_server.access.errors import Refused
from cmdop_server.address import resolve
from cmdop_server.relay import authority, serving
from cmdop_server.relay.clients import Client
from cmdop_server.relay.cuts import LOST_DATABASE
from cmdop_server.relay.doorway import Doorway
from cmdop_server.relay.errands import Errands
from cmdop_server.relay.fence import apply, fence
from cmdop_server.relay.hub import Hub, machine_of
from cmdop_server.relay.links import AgentLink
from cmdop_server.relay.records import Records
from cmdop_server.relay.socket import Receive, Scope, Send, Socket, refuse
from cmdop_server.relay.turns import LANE, Known, Open, lane_of
from cmdop_wire import frames
from cmdop_wire.frames import AGENT_PATH, CLIENT_PATH, LIMITS, LINK, PROTOCOL, VERSION, CloseCode, Kind, Malformed
from cmdop_wire.ids import make_id
from cmdop_wire.vocab import ErrorCode

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds without an answer of the database after which everything is closed
LOOK = 5.0


class Relay:
    """One relay: a hub, its records, and the doors to both."""

    def __init__(self, version: str, public_host: str, proxies: tuple[object, ...]) -> None:
        self.records = Records()
        self.hub = Hub(self.records)
        self.node = make_id("session").removeprefix("ses_")[:8]
        self._version = version
        self._public_host = public_host
        self._proxies = proxies
        self.errands = Errands(self.hub)
        self._doorway = Doorway(settings.DATA_DIR, partial(apply, self.hub), self.errands.run)
        self._known, self._open = Known(), Open()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin: cuts can be made, records are written, the database is watched."""
        fence.bind(self.hub)
        await self._doorway.open()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.records.keep()), loop.create_task(self._watch_database())]
        # Read before anybody is served: whatever begins from now on is not of an earlier life.
        self.hub.start(self._end_forgotten(await authority.ask(authority.active_sessions)))

    async def stop(self) -> None:
        """End: everyone is told to come back, what is queued is written."""
        await self.hub.drain()
        self.hub.give_up()
        await self._doorway.close()
        fence.unbind()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            await self.records.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket."""
        await receive()  # websocket.connect
        path = scope["path"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if path not in (AGENT_PATH, CLIENT_PATH):
            await refuse(send, 404, "no such stream")
            return
        if not self._is_own_origin(headers):
            await refuse(send, 403, "this origin may not open streams")
            return
        if PROTOCOL not in scope.get("subprotocols", []):
            await refuse(send, 426, f"the subprotocol is {PROTOCOL}")
            return
        scheme, _, credential = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential or scope.get("query_string"):
            await refuse(send, 401, "a bearer credential in the Authorization header is needed")
            return
        socket = Socket(scope, receive, send)
        address = self._address(scope, headers)
        try:
            rates.check("relay_address", address)
            digest = _digest(credential)
            # Before the database is asked: whoever has a credential may not keep it busy with refusals either.
            rates.check("relay_machine" if path == AGENT_PATH else "relay_credential", digest)
            LANE.set(self._known.lane(digest, address))
            if path == AGENT_PATH:
                await self._agent(socket, credential)
            else:
                await self._client(socket, credential, address)
        except Refused as refusal:
            await _refuse(send, refusal)
        except OSError:
            log.info("a stream broke")

    def _is_own_origin(self, headers: dict[bytes, str]) -> bool:
        """Refuse browsers of other sites: with an Origin it must be ours, and a cookie needs one (CSWSH)."""
        origin = headers.get(b"origin")
        if origin is None:
            return b"cookie" not in headers
        try:
            asked_from = urlsplit(origin).netloc
        except ValueError:  # «http://[» is the origin of nobody
            return False
        return bool(asked_from) and asked_from in (headers.get(b"host"), self._public_host)

    def _address(self, scope: Scope, headers: dict[bytes, str]) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return resolve(peer, headers.get(b"x-forwarded-for", ""), self._proxies)  # type: ignore[arg-type]

    async def _client(self, socket: Socket, credential: str, address: str) -> None:
        caller = await authority.ask(authority.caller_of, credential, address=address, request_id=make_id("event"))
        rates.check("relay_account", caller.actor.account_id or caller.actor.id)
        if caller.only is None:  # a ticket is good once
            self._known.add(_digest(credential))
        LANE.set(lane_of(caller.actor.account_id, caller.actor.workspace_id))
        client = Client(self.hub, socket, caller)
        with self._open.one_more(caller.actor):
            await serving.run(
                socket, client.serve, lambda problem: self.records.client_cut(client.caller.actor, problem)
            )

    async def _agent(self, socket: Socket, credential: str) -> None:
        row = await authority.ask(authority.machine_of_credential, credential)
        LANE.set(row.public_id)
        link = AgentLink(self.hub, socket, machine_of(row))
        await serving.run(
            socket,
            lambda: self._serve_agent(link, credential),
            lambda problem: self.records.machine_cut(link.machine, problem),
        )

    async def _serve_agent(self, link: AgentLink, credential: str) -> None:
        async with asyncio.timeout(LIMITS.hello):
            hello = await link.socket.receive()
        if hello.kind is not Kind.HELLO or hello.channel != LINK:
            raise Malformed("a link begins with HELLO")
        body = frames.body_of(hello)
        if body.get("version") != VERSION:
            raise Malformed("this relay speaks version 1")
        channels = body.get("channels")
        link.surviving = (
            {str(each.get("stream_id")) for each in channels if isinstance(each, dict)}
            if isinstance(channels, list)
            else set()
        )
        if not await self._attached(link, credential):
            self.records.duplicate(link.machine)
            link.close(CloseCode.CONFLICT, "duplicate_credential")
            return
        try:
            seeds = await authority.ask(authority.greeting, link.machine.id, body)
            link.socket.put(
                frames.encode_json(
                    Kind.WELCOME,
                    LINK,
                    version=VERSION,
                    server=self._version,
                    node=self.node,
                    workspace={"id": link.machine.workspace_id, "slug": link.machine.workspace_slug},
                    machine={"id": link.machine.id, "hostname": link.machine.hostname, "name": link.machine.name},
                    seeds=seeds,
                )
            )
            self.records.heartbeat(link.machine.id, {})
            self.hub.rejoin(link)
            await link.serve()
        finally:
            self.hub.detach(link)

    async def _attached(self, link: AgentLink, credential: str) -> bool:
        """Take the link in unless its machine has one; ``Unauthenticated`` when the credential died since the upgrade.

        A cut that is made meanwhile misses a link that is not there yet, so then all of it is asked again (D-14).
        """
        while True:
            before = self.hub.cuts
            link.machine = machine_of(await authority.ask(authority.machine_of_credential, credential))
            if not await self.hub.attach(link):
                return False
            if self.hub.cuts == before:
                return True
            self.hub.detach(link)

    async def _watch_database(self) -> None:
        """Close everything when rights cannot be read any more for 30 s: silence means deny."""
        loop = asyncio.get_running_loop()
        seen = loop.time()
        while True:
            await asyncio.sleep(LOOK)
            try:
                async with asyncio.timeout(LOOK):
                    await authority.ask(authority.is_reachable)
                seen = loop.time()
            except Exception:
                if loop.time() - seen > PATIENCE:
                    await apply(self.hub, LOST_DATABASE)

    async def _end_forgotten(self, earlier: list[str]) -> None:
        """End the sessions of an ``earlier`` life of the relay that nobody came back for within the grace."""
        await asyncio.sleep(LIMITS.grace + 5)
        for session_id in earlier:
            if session_id in self.hub.streams:
                continue
            with contextlib.suppress(Exception):
                await authority.ask(authority.end_forgotten, session_id)
            stream = self.hub.streams.get(session_id)
            if stream is not None:  # it was taken up meanwhile, and its row has ended
                self.hub.finish(stream, "relay_restarted", CloseCode.GONE)


async def _refuse(send: Send, refusal: Refused) -> None:
    """Refuse an upgrade for what is wrong with whoever asks, or with us."""
    status = {ErrorCode.UNAVAILABLE: 503, ErrorCode.RATE_LIMITED: 429}.get(refusal.code, 401)
    await refuse(send, status, refusal.message, retry_after=refusal.details.get("retry_after"))


def _digest(credential: str) -> str:
    """Return what a credential is counted under: no secret lies about in the counters."""
    return hashlib.sha256(credential.encode("latin-1")).hexdigest()

"""Signing in: the device grant (RFC 8628), one-time tokens, refresh, changing workspace, revoking (D-16).

Everything here is public but ``info``: the code or token in the body is the proof.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cmdop_sdk.auth import Secret, TokenPair
from cmdop_sdk.errors import AuthenticationError, CMDOPError, GrantError, LocalCode, WrongOrigin
from cmdop_sdk.models import Account, DeviceCode, EnteredWorkspace, TokenGrant, TokenInfo, WorkspaceRef
from cmdop_sdk.transport import API_BASE, Transport
from cmdop_wire.vocab import GRANT_DEVICE_CODE, GRANT_REFRESH, GRANT_SIGN_IN_TOKEN, ErrorCode

SLOWER = 5.0  # seconds added to the gap at every slow_down, RFC 8628 §3.5
POLL_FASTEST, POLL_SLOWEST = 0.2, 60.0  # seconds: what a server may ask for is kept within reason


class SignedIn(NamedTuple):
    """A new token pair, with what was told about whom and where it is for."""

    pair: TokenPair
    account: Account
    workspace: EnteredWorkspace
    default_workspace: WorkspaceRef | None


class SignInResource:
    """``client.sign_in``; pairs are returned, never kept: that is a ``TokenSource``'s."""

    def __init__(self, transport: Transport, mode: str) -> None:
        self._transport = transport
        self._mode = mode

    async def start(self, client: str, *, workspace: str | None = None) -> DeviceCode:
        """Begin a device grant; ``client`` is what the approval page calls this program."""
        body = {"client": client} if workspace is None else {"client": client, "workspace": workspace}
        path = f"{API_BASE}/auth/device"
        return (await self._transport.request("POST", path, DeviceCode, body=body, is_public=True)).value

    async def redeem(self, device_code: Secret) -> SignedIn:
        """Ask once whether the grant was approved; ``GrantError`` with ``transient`` means to ask again later."""
        return await self._grant({"grant_type": GRANT_DEVICE_CODE, "device_code": device_code.reveal()})

    async def wait(
        self,
        device: DeviceCode,
        *,
        waiting: Callable[[float], None] | None = None,
        away: Callable[[CMDOPError], None] | None = None,
    ) -> SignedIn:
        """Poll until a person has answered, and return the sign-in or raise ``GrantError`` (denied, expired).

        The gap is the server's and grows with every ``slow_down``; a server that is out of reach for a moment is
        asked again. ``waiting`` is told the seconds that remain before each gap, ``away`` why the server gave no
        answer, each time.
        """
        gap = min(max(device.interval, POLL_FASTEST), POLL_SLOWEST)
        deadline = time.monotonic() + device.expires_in
        while (remaining := deadline - time.monotonic()) > 0:
            if waiting is not None:
                waiting(remaining)
            await asyncio.sleep(min(gap, remaining))
            try:
                return await self.redeem(device.device_code)
            except CMDOPError as failure:
                if not failure.transient:
                    raise
                if away is not None and failure.code not in (ErrorCode.SLOW_DOWN, ErrorCode.AUTHORIZATION_PENDING):
                    away(failure)
                if failure.code == ErrorCode.SLOW_DOWN:
                    gap += SLOWER
                asked = failure.details.get("interval", failure.details.get("retry_after"))
                gap = min(max(gap, asked if isinstance(asked, int | float) else 0.0), POLL_SLOWEST)
        raise GrantError("nobody approved the sign-in in time", code=ErrorCode.EXPIRED_TOKEN, hint="cmdop login")

    async def with_token(self, token: Secret, *, workspace: str | None = None, client: str | None = None) -> SignedIn:
        """Redeem the operator's one-time sign-in token."""
        return await self._grant(
            {"grant_type": GRANT_SIGN_IN_TOKEN, "token": token.reveal(), "workspace": workspace, "client": client}
        )

    async def refresh(self, pair: TokenPair) -> TokenPair:
        """Trade the refresh token for the next pair of the same workspace.

        Tried again when the answer is lost: the server accepts the old token again for a while (D-16). A refresh
        token that has ended is ``AuthenticationError`` (signed_out).
        """
        self._check_ours(pair)
        body = {"grant_type": GRANT_REFRESH, "refresh_token": pair.refresh_token.reveal()}
        try:
            return pair.check_successor((await self._grant(body, is_repeatable=True)).pair)
        except GrantError as ended:
            raise AuthenticationError(
                f"the sign-in for workspace {pair.workspace_slug} has ended",
                code=LocalCode.SIGNED_OUT,
                hint=f"cmdop login --workspace {pair.workspace_slug}",
                request_id=ended.request_id,
                http_status=ended.http_status,
            ) from ended

    async def exchange(self, pair: TokenPair, workspace: str) -> SignedIn:
        """Enter another workspace under the same sign-in; ``pair`` itself stays as it is (D-16).

        ``PermissionDenied`` when the sign-in is for one workspace only, ``NotFound`` when the person is no member.
        """
        self._check_ours(pair)
        entered = await self._grant(
            {"grant_type": GRANT_REFRESH, "refresh_token": pair.refresh_token.reveal(), "workspace": workspace}
        )
        there = entered.workspace
        if workspace not in (there.id, there.slug) or entered.account.id != pair.account_id:
            raise WrongOrigin(f"the server gave tokens for {there.slug} where {workspace} was asked for")
        return entered

    async def revoke(self, token: Secret, *, all: bool = False) -> None:
        """End a token's family, or with ``all`` its whole sign-in; unknown tokens are no error (RFC 7009 §2.2)."""
        body = {"token": token.reveal(), "all": all}
        await self._transport.request("POST", f"{API_BASE}/auth/revoke", dict[str, Any], body=body, is_public=True)

    async def info(self) -> TokenInfo:
        """Return what the client's own credential is."""
        return (await self._transport.request("GET", f"{API_BASE}/auth/token/info", TokenInfo)).value

    async def _grant(self, fields: Mapping[str, str | None], *, is_repeatable: bool = False) -> SignedIn:
        asked_at = time.time()  # before the request, so that the pair never seems to live longer than it does
        reply = await self._transport.request(
            "POST",
            f"{API_BASE}/auth/token",
            TokenGrant,
            body={name: value for name, value in fields.items() if value is not None},
            is_public=True,
            is_repeatable=is_repeatable,
        )
        grant = reply.value
        pair = TokenPair(
            origin=self._transport.origin,
            mode=self._mode,
            account_id=grant.account.id,
            account_email=grant.account.email,
            workspace_id=grant.workspace.id,
            workspace_slug=grant.workspace.slug,
            sign_in_id=grant.sign_in_id,
            family_id=grant.family_id,
            reach=grant.scope,
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            expires_at=asked_at + grant.expires_in,
            refresh_expires_at=asked_at + grant.refresh_expires_in,
        )
        return SignedIn(pair, grant.account, grant.workspace, grant.default_workspace)

    def _check_ours(self, pair: TokenPair) -> None:
        if (pair.origin, pair.mode) != (self._transport.origin, self._mode):
            raise WrongOrigin(f"this sign-in belongs to {pair.origin} ({pair.mode})", hint="cmdop status")

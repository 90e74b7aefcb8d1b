"""A stream outlives the access token that it was opened with: a fresh one is shown in time (D-14)."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from cmdop_sdk.auth import EXPIRY_MARGIN
from cmdop_sdk.bearers import Shown
from cmdop_sdk.dialing import Dialer, Purpose
from cmdop_sdk.errors import CMDOPError
from cmdop_wire import frames
from cmdop_wire.frames import STREAM, Kind

REAUTH_PAUSE = 5.0  # seconds between tries to get a fresh token
LONGEST_NAP = 30.0  # seconds: clocks jump when a laptop wakes up


async def reauthenticate(
    dialer: Dialer, purpose: Purpose, shown: Shown, put: Callable[[bytes], Awaitable[None]]
) -> None:
    """Show a fresh token before the old one ends, for as long as the stream lives; ``put`` says it to the relay."""
    while shown.expires_at is not None:
        await _until(shown.expires_at - EXPIRY_MARGIN)
        try:
            fresh = await dialer.credential(purpose)
        except CMDOPError as failure:
            if not failure.transient:
                return  # the relay closes the stream, and says why
            fresh = shown
        if fresh.secret != shown.secret:
            await put(frames.encode_json(Kind.REAUTH, STREAM, token=fresh.secret.reveal()))
            shown = fresh
        if shown.expires_at is not None and shown.expires_at - EXPIRY_MARGIN <= time.time():
            await asyncio.sleep(REAUTH_PAUSE)  # nothing better is to be had: the sign-in itself is about to end


async def _until(moment: float) -> None:
    """Sleep until the clock shows ``moment`` (Unix seconds)."""
    while (left := moment - time.time()) > 0:
        await asyncio.sleep(min(left, LONGEST_NAP))

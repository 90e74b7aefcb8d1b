"""What ends by the clock: each holder of a stream has one timer, until the first end that their credential has."""

import asyncio
from datetime import UTC, datetime

from cmdop_server.relay.authority import Caller
from cmdop_server.relay.cuts import by_the_clock
from cmdop_server.relay.fence import end
from cmdop_server.relay.hub import Hub
from cmdop_server.relay.streams import Holder, Stream

LONGEST_NAP = 60.0  # seconds: the wall's clock may jump, and a timer sleeps while the host does


def watch(hub: Hub, stream: Stream, holder: Holder, caller: Caller) -> None:
    """End ``holder``'s end of ``stream`` when ``caller`` does by the clock, in place of what was known before."""
    if holder.expiry is not None:
        holder.expiry.cancel()
        holder.expiry = None
    first = by_the_clock(caller.actor, caller.expires_at, caller.ends_at)
    if first is None or holder.is_fenced or stream.id not in hub.streams:
        return
    at, cut = first
    left = (at - datetime.now(UTC)).total_seconds()
    if left <= 0:
        end(hub, stream, holder, cut)
    else:
        # Whatever the timer's precision, it looks again, so nothing ends before its time.
        nap = min(left, LONGEST_NAP)
        holder.expiry = asyncio.get_running_loop().call_later(nap, watch, hub, stream, holder, caller)

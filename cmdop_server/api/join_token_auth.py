"""A join token in the body, in place of a bearer credential: for the one operation that takes it."""

import json
from typing import Any

from django.http import HttpRequest

from cmdop_server import rates
from cmdop_server.address import client_address
from cmdop_server.api.auth import Bearer
from cmdop_server.credentials.authenticate import Proof
from cmdop_server.machines.queries import live_join_token
from cmdop_server.machines.services import actor_of_token, dead_join_token
from cmdop_server.requests import request_id


def prove_join_token(request: HttpRequest) -> Proof | None:
    """Return the proof of the ``join_token`` in the body, ``None`` without one; ``Unauthenticated`` if it is dead."""
    text = _field(request.body)
    if text is None:
        return None
    rates.check("sign_in", client_address(request))
    token = live_join_token(text)
    if token is None:
        raise dead_join_token()
    actor = actor_of_token(token, address=client_address(request), request_id=request_id(request))
    return Proof(actor, token.expires_at, token.workspace, None, None)


def _field(body: bytes) -> str | None:
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = parsed.get("join_token") if isinstance(parsed, dict) else None
    return text if isinstance(text, str) else None


BEARER_OR_JOIN_TOKEN = [Bearer(), prove_join_token]

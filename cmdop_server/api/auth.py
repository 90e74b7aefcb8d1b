"""The bearer credential of a request: proved once, counted, noted. Nothing but the header is looked at."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from cmdop_server import rates
from cmdop_server.access.actor import Actor
from cmdop_server.address import client_address
from cmdop_server.credentials.authenticate import Proof, note_use, prove
from cmdop_server.requests import request_id


class ApiRequest(HttpRequest):
    """A request whose credential was proved; ninja keeps the proof in ``auth``."""

    auth: Proof


class Bearer(HttpBearer):
    """``Authorization: Bearer`` with a key or an access token."""

    def authenticate(self, request: HttpRequest, token: str) -> Proof:
        """Return the proof, or raise ``Unauthenticated`` or ``rate_limited``."""
        proof = prove(token, address=client_address(request), request_id=request_id(request))
        rates.check_actor(proof.actor)
        note_use(proof)
        return proof


def actor_of(request: HttpRequest) -> Actor:
    """Return who asks; only operations behind ``Bearer`` have somebody."""
    proof: Proof = request.auth  # type: ignore[attr-defined]
    return proof.actor

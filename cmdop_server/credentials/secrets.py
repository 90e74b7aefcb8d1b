"""Keyed hashes of secrets, and tokens derived from tokens. The texts themselves are stored nowhere (D-11)."""

import hashlib
import hmac

from django.conf import settings

from cmdop_wire.ids import token_from


def keyed_hash(text: str) -> str:
    """Return the HMAC-SHA256 of ``text`` under the server's pepper, as 64 hexadecimal digits."""
    return _keyed(b"", text).hex()


def successor_of(refresh_token: str) -> str:
    """Return the refresh token that replaces ``refresh_token``, always the same one.

    Only hashes are stored, so the answer to a replay inside the grace could not be looked up; deriving it under the
    pepper gives ten parallel refreshes one successor instead of ten (D-16).
    """
    return token_from("refresh", _keyed(b"successor\0", refresh_token))


def _keyed(domain: bytes, text: str) -> bytes:
    return hmac.new(settings.CMDOP_PEPPER, domain + text.encode(), hashlib.sha256).digest()

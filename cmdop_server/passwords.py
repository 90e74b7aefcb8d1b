"""Passwords: argon2id with bounded memory, whatever the number of people (or machines) who try at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.exceptions import ValidationError

from cmdop_server.access.errors import Refused
from cmdop_server.limits import HASHING_WAIT_SECONDS, PASSWORD_BYTES
from cmdop_wire.vocab import ErrorCode

_slots = threading.BoundedSemaphore(settings.CMDOP_CONFIG.hashing_slots)


class HashingBusy(Refused):
    """All hashing slots stayed taken; the answer is 503 and the memory stays bounded."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, "too many people sign in at once, try again in a moment", retry_after=5)


@contextmanager
def slot() -> Iterator[None]:
    """Hold one of the few places in which a password may be hashed, until the hash is done."""
    if not _slots.acquire(timeout=HASHING_WAIT_SECONDS):
        raise HashingBusy
    try:
        yield
    finally:
        _slots.release()


def is_too_long(password: str) -> bool:
    """Tell whether a password is longer than anybody's; asked before hashing it."""
    return len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES


class BoundedArgon2Hasher(Argon2PasswordHasher):
    """Argon2id with the second recommended parameters of RFC 9106 §4 (64 MiB, three passes), a few at a time."""

    time_cost = 3
    memory_cost = 64 * 1024
    parallelism = 4

    def encode(self, password: str, salt: str) -> str:
        """Return the encoded hash; ``ValueError`` for an over-long password."""
        if is_too_long(password):
            raise ValueError(f"a password is at most {PASSWORD_BYTES} bytes")
        with slot():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Tell whether the password is the one that was hashed."""
        if is_too_long(password):
            return False
        with slot():
            return super().verify(password, encoded)


class MaximumLengthValidator:
    """Refuse in a form what the hasher would refuse."""

    def validate(self, password: str, _user: object = None) -> None:
        """Raise ``ValidationError`` for an over-long password."""
        if is_too_long(password):
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        """Return the rule."""
        return f"a password is at most {PASSWORD_BYTES} bytes"

"""The audit chain as mathematics: canonical form, hash, signed head, and where a chain is broken.

Pure: no tables, no clock. Described for other implementations in docs/reference/audit-chain.md, which must
change with this file; what is written here is on disk for ever.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

GENESIS = "0" * 64  # what the first event of a workspace calls its previous hash
EVENT_DOMAIN = b"cmdop-audit-event-v1\n"
HEAD_DOMAIN = b"cmdop-audit-head-v1\n"
LARGEST_INTEGER = 2**53 - 1  # beyond it JSON numbers differ between implementations (RFC 8259 §6)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is hashed of one event; ``hash`` seals everything above it and, through ``previous``, the past."""

    id: str
    workspace_id: str
    seq: int
    at: datetime
    actor_kind: str
    actor_id: str
    actor_label: str
    credential_id: str | None
    action: str
    result: str
    reason: str
    target_type: str
    target_id: str
    target_label: str
    changes: Mapping[str, Any]
    request_id: str
    address: str
    previous: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The signed end of a workspace's chain; ``signature`` and ``public_key`` are base64 of the raw bytes."""

    workspace_id: str
    seq: int
    hash: str
    signed_at: datetime
    key_id: str
    public_key: str
    signature: str


def timestamp(moment: datetime) -> str:
    """Return an aware ``moment`` in UTC as ``2026-01-02T03:04:05.000006Z``, always with six decimals."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        # RFC 8785 §3.2.3: members in the order of their names' UTF-16 code units.
        if not all(isinstance(name, str) for name in value):
            raise ValueError("a member name must be text")
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return int(value)
    raise ValueError(f"{type(value).__name__} has no canonical form: text, small integers, booleans, null only")


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 (JCS) form of ``value`` in UTF-8; ``ValueError`` for floats, huge integers, surrogates."""
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def document(entry: Entry) -> dict[str, Any]:
    """Return the JSON object that is hashed: the event as the API shows it, with its workspace, without its hash."""
    return {
        "id": entry.id,
        "workspace_id": entry.workspace_id,
        "seq": entry.seq,
        "at": timestamp(entry.at),
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "label": entry.actor_label},
        "credential_id": entry.credential_id,
        "action": entry.action,
        "result": entry.result,
        "reason": entry.reason,
        "target": {"type": entry.target_type, "id": entry.target_id, "label": entry.target_label},
        "changes": entry.changes,
        "request_id": entry.request_id,
        "address": entry.address,
        "previous": entry.previous,
    }


def hash_of(entry: Entry) -> str:
    """Return the SHA-256 of the event's canonical form behind its domain line, as 64 lower-case hex digits."""
    return hashlib.sha256(EVENT_DOMAIN + canonical(document(entry))).hexdigest()


def public_key_of(seed: bytes) -> bytes:
    """Return the raw 32-byte Ed25519 public key of a 32-byte ``seed``."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(public_key: bytes) -> str:
    """Return the first 16 hex digits of the SHA-256 of a raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def _signed_bytes(workspace_id: str, seq: int, digest: str, signed_at: datetime, signer: str) -> bytes:
    return HEAD_DOMAIN + canonical(
        {
            "workspace_id": workspace_id,
            "seq": seq,
            "hash": digest,
            "signed_at": timestamp(signed_at),
            "key_id": signer,
        }
    )


def sign(seed: bytes, *, workspace_id: str, seq: int, digest: str, signed_at: datetime) -> Head:
    """Return the head of a chain that ends with event ``seq`` and hash ``digest``, signed with Ed25519 (RFC 8032)."""
    public = public_key_of(seed)
    message = _signed_bytes(workspace_id, seq, digest, signed_at, key_id(public))
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(message)
    return Head(
        workspace_id=workspace_id,
        seq=seq,
        hash=digest,
        signed_at=signed_at,
        key_id=key_id(public),
        public_key=base64.b64encode(public).decode(),
        signature=base64.b64encode(signature).decode(),
    )


def is_signed(head: Head, public_key: bytes) -> bool:
    """Tell whether ``public_key``, which the verifier must know from elsewhere, signed exactly this head."""
    message = _signed_bytes(head.workspace_id, head.seq, head.hash, head.signed_at, key_id(public_key))
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(head.signature), message)
    except (InvalidSignature, ValueError):
        return False
    return head.key_id == key_id(public_key)


def fault_in(entries: Iterable[Entry], head: Head, public_key: bytes) -> str | None:
    """Return what is wrong with a whole chain in ascending order, or ``None`` when head and every event agree.

    An empty chain is a fault: nothing was verified (D-30). The steps of docs/reference/audit-chain.md as code, by which
    the tests judge what the server writes; the server itself asks nobody to believe them.
    """
    if not is_signed(head, public_key):
        return "the head is not signed by this key"
    seq, previous = 0, GENESIS
    for entry in entries:
        seq += 1
        if entry.workspace_id != head.workspace_id:
            return f"event {entry.seq} belongs to another workspace"
        if entry.seq != seq:
            return f"event {seq} is missing or out of order"
        if entry.previous != previous:
            return f"event {seq} does not follow the event before it"
        if hash_of(entry) != entry.hash:
            return f"event {seq} was altered"
        previous = entry.hash
    if seq == 0:
        return "there is nothing to verify"
    if (seq, previous) != (head.seq, head.hash):
        return f"the head stands at event {head.seq}, the events end at {seq}"
    return None

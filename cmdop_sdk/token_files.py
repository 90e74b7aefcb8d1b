"""The token file's format: what it tells without its secrets, and how both are read and written."""

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cmdop_sdk import documents
from cmdop_sdk.auth import Secret, TokenFacts, TokenPair
from cmdop_sdk.documents import Document
from cmdop_sdk.errors import LocalStateError

STORES = ("file", "keyring")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken(TokenFacts):
    """A token file without its secrets; ``store`` says where those are: ``file`` or ``keyring``.

    With the keyring the times are those of the last write of this file.
    """

    path: Path
    store: str

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing but a new sign-in helps any more."""
        return time.time() >= self.refresh_expires_at

    @property
    def item(self) -> str:
        """Return the name of this pair's item in a secret store: account hash, workspace id and mode."""
        return f"{account_hash(self.origin, self.account_id)}/{self.workspace_id}/{self.mode}"


def account_hash(origin: str, account_id: str) -> str:
    """Return the directory name of an account: the first 32 hex digits of SHA-256 over origin, LF and account id."""
    return sha256(f"{origin}\n{account_id}".encode()).hexdigest()[:32]


def described(path: Path, pair: TokenPair, store: str) -> StoredToken:
    """Return what the file of ``pair`` tells without its secrets."""
    return StoredToken(path=path, store=store, **pair.facts())


def secrets_of(pair: TokenPair) -> Document:
    """Return the part that goes where secrets go; it carries its own times, so that it may be newer than the file."""
    return {
        "family_id": pair.family_id,
        "expires_at": pair.expires_at,
        "refresh_expires_at": pair.refresh_expires_at,
        "access_token": pair.access_token.reveal(),
        "refresh_token": pair.refresh_token.reveal(),
    }


def to_document(stored: StoredToken, secrets: Document) -> Document:
    """Return the file's content; ``secrets`` is empty unless the file itself is the store."""
    return {
        "schema": documents.SCHEMA,
        "store": stored.store,
        "origin": stored.origin,
        "mode": stored.mode,
        "account": {"id": stored.account_id, "email": stored.account_email},
        "workspace": {"id": stored.workspace_id, "slug": stored.workspace_slug},
        "sign_in_id": stored.sign_in_id,
        "family_id": stored.family_id,
        "reach": stored.reach,
        "expires_at": stored.expires_at,
        "refresh_expires_at": stored.refresh_expires_at,
        **secrets,
    }


def from_document(path: Path, document: Document) -> StoredToken:
    """Return what a token file tells; a missing or wrong field is a ``LocalStateError``."""
    account = documents.table(path, document, "account")
    workspace = documents.table(path, document, "workspace")
    store = documents.text(path, document, "store")
    if store not in STORES:
        raise LocalStateError(f"{path} names an unknown store {store!r}", path=path, hint="pip install -U cmdop-cli")
    return StoredToken(
        path=path,
        store=store,
        origin=documents.text(path, document, "origin"),
        mode=documents.text(path, document, "mode"),
        account_id=documents.text(path, account, "id"),
        account_email=documents.text(path, account, "email"),
        workspace_id=documents.text(path, workspace, "id"),
        workspace_slug=documents.text(path, workspace, "slug"),
        sign_in_id=documents.text(path, document, "sign_in_id"),
        family_id=documents.text(path, document, "family_id"),
        reach=documents.text(path, document, "reach"),
        expires_at=documents.number(path, document, "expires_at"),
        refresh_expires_at=documents.number(path, document, "refresh_expires_at"),
    )


def pair_from(stored: StoredToken, secrets: Document) -> TokenPair:
    """Return the pair made of both parts."""
    path = stored.path
    newest = {
        "family_id": documents.text(path, secrets, "family_id"),
        "expires_at": documents.number(path, secrets, "expires_at"),
        "refresh_expires_at": documents.number(path, secrets, "refresh_expires_at"),
    }
    return TokenPair(
        access_token=Secret(documents.text(path, secrets, "access_token")),
        refresh_token=Secret(documents.text(path, secrets, "refresh_token")),
        **(stored.facts() | newest),
    )

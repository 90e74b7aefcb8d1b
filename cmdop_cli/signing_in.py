"""Signing in, step by step: the store is tried, the person approves, the pair is kept, the state says what is in force.

Whatever can fail without a person is done before one is bothered (D-16); nothing is replaced silently.
"""

import sys
from typing import TYPE_CHECKING, Any

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.profiles import Server, check_name
from cmdop_cli.state import Identity, Place
from cmdop_cli.state_shape import MODES
from cmdop_cli.stored_sign_ins import pair_client, stored_tokens
from cmdop_wire.ids import is_id, is_slug
from cmdop_wire.vocab import ErrorCode, Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cmdop_cli.context import Call
    from cmdop_cli.state_draft import Draft
    from cmdop_sdk.auth import TokenPair
    from cmdop_sdk.errors import CMDOPError
    from cmdop_sdk.models import DeviceCode, Workspace
    from cmdop_sdk.resources.sign_in import SignedIn
    from cmdop_sdk.token_files import StoredToken

CLIENT_LENGTH = 120  # characters of what the approval page calls us
_NOTHING = dict.fromkeys(
    ("server", "mode", "profile", "account", "workspace", "reach", "sign_in_id", "store", "expires_at", "in_force")
)


def sign_in(call: "Call", *, ca_pin: str | None, opens_browser: bool, by_token: bool) -> dict[str, Any]:
    """Sign in and return what the sign-in is and what is in force now."""
    profile, mode, origin = _place_of(call)
    pin = _pin(call, ca_pin)
    before = _identity_before(call, profile, mode, origin)
    kind = _store_for(call, mode)
    if call.is_dry_run:
        return {**_NOTHING, "server": origin, "mode": mode, "profile": profile, "store": kind}
    signed = _signed(call, pin, opens_browser=opens_browser, by_token=by_token)
    if before is not None and before.account_id != signed.account.id:
        _end(call, signed.pair, whole=True)
        raise _another_account(profile, before, signed.account.email)
    stored = _kept(call, signed.pair, kind)
    call.local.profiles().save(profile, mode, Server(origin, pin, signed.account.id, signed.account.email))
    _note_state(call, signed, stored, profile, mode)
    return _told(call, signed, stored, profile, mode)


def _place_of(call: "Call") -> tuple[str, str, str]:
    """Return profile, mode and origin to sign in to; a profile that is not there yet will be."""
    named = call.environ.get(environment.MODE)
    if call.options.mode is None and named and named not in MODES:
        raise Failure(Code.LOCAL_STATE, f"{environment.MODE} is neither prod nor dev", hint="unset CMDOP_MODE")
    return check_name(call.resolution.profile), call.resolution.mode, call.server.origin


def _pin(call: "Call", given: str | None) -> str | None:
    if given is None:
        return call.server.ca_pin
    from cmdop_sdk.trust import check_pin

    return check_pin(given)


def _identity_before(call: "Call", profile: str, mode: str, origin: str) -> Identity | None:
    """Return who is signed in already; at another server that is a conflict, found before anybody is asked."""
    identity = call.state.identity(profile, mode)
    if identity is None or not any(not each.has_ended for each in stored_tokens(call, identity, mode)):
        return None
    if identity.origin != origin:
        raise Failure(
            ErrorCode.CONFLICT,
            f"profile {profile} is signed in to {identity.origin} as {identity.email} (mode {mode})",
            hint=f"cmdop login --server {origin} --profile NAME, or cmdop logout --all first",
        )
    return identity


def _another_account(profile: str, before: Identity, email: str) -> Failure:
    return Failure(
        ErrorCode.CONFLICT,
        f"profile {profile} is signed in as {before.email}, but {email} approved; nothing was changed",
        hint="cmdop login --profile NAME, or cmdop logout --all first",
    )


def _store_for(call: "Call", mode: str) -> str:
    """Return where the pair will be kept, having tried it; a fall-back to a plain file is announced here."""
    from cmdop_sdk.secret_stores import choose_store

    if not call.is_dry_run:
        call.change_state(lambda _: None)  # is the directory ours to write to, and no newer cmdop's?
    wanted = call.setting("credential_store")
    identity = call.state.identity(call.resolution.profile, mode)
    known = stored_tokens(call, identity, mode) if identity is not None else []
    if wanted == "auto" and any(each.store == "keyring" for each in known):
        wanted = "keyring"  # a keyring that is locked today is no reason to write in clear from now on
    kind, why = choose_store(wanted, call.environ)
    if why:
        call.note(f"the tokens will be kept in a private file, in clear: {why}", now=not call.output.is_json)
    return kind


def _signed(call: "Call", pin: str | None, *, opens_browser: bool, by_token: bool) -> "SignedIn":
    from cmdop_cli.credentials import public_client
    from cmdop_sdk.auth import Secret

    hint = call.options.workspace or call.environ.get(environment.WORKSPACE) or None
    if hint is not None and not is_slug(hint) and not is_id(hint, "workspace"):
        raise usage("that is neither a slug nor an id of a workspace", hint="cmdop login --workspace SLUG")
    text = call.read_secret("token") if by_token else ""
    name = client_name()

    async def work() -> "SignedIn":
        async with public_client(call, ca_pin=pin) as client:
            if by_token:
                return await client.sign_in.with_token(Secret(text), workspace=hint, client=name)
            device = await client.sign_in.start(name, workspace=hint)
            _show(call, device, opens_browser=opens_browser)
            return await client.sign_in.wait(device, away=_said_once(call))

    signed = call.run(work(), waiting="signing in" if by_token else "waiting for the approval")
    if hint is not None and hint not in (signed.workspace.id, signed.workspace.slug):
        call.warn(f"{hint} was asked for, but the approval is for {signed.workspace.slug}")
    return signed


def _said_once(call: "Call") -> "Callable[[CMDOPError], None]":
    """Return what tells the person, the first time only, that the server does not answer while they approve."""
    told: list[CMDOPError] = []

    def away(failure: "CMDOPError") -> None:
        if not told:
            told.append(failure)
            if call.output.shows_progress:
                call.note("", now=True)  # the line where it says what is waited for stays as it is
            call.note(f"{failure.message}; asking on until the code ends, Ctrl-C gives up", now=True)

    return away


def client_name() -> str:
    """Return what the approval page calls this program: its version and this machine's name, printable and short."""
    import platform

    from cmdop_cli.version import version

    host = "".join(character for character in platform.node() if character.isprintable())
    return f"cmdop {version()} on {host or 'an unnamed machine'}"[:CLIENT_LENGTH].rstrip()


def _show(call: "Call", device: "DeviceCode", *, opens_browser: bool) -> None:
    """Print address and code, always before a browser is tried: on stderr, whatever the form of output."""
    address = device.verification_uri_complete or device.verification_uri
    minutes = max(1, round(device.expires_in / 60))
    call.note("to sign in, open", now=True)
    call.note(f"  {address}", now=True)
    call.note(f"and approve the code {device.user_code}, within {minutes} minutes", now=True)
    if opens_browser and _is_seen(call) and address.startswith(("https://", "http://")):
        from cmdop_cli.browser import open_browser

        open_browser(address)


def _is_seen(call: "Call") -> bool:
    from cmdop_cli.browser import has_browser

    return call.can_ask and has_browser(call.environ, sys.platform)


def _kept(call: "Call", pair: "TokenPair", kind: str) -> "StoredToken":
    """Store the pair; a sign-in that cannot be kept is ended again, and so is the one that it replaces."""
    replaced = _replaced(call, pair)
    try:
        stored = call.store.save(pair, kind)
    except BaseException:
        _end(call, pair, whole=True)
        raise
    if replaced is not None and replaced.family_id != pair.family_id:
        _end(call, replaced, whole=False)
    return stored


def _replaced(call: "Call", pair: "TokenPair") -> "TokenPair | None":
    from cmdop_sdk.errors import CMDOPError

    try:
        return call.store.pair(
            origin=pair.origin, account_id=pair.account_id, workspace_id=pair.workspace_id, mode=pair.mode
        )
    except CMDOPError:  # what cannot be read is not ended: it is being replaced because it is of no use
        return None


def _end(call: "Call", pair: "TokenPair", *, whole: bool) -> None:
    from cmdop_cli.signing_out import told
    from cmdop_sdk.errors import CMDOPError

    try:
        call.run(told(call, pair, whole=whole))
    except CMDOPError as problem:
        call.warn(f"a sign-in that is not kept could not be ended at {pair.origin}: {problem}")


def _note_state(call: "Call", signed: "SignedIn", stored: "StoredToken", profile: str, mode: str) -> None:
    """Write who is signed in, what they may enter, and the active workspace where none is chosen."""
    from datetime import UTC, datetime

    from cmdop_cli.memberships import merged
    from cmdop_cli.times import iso
    from cmdop_sdk.token_files import account_hash

    listed = _listed(call, stored)
    default = signed.default_workspace
    key = account_hash(stored.origin, stored.account_id)

    def change(draft: "Draft") -> None:
        draft.signed_in(
            profile,
            mode,
            identity=key,
            origin=stored.origin,
            account_id=signed.account.id,
            email=signed.account.email,
            workspace=Place(signed.workspace.id, signed.workspace.slug),
            default=Place(default.id, default.slug) if default else None,
        )
        known = draft.state.identities.get(key)
        fresh = merged(known, listed, is_complete=stored.reach == Reach.ALL)
        draft.remember(key, fresh, at=iso(datetime.now(UTC)))
        for each in fresh:
            draft.renamed(each.place)

    call.change_state(change)


def _listed(call: "Call", stored: "StoredToken") -> "Sequence[Workspace]":
    """Return the workspaces behind the new sign-in; it stands even if they cannot be listed now."""
    from cmdop_sdk.errors import CMDOPError

    async def work() -> "Sequence[Workspace]":
        async with pair_client(call, stored) as client:
            return await client.me.workspaces().all()

    try:
        return call.run(work())
    except CMDOPError as problem:
        call.warn(f"signed in, but the workspaces could not be listed: {problem}")
        return []


def _told(call: "Call", signed: "SignedIn", stored: "StoredToken", profile: str, mode: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    now = call.resolve(call.options._replace(workspace=None, profile=profile, mode=mode))
    there = signed.workspace
    call.note(f"signed in to {stored.origin} as {signed.account.email}")
    if now.key is not None:
        call.warn(f"{now.key.given_by} is set: commands act with that key, not with this sign-in")
    elif now.workspace is None or now.workspace.ref not in (there.id, there.slug):
        call.note(f"to act in {there.slug}: cmdop workspace use {there.slug}")
    if call.state.profile != profile:
        call.note(f"{profile} is not the current profile; to make it so: cmdop profile use {profile}")
    place = now.workspace
    return {
        "server": stored.origin,
        "mode": mode,
        "profile": profile,
        "account": {"id": signed.account.id, "email": signed.account.email},
        "workspace": {"id": there.id, "slug": there.slug},
        "reach": stored.reach,
        "sign_in_id": stored.sign_in_id,
        "store": stored.store,
        "expires_at": datetime.fromtimestamp(stored.refresh_expires_at, UTC),
        "in_force": None
        if place is None
        else {"id": place.id, "slug": place.slug, "source": now.source, "detail": now.detail},
    }

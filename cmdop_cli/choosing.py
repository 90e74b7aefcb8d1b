"""Choosing the active workspace: from the cache if it is known there, else from the server, asked once (D-20)."""

from typing import TYPE_CHECKING

from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.resolver import EXPLICIT, Resolution
from cmdop_cli.results import Column, Record
from cmdop_cli.state import Choice, Identity, Place
from cmdop_sdk.errors import LocalStateError
from cmdop_wire.ids import is_id, is_slug
from cmdop_wire.vocab import ErrorCode

if TYPE_CHECKING:
    from cmdop_cli.context import Call
    from cmdop_cli.state_draft import Draft

_SHOWN = (Column("label", "workspace"), Column("profile"), Column("mode"))


def checked(call: "Call") -> Place:
    """Return the workspace in force as the server knows it; not to be entered is exit 3, as for a stranger (D-9)."""
    from cmdop_cli.credentials import verified

    call.check_credential()
    return verified(call, call.resolution.workspace or Place())


def undecided(resolution: Resolution) -> Failure:
    """Return the refusal of a local command that only the server could answer."""
    if resolution.key is not None and resolution.workspace is not None and resolution.expected is None:
        place = resolution.workspace
        return usage(
            f"{resolution.detail} says {place.label}, but the key in {resolution.key.given_by} is one of"
            f" {resolution.key.key.slug}",
            hint="cmdop workspace current --check",
        )
    return Failure(
        Code.UNEXPECTED_WORKSPACE,
        f"cannot tell here whether {resolution.workspace.label if resolution.workspace else 'this'}"
        f" is {resolution.expected}",
        hint="cmdop workspace current --check",
    )


def choose(call: "Call", ref: str | None, *, tells_agent: bool = False) -> Record:
    """Make the workspace called ``ref`` active: a slug, an id, ``-`` for the previous one, ``None`` for none.

    With ``tells_agent`` the choice stands only if this machine's agent, where one runs, takes note of it (D-20).
    """
    profile, mode = call.resolution.profile, call.resolution.mode
    if call.resolution.credential_problem is not None and call.resolution.key is None:
        raise call.resolution.credential_problem
    found = None if ref in (None, "-") else _known(call, ref or "", profile, mode)
    chosen: list[tuple[Choice, Place | None]] = []
    seen = _settings_seen(call)

    def change(draft: "Draft") -> None:
        # The previous one is read under the lock: two shells that say `use -` at once swap twice, not half.
        place = _previous(draft, profile, mode) if ref == "-" else found
        chosen.append((draft.state.choice(profile, mode), place))
        draft.choose(profile, mode, place)
        if seen is not None:
            draft.saw_settings(*seen)

    if call.is_dry_run:
        place = _previous_of(call.state.choice(profile, mode).previous, profile, mode) if ref == "-" else found
    else:
        call.change_state(change)
        before, place = chosen[0]
        told = ""
        if tells_agent and place is not None:
            from cmdop_cli.switching import tell_agent

            told = tell_agent(call, place, lambda draft: draft.put_back(profile, mode, before, instead_of=place))
        _tell(call, place, profile, mode)
        if told:
            call.note(told)
    return _result(place, profile, mode, planned=call.is_dry_run)


def _result(place: Place | None, profile: str, mode: str, *, planned: bool) -> Record:
    fields = {
        "workspace": None if place is None else {"id": place.id, "slug": place.slug},
        "label": None if place is None else place.label,
        "profile": profile,
        "mode": mode,
    }
    # What was done has been said in a sentence; the same three facts again would only be in the way.
    return Record("choice", fields, _SHOWN if planned else (), identifier="label", planned=planned, piped=_SHOWN[:1])


def _known(call: "Call", ref: str, profile: str, mode: str) -> Place:
    if not is_slug(ref) and not is_id(ref, "workspace"):
        raise usage("that is neither a slug nor an id of a workspace", hint="cmdop workspace list")
    identity = call.state.identity(profile, mode)
    if identity is None:
        raise Failure(Code.NO_CREDENTIAL, f"not signed in (profile {profile}, mode {mode})", hint=_login(profile, mode))
    return identity.place(ref) or _asked(call, ref, identity, mode)


def _asked(call: "Call", ref: str, identity: Identity, mode: str) -> Place:
    """Ask the server once what the cache does not know, and remember the answer for the next time."""
    from cmdop_cli import memberships
    from cmdop_sdk.errors import Unreachable

    try:
        rows = memberships.gathered(call, identity, mode, None).items
    except Unreachable:
        raise Failure(
            ErrorCode.NOT_FOUND,
            f"{ref} is not among the workspaces known here, and the server cannot be asked",
            hint="cmdop workspace list",
        ) from None
    found = [Place(row["id"], row["slug"]) for row in rows]
    place = next((each for each in found if each.is_called(ref)), None)
    if place is None:
        from difflib import get_close_matches

        near = get_close_matches(ref, [each.slug or "" for each in found], n=1)
        raise Failure(
            ErrorCode.NOT_FOUND,
            f"there is no workspace {ref} that you may enter",
            hint=f"cmdop workspace use {near[0]}" if near else "cmdop workspace list",
        )
    return place


def _previous(draft: "Draft", profile: str, mode: str) -> Place:
    return _previous_of(draft.state.choice(profile, mode).previous, profile, mode)


def _previous_of(place: Place | None, profile: str, mode: str) -> Place:
    if place is None:
        raise Failure(
            ErrorCode.NOT_FOUND,
            f"there is no previous workspace (profile {profile}, mode {mode})",
            hint="cmdop workspace list",
        )
    return place


def _settings_seen(call: "Call") -> tuple[str, str | None] | None:
    """Return the stamp of config.toml and the form of output it asks for, to be noted where fast commands look."""
    settings = call.local.settings()
    stamp = settings.stamp()  # before the content: a change in between makes the stamp stale, never the note wrong
    try:
        return stamp, settings.document.get("output")
    except (Failure, LocalStateError):
        return None  # a broken config.toml is for whoever needs it to complain about


def _tell(call: "Call", place: Place | None, profile: str, mode: str) -> None:
    where = f"profile {profile}, mode {mode}"
    call.note(f"no workspace is active now ({where})" if place is None else f"{place.label} is active now ({where})")
    now = call.resolution
    if now.source in EXPLICIT and now.workspace is not None and now.workspace != place:
        hidden = now.detail if place is None else f"{now.detail} hides it"
        call.warn(f"{hidden}: commands here still act in {now.workspace.label}")


def _login(profile: str, mode: str) -> str:
    return (
        "cmdop login" + (" --dev" if mode == "dev" else "") + ("" if profile == "default" else f" --profile {profile}")
    )

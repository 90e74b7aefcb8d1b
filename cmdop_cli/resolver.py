"""Which workspace, profile, mode and credential a call acts with, and why (D-18, D-19, D-22, D-23).

One pure function. It reads nothing: options, environment, state and the working directory are arguments, and what it
cannot decide without the network it marks as such. A source that is rejected is an error, never a reason to look at
the next one.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from cmdop_cli import environment
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.options import Options
from cmdop_cli.state import Binding, Choice, Identity, Place, State
from cmdop_cli.state_shape import DEFAULT_MODE, DEFAULT_PROFILE, MODES, active_detail, default_detail
from cmdop_wire.ids import KeyText, is_id, is_slug, parse_key
from cmdop_wire.vocab import ErrorCode


class Source(StrEnum):
    """Where the workspace came from, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    KEY = "key"
    BINDING = "binding"
    ACTIVE = "active"
    DEFAULT = "account_default"


EXPLICIT = frozenset({Source.FLAG, Source.ENVIRONMENT, Source.KEY, Source.BINDING})


class Step(NamedTuple):
    """One link of the chain that ``workspace current --why`` prints: a source, what it says, and what became of it."""

    source: Source
    name: str
    value: str | None
    outcome: str  # chosen · hidden · not given · another reason in words


class GivenKey(NamedTuple):
    """An explicit key and where it was given."""

    key: KeyText
    given_by: str


class Resolution(NamedTuple):
    """The answer. ``problem`` is what forbids to act in ``workspace``, ``credential_problem`` to act at all.

    ``must_verify``: the key's slug hint is not the workspace that was named, or the expected one cannot be compared
    here; whoever sends anything asks the server who that is first (D-18).
    """

    workspace: Place | None
    source: Source | None
    detail: str
    chain: tuple[Step, ...]
    profile: str
    profile_source: str
    mode: str
    mode_source: str
    key: GivenKey | None
    identity: Identity | None
    must_verify: bool = False
    expected: str | None = None
    problem: Failure | None = None
    credential_problem: Failure | None = None

    @property
    def is_explicit(self) -> bool:
        """Tell whether somebody named the workspace for this call, shell or directory."""
        return self.source in EXPLICIT

    @property
    def why(self) -> str:
        """Return workspace and source in one line, for errors and questions."""
        return f"workspace {self.workspace.label} (from {self.source_words})" if self.workspace else "no workspace"

    @property
    def source_words(self) -> str:
        """Return where the workspace came from, without what goes without saying: the first profile, and prod."""
        usual = active_detail(DEFAULT_PROFILE, DEFAULT_MODE)
        return "the active workspace" if self.detail == usual else self.detail


def resolve(
    options: Options,
    environ: Mapping[str, str],
    state: State,
    *,
    key_text: str | None = None,
    directory: str | None = None,
    profiles: Collection[str] = (),
    origin: str | None = None,
) -> Resolution:
    """Return what this call acts with.

    ``key_text`` is what ``--api-key`` pointed at, ``directory`` the real path of the working directory, ``profiles``
    the names in profiles.toml, ``origin`` the canonical origin of an explicitly named server.
    """
    ignoring = frozenset({environment.API_KEY}) if options.no_api_key else frozenset()
    empty = environment.empty_authority(environ, ignoring=ignoring)
    profile, profile_source, profile_problem = _profile(options, environ, state, profiles)
    mode, mode_source, mode_problem = _mode(options, environ, state)
    key, key_problem = _key(options, environ, key_text)
    choice = state.choice(profile, mode)
    identity = None if key is not None else state.identity(profile, mode)
    if identity is not None and origin is not None and identity.origin != origin:
        # What is stored belongs to another server: neither its tokens nor its workspaces mean anything there (D-23).
        identity, choice = None, Choice()
    links = _links(options, environ, key, identity, choice, _binding(state, directory, profile, mode), profile, mode)
    chosen = next((link for link in links if link.given), None)
    resolution = Resolution(
        workspace=chosen.place if chosen else None,
        source=chosen.source if chosen else None,
        detail=chosen.detail if chosen else "",
        chain=_chain(links, chosen),
        profile=profile,
        profile_source=profile_source,
        mode=mode,
        mode_source=mode_source,
        key=key,
        identity=identity,
        expected=options.expect or environ.get(environment.EXPECT_WORKSPACE) or None,
        credential_problem=empty or profile_problem or mode_problem or key_problem,
    )
    return _judged(resolution, chosen, identity)


class _Link(NamedTuple):
    source: Source
    name: str
    place: Place | None
    detail: str
    given: bool
    absent: str = "not given"
    rejected: Failure | None = None


def _judged(resolution: Resolution, chosen: _Link | None, identity: Identity | None) -> Resolution:
    if resolution.credential_problem is not None:
        return resolution._replace(problem=resolution.credential_problem)
    if chosen is None:
        return resolution._replace(problem=_nothing_chosen(resolution, identity))
    if chosen.rejected is not None:
        return resolution._replace(workspace=None, problem=chosen.rejected)
    place, key = chosen.place, resolution.key
    must_verify = key is not None and place is not None and place.slug != key.key.slug
    problem = None
    if resolution.expected and place is not None and not place.is_called(resolution.expected):
        by_id = is_id(resolution.expected, "workspace")
        # A key's slug is a hint, and a place known by only one of its names cannot be compared by the other.
        cannot_tell = key is not None or (place.id if by_id else place.slug) is None
        must_verify = must_verify or cannot_tell
        problem = None if cannot_tell else unexpected(resolution, place)
    return resolution._replace(must_verify=must_verify, problem=problem)


def unexpected(resolution: Resolution, place: Place) -> Failure:
    """Return the refusal (exit 7) to act in ``place`` where another workspace was expected."""
    return Failure(
        Code.UNEXPECTED_WORKSPACE,
        f"expected workspace {resolution.expected}, but this would act in {place.label}",
        why=f"workspace {place.label} (from {resolution.source_words})",
    )


def other_workspace(resolution: Resolution, place: Place) -> Failure:
    """Return the refusal (exit 2) of a key that belongs to ``place`` while another workspace was named."""
    named = resolution.workspace.label if resolution.workspace else ""
    given_by = resolution.key.given_by if resolution.key else ""
    return usage(
        f"{resolution.detail} says {named}, but the key in {given_by} belongs to {place.label}",
        hint=environment.UNSET_KEY if given_by == environment.API_KEY else "cmdop workspace list",
    )


def _nothing_chosen(resolution: Resolution, identity: Identity | None) -> Failure:
    if identity is None:
        return Failure(
            Code.NO_CREDENTIAL,
            f"not signed in (profile {resolution.profile}, mode {resolution.mode})",
            hint="cmdop login",
        )
    known = [each.place.label for each in identity.memberships]
    message = "no workspace is chosen" + (f"; choose one of {', '.join(known)}" if known else "")
    return Failure(Code.NO_WORKSPACE, message, hint=f"cmdop workspace use {known[0] if known else 'SLUG'}")


def _profile(
    options: Options, environ: Mapping[str, str], state: State, profiles: Collection[str]
) -> tuple[str, str, Failure | None]:
    if options.profile is not None:
        name, source = options.profile, "--profile"
    elif environ.get(environment.PROFILE):
        name, source = environ[environment.PROFILE], environment.PROFILE
    else:
        return state.profile, "saved", None
    if name in state.choices or name in profiles or name == state.profile:
        return name, source, None
    unknown = Failure(ErrorCode.NOT_FOUND, f"there is no profile {name} (from {source})", hint="cmdop profile list")
    return name, source, unknown


def _mode(options: Options, environ: Mapping[str, str], state: State) -> tuple[str, str, Failure | None]:
    if options.mode is not None:
        return options.mode, "--mode", None
    named = environ.get(environment.MODE)
    if not named:
        return state.mode, "saved", None
    if named in MODES:
        return named, environment.MODE, None
    wrong = Failure(
        Code.LOCAL_STATE, f"{environment.MODE} is neither prod nor dev", hint=f"export {environment.MODE}=prod"
    )
    return state.mode, "saved", wrong


def _key(options: Options, environ: Mapping[str, str], key_text: str | None) -> tuple[GivenKey | None, Failure | None]:
    given_by = "--api-key"
    if key_text is None:
        if options.no_api_key or not environ.get(environment.API_KEY):
            return None, None
        key_text, given_by = environ[environment.API_KEY], environment.API_KEY
    try:
        return GivenKey(parse_key(key_text.strip()), given_by), None
    except ValueError as wrong:
        return None, Failure(
            "invalid_key", f"the key in {given_by} is refused: {wrong}", hint="cmdop auth create-key --name NAME"
        )


def _binding(state: State, directory: str | None, profile: str, mode: str) -> Binding | None:
    if directory is None:
        return None
    around = [
        each
        for each in state.bindings
        if (each.profile, each.mode) == (profile, mode)
        and (directory == each.path or directory.startswith(each.path.rstrip("/\\") + "/"))
    ]
    return max(around, key=lambda each: len(each.path), default=None)


def _links(
    options: Options,
    environ: Mapping[str, str],
    key: GivenKey | None,
    identity: Identity | None,
    choice: Choice,
    binding: Binding | None,
    profile: str,
    mode: str,
) -> Sequence[_Link]:
    named = environ.get(environment.WORKSPACE)
    hint = None if key is None else Place(slug=key.key.slug)
    where = f"profile {profile}, mode {mode}"
    default = None if identity is None or choice.none else identity.default
    return (
        _named(Source.FLAG, "--workspace", options.workspace, identity, key),
        _named(Source.ENVIRONMENT, environment.WORKSPACE, named, identity, key),
        _Link(Source.KEY, "key", hint, f"the key in {key.given_by}" if key else "", key is not None),
        _Link(
            Source.BINDING,
            "directory binding",
            binding.place if binding else None,
            f"the binding of {binding.path}" if binding else "",
            binding is not None,
            "none here",
        ),
        _Link(
            Source.ACTIVE,
            "active workspace",
            choice.active,
            active_detail(profile, mode),
            choice.active is not None,
            "none (use --none)" if choice.none else f"none in {where}",
        ),
        _Link(
            Source.DEFAULT,
            "account default",
            default,
            default_detail(identity.email) if identity else "",
            default is not None,
            "off (use --none)" if choice.none else "not signed in" if identity is None else "none known",
        ),
    )


def _named(source: Source, name: str, ref: str | None, identity: Identity | None, key: GivenKey | None) -> _Link:
    if not ref:
        return _Link(source, name, None, name, given=False)
    known = identity.place(ref) if identity else None
    if known is None and key is not None and key.key.slug == ref:
        known = Place(slug=ref)
    if known is None and is_id(ref, "workspace"):
        known = Place(id=ref)
    if known is None and is_slug(ref):
        known = Place(slug=ref)
    rejected = None
    if known is None:
        sentence = f"{name} is neither a slug nor an id of a workspace"
        rejected = (
            usage(sentence, hint="cmdop workspace list")
            if source is Source.FLAG
            else Failure(Code.LOCAL_STATE, sentence, hint=f"unset {name}")
        )
    return _Link(source, name, known or Place(slug=None), name, given=True, rejected=rejected)


def _chain(links: Sequence[_Link], chosen: _Link | None) -> tuple[Step, ...]:
    steps = []
    for link in links:
        value = link.place.label if link.given and link.place else None
        if not link.given:
            outcome = link.absent
        elif link is chosen:
            outcome = "refused" if link.rejected else "chosen"
        else:
            outcome = f"hidden by {chosen.name}" if chosen else ""
        steps.append(Step(link.source, link.name, value, outcome))
    return tuple(steps)

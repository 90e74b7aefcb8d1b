"""One call of the command line: what was asked for, what it acts with, how it talks to the person.

A command gets it as ``ctx.call``. Everything is worked out when first needed, so that a local command pays for no
network and no secret store.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cmdop_cli import asking, environment
from cmdop_cli.declare import Declared
from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.local import Local
from cmdop_cli.options import OUTPUTS, Given, Options, wants_json
from cmdop_cli.output import Output
from cmdop_cli.resolver import Resolution, Source, resolve
from cmdop_cli.results import encoded
from cmdop_cli.safe_text import safe
from cmdop_cli.state import Identity, Place, State
from cmdop_sdk.errors import LocalStateError

if TYPE_CHECKING:
    from cmdop_cli.credentials import Server
    from cmdop_cli.state_draft import Draft
    from cmdop_sdk.client import AsyncCMDOPClient
    from cmdop_sdk.store import Store

T = TypeVar("T")


class Call:
    """One line, from its words to its end."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        self.arguments = list(arguments)
        self.environ = environ
        self.given = Given()
        self.is_dry_run = False
        self.bare_workspace = False
        self.rest: list[str] | None = None  # the words after ``--``, of a command that takes them
        self.is_remote = False  # the exit status is that of what runs far away
        self.declared = Declared()
        self.path: tuple[str, ...] = ()
        self._state: State | None = None
        self.settled: Place | None = None  # the workspace to act in, once that is beyond doubt

    # -- before the command ----------------------------------------------------------------------------------------

    def begin(self, declared: Declared, path: tuple[str, ...], *, is_elsewhere: bool = False) -> None:
        """Settle what the command at ``path`` declared; whatever forbids it raises before its body runs.

        ``is_elsewhere``: the workspace it acts in is not the resolver's to know, so it holds itself to ``--expect``.
        """
        self.declared, self.path = declared, path
        if not declared.lenient:
            self._check_environment()
        if declared.mutates:
            self.check_may_change()
        if declared.needs != "nothing":
            self.check_credential()
        if declared.needs == "workspace":
            self._settle_workspace()
        elif (self.options.expect is not None and not is_elsewhere) or (
            declared.needs == "account" and self.resolution.is_explicit
        ):
            self.workspace()

    def check_may_change(self) -> None:
        """Raise if ``CMDOP_READONLY`` is on (exit 7); for commands that change something only with some arguments."""
        if not self.is_dry_run and environment.is_on(self.environ, environment.READONLY):
            raise Failure(
                Code.READ_ONLY,
                f"{environment.READONLY} is set: cmdop {' '.join(self.path)} would change something",
                hint=f"unset {environment.READONLY}",
            )

    def _check_environment(self) -> None:
        ignoring = frozenset({environment.API_KEY}) if self.options.no_api_key else frozenset()
        empty = environment.empty_authority(self.environ, ignoring=ignoring)
        if empty is not None:
            raise empty
        if self.options.no_api_key and self.options.api_key is not None:
            raise usage("--no-api-key contradicts --api-key", hint="give one of them")

    def _settle_workspace(self) -> None:
        place = self.workspace()
        if not self.declared.mutates:
            return
        if not self.resolution.is_explicit and self.setting("require_workspace"):
            from cmdop_cli.explaining import in_workspace

            raise Failure(
                Code.WORKSPACE_REQUIRED,
                f"a change needs a named workspace, and {place.label} is only {self.resolution.detail}",
                hint=in_workspace(self.line, place.label),
            )
        if self.resolution.source is Source.DEFAULT:
            self.note(f"acting in {place.label}, {self.resolution.detail}; name another with --workspace")

    # -- what was asked --------------------------------------------------------------------------------------------

    @cached_property
    def options(self) -> Options:
        """The global options, once the line has been read."""
        return self.given.options()

    @property
    def line(self) -> str:
        """Return the line as it was typed, to be pasted again with something added; secrets are masked."""
        import shlex

        from cmdop_wire.ids import mask

        return mask(shlex.join(["cmdop", *self.arguments]))

    @cached_property
    def output(self) -> Output:
        """Where results and notices go."""
        options = self.options
        return Output(
            options.output or self._default_output(),
            fields=options.fields,
            limit=options.limit,
            color=not options.no_color and bool(self.setting("color", safely=True)),
            pager=self.setting("pager", safely=True),
            environ=self.environ,
        )

    def _default_output(self) -> str | None:
        named = self.environ.get(environment.OUTPUT)
        if named and named not in OUTPUTS and not self.declared.lenient:
            raise Failure(
                Code.LOCAL_STATE,
                f"{environment.OUTPUT} is none of {', '.join(OUTPUTS)}",
                hint=f"unset {environment.OUTPUT}",
            )
        found = self.setting("output", safely=self.declared.lenient)
        return found if isinstance(found, str) else None

    def emergency_output(self) -> Output:
        """Return an output for a line that was not understood, or whose settings cannot be read."""
        if "output" not in self.__dict__ and wants_json(self.arguments, self.environ):
            return Output("json", environ=self.environ)  # the line was not read to its end, where --json may stand
        try:
            return self.output
        except Exception:
            return Output(environ=self.environ)

    # -- what is there ---------------------------------------------------------------------------------------------

    @cached_property
    def local(self) -> Local:
        """The local files."""
        return Local(self.environ, warn=self.warn)

    @property
    def state(self) -> State:
        """Return state.json as it was when first needed; an explicit key needs no state at all."""
        if self._state is None:
            try:
                self._state = self.local.state()
            except (Failure, LocalStateError):
                if not self.has_key:
                    raise
                self._state = State()
        return self._state

    def change_state(self, change: "Callable[[Draft], None]") -> State:
        """Read, change and write state.json under its lock; ``change`` gets a ``Draft``."""
        self._state = self.local.change_state(change)
        self.__dict__.pop("resolution", None)
        return self._state

    def setting(self, name: str, *, safely: bool = False) -> Any:
        """Return a setting of config.toml; ``safely`` takes the built-in value where the file cannot be read."""
        from cmdop_cli.settings import known

        try:
            return self.local.settings().value(name, self.environ).value
        except (Failure, LocalStateError):
            if not safely and not self.has_key:
                raise
            return known(name).default

    @property
    def has_key(self) -> bool:
        """Tell whether a key was given, by option or by variable; whether it is any good is the resolver's."""
        from_environment = not self.options.no_api_key and bool(self.environ.get(environment.API_KEY))
        return self.options.api_key is not None or from_environment

    # -- what it acts with -----------------------------------------------------------------------------------------

    @cached_property
    def resolution(self) -> Resolution:
        """The answer of the resolver; says what is wrong, raises nothing for it."""
        return self.resolve(self.options)

    def resolve(self, options: Options) -> Resolution:
        """Return the resolver's answer for other options in the same surroundings."""
        origin = None
        if options.server or self.environ.get(environment.SERVER_URL):
            from cmdop_cli.credentials import explicit_origin

            origin = explicit_origin(options, self.environ)
        try:
            directory: str | None = str(Path.cwd())
        except OSError:
            directory = None
        return resolve(
            options,
            self.environ,
            self.state,
            key_text=self._key_text,
            directory=directory,
            profiles=self._profile_names(options),
            origin=origin,
        )

    def _profile_names(self, options: Options) -> Sequence[str]:
        named = options.profile or self.environ.get(environment.PROFILE)
        return self.local.profiles().names() if named and named not in self.state.choices else ()

    @cached_property
    def _key_text(self) -> str | None:
        source = self.options.api_key
        return None if source is None else asking.key_text(source, self.environ)

    @property
    def resolved(self) -> Resolution | None:
        """Return the resolver's answer if it was asked for; a failure must not make it be worked out, and fail anew.

        Once a workspace is settled the answer is there again, even if what was written since made it be forgotten.
        """
        found = self.__dict__.get("resolution") if self.settled is None else self.resolution
        return found if isinstance(found, Resolution) else None

    @property
    def identity(self) -> Identity | None:
        """Return who is signed in for the profile and mode, or ``None`` (also with an explicit key)."""
        return self.resolution.identity

    @cached_property
    def server(self) -> "Server":
        """The server to talk to, and where its address came from."""
        from cmdop_cli.credentials import server_of

        return server_of(self)

    @cached_property
    def store(self) -> "Store":
        """The token files (``cmdop_sdk.store``)."""
        from cmdop_sdk.store import Store

        return Store(self.local.root, warn=self.warn)

    def check_credential(self) -> None:
        """Raise unless there is a key or a sign-in to act with (exit 4)."""
        resolution = self.resolution
        if resolution.credential_problem is not None:
            raise resolution.credential_problem
        if resolution.key is None and resolution.identity is None:
            raise Failure(
                Code.NO_CREDENTIAL,
                f"not signed in to {self.server.origin} (profile {resolution.profile}, mode {resolution.mode})",
                hint="cmdop login" + (f" --server {self.server.origin}" if self.server.is_explicit else ""),
            )

    def workspace(self) -> Place:
        """Return the workspace to act in, or raise; one question to the server decides where only it can (D-18)."""
        if self.settled is None:
            resolution = self.resolution
            if resolution.problem is not None:
                raise resolution.problem
            place = resolution.workspace or Place()
            if resolution.must_verify:
                from cmdop_cli.credentials import verified

                place = verified(self, place)
            self.settled = place
        return self.settled

    # -- acting ----------------------------------------------------------------------------------------------------

    def ask(self, verb: "Callable[[AsyncCMDOPClient], Awaitable[T]]") -> T:
        """Return ``await verb(client)`` with a client of the resolved server, workspace and credential."""
        from cmdop_cli import credentials, door

        return door.ask(self, credentials.client(self), verb)

    def run(self, work: "Coroutine[Any, Any, T]", *, waiting: str | None = "waiting for the server") -> T:
        """Run a coroutine to its end, with progress (``waiting`` says on what) and clean interruption."""
        from cmdop_cli import door

        return door.run(self, work, waiting=waiting)

    # -- talking to the person -------------------------------------------------------------------------------------

    def note(self, text: str, *, now: bool = False) -> None:
        """Tell a person one line on stderr; see ``Output.note``."""
        self.output.note(text, now=now)

    def warn(self, text: str) -> None:
        """Warn on stderr."""
        self.output.warn(text)

    def confirm(self, question: str, *, affects: Sequence[str] = ()) -> None:
        """Ask an ordinary question; ``--yes`` answers it, a refusal or the lack of a terminal is exit 7."""
        asking.confirm(self, question, affects)

    def read_secret(self, what: str) -> str:
        """Return a secret from stdin, or from a hidden question on a terminal."""
        return asking.secret(self, what)

    @property
    def can_ask(self) -> bool:
        """Tell whether a question may be asked: stdin and stderr are terminals and nothing forbids it."""
        return asking.is_possible(self)

    def print_help(self, text: str) -> None:
        """Print a help page on stdout."""
        Output("table", environ=self.environ).write(text + "\n")

    def print_cells(self, rows: Iterable[tuple[str, str]]) -> None:
        """Print pairs as TSV on stdout, for a program that reads them."""
        lines = ("\t".join(safe(cell) for cell in row if cell) for row in rows)
        Output("tsv", environ=self.environ).write("".join(f"{line}\n" for line in lines))

    def print_version(self) -> None:
        """Print name and version on stdout."""
        from cmdop_cli.version import version

        text = f"cmdop {version()}\n"
        if wants_json(self.arguments, self.environ):
            text = encoded({"schema": "cmdop.version.v1", "name": "cmdop", "version": version()}) + "\n"
        Output("table", environ=self.environ).write(text)

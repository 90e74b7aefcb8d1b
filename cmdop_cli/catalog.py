"""Every command by name, with its sentence and the function behind it: what the command line has to offer.

Data, and the one way from it to a function. Help of a noun, completion and suggestions read it without importing a
command; a test compares each sentence with the function's own.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


class Verb(NamedTuple):
    """A command: its sentence and ``module:function`` below ``cmdop_cli.commands``."""

    summary: str
    target: str
    hidden: bool = False


class Foreign(NamedTuple):
    """A command whose arguments are somebody else's and stay untouched: ``function(call, arguments)``."""

    summary: str
    target: str
    hidden: bool = False


class Noun(NamedTuple):
    """A group of verbs, and of nouns below it."""

    summary: str
    verbs: "dict[str, Row]"
    hidden: bool = False
    alone: str | None = None  # the verb that is meant when none is given
    otherwise: str | None = None  # the verb that takes a first word which is no verb
    other: str = ""  # what such a word is, in help
    valued: frozenset[str] = frozenset()  # own options of these two verbs that take a value, to tell it from a verb
    word: str = "COMMAND"  # what a verb is called in help
    examples: tuple[str, ...] = ()
    more: str = ""  # where else to look, instead of the usual sentence


Row = Verb | Foreign | Noun

CATALOG: dict[str, Row] = {
    "login": Verb("Sign in with a browser.", "login:login"),
    "logout": Verb("Sign out of the workspace that commands act in.", "login:logout"),
    "whoami": Verb("Show who you are to the server.", "identity:whoami"),
    "status": Verb("Show everything that is in force, and why.", "identity:status"),
    "workspace": Noun(
        "Choose, create and look after workspaces.",
        {
            "list": Verb("List the workspaces you may enter.", "workspace_life:list_workspaces"),
            "current": Verb("Show the workspace that commands act in.", "choice:current"),
            "use": Verb("Make a workspace the active one.", "choice:use"),
            "switch": Verb("Make a workspace the active one, and tell the agent.", "choice:switch"),
            "create": Verb("Create a workspace, with you as its owner.", "workspace_life:create"),
            "show": Verb("Show one workspace in full.", "workspace_life:show"),
            "update": Verb("Change what a workspace is called.", "workspace_life:update"),
            "settings": Noun(
                "What belongs to the workspace, and what new machines start with.",
                {
                    "show": Verb("Show what belongs to the workspace.", "workspace_settings:show"),
                    "set": Verb("Change what belongs to the workspace.", "workspace_settings:change"),
                },
                alone="show",
            ),
            "members": Verb("List the members of the workspace.", "workspace_people:members"),
            "set-role": Verb("Give a member another role.", "workspace_people:set_role"),
            "remove": Verb("Remove a member from the workspace.", "workspace_people:remove"),
            "leave": Verb("Leave the workspace.", "workspace_people:leave"),
        },
    ),
    "auth": Noun(
        "Keys and stored sign-ins.",
        {
            "create-key": Verb("Create a key and show its secret, once.", "key_making:create_key"),
            "list-keys": Verb("List the keys of the workspace.", "keys:list_keys"),
            "show-key": Verb("Show one key, without its secret.", "keys:show_key"),
            "revoke-key": Verb("End a key, at once and for ever.", "keys:revoke_key"),
            "status": Verb("List what is stored here to sign in with.", "stored:stored_credentials"),
            "token": Verb("Print the token that requests are made with.", "stored:token"),
            "login": Verb("Sign in with a browser.", "login:login"),
            "logout": Verb("Sign out of the workspace that commands act in.", "login:logout"),
        },
    ),
    "connect": Noun(
        "Reach the machines of the workspace, and be one of them.",
        {
            "run": Verb("Run this machine's agent.", "connect_agent:run", hidden=True),
            "daemon": Verb("Run the registered agent under a supervisor.", "connect_agent:daemon", hidden=True),
            "list": Verb("List the machines of the workspace.", "machines:list_machines"),
            "show": Verb("Show one machine in full.", "machines:show"),
            "to": Verb("Open a terminal on a machine.", "reach:to"),
            "observe": Verb("Watch the session on a machine, read only.", "reach:observe"),
            "exec": Verb("Run a command on one machine, or on many.", "reach:execute"),
            "get": Verb("Bring a file from a machine.", "files:get"),
            "put": Verb("Send a file to a machine.", "files:put"),
            "sessions": Verb("List sessions, newest first.", "sessions:list_sessions"),
            "end": Verb("End a session, at once.", "sessions:end"),
            "rename": Verb("Give a machine another name; its hostname stays.", "machines:rename"),
            "tag": Verb("Give a machine tags, or take some away.", "machines:tag"),
            "remove": Verb("Remove a machine from the workspace, for good.", "machines:remove"),
            "start": Verb("Start the agent in the background.", "connect_agent:start"),
            "stop": Verb("Stop the agent: the machine is offline at once.", "connect_agent:stop"),
            "restart": Verb("Stop the agent, if it runs, and start it again.", "connect_agent:restart"),
            "status": Verb("Show this machine's registration, link and gate.", "connect_agent:status"),
            "logs": Verb("Print the agent's log.", "connect_agent:logs"),
            "approvals": Verb("Answer what the gate asks about, as it comes.", "connect_agent:approvals"),
            "permissions": Noun(
                "The gate of this machine: what others may do on it.",
                {
                    "list": Verb("List the rules of this machine's gate.", "connect_permissions:list_rules"),
                    "allow": Verb("Let an operation happen.", "connect_permissions:allow"),
                    "deny": Verb("Forbid an operation, whatever else allows it.", "connect_permissions:deny"),
                    "ask": Verb("Have a person at this machine asked first.", "connect_permissions:ask"),
                    "revoke": Verb("Take a rule away.", "connect_permissions:revoke"),
                    "mode": Verb("Show or change what happens where no rule speaks.", "connect_permissions:mode"),
                    "audit": Verb("List what the gate decided, latest last.", "connect_permissions:audit"),
                },
            ),
            "service": Noun(
                "Have the service manager of this machine run the agent.",
                {
                    "install": Verb("Have the agent started by the service manager.", "connect_service:install"),
                    "uninstall": Verb("Remove what install wrote.", "connect_service:uninstall"),
                },
            ),
            "workspace": Noun(
                "Workspaces, and moving a machine between them.",
                {
                    "list": Verb("List the workspaces you may enter.", "workspace_life:list_workspaces"),
                    "use": Verb("Make a workspace the active one.", "choice:use"),
                    "sync": Verb("Refresh what is known here of your workspaces.", "connect_workspace:sync"),
                    "move": Verb(
                        "Move a machine to another workspace, the only way there is.", "connect_workspace:move"
                    ),
                },
            ),
            "join-token": Noun(
                "What lets a machine in without a person at it.",
                {
                    "create": Verb("Make a token that registers one machine, and show it once.", "join_tokens:create"),
                    "list": Verb("List join tokens, newest first, with what came of them.", "join_tokens:list_tokens"),
                    "revoke": Verb("Revoke a join token, so that nothing can come in with it.", "join_tokens:revoke"),
                },
            ),
        },
        alone="run",
        otherwise="to",
        other="MACHINE",
        valued=frozenset({"--hostname", "--name", "--join-token"}),
    ),
    "audit": Noun(
        "Who did what in the workspace.",
        {
            "list": Verb("List the events of the workspace, newest first.", "audit:list_events"),
            "head": Verb("Show the signed end of the workspace's audit chain.", "audit:head"),
        },
    ),
    "server": Foreign("Run and look after the control plane.", "server:replace"),
    "demo": Verb("Watch the product at work on a throw-away server.", "demo:demo"),
    "mode": Verb("Show or change the mode: prod or dev.", "mode:mode"),
    "profile": Noun(
        "Keep several accounts and servers apart.",
        {
            "list": Verb("List the stored profiles.", "profile:list_profiles"),
            "use": Verb("Make a profile the current one.", "profile:use"),
            "rename": Verb("Rename a profile.", "profile:rename"),
            "forget": Verb("Forget a profile and what is stored for it.", "profile:forget"),
        },
    ),
    "config": Noun(
        "Read and change the settings in config.toml.",
        {
            "list": Verb("List every setting with its value.", "config:list_settings"),
            "get": Verb("Show one setting.", "config:get"),
            "set": Verb("Change one setting.", "config:set_setting"),
            "path": Verb("Show where the local files are.", "config:path"),
            "validate": Verb("Check every local file.", "config:validate"),
        },
    ),
    "prompt": Verb("Show the workspace as a piece of a shell prompt.", "prompt:prompt"),
    "completion": Verb("Print the completion script of a shell.", "completion:completion"),
    "complete": Foreign("Answer a completion script.", "completion:complete", hidden=True),
    "help": Noun(
        "Read about a topic.",
        {
            "exit-codes": Verb("What each exit status means.", "topics:exit_codes"),
            "environment": Verb("The environment variables.", "topics:environment_variables"),
            "output": Verb("The forms of output, and what goes where.", "topics:output_forms"),
            "resolution": Verb("How the workspace is chosen.", "topics:resolution"),
            "options": Verb("The options that every command takes.", "topics:options"),
            "scopes": Verb("What a key may be allowed.", "topics:scopes"),
        },
        word="TOPIC",
        more="Help on a command: cmdop COMMAND --help",
    ),
}
PROGRAM = "cmdop"
ROOT = Noun(
    "Workspaces for machines.",
    CATALOG,
    examples=("cmdop login", "cmdop workspace use acme", "cmdop connect exec web-1 -- uptime"),
    more="Help on a command: cmdop COMMAND --help. Topics: cmdop help --help.",
)


def load(target: str) -> "Callable[..., Any]":
    """Return the function that ``module:function`` names below ``cmdop_cli.commands``."""
    from importlib import import_module

    module, _, function = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"cmdop_cli.commands.{module}"), function)
    return found


def row(words: tuple[str, ...]) -> Row | None:
    """Return the row at ``words``, or ``None``."""
    found: Row | None = None
    here: dict[str, Row] = CATALOG
    for word in words:
        found = here.get(word)
        here = found.verbs if isinstance(found, Noun) else {}
    return found


def rows(*, hidden: bool = False) -> "Iterator[tuple[tuple[str, ...], Row]]":
    """Yield every row with its words, a noun before what is below it, in the catalog's order."""
    yield from _below((), CATALOG, hidden=hidden)


def _below(words: tuple[str, ...], table: dict[str, Row], *, hidden: bool) -> "Iterator[tuple[tuple[str, ...], Row]]":
    for name, entry in table.items():
        if hidden or not entry.hidden:
            yield (*words, name), entry
            if isinstance(entry, Noun):
                yield from _below((*words, name), entry.verbs, hidden=hidden)


def paths(*, hidden: bool = False) -> "list[tuple[str, ...]]":
    """Return the words of every verb, in the catalog's order."""
    return [words for words, entry in rows(hidden=hidden) if not isinstance(entry, Noun)]

"""``cmdop help TOPIC``: what holds for every command."""

from cmdop_cli import environment, help_pages
from cmdop_cli.declare import verb
from cmdop_cli.exit_meanings import EXIT_MEANINGS
from cmdop_cli.results import Text

_RESOLUTION = """
The workspace of a command comes from the first of these that says anything:

  1  --workspace SLUG          for this command
  2  CMDOP_WORKSPACE           for this shell
  3  the key's own workspace   with --api-key or CMDOP_API_KEY
  4  a directory binding       for this directory tree
  5  the active workspace      of the profile and mode: cmdop workspace use SLUG
  6  the account's default     its personal workspace; off after use --none

A source that is rejected is an error, never a reason to look at the next one. With a key and a named workspace, the
two must be the same: where the slug in the key differs from the name, the server is asked before anything else is
sent, and another workspace is exit 2. --no-api-key ignores CMDOP_API_KEY for one call.

--expect SLUG and CMDOP_EXPECT_WORKSPACE refuse (exit 7) to act anywhere else. CMDOP_REQUIRE_WORKSPACE refuses changes
in a workspace that is merely active. A variable that chooses any of this and is set but empty is an error (exit 78).

The profile comes from --profile, CMDOP_PROFILE, cmdop profile use; the mode from --mode or --dev, CMDOP_MODE, cmdop
mode; the server from --server, CMDOP_SERVER_URL, the profile.

cmdop workspace current --why prints the whole chain for the place where you are.
"""
_OUTPUT = """
Data goes to stdout, everything else to stderr.

  table    on a terminal: aligned, local times, long texts shortened
  tsv      in a pipe: no heading, no colour, nothing shortened, times in UTC
  json     one object with "schema": "cmdop.NOUN.v1"; lists in "items"
  ndjson   one such object a line
  quiet    only the identifier, one a line; of a new key, only the key

-o FORM, --json and -q choose for one command, CMDOP_OUTPUT for a shell, cmdop config set output FORM for good.
--fields A,B keeps those fields in that order; dots descend: workspace.slug. --limit N keeps the first N.

With --json an error is exactly one object on stderr and stdout is empty: code, message, hint, transient, http_status,
request_id, workspace, exit_code. An empty list is a success. JSON is ASCII and exact; tables and TSV show control
characters, bidirectional marks and invisible characters of foreign text as escapes such as \\x1b.

A new secret is boxed once on a terminal; in a pipe or with -q it is all that is printed.
"""


@verb(lenient=True)
def exit_codes() -> Text:
    """What each exit status means.

    cmdop help exit-codes
    cmdop help exit-codes --json
    """
    items = [
        {"exit_code": int(code), "name": code.name.lower(), "meaning": text} for code, text in EXIT_MEANINGS.items()
    ]
    terms = [(str(int(code)), text) for code, text in EXIT_MEANINGS.items()]
    return Text(help_pages.section("Exit statuses", terms).splitlines(), "exit-code", items)


@verb(lenient=True)
def environment_variables() -> Text:
    """The environment variables.

    cmdop help environment
    cmdop help environment --json
    """
    items = [{"name": name, "meaning": text} for name, text in environment.VARIABLES.items()]
    terms = list(environment.VARIABLES.items())
    return Text(help_pages.section("Environment variables", terms).splitlines(), "variable", items)


@verb(lenient=True)
def output_forms() -> Text:
    """The forms of output, and what goes where.

    cmdop help output
    cmdop workspace list --json --fields slug,role
    """
    return Text(_filled(_OUTPUT), "topic")


@verb(lenient=True)
def resolution() -> Text:
    """How the workspace is chosen.

    cmdop help resolution
    cmdop workspace current --why
    """
    return Text(_filled(_RESOLUTION), "topic")


@verb(lenient=True)
def options() -> Text:
    """The options that every command takes.

    cmdop help options
    cmdop --workspace=acme auth list-keys --json
    """
    return Text(help_pages.global_options().splitlines(), "topic")


@verb(lenient=True)
def scopes() -> Text:
    """What a key may be allowed.

    cmdop help scopes
    cmdop auth create-key --name deploy --scope machines:read --scope files:write
    """
    from cmdop_cli.scope_meanings import meaning
    from cmdop_wire.vocab import Scope

    items = [{"scope": str(scope), "meaning": meaning(scope)} for scope in Scope]
    terms = [(str(scope), meaning(scope)) for scope in Scope]
    return Text(help_pages.section("Scopes", terms).splitlines(), "scope", items)


def _filled(text: str) -> list[str]:
    """Return ``text`` in lines of 80 columns; indented paragraphs are tables and stay."""
    lines: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        filled = paragraph if paragraph.startswith(" ") else help_pages.filled(paragraph, help_pages.page_width())
        lines += ["", *filled.splitlines()] if lines else filled.splitlines()
    return lines

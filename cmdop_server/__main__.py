"""``python -m cmdop_server …``, which is what ``cmdop server …`` becomes. Reads the line, calls one function."""

import argparse
import gc
import sys
from collections.abc import Callable, Sequence

from cmdop_server import disk
from cmdop_server.access.errors import Refused
from cmdop_server.config import VARIABLES
from cmdop_server.management import opening, say
from cmdop_server.management.pages import Parser, section
from cmdop_server.refusal import Refusal
from cmdop_wire.vocab import ErrorCode, Exit, Role

PROGRAM = "cmdop server"
COMPLETE = "complete"  # asked by the command line for a shell, never typed
Run = Callable[[argparse.Namespace], int]


def _settings_text() -> str:
    terms = [(variable.name, variable.meaning.replace("`", "")) for variable in VARIABLES]
    return section("Settings are environment variables; the options above are spellings of some", terms)


class Grammar:
    """The commands with their options; ``read`` tells which function a line asks for."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog=PROGRAM,
            description="The control plane: API, relay, sign-in pages and cabinet.",
            examples=[f"{PROGRAM} start", f"{PROGRAM} bootstrap --email you@example.com --token-only"],
        )
        self._commands = self.parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self._add_start()
        self._add_bootstrap()
        self._add_user()
        self._add_upkeep()

    def read(self, line: Sequence[str]) -> argparse.Namespace:
        """Return the parsed line; ends the process with status 2 and a message when it makes no sense."""
        Parser.as_json = "--json" in line
        asked, extra = self.parser.parse_known_args(line)
        if extra:  # the command itself says so: its page is the one to read
            asked.parser.error(f"unrecognized arguments: {extra[0]}")
        return asked

    def _add(self, name: str, run: Run, text: str, *examples: str, more: str = "") -> Parser:
        return _add_command(self._commands, name, run, text, *examples, more=more)

    def _add_start(self) -> None:
        text = "Serve until SIGTERM or Ctrl-C, with an embedded SQLite unless CMDOP_DATABASE_URL says otherwise."
        examples = ("start", "start --port 0 --ready-json", "start --host 10.0.0.5 --tls self-signed")
        start = self._add("start", _start, text, *examples, more=_settings_text())
        start.add_argument("--host", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
        start.add_argument("--port", metavar="N", help="port to listen on (8787); 0 takes a free one")
        start.add_argument("--workers", metavar="N", help="serving processes (1); more need PostgreSQL")
        start.add_argument("--tls", choices=["self-signed"], help="make and keep a certificate, print its --ca-pin")
        start.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
        start.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
        start.add_argument("--ready-json", action="store_true", help="print one JSON line on stdout once it serves")

    def _add_bootstrap(self) -> None:
        text = "Make the first account and print a one-time sign-in token; again for that account: a fresh token."
        examples = ("bootstrap --email you@example.com --token-only",)
        bootstrap = self._add("bootstrap", _bootstrap, text, *examples)
        bootstrap.add_argument("--email", required=True, metavar="EMAIL", help="address of the first account")
        password = bootstrap.add_mutually_exclusive_group()
        password.add_argument("--password-file", metavar="FILE", help="read its password from FILE, - for stdin")
        password.add_argument("--token-only", action="store_true", help="no password: sign in with the token (default)")
        _add_json(bootstrap)

    def _add_user(self) -> None:
        text = "Make accounts and memberships."
        user = self._commands.add_parser("user", help=text, description=text)
        verbs = user.add_subparsers(dest="verb", required=True, metavar="COMMAND")
        text = "Make an account, or take the existing one, and make it a member of a workspace."
        create = _add_command(
            verbs, "create", _user_create, text, "user create bob@example.com --workspace acme --role guest --token"
        )
        create.add_argument("email", metavar="EMAIL", help="address of the account")
        create.add_argument("--workspace", metavar="SLUG", help="make it a member of this workspace")
        create.add_argument("--role", metavar="ROLE", help="owner, admin, member (default) or guest")
        create.offered["--role"] = list(Role)
        create.add_argument("--name", default="", metavar="NAME", help="the person's name")
        create.add_argument("--password-file", metavar="FILE", help="read its password from FILE, - for stdin")
        create.add_argument("--token", action="store_true", help="print a one-time sign-in token")
        _add_json(create)

    def _add_upkeep(self) -> None:
        text = "Ask everything that start asks, print each answer, change nothing."
        check = self._add("check", _check, text, "check")
        migrate = self._add("migrate", _migrate, "Bring the schema of the database up to date.", "migrate")
        text = "Copy the embedded database, also under a running server, to a new private file."
        backup = self._add("backup", _backup, text, "backup cmdop-monday.sqlite3")
        backup.add_argument("path", metavar="PATH", help="the file to write; an existing one is never replaced")
        text = (
            "Say that the database is an older copy put back by other means than backup: every credential in it ends."
        )
        restored = self._add("restored", _restored, text, "restored")
        text = "Count what is past its time; with --now, delete it. A running server does so by itself, once an hour."
        purge = self._add("purge", _purge, text, "purge", "purge --now")
        purge.add_argument("--now", action="store_true", help="delete it")
        for command in (check, migrate, backup, restored, purge):
            _add_json(command)


def _add_command(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    run: Run,
    text: str,
    *examples: str,
    more: str = "",
) -> Parser:
    command: Parser = commands.add_parser(
        name, help=text, description=text, examples=[f"{PROGRAM} {example}" for example in examples], more=more
    )
    command.set_defaults(run=run, as_json=False, parser=command)
    return command


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", dest="as_json", help="answer as one JSON object")


def _import_fast() -> None:
    """Spare the collector while a thousand modules are loaded (a seventh of the start-up time); serving enables it."""
    gc.disable()


def _start(asked: argparse.Namespace) -> int:
    _import_fast()
    opening.apply(
        {
            "CMDOP_HOST": asked.host,
            "CMDOP_PORT": asked.port,
            "CMDOP_WORKERS": asked.workers,
            "CMDOP_TLS": asked.tls,
            "CMDOP_TLS_CERT": asked.tls_cert,
            "CMDOP_TLS_KEY": asked.tls_key,
        }
    )
    from cmdop_server.management.start import start  # noqa: PLC0415 - each command loads only what it needs

    return start(ready_json=asked.ready_json)


def _bootstrap(asked: argparse.Namespace) -> int:
    from cmdop_server.management.people import bootstrap  # noqa: PLC0415

    return bootstrap(email=asked.email, password_file=asked.password_file, as_json=asked.as_json)


def _user_create(asked: argparse.Namespace) -> int:
    from cmdop_server.management.people import create_user  # noqa: PLC0415

    return create_user(
        email=asked.email,
        name=asked.name,
        workspace=asked.workspace,
        role=asked.role,
        password_file=asked.password_file,
        with_token=asked.token,
        as_json=asked.as_json,
    )


def _check(asked: argparse.Namespace) -> int:
    from cmdop_server.management.upkeep import check  # noqa: PLC0415

    return check(as_json=asked.as_json)


def _migrate(asked: argparse.Namespace) -> int:
    from cmdop_server.management.upkeep import migrate  # noqa: PLC0415

    return migrate(as_json=asked.as_json)


def _backup(asked: argparse.Namespace) -> int:
    from cmdop_server.management.upkeep import backup  # noqa: PLC0415

    return backup(path=asked.path, as_json=asked.as_json)


def _restored(asked: argparse.Namespace) -> int:
    from cmdop_server.management.upkeep import restored  # noqa: PLC0415

    return restored(as_json=asked.as_json)


def _purge(asked: argparse.Namespace) -> int:
    from cmdop_server.management.upkeep import purge  # noqa: PLC0415

    return purge(now=asked.now, as_json=asked.as_json)


def _worker(asked: argparse.Namespace) -> int:
    _import_fast()
    from cmdop_server.management.serving import serve_as_worker  # noqa: PLC0415

    return serve_as_worker(asked.descriptor, asked.role)


def main(line: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; refusals and failures become text here and nowhere else."""
    words = sys.argv[1:] if line is None else line
    if len(words) == 2 and words[0] in (opening.WORKER, opening.RELAY):
        asked = argparse.Namespace(run=_worker, as_json=False, role=words[0], descriptor=int(words[1]))
    elif words and words[0] == COMPLETE:
        for word, sentence in Grammar().parser.candidates(words[1:]):
            say.answer(f"{word}\t{sentence}")
        return 0
    else:
        asked = Grammar().read(words)
    try:
        status: int = asked.run(asked)
    except Refusal as refusal:
        return say.refused(refusal, as_json=asked.as_json)
    except Refused as refusal:
        if refusal.code in (ErrorCode.INVALID, ErrorCode.MALFORMED):
            refusal.hint = refusal.hint or f"{asked.parser.prog} --help"
        return say.failed(refusal, as_json=asked.as_json)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as failure:
        if (no_room := disk.refusal(failure)) is not None:  # first: a full disk is a failure of the database, too
            return say.refused(no_room, as_json=asked.as_json)
        if (busy := opening.busy(failure)) is not None:
            return say.failed(busy, as_json=asked.as_json)
        raise
    return status


if __name__ == "__main__":
    sys.exit(main())

"""The only print. Commands hand over results; this decides between table, TSV, JSON, NDJSON and quiet.

stdout carries data, stderr everything else. Text from servers, machines and members passes ``safe`` on its way to
either (D-24); JSON stays exact and is ASCII, so a terminal sees no control byte of it.
"""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from cmdop_cli.failures import Code, Failure, usage
from cmdop_cli.results import Column, Listing, Record, Result, Secret, Text, encoded, pick, plain
from cmdop_cli.safe_text import safe

if TYPE_CHECKING:
    from typing import Any, TextIO

_NARROW = 40  # characters that are never folded, and are written without asking how wide the terminal is


class Output:
    """Where the output of one call goes, and in which form.

    ``form`` is one of ``options.OUTPUTS``; ``None`` is a table on a terminal and TSV elsewhere.
    """

    def __init__(
        self,
        form: str | None = None,
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
        color: bool = False,
        pager: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.stdout, self.stderr = sys.stdout, sys.stderr
        for stream in (self.stdout, self.stderr):
            if stream is not None and hasattr(stream, "reconfigure") and stream.errors != "backslashreplace":
                with suppress(OSError):  # it flushes; whatever is wrong with the stream shows at the next write
                    stream.reconfigure(errors="backslashreplace")  # Latin-1 terminals show escapes, never a crash
        self.is_terminal = _is_terminal(self.stdout)
        self.form = form or ("table" if self.is_terminal else "tsv")
        self.fields = tuple(fields)
        self.limit = limit
        self.pager = pager
        self.environ = environ
        # Off unless asked for: a terminal that must show only text gets only text.
        self.has_color = color and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._held: list[str] = []
        self._was_interrupted = False

    @property
    def is_json(self) -> bool:
        """Tell whether a machine reads: errors are JSON too, and notices wait for success."""
        return self.form in ("json", "ndjson")

    # -- stdout ----------------------------------------------------------------------------------------------------

    def show(self, result: Result | None) -> int:
        """Print ``result`` in the chosen form, then the notices that were held back; return its exit status."""
        if result is not None:
            if isinstance(result, Secret):
                self._secret(result)
            elif isinstance(result, Text):
                self._text(result)
            elif isinstance(result, Listing):
                self._listing(result)
            elif isinstance(result, Record):
                self._record(result)
        for line in self._held:
            self._error_line(line)
        self._held.clear()
        return 0 if result is None else result.exit_code

    def write(self, text: str) -> None:
        """Write ``text`` to stdout as it is; ``BrokenPipeError`` and ``Failure`` when it cannot be delivered."""
        if self.stdout is None:
            raise Failure(Code.OUTPUT, "stdout is closed")
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except BrokenPipeError:
            self._let_go(self.stdout)
            raise
        except OSError as error:
            self._let_go(self.stdout)
            reason = (error.strerror or str(error)).lower()
            fix = "df -h ." if error.errno == errno.ENOSPC else ""
            raise Failure(Code.OUTPUT, f"cannot write to stdout: {reason}", hint=fix) from error

    def _page(self, text: str) -> None:
        """Write a table or text, through the pager where there is one and the screen is too short."""
        if self.pager is not None and self.form == "table":
            from cmdop_cli.paging import paged

            if paged(self, text, self.pager):
                return
        self.write(text)

    @staticmethod
    def _let_go(stream: "TextIO") -> None:
        """Send what is still buffered nowhere: Python would fail again, and loudly, when it flushes at exit."""
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    def _listing(self, listing: Listing) -> None:
        items = [plain(item) for item in listing.items][: self.limit]
        columns = self._columns((self.form == "tsv" and listing.piped) or listing.columns, items)
        if self.form == "json":
            shown = [self._kept(item) for item in items]
            head = {"schema": f"cmdop.{listing.noun}.v1", **plain(listing.extra)}
            self.write(encoded({**head, "items": shown, "next": listing.next}) + "\n")
        elif self.form == "ndjson":
            lines = [{"schema": f"cmdop.{listing.noun}.v1", **self._kept(item)} for item in items]
            self.write("".join(encoded(line, indent=None) + "\n" for line in lines))
        elif self.form == "quiet":
            names = self.fields or (listing.identifier,)
            self.write("".join("\t".join(_cell(pick(item, name)) for name in names) + "\n" for item in items))
        elif self.form == "tsv":
            self.write("".join("\t".join(_cell(pick(item, c.name)) for c in columns) + "\n" for item in items))
        elif items:
            from cmdop_cli.drawing import table

            self._page(table(columns, items, bold=self._bold, is_terminal=self.is_terminal))
        elif listing.empty:
            self.note(listing.empty)
        if len(items) < len(listing.items):
            self.note(f"{len(items)} of {len(listing.items)} are shown")
        elif listing.next:
            self.note(f"there is more: add --limit {2 * max(len(items), 1)}")

    def _record(self, record: Record) -> None:
        fields = plain(record.fields)
        if record.planned:
            fields = {**fields, "planned": True}
        every = [Column(name) for name in fields] if record.columns is None else record.columns
        columns = self._columns(every, [fields])
        if self.form == "tsv" and record.piped is not None:
            columns = self._columns(record.piped, [fields])
        if self.is_json:
            head = {"schema": f"cmdop.{record.noun}.v1"}
            self.write(encoded({**head, **self._kept(fields)}, indent=2 if self.form == "json" else None) + "\n")
        elif self.form == "quiet":
            names = self.fields or (record.identifier,)
            self.write("\t".join(_cell(pick(fields, name)) for name in names) + "\n")
        elif record.rows is not None and not self.fields:
            self._listing(record.rows)
        elif self.form == "tsv":
            self.write("\t".join(_cell(pick(fields, column.name)) for column in columns) + "\n")
        else:
            from cmdop_cli.drawing import record_lines

            self.write(record_lines(columns, fields, is_terminal=self.is_terminal))

    def _secret(self, result: Secret) -> None:
        try:
            self._secret_once(result)
        except BrokenPipeError:
            lost = "nobody read the secret, and it cannot be shown again"
            raise Failure(Code.OUTPUT, lost, hint=result.undo) from None
        except Failure as unwritten:
            unwritten.message += "; the secret is lost with it, and cannot be shown again"
            unwritten.hint = result.undo
            raise

    def _secret_once(self, result: Secret) -> None:
        fields = plain(result.fields)
        text = str(fields[result.secret])
        if self.is_json:
            document = {"schema": f"cmdop.{result.noun}.v1", **fields}
            self.write(encoded(document, indent=2 if self.form == "json" else None) + "\n")
        elif self.form == "table" and self.is_terminal:
            from cmdop_cli.drawing import boxed, record_lines

            rest = {name: value for name, value in fields.items() if name != result.secret}
            columns = result.columns or [Column(name) for name in rest]
            self.write(record_lines(columns, rest, is_terminal=True))
            self.write(boxed(text, unicode="utf" in (getattr(self.stdout, "encoding", "") or "").lower()))
            self.note("shown once: it cannot be read again")
        else:
            self.write(text + "\n")

    def _text(self, result: Text) -> None:
        if self.is_json:
            content = {"text": "\n".join(result.lines)} if result.items is None else {"items": plain(result.items)}
            document = {"schema": f"cmdop.{result.noun}.v1", **content}
            self.write(encoded(document, indent=2 if self.form == "json" else None) + "\n")
        else:
            self._page("".join(line + "\n" for line in result.lines))

    def _columns(self, columns: Sequence[Column], items: "Sequence[Mapping[str, Any]]") -> Sequence[Column]:
        if not self.fields:
            return columns
        known = {column.name: column for column in columns}
        there = {name for item in items for name in item} | set(known)
        for name in self.fields:
            if name.split(".")[0] not in {each.split(".")[0] for each in there}:
                raise usage(f"there is no field {safe(name)}", hint=f"--fields {','.join(sorted(there))}")
        return [known.get(name, Column(name)) for name in self.fields]

    def _kept(self, item: "Mapping[str, Any]") -> "Mapping[str, Any]":
        return {name: pick(item, name) for name in self.fields} if self.fields else item

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.has_color and self.is_terminal else text

    # -- stderr ----------------------------------------------------------------------------------------------------

    def note(self, text: str, *, now: bool = False) -> None:
        """Tell a person one line on stderr. Silent with ``--quiet``; under JSON it waits until the call succeeded.

        ``now`` is for what a person must act on while the call goes on, such as the code of a sign-in.
        """
        if self.form == "quiet" and not now:
            return
        if self.is_json and not now:
            self._held.append(text)
        else:
            self._error_line(text)

    def warn(self, text: str) -> None:
        """Warn on stderr, also with ``--quiet``; under JSON it waits until the call succeeded."""
        if self.is_json:
            self._held.append(f"warning: {text}")
        else:
            self._error_line(f"warning: {text}")

    @property
    def shows_progress(self) -> bool:
        """Tell whether a person watches: stderr is a terminal and nobody asked for silence."""
        return _is_terminal(self.stderr) and not self.is_json and self.form != "quiet"

    def ask(self, question: str) -> None:
        """Print a question on stderr and leave the cursor behind it."""
        if self.stderr is not None:
            self.stderr.write(self._for_stderr(safe(question)))
            self.stderr.flush()

    def interrupted(self) -> None:
        """Begin a line of its own after the ``^C`` that a terminal has echoed; once is enough."""
        if not self._was_interrupted and not self.is_json and _is_terminal(self.stderr):
            self._error_line("")
        self._was_interrupted = True

    def failure(self, failure: Failure) -> None:
        """Print ``failure``: four short lines for people, exactly one object for machines; held notices are dropped."""
        from cmdop_cli import failures

        self._held.clear()
        if failure.code == Code.INTERRUPTED:
            self.interrupted()
        if self.is_json:
            self._error_line(encoded(failures.document(failure), indent=None), exact=True)
        else:
            for line in failures.lines(failure):
                self._error_line(line)

    def _for_stderr(self, line: str) -> str:
        """Return a line as stderr shows it best: folded at words on a terminal, untouched elsewhere."""
        if len(line) < _NARROW or not _is_terminal(self.stderr) or self.stderr is None:
            return line
        from cmdop_cli import folding

        columns = folding.columns_of(self.stderr)
        return folding.folded(line, columns) if columns else line

    def _error_line(self, text: str, *, exact: bool = False) -> None:
        if self.stderr is None:
            return
        from cmdop_wire.ids import mask

        try:
            self.stderr.write((text if exact else self._for_stderr(safe(mask(text)))) + "\n")
            self.stderr.flush()
        except (OSError, ValueError):  # nobody listens; the exit status still tells
            self._let_go(self.stderr)
            self.stderr = None


def _cell(value: "Any") -> str:
    """Return ``value`` as one TSV cell: exact but for what would break a line or steer a terminal.

    An object reads as tags are typed, ``key:value``.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_cell(item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{safe(str(key))}:{_cell(item)}" for key, item in value.items())
    return safe(str(value))


def _is_terminal(stream: "TextIO | None") -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False

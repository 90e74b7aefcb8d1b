"""The commands that a command may run in turn, as far as its words show: through wrappers, shells, links. Pure.

A guard rail for whoever denies, asks or finds something dangerous: it sees more than there is rather than less, and
does not see what a program does by itself.
"""

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence

from cmdop_agent.rules import Request, folded

Words = Sequence[str]

# Whoever runs one of these runs anything: whatever follows is looked at, too.
WRAPPERS = frozenset(
    "builtin busybox bwrap capsh catchsegv choom chpst chroot chronic chrt command coproc dbus-run-session doas"
    " eatmydata entr env eval exec expect fakeroot firejail flock gdb gosu ionice ld.so linux32 linux64 ltrace nice"
    " nohup nsenter numactl parallel pkexec prlimit proot rlwrap run0 runcon runuser script setarch setpriv setsid"
    " setuidgid sg softlimit ssh start-stop-daemon stdbuf strace su su-exec sudo systemd-cat systemd-inhibit"
    " systemd-run taskset time timeout toybox trap uclampset unbuffer unshare valgrind watch xargs xvfb-run".split()
)
SHELLS = frozenset("sh bash dash ash zsh ksh mksh fish csh tcsh rbash".split())
MANY_IN_ONE = frozenset({"busybox", "toybox", "coreutils"})  # what a link to these does is told by the link's name
LOOKED_AT = 200  # commands in a command; whoever packs in more is asked about, or denied where a rule denies
LOOKED_FAR = 256  # words of each
_QUOTES = frozenset("\"'\\")
# In a shell's text: between two commands; to or from a file, named next; what looks so, and names none, as in 2>&1.
_BETWEEN = re.compile(r"[;&|\n(){}`]|\$\(|\b(?:then|do|else|elif)\b")
_REDIRECTED = re.compile(r"\d{0,3}(?:<>|<<-?|<&?|>>|>\||>&?)(?!\()")
_NO_REDIRECTION = re.compile(r"\d{0,3}[<>]&(?:\d{1,3}|-)|<<<")
_LOADER = re.compile(r"ld(?:-linux|-musl|64|)[\w.-]*\.so(?:\.\d+)*")


def name_of(words: Words) -> str:
    """Return what the program of a command is called, whichever way its path, or an upper case system, spells it."""
    return folded(posixpath.basename(words[0]))


def commands_of(request: Request) -> Iterator[Words]:
    """Yield the command of ``request`` and every one that it may run in turn; under its real name, too."""
    yield from commands_in(request.argv)
    real = posixpath.basename(request.program)
    if request.argv and real and real not in MANY_IN_ONE and real != posixpath.basename(request.argv[0]):
        yield from commands_in([real, *request.argv[1:]])


def commands_in(argv: Words, depth: int = 3) -> Iterator[Words]:
    """Yield the command, and what it may run in turn."""
    if not argv or not argv[0]:
        return
    yield argv
    name = name_of(argv)
    if name in SHELLS and depth > 0:
        for text in argv[1:]:
            yield from _commands_in_text(text, depth)
    elif name in WRAPPERS or _LOADER.fullmatch(name):
        for start in range(1, len(argv)):
            if not argv[start]:
                continue
            yield argv[start : start + LOOKED_FAR]
            text = _value(argv[start])
            if depth > 0 and name_of(argv[start:]) in SHELLS:
                yield from commands_in(argv[start:], depth - 1)
            elif depth > 0 and (text != argv[start] or len(text.split()) > 1):
                yield from _commands_in_text(text, depth)  # env -S, su -c, flock -c, watch, ssh …
    elif name == "find" and depth > 0:
        for start, word in enumerate(argv[1:], 1):
            if word in ("-exec", "-execdir", "-ok", "-okdir"):
                yield from commands_in(argv[start + 1 : start + 1 + LOOKED_FAR], depth - 1)


def _commands_in_text(text: str, depth: int) -> Iterator[Words]:
    for words in _simple_commands(text):
        yield from commands_in(words, depth - 1)


def _value(word: str) -> str:
    """Return what an option in one word with its value is given: ``--split-string=ls -l``, ``-Sls -l``."""
    if word.startswith("--"):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-") else word


def _simple_commands(text: str) -> Iterator[Words]:
    """Yield what may stand as a command in a shell's text, quotation marks taken off: a rough reading, on purpose."""
    for piece in _BETWEEN.split(_REDIRECTED.sub(" > ", _NO_REDIRECTION.sub(" ", text))):
        words = piece.split()
        if not _QUOTES.isdisjoint(piece):
            try:
                words = shlex.split(piece)
            except ValueError:
                words = piece.replace('"', " ").replace("'", " ").split()
        words = [word for at, word in enumerate(words) if ">" not in words[max(0, at - 1) : at + 1]]
        while words and ("=" in words[0] or words[0] in ("!", "if", "while", "until")):
            words = words[1:]
        if words:
            yield words

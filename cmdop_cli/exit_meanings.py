"""What each exit status means, in words: for ``cmdop help exit-codes`` and the manual."""

from cmdop_wire.vocab import Exit

EXIT_MEANINGS = {
    Exit.DONE: "done; an empty list is done too",
    Exit.BUG: "a bug, or a failure of no other kind",
    Exit.USAGE: "the line cannot be understood, or a value is refused",
    Exit.NOT_FOUND: "there is no such thing, or you may not see it",
    Exit.NO_CREDENTIAL: "no usable credential: none, ended or revoked; sign in",
    Exit.FORBIDDEN: "you may see it, but your role or scope forbids this",
    Exit.CONFLICT: "it contradicts what is there, or a limit is reached",
    Exit.GUARD: "refused by a guard: a confirmation is missing, another workspace was expected, changes are off",
    Exit.PARTIAL: "done in part, or waiting ended without its condition",
    Exit.UNREACHABLE: "the server cannot be reached; try again",
    Exit.TEMPORARY: "temporary: time-out, too many requests or server trouble; try again",
    Exit.LOCAL_STATE: "a local file, variable or store cannot be used",
    Exit.TIME_OUT: "connect exec: the command ran out of time",
    Exit.INTERRUPTED: "interrupted",
    Exit.TERMINATED: "terminated",
    Exit.REMOTE: "connect exec on one machine: failed before there was a remote status",
}

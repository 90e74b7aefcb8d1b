"""Starting what a session or a command runs, as the opening asks: which words, where, with whose rights."""

from collections.abc import Callable

from cmdop_agent.commands import spawn_on_pipes
from cmdop_agent.environment import Account, child_environment, folder_of_work, login_shell, words_of
from cmdop_agent.processes import Process
from cmdop_agent.pty import spawn_on_terminal
from cmdop_agent.refusals import Refusal
from cmdop_agent.session import Opening, clamped
from cmdop_wire.frames import Kind


def start(
    opening: Opening,
    *,
    room: Callable[[Kind], int],
    deliver: Callable[[Kind, bytes], None],
    taken: Callable[[int], None],
    account: Account | None = None,
) -> Process:
    """Start the process of a session or command; ``Refusal`` when the machine cannot.

    ``room`` tells how many bytes of OUTPUT or ERROR may be delivered now, ``taken`` how much input was used up.
    """
    is_session = opening.kind == "session"
    environment = child_environment(opening.term if is_session else None, account)
    cwd = folder_of_work(opening, environment["HOME"])
    try:
        if is_session:
            return spawn_on_terminal(
                opening.argv or login_shell(account),
                environment,
                cwd=cwd,
                cols=clamped(opening.cols),
                rows=clamped(opening.rows),
                room=lambda: room(Kind.OUTPUT),
                deliver=lambda data: deliver(Kind.OUTPUT, data),
                taken=taken,
                account=account,
            )
        return spawn_on_pipes(
            words_of(opening),
            environment,
            cwd=cwd,
            rooms=(lambda: room(Kind.OUTPUT), lambda: room(Kind.ERROR)),
            deliver=(lambda data: deliver(Kind.OUTPUT, data), lambda data: deliver(Kind.ERROR, data)),
            taken=taken,
            account=account,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = error.filename or (opening.argv[0] if opening.argv else "the shell")
        raise Refusal("command_not_found", f"no such command or folder on the machine: {missing}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal("cannot_start", f"the machine cannot start it: {reason.lower()}") from None

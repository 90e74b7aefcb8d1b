"""Starting what a session or a command runs: the words and the folder that were admitted, with whose rights."""

from collections.abc import Callable

from cmdop_agent.commands import spawn_on_pipes
from cmdop_agent.environment import Account, child_environment, login_shell
from cmdop_agent.processes import Process
from cmdop_agent.pty import spawn_on_terminal
from cmdop_agent.refusals import Refusal
from cmdop_agent.session import Opening, clamped
from cmdop_agent.work import Work, entered
from cmdop_wire.frames import Kind
from cmdop_wire.vocab import MachineCode


def start(
    opening: Opening,
    work: Work,
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
    try:
        with entered(work.folder, account) as cwd:
            if is_session:
                return spawn_on_terminal(
                    work.words or login_shell(account),
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
                work.words,
                environment,
                cwd=cwd,
                rooms=(lambda: room(Kind.OUTPUT), lambda: room(Kind.ERROR)),
                deliver=(lambda data: deliver(Kind.OUTPUT, data), lambda data: deliver(Kind.ERROR, data)),
                taken=taken,
                account=account,
            )
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = error.filename or (work.words[0] if work.words else "the shell")
        raise Refusal(MachineCode.COMMAND_NOT_FOUND, f"no such command or folder on the machine: {missing}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal(MachineCode.CANNOT_START, f"the machine cannot start it: {reason.lower()}") from None

"""The rank rules of D-8 as pure functions: each answers why something is refused, or ``None``.

Nobody grants above their own rank, edits or removes someone of higher rank, or raises themselves. The authoriser
has allowed the action as such before; a workspace's last owner is counted elsewhere, in the write transaction.
"""

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_wire.vocab import Role


def _is_on_host(actor: Actor) -> bool:
    return actor.kind in (ActorKind.OPERATOR, ActorKind.SYSTEM)


def refusal_to_grant(actor: Actor, own: Role | None, wanted: Role) -> str | None:
    """Return why someone whose role is ``own`` may not give the role ``wanted``."""
    if _is_on_host(actor) or (own is not None and wanted.rank <= own.rank):
        return None
    return f"the role {own} cannot give the role {wanted}" if own else "only a member can give roles"


def refusal_to_touch(actor: Actor, own: Role | None, theirs: Role) -> str | None:
    """Return why someone whose role is ``own`` may not change or remove someone who is ``theirs``."""
    if _is_on_host(actor) or (own is not None and theirs.rank <= own.rank):
        return None
    return f"the role {own} cannot act on an {theirs}" if own else "only a member can act on members"

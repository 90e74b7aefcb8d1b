"""Ways to lose a right, for the tests and the benchmark of revocation: what somebody does, and what the clock does.

Every cause brings a credential of its own, mostly with a newcomer to whom it happens, so one world is good for many.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.agents import Machine
from tests.browsing import Browser, Form
from tests.relay.seats import Seat
from tests.world import PASSWORD, World


@dataclass(frozen=True)
class Held:
    """A credential that is about to lose a right, and what is needed for that."""

    text: str
    account: str = ""
    key: str = ""
    sign_in: str = ""
    page: tuple[Browser, Form] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Cause:
    """One thing that somebody does, and the reason that each seat hears; ``None``: the right still holds, it goes on.

    Operator and command are on the machine that it happens to; the observer watches somebody else on another one.
    ``watcher`` watches the operator, and is not concerned themselves.
    """

    name: str
    hold: Callable[[World], Held]
    act: Callable[[World, Machine, Held], int]  # → status
    operator: str | None
    observer: str | None
    command: str | None
    bystander: str = "admin"
    takes_the_machine: bool = False

    @property
    def watcher(self) -> str | None:
        """Return the reason that who watches the operator hears: what is the operator's alone is not told."""
        is_shared = self.operator in (None, "machine_removed", "machine_moved", "ended_by_admin")
        return self.operator if is_shared else "ended"


@dataclass(frozen=True)
class Clock:
    """One end that comes by itself: ``let`` it come in some seconds; it returns what to show for the seat, and when."""

    name: str
    hold: Callable[[World], Held]
    let: Callable[[World, Machine, Held, Seat, float], tuple[str, float]]
    reason: str


def acme(world: World) -> str:
    """Return the address of acme."""
    return f"/workspaces/{world.acme.id}"


# -- credentials ------------------------------------------------------------------------------------------------------


def newcomer(world: World, role: str = "member") -> Held:
    """Return a new member's sign-in."""
    here = {"workspace": world.acme.slug, "role": role, "tag": secrets.token_hex(4)}
    account = world.server.backstage("tests.casting:join", **here)["id"]
    return signed_in(world, account)


def signed_in(world: World, account: str) -> Held:
    """Return a new sign-in of an account, at acme."""
    pair = world.server.backstage(
        "tests.casting:sign_in", account=account, workspace=world.acme.slug, reach="workspace"
    )
    return Held(pair["access_token"], account=account, sign_in=pair["sign_in_id"])


def shared_key(world: World) -> Held:
    """Return a workspace key."""
    key = world.key("owner", "machines:read", "commands:execute", "sessions:observe", shared=True)
    return Held(key["text"], key=key["id"])


def with_a_password(world: World) -> Held:
    """Return a newcomer's sign-in, and the page on which they are about to change their password."""
    held = newcomer(world)
    world.server.backstage("tests.casting:give_password", account=held.account, password=PASSWORD)
    members = world.as_("owner").get(f"{acme(world)}/members").json()["items"]
    browser = Browser(world.server.url)
    browser.sign_in(next(each["email"] for each in members if each["id"] == held.account), PASSWORD)
    address = "/accounts/password/change/"
    form = browser.open(address).form(address)
    again = signed_in(world, held.account)  # the password that was given ended the first
    return Held(again.text, held.account, sign_in=again.sign_in, page=(browser, form))


def own_key(world: World) -> Held:
    """Return a newcomer's personal key, and the page on which they are about to change their password."""
    held = with_a_password(world)
    made = world.api(held.text).post(f"{acme(world)}/keys", json={"kind": "personal", "name": "own"}).json()
    return Held(made["secret"], held.account, key=made["id"], page=held.page)


# -- what somebody does -----------------------------------------------------------------------------------------------


def revoke_key(world: World, _: Machine, held: Held) -> int:
    """Revoke the key."""
    return world.as_("owner").delete(f"{acme(world)}/keys/{held.key}").status_code


def sign_out(world: World, _: Machine, held: Held) -> int:
    """End the sign-in."""
    return world.api().post("/auth/revoke", json={"token": held.text, "all": True}).status_code


def remove_member(world: World, _: Machine, held: Held) -> int:
    """Remove the person."""
    return world.as_("owner").delete(f"{acme(world)}/members/{held.account}").status_code


def lower_to(role: str) -> Callable[[World, Machine, Held], int]:
    """Return what gives the person a lower role."""

    def lower(world: World, _: Machine, held: Held) -> int:
        return world.as_("owner").patch(f"{acme(world)}/members/{held.account}", json={"role": role}).status_code

    return lower


def remove_machine(world: World, machine: Machine, _: Held) -> int:
    """Remove the machine."""
    return world.as_("owner").delete(f"{acme(world)}/machines/{machine.id}").status_code


def move_machine(world: World, machine: Machine, _: Held) -> int:
    """Move the machine to the owner's personal workspace."""
    to = {"to": world["owner"].personal}
    return world.as_("owner", "acme", "all").post(f"{acme(world)}/machines/{machine.id}/move", json=to).status_code


def end_session(world: World, machine: Machine, _: Held) -> int:
    """End the session on the machine, as an admin does."""
    owner = world.as_("owner")
    (session,) = owner.get(f"{acme(world)}/sessions?active=true&machine={machine.id}").json()["items"]
    return owner.post(f"{acme(world)}/sessions/{session['id']}/terminate").status_code


def end_own_session(world: World, machine: Machine, held: Held) -> int:
    """End the session from elsewhere, as who operates it."""
    own = world.api(held.text)
    (session,) = own.get(f"{acme(world)}/sessions?active=true&machine={machine.id}").json()["items"]
    return own.post(f"{acme(world)}/sessions/{session['id']}/terminate").status_code


def change_password(_: World, __: Machine, held: Held) -> int:
    """Change the password in the cabinet."""
    assert held.page is not None
    browser, form = held.page
    new = secrets.token_urlsafe(12)
    done = browser.submit(form, oldpassword=PASSWORD, password1=new, password2=new)
    browser.close()
    assert done.location == "/", done.html
    return 200


def all_of(reason: str) -> dict[str, Any]:
    """Return what is said when everybody hears the same."""
    return {"operator": reason, "observer": reason, "command": reason}


GOES_ON: dict[str, Any] = {"operator": None, "observer": None, "command": None}
CAUSES = [
    Cause("key revoked", shared_key, revoke_key, **all_of("revoked")),
    Cause("sign-in ended", newcomer, sign_out, **all_of("signed_out")),
    Cause("member removed", newcomer, remove_member, **all_of("member_removed")),
    Cause("role lowered", newcomer, lower_to("guest"), "role_lowered", None, "role_lowered"),
    Cause("role lowered, right kept", lambda world: newcomer(world, "owner"), lower_to("admin"), **GOES_ON),
    Cause("machine removed", newcomer, remove_machine, "machine_removed", None, "machine_removed",
          takes_the_machine=True),
    Cause("machine moved", newcomer, move_machine, "machine_moved", None, "machine_moved", takes_the_machine=True),
    Cause("ended by an admin", newcomer, end_session, "ended_by_admin", None, None),
    Cause("ended by its operator", newcomer, end_own_session, "ended_by_operator", None, None),
    Cause("password changed", with_a_password, change_password, **all_of("password_changed")),
    Cause("password changed, key kept", own_key, change_password, **GOES_ON),
]  # fmt: skip


# -- what the clock does ----------------------------------------------------------------------------------------------


def end_key(world: World, _: Machine, held: Held, __: Seat, seconds: float) -> tuple[str, float]:
    """Let the key end."""
    return held.text, world.server.backstage("tests.ageing:key_ends_in", key=held.key, seconds=seconds)


def end_sign_in(world: World, _: Machine, held: Held, __: Seat, seconds: float) -> tuple[str, float]:
    """Let the sign-in reach its absolute end; its token would be good for longer."""
    here = {"sign_in": held.sign_in, "seconds": seconds}
    return held.text, world.server.backstage("tests.ageing:sign_in_ends_in", **here)


def miss(world: World, machine: Machine, held: Held, seat: Seat, seconds: float) -> tuple[str, float]:
    """Let it be almost a minute since the token ended that was shown last, by way of a ticket."""
    place = f"{acme(world)}/machines/{'web-2' if seat.name == 'observer' else machine.id}/ticket"
    made = world.api(held.text).post(place, json={"right": seat.right})
    ticket = made.raise_for_status().json()["secret"]
    return ticket, world.server.backstage("tests.ageing:ticket_is_late_in", ticket=ticket, seconds=seconds)


CLOCKS = [
    Clock("key expired", shared_key, end_key, "key_expired"),
    Clock("sign-in expired", newcomer, end_sign_in, "sign_in_expired"),
    Clock("re-authentication missed", newcomer, miss, "reauth_missed"),
]

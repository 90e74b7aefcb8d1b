"""What is forbidden says what would make it allowed, in a line of its own."""

import shlex

from tests.cli.signed import sign_in
from tests.terminal import Cmdop
from tests.world import World


def fix(done: object) -> str:
    """Return the one ``fix:`` line of a command that was forbidden."""
    assert (done.code, done.out) == (5, "")  # type: ignore[attr-defined]
    (line,) = (line for line in done.err.splitlines() if line.startswith("fix: "))  # type: ignore[attr-defined]
    return line.removeprefix("fix: ")


def test_a_role_that_is_too_low_names_who_can_change_it(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "guest", "acme")
    told = fix(cmdop.here("auth", "create-key", "--name", "laptop"))
    assert told == "an owner or admin can change your role: cmdop workspace members"
    roles = cmdop.here(*shlex.split(told.partition(": cmdop ")[2]), "--fields", "role", "-q").ok().out.split()
    assert {"owner", "admin"} <= set(roles)


def test_what_owners_alone_may_do_names_owners_alone(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "admin", "acme")
    told = fix(cmdop.here("workspace", "settings", "set", "name=Other"))
    assert told == "an owner can change your role: cmdop workspace members"


def test_a_key_without_the_scope_names_the_key_that_would_do(cmdop: Cmdop, world: World) -> None:
    there = cmdop.with_(CMDOP_SERVER_URL=world.server.url)
    line = f"--scope machines:read --scope audit:read --workspace {world.acme.slug}"
    for is_shared, who, makes in (
        (True, "an owner or admin", "cmdop --no-api-key auth create-key --name NAME --shared "),
        (False, "whose key it is", "cmdop --no-api-key auth create-key --name NAME "),
    ):
        key = there.with_(CMDOP_API_KEY=world.key("owner", "machines:read", shared=is_shared)["text"])
        told = fix(key.here("audit", "list"))
        assert told == f"{who} makes one for CMDOP_API_KEY: {makes}{line}"
    sign_in(cmdop, world, "owner")  # and acts in their own workspace
    text = key.here(*shlex.split(makes + line)[1:], "-q").ok().out.strip()  # pasted where the key still stands
    assert there.with_(CMDOP_API_KEY=text).here("audit", "list", "--json").ok().json["items"]


def test_at_a_terminal_the_person_makes_the_key(cmdop: Cmdop, world: World) -> None:
    """The line is theirs, and the key that is in force, which makes none, does not stand in its way."""
    there = cmdop.with_(CMDOP_SERVER_URL=world.server.url)
    key = there.with_(CMDOP_API_KEY=world.key("owner", "machines:read")["text"])
    terminal = key.on_terminal("audit", "list", width=200)
    assert terminal.end() == 5
    (line,) = (line for line in terminal.text.splitlines() if line.startswith("fix: "))
    told = line.rstrip().removeprefix("fix: ")
    line = "cmdop --no-api-key auth create-key --name NAME --scope machines:read --scope audit:read"
    assert told == f"{line} --workspace {world.acme.slug}"
    sign_in(cmdop, world, "owner")
    assert key.here(*shlex.split(told)[1:], "-q").ok().out.startswith("cmd_")


def test_what_no_key_may_do_a_person_may(cmdop: Cmdop, world: World) -> None:
    key = cmdop.with_(CMDOP_SERVER_URL=world.server.url, CMDOP_API_KEY=world.key("owner")["text"])
    told = fix(key.here("workspace", "update", "--name", "Other"))
    assert told == "cmdop --no-api-key workspace update --name Other"  # to sign in alone would leave the key in force
    sign_in(cmdop, world, "owner", "acme")
    key.here(*shlex.split(told)[1:]).ok()


def test_a_personal_key_whose_owner_may_not_says_so(cmdop: Cmdop, world: World) -> None:
    key = world.key("member", "audit:read", "keys:read")
    there = cmdop.with_(CMDOP_SERVER_URL=world.server.url, CMDOP_API_KEY=key["text"])
    told = fix(there.here("auth", "list-keys", "--all"))
    assert told == "an owner or admin can change your role: cmdop workspace members"

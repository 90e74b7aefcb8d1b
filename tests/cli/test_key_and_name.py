"""What only the server can decide: whose a key is, what the cache does not know, whether a choice still holds."""

from collections.abc import Callable

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.signed import plant, sign_in, unique
from tests.processes import Server
from tests.terminal import Cmdop
from tests.world import World, make_world


def keyed(cmdop: Cmdop, world: World, **environ: str) -> Cmdop:
    """Return a command line with a key of acme's owner in its environment."""
    key = world.key("owner")["text"]
    return cmdop.with_(CMDOP_API_KEY=key, CMDOP_SERVER_URL=world.server.url, **environ)


def test_a_key_of_another_workspace_than_the_named_one_does_nothing(cmdop: Cmdop, world: World) -> None:
    for here, line in (
        (keyed(cmdop, world), ["--workspace", world.globex.slug]),
        (keyed(cmdop, world, CMDOP_WORKSPACE=world.globex.slug), []),
        (keyed(cmdop, world), ["--workspace", world.globex.id]),
        (keyed(cmdop, world), ["--workspace", unique("nosuch")]),
    ):
        ran = here.here(*line, "workspace", "show")
        assert (ran.code, ran.out) == (Exit.USAGE, ""), ran
        assert f"belongs to {world.acme.slug}" in ran.err
        assert here.environ["CMDOP_API_KEY"] not in ran.err
    positive = keyed(cmdop, world).here("--workspace", world.acme.slug, "workspace", "show", "--fields", "id").ok()
    assert positive.out == f"{world.acme.id}\n"


def test_the_id_decides_not_the_slug_in_the_key(cmdop: Cmdop, world: World) -> None:
    here = keyed(cmdop, world)
    renamed = unique("renamed")
    world.as_("owner").patch(f"/workspaces/{world.acme.id}", json={"slug": renamed}).raise_for_status()
    for ref in (renamed, world.acme.id, world.acme.slug):  # its name now, its id, and the hint in the key
        assert here.here("-w", ref, "workspace", "show", "--fields", "id").ok().out == f"{world.acme.id}\n"
    assert here.here("workspace", "show", "--fields", "slug").ok().out == f"{renamed}\n"
    checked = here.here("-w", renamed, "workspace", "current", "--check", "--json").ok().json
    assert (checked["checked"], checked["workspace"]) == (True, {"id": world.acme.id, "slug": renamed})


def test_an_expectation_is_decided_by_id_where_names_do_not_tell(cmdop: Cmdop, world: World) -> None:
    here = keyed(cmdop, world)
    assert here.here("--expect", world.acme.id, "workspace", "show", "--fields", "id").ok().out == f"{world.acme.id}\n"
    ran = here.here("--expect", world.globex.id, "workspace", "show")
    assert (ran.code, ran.out) == (Exit.GUARD, "")
    ran = here.with_(CMDOP_EXPECT_WORKSPACE=world.globex.slug).here("workspace", "update", "--name", "Gone", "--yes")
    assert ran.code == Exit.GUARD
    assert here.here("workspace", "show", "--fields", "name").ok().out == "Acme\n"


def test_a_dead_server_is_not_a_wrong_key(cmdop: Cmdop, world: World) -> None:
    here = keyed(cmdop, world).with_(CMDOP_SERVER_URL="http://127.0.0.1:9", CMDOP_RETRIES="0")
    ran = here.here("--workspace", world.globex.slug, "workspace", "show", "--json")
    assert ran.code == Exit.UNREACHABLE
    assert ran.error["transient"] is True


def test_a_key_that_is_refused_is_named_and_taken_away(cmdop: Cmdop, world: World) -> None:
    """Neither signing in nor making another key helps while the variable holds this one."""
    key = world.key("owner")
    dead = cmdop.with_(CMDOP_API_KEY=key["text"], CMDOP_SERVER_URL=world.server.url)
    world.as_("owner").delete(f"/workspaces/{world.acme.id}/keys/{key['id']}").raise_for_status()
    mistyped = dead.with_(CMDOP_API_KEY=f"{dead.environ['CMDOP_API_KEY'][:-1]}!")
    for here in (dead, mistyped):
        ran = here.here("workspace", "show")
        assert ran.code == Exit.NO_CREDENTIAL, ran
        assert "the key in CMDOP_API_KEY" in ran.err
        assert "fix: cmdop --no-api-key workspace show" in ran.err.splitlines()
        assert here.environ["CMDOP_API_KEY"] not in ran.err


def test_use_asks_once_what_the_cache_does_not_know(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    assert cmdop.here("workspace", "use", world.globex.slug).ok().out == f"{world.globex.slug}\n"
    assert cmdop.here("workspace", "use", world.acme.id).ok().out == f"{world.acme.slug}\n"
    assert cmdop.here("workspace", "use", "-").ok().out == f"{world.globex.slug}\n"


@pytest.mark.parametrize("ref", ["slug", "id"])
def test_use_never_tells_of_workspaces_of_others(cmdop: Cmdop, world: World, ref: str) -> None:
    sign_in(cmdop, world, "owner", "acme")
    of_others = cmdop.here("workspace", "use", getattr(world.globex, ref))
    unknown = cmdop.here("workspace", "use", unique("nosuch") if ref == "slug" else "ws_" + "z" * 20)
    for ran in (of_others, unknown):
        assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
        assert "that you may enter" in ran.err
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"


def test_use_without_the_server_is_exit_3(cmdop: Cmdop, new_server: Callable[..., Server]) -> None:
    server = new_server()
    world = make_world(server)
    plant(cmdop, world, "visitor", "acme", reach="all")
    cmdop.here("workspace", "list").ok()
    world.close()
    server.stop()
    here = cmdop.with_(CMDOP_RETRIES="0")
    ran = here.here("workspace", "use", unique("nosuch"))
    assert (ran.code, ran.out) == (Exit.NOT_FOUND, "")
    assert "cannot be asked" in ran.err
    assert here.here("workspace", "use", world.globex.slug).ok().out == f"{world.globex.slug}\n"


def test_current_checks_whether_one_may_still_enter(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "guest", "acme")
    assert cmdop.here("workspace", "current", "--check").ok().out == f"{world.acme.slug}\n"
    guest = world["guest"].id
    world.as_("owner").delete(f"/workspaces/{world.acme.id}/members/{guest}").raise_for_status()
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"  # local, and says no more than that
    ran = cmdop.here("workspace", "current", "--check")
    assert ran.code in (Exit.NOT_FOUND, Exit.NO_CREDENTIAL)
    assert ran.out == ""


def test_switch_says_that_no_agent_runs(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme")
    ran = cmdop.here("workspace", "switch", world.globex.slug).ok()
    assert ran.out == f"{world.globex.slug}\n"
    assert "no agent runs on this machine" in ran.err
    assert cmdop.here("workspace", "current").ok().out == f"{world.globex.slug}\n"

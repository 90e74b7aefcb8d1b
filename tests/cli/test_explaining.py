"""A fix acts where the line that failed did: in the workspace that perhaps only that line named."""

import pytest

from cmdop_cli.explaining import in_workspace
from cmdop_wire.vocab import Exit
from tests.cli.signed import plant
from tests.terminal import Cmdop
from tests.world import World


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("cmdop connect list", "cmdop connect list --workspace acme"),
        ("cmdop connect exec web-1 -- ls -w", "cmdop connect exec web-1 --workspace acme -- ls -w"),
        ("cmdop auth list-keys -w beta", "cmdop auth list-keys -w beta"),
        ("cmdop --workspace=beta connect exec web-1 -- ls", "cmdop --workspace=beta connect exec web-1 -- ls"),
    ],
)
def test_a_workspace_is_named_once_and_never_to_another_program(line: str, named: str) -> None:
    assert in_workspace(line, "acme") == named


def fix(cmdop: Cmdop, line: str) -> str:
    """Run a line that fails, and return what it says will help."""
    ran = cmdop.here(*line.split())
    assert ran.code != Exit.DONE
    return next(each for each in ran.err.splitlines() if each.startswith("fix: ")).removeprefix("fix: ")


@pytest.mark.slow
def test_a_fix_stays_in_the_workspace_that_the_line_named(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme", reach="all")
    acme = world.acme.slug
    assert (
        fix(cmdop, f"workspace set-role usr_{'0' * 20} guest -w {acme}")
        == f"cmdop workspace members --workspace {acme}"
    )
    assert (
        fix(cmdop, f"auth show-key no-such-key --workspace {acme}") == f"cmdop auth list-keys --all --workspace {acme}"
    )
    assert fix(cmdop, f"connect show nowhere --workspace={acme}") == f"cmdop connect list --workspace {acme}"
    # What acts in no workspace is left as it is, and so is a fix for a line that named none.
    assert fix(cmdop, f"workspace update --workspace {acme}") == "cmdop workspace update --help"
    assert fix(cmdop.with_(CMDOP_WORKSPACE=acme), "connect show nowhere") == "cmdop connect list"


@pytest.mark.slow
def test_a_fix_asks_the_same_server_as_the_same_person(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme", reach="all")
    acme, server = world.acme.slug, world.server.url
    cmdop = cmdop.with_(CMDOP_API_KEY=world.key("member")["text"], CMDOP_SERVER_URL="http://127.0.0.1:9")
    there = f"--server {server} --no-api-key"
    assert fix(cmdop, f"connect show nowhere -w {acme} {there}") == f"cmdop connect list {there} --workspace {acme}"
    assert (
        fix(cmdop, f"{there} auth show-key no-such-key -w {acme} --mode prod")
        == f"cmdop auth list-keys --all --mode prod {there} --workspace {acme}"
    )
    assert fix(cmdop, f"whoami --dev {there}") == f"cmdop login --server {server} --mode dev --no-api-key"
    # What is pasted does act there, a usage failure's help page is the same everywhere.
    assert cmdop.here(*f"connect list {there} --workspace {acme}".split()).code == Exit.DONE
    assert fix(cmdop, f"workspace update {there} -w {acme}") == "cmdop workspace update --help"


@pytest.mark.slow
def test_an_empty_list_leads_on_in_the_same_workspace(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme", reach="all")
    terminal = cmdop.on_terminal("connect", "list", "--workspace", world.acme.slug, width=200)
    assert terminal.end() == Exit.DONE
    assert f"bring one in with: cmdop connect --workspace {world.acme.slug}" in terminal.text
    assert f"no machines in workspace {world.acme.slug}" in terminal.text
    terminal = cmdop.on_terminal("connect", "list", "--online", "--workspace", world.acme.slug, width=200)
    assert terminal.end() == Exit.DONE
    assert f"no such machines in workspace {world.acme.slug} (from --workspace)" in terminal.text
    assert "bring one in" not in terminal.text


def test_a_guard_s_fix_names_the_workspace_to_us_and_not_to_the_machine(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme", reach="all")
    cmdop.here("workspace", "use", world.acme.slug).ok()
    strict = cmdop.with_(CMDOP_REQUIRE_WORKSPACE="1")
    assert fix(strict, "connect exec web-1 -- ls") == f"cmdop connect exec web-1 --workspace {world.acme.slug} -- ls"

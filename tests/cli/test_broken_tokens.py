"""Token files as a crash or a stranger leaves them: exit 78 with the file and the fix, kept, never «not signed in»."""

import json
from pathlib import Path

import pytest

from cmdop_wire.vocab import Exit
from tests.cli.signed import plant, sign_in, token_files
from tests.terminal import Cmdop
from tests.world import World

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "zeros": (b"\0" * 512, "it holds nothing but zero bytes"),
    "torn": (b'{"schema": 1, "store": "fi', "not JSON at line 1"),
    "no object": (b"[]", "it holds no object"),
    "a field is gone": (b'{"schema": 1, "store": "file"}', "origin is missing"),
    "wrong schema": (b'{"schema": "new"}', "schema is missing or of the wrong kind"),
}
ASKING = (["workspace", "members"], ["auth", "token"], ["connect", "list"], ["workspace", "current", "--check"])


def breaks(cmdop: Cmdop, workspace_id: str, content: bytes) -> Path:
    """Put ``content`` into the token file of a workspace."""
    root = Path(cmdop.environ["CMDOP_CONFIG_DIR"])
    (name,) = (each for each in token_files(cmdop) if workspace_id in each)
    (root / name).write_bytes(content)
    return root / name


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_token_file_is_named_and_kept(cmdop: Cmdop, world: World, content: bytes, reason: str) -> None:
    plant(cmdop, world, "owner", "acme")
    path = breaks(cmdop, world.acme.id, content)
    for line in (*ASKING, ["whoami"], ["workspace", "list"], ["logout"], ["auth", "status"], ["status"]):
        ran = cmdop.here(*line)
        assert ran.code == Exit.LOCAL_STATE, (line, ran)
        assert reason in ran.err
        assert f"mv {path} {path}.broken" in ran.err
        assert "not signed in" not in ran.err
        assert path.read_bytes() == content
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"
    path.rename(path.with_name("aside"))
    assert cmdop.here("workspace", "members").code == Exit.NO_CREDENTIAL


def test_no_other_sign_in_takes_the_place_of_a_broken_one(cmdop: Cmdop, world: World) -> None:
    sign_in(cmdop, world, "visitor", "acme").here("-w", world.globex.slug, "workspace", "members").ok()
    path = breaks(cmdop, world.globex.id, b"")
    named = cmdop.with_(CMDOP_WORKSPACE=world.globex.slug)
    for line in ASKING:
        ran = named.here(*line)
        assert (ran.code, ran.out) == (Exit.LOCAL_STATE, ""), line
        assert str(path) in ran.err
    assert path.read_bytes() == b""
    cmdop.here("workspace", "members").ok()  # the other one is what it was
    path.rename(path.with_name("aside"))
    named.here("workspace", "members").ok()  # and enters again, once there is room


def test_signing_in_again_sets_a_broken_file_aside(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme")
    path = breaks(cmdop, world.acme.id, b"\0" * 64)
    sign_in(cmdop, world, "owner", "acme").here("workspace", "members").ok()
    assert path.with_name(f"{path.name}.broken").read_bytes() == b"\0" * 64


def test_signing_out_of_everything_says_which_file_remains(cmdop: Cmdop, world: World) -> None:
    plant(cmdop, world, "owner", "acme")
    path = breaks(cmdop, world.acme.id, b"")
    ran = cmdop.here("logout", "--all")
    assert ran.code == Exit.PARTIAL
    assert f"warning: {path} cannot be read: it is empty" in ran.err


def test_a_newer_state_stops_what_would_be_half_done(cmdop: Cmdop, world: World) -> None:
    pair = plant(cmdop, world, "owner", "acme")
    path = Path(cmdop.environ["CMDOP_CONFIG_DIR"], "state.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    before, tokens = path.read_bytes(), token_files(cmdop)
    for line in (
        ["logout"],
        ["logout", "--all"],
        ["config", "set", "output", "json"],
        ["profile", "forget", "default", "--yes"],
    ):
        ran = cmdop.here(*line)
        assert (ran.code, ran.out) == (Exit.LOCAL_STATE, ""), line
        assert "was written by a newer cmdop" in ran.err
        assert ran.err.endswith("fix: pip install -U cmdop-cli\n")
    assert (path.read_bytes(), token_files(cmdop)) == (before, tokens)
    assert world.api(pair.access_token.reveal()).get("/me").status_code == 200
    assert not path.with_name("config.toml").exists()
    assert cmdop.here("workspace", "current").ok().out == f"{world.acme.slug}\n"

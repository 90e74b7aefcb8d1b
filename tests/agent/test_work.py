"""What was admitted is what runs, and where: links that move meanwhile, folders that the account may not enter."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.environment import Account
from cmdop_agent.permissions import Permissions
from cmdop_agent.rights import can_act
from cmdop_agent.rules import Rule
from cmdop_agent.session import Opening
from cmdop_agent.work import work_of
from cmdop_wire.frames import Kind
from cmdop_wire.vocab import GateMode, GateOperation, GateVerdict
from tests.agent.relay import Relay, own_folder, registration, relay, run, running

ASK = Rule(GateVerdict.ASK, GateOperation.EXECUTE_COMMAND, "cat **")


@pytest.mark.parametrize("kind", ["command", "session"])
@pytest.mark.parametrize("moved", ["link", "folder"])
def test_a_folder_that_moves_while_a_person_thinks_is_not_the_one_that_was_approved(
    tmp_path: Path, kind: str, moved: str
) -> None:
    """A link on the way may come to lead elsewhere, or a folder be replaced by a link: what runs stays where it was."""
    for name in ("asked-for", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "told").write_text(f"{name}\n")
    (tmp_path / "link").symlink_to(tmp_path / "asked-for")

    async def whole() -> None:
        async with running(GateMode.BYPASS, ASK) as (agent, there):
            agent.admission.approvers += 1
            call = there.call(kind, argv=["cat", "told"], cwd=str(tmp_path / "link"))
            await call.next(Kind.NOTICE)
            (waiting,) = agent.admission.waiting.values()
            assert waiting.request.cwd == os.path.realpath(tmp_path / "asked-for")
            if moved == "link":
                (tmp_path / "link").unlink()
                (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
            else:
                (tmp_path / "asked-for").rename(tmp_path / "aside")
                (tmp_path / "asked-for").symlink_to(tmp_path / "elsewhere")
            agent.admission.answer(waiting.number, approved=True)
            if moved == "link":
                await call.ended()
                assert call.text.strip() == "asked-for"
            else:
                assert (await call.next(Kind.REFUSED))["code"] == "command_not_found"

    run(whole)


def test_a_session_s_words_are_what_the_gate_was_asked_about() -> None:
    """``shell`` means nothing for a session: neither to the gate nor to what starts it."""
    rules = [Rule(GateVerdict.ALLOW, GateOperation.SESSION), Rule(GateVerdict.ALLOW, GateOperation.EXECUTE_COMMAND,
             "/bin/sh **")]  # fmt: skip

    async def whole() -> None:
        async with running(GateMode.STRICT, *rules) as (_, there):
            call = there.call("session", shell=True, argv=["echo", "got through"])
            kind, body = await call.told.get()
            assert (kind, body.get("code")) == (Kind.REFUSED, "gate_denied"), (kind, body)
            assert "execute_command(echo 'got through')" in body["message"]

    run(whole)


@contextlib.asynccontextmanager
async def working_as(account: Account) -> AsyncIterator[Relay]:
    """Give the relay of an agent whose work has the rights of ``account``."""
    async with relay() as there:
        agent = Agent(own_folder(), registration(there.url), facts("0.1", "web-1"), say=lambda _: None, account=account)
        agent.permissions.write(Permissions(GateMode.BYPASS))
        task = asyncio.create_task(agent.run())
        try:
            await there.linked()
            yield there
        finally:
            agent.stopping.set()
            await task


@pytest.mark.parametrize("kind", ["command", "session"])
def test_an_account_does_not_enter_a_folder_that_is_closed_to_it(tmp_path: Path, kind: str) -> None:
    """Also not through the agent, which is root: with its folder below a closed one, everything there would be open."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    closed, shut, home = tmp_path / "closed", tmp_path / "shut", tmp_path / "nobody"
    for folder in (closed / "papers", shut, home, tmp_path / "passed" / "open"):
        folder.mkdir(parents=True)
        (folder / "told").write_text("told\n")
        folder.chmod(0o755)
    (tmp_path / "passed").chmod(0o711)  # may be gone through, not listed
    (tmp_path / "into").symlink_to(closed / "papers")
    closed.chmod(0o700)
    shut.chmod(0o700)
    nobody = Account("nobody", 65534, 65534, (65534,), str(home), "/bin/sh")
    if not can_act():
        with pytest.raises(OSError, match=r"rights|groups"):
            work_of(Opening("ses_1", kind, {}, ["cat", "told"], cwd=str(shut)), str(home), nobody)
        return

    async def whole() -> None:
        async with working_as(nobody) as there:
            for folder in (closed / "papers", shut, tmp_path / "into", closed / "no-such-folder"):
                call = there.call(kind, argv=["cat", "told"], cwd=str(folder))
                first, body = await call.told.get()
                assert (first, body.get("code")) == (Kind.REFUSED, "cannot_start"), (folder, first, body)
            for folder in (home, tmp_path / "passed" / "open"):
                call = there.call(kind, argv=["cat", "told"], cwd=str(folder))
                await call.ended()
                assert call.text.strip() == "told"

    run(whole)

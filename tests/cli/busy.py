"""Work that fills a workspace's log, called inside ``tests.backstage``."""

from cmdop_server.workspaces.services import update_workspace
from tests.casting import person


def keep_busy(account: str, workspace: str, times: int) -> None:
    """Change a workspace's description so often, an event each."""
    for number in range(times):
        update_workspace(person(account), workspace, description=f"change {number}")

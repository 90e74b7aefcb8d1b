"""An agent whose relay is out of reach, in a process of its own: ``python -m tests.sdk.lone_agent CONFIG_DIR``."""

import asyncio
import sys
from pathlib import Path

from cmdop_agent.daemon import Agent, facts
from cmdop_agent.permissions import Permissions, PermissionsFile
from cmdop_agent.registration import Registration, RegistrationFile
from cmdop_sdk.agent_socket import AGENT_FOLDER
from cmdop_wire.ids import make_id, make_token
from cmdop_wire.vocab import GateMode


def main(config_dir: Path) -> None:
    """Register nothing with nobody, and serve the control socket."""
    directory = config_dir / AGENT_FOLDER
    directory.mkdir(mode=0o700)
    registration = Registration(
        server="http://127.0.0.1:9",
        relay_url="ws://127.0.0.1:9/relay/agent",
        mode="prod",
        workspace_id=make_id("workspace"),
        workspace_slug="acme",
        machine_id=make_id("machine"),
        hostname="web-1",
        name="Web 1",
        credential=make_token("machine"),
        is_seeded=True,
    )
    RegistrationFile(directory).write(registration)
    PermissionsFile(directory, config_dir, lambda: True).write(Permissions(GateMode.STRICT, (), is_seeded=True))

    async def run() -> None:
        await Agent(directory, registration, facts("1.2.3", "web-1"), say=lambda _: None).run()

    asyncio.run(run())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The public names, and what importing a part of the SDK costs."""

import subprocess
import sys

import pytest

import cmdop_sdk

EXPORTED = """
AgentNotRunning AgentOffline AsyncCMDOPClient AuthenticationError CMDOPError Conflict FileTokenSource GateDenied Gone
GrantError InvalidRequest LimitReached LocalAgent LocalStateError MachineRefused MemoryTokenSource NotFound
PermissionDenied RateLimited Secret ServiceUnavailable SessionConflict Store StreamClosed TimedOut TokenPair
TokenSource UnexpectedAnswer Unreachable UntrustedServer WrongOrigin run_blocking
""".split()


def test_exported_names_are_pinned() -> None:
    assert sorted(cmdop_sdk.__all__) == EXPORTED == dir(cmdop_sdk)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_loads(name: str) -> None:
    assert getattr(cmdop_sdk, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Client'"):
        cmdop_sdk.Client  # noqa: B018


@pytest.mark.parametrize(
    ("module", "most"), [("files", 60), ("documents", 75), ("store", 100), ("profiles", 100), ("errors", 50)]
)
def test_local_parts_load_nothing_of_the_network(module: str, most: int) -> None:
    count, loaded = loaded_by(module)
    assert loaded & {"httpx", "asyncio", "msgspec", "keyring", "rich", "pydantic", "filelock", "ssl"} == set()
    assert count <= most


@pytest.mark.parametrize("module", ["running", "attached", "transfers", "local"])
def test_streams_and_the_agent_s_socket_load_no_http_client(module: str) -> None:
    count, loaded = loaded_by(module)
    assert loaded & {"httpx", "httpcore", "anyio", "h11", "keyring", "rich", "pydantic", "cmdop_sdk.transport"} == set()
    assert count <= 260  # of which asyncio and websockets are 200


def test_plain_calls_load_no_websockets() -> None:
    assert loaded_by("client")[1] & {"websockets", "cmdop_sdk.stream", "cmdop_sdk.dialing"} == set()


def loaded_by(module: str) -> tuple[int, set[str]]:
    """Return how many modules importing a part of the SDK adds, and which are there then."""
    code = f"import sys; old = len(sys.modules); import cmdop_sdk.{module}; print(len(sys.modules) - old, *sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return int(answer[0]), set(answer[1:])

"""The public names, and what importing a part of the SDK costs."""

import subprocess
import sys

import pytest

import cmdop_sdk

EXPORTED = """
AgentOffline AsyncCMDOPClient AuthenticationError CMDOPError Conflict FileTokenSource GateDenied Gone GrantError
InvalidRequest LimitReached LocalStateError MemoryTokenSource NotFound PermissionDenied RateLimited Secret
ServiceUnavailable SessionConflict Store TimedOut TokenPair TokenSource UnexpectedAnswer Unreachable UntrustedServer
WrongOrigin run_blocking
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
    code = f"import sys; old = len(sys.modules); import cmdop_sdk.{module}; print(len(sys.modules) - old, *sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"httpx", "asyncio", "msgspec", "keyring", "rich", "pydantic", "filelock", "ssl"}
    assert heavy & set(answer[1:]) == set()
    assert int(answer[0]) <= most

"""Which tests wait for the slow tier: the one list, so that ``make test`` stays under two minutes on two cores.

The fast tier keeps what shows a broken change soonest; here stands what takes long for what it adds: servers started
for one test, processes by the dozen, real waiting, the proof of the matrix. A test may also say so itself, with
``@pytest.mark.slow``. On PostgreSQL everything is slow, except the smoke tests: those marked ``both`` in ``SMOKE``.
"""

# Beginnings of node ids, relative to the repository.
SLOW = (
    "tests/server/test_mutants.py",
    "tests/server/test_races.py",
    "tests/server/test_operations.py",
    "tests/server/test_serving.py",
    "tests/server/test_refusals.py",
    "tests/server/test_machine_moves.py",
    "tests/server/test_matrix.py::test_a_stranger_cannot_tell",
    "tests/server/test_api_edges.py::test_too_many_requests",
    "tests/server/test_purging.py",
    "tests/server/test_restoring.py",
    "tests/server/test_cabinet_browser.py",
    "tests/server/test_cabinet_account.py",
    "tests/relay/test_audited.py",
    "tests/relay/test_commands_over_http.py",
    "tests/relay/test_endurance.py",
    "tests/relay/test_expiry.py",
    "tests/relay/test_sessions.py",
    "tests/agent/test_channels.py::test_a_thousand",
    "tests/sdk/test_against_server.py",
    "tests/sdk/test_terminal.py",
    "tests/sdk/test_refresh.py",
    "tests/journeys/",
    "tests/cli/test_audit_commands.py",
    "tests/cli/test_connect_agent.py",
    "tests/cli/test_connect_reach.py",
    "tests/cli/test_exec.py",
    "tests/cli/test_login.py",
    "tests/cli/test_fast_path.py::test_both_say_the_same",
    "tests/cli/test_key_and_name.py::test_use_without_the_server",
    "tests/cli/test_state.py::test_fifty_switch_at_once",
)
# Of the tests marked ``both``, those that run on PostgreSQL in the fast tier too.
SMOKE = (
    "tests/server/test_matrix.py",
    "tests/server/test_keys.py",
    "tests/server/test_doors.py",
)


def is_slow(node: str, *, database: str | None, is_both: bool) -> bool:
    """Tell whether a test waits for the slow tier."""
    if database == "postgresql" and not (is_both and node.startswith(SMOKE)):
        return True
    return node.startswith(SLOW)

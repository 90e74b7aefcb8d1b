"""The resolver as a table: which workspace, from where, and with which exit status (D-18, D-19, D-22, D-23)."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmdop_cli.options import Options
from cmdop_cli.resolver import Resolution, Source, resolve
from cmdop_cli.state import State, parsed
from cmdop_wire.vocab import Exit
from tests.cli.places import ACME, BETA, GAMMA, HOME, KEYS, ORIGIN, state

HERE = "/home/ann/src/app"
BOUND = ({**GAMMA, "path": "/home/ann/src"},)
BAD = "Not A Slug"


def resolved(
    *,
    flag: str | None = None,
    env: str | None = None,
    key: str | None = None,
    document: dict[str, Any] | None = None,
    where: str | None = HERE,
    origin: str | None = None,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> Resolution:
    """Resolve with the usual state, a working directory, and what is given."""
    variables = {} if env is None else {"CMDOP_WORKSPACE": env}
    if key is not None:
        variables["CMDOP_API_KEY"] = KEYS.get(key, key)
    return resolve(
        Options(workspace=flag, **options),
        variables | (environ or {}),
        parsed(state() if document is None else document),
        directory=where,
        origin=origin,
    )


def outcome(found: Resolution) -> tuple[str | None, str | None, int]:
    """Return slug or id, source and exit status; a workspace that cannot be acted in is none."""
    if found.problem is not None:
        return None, None, found.problem.exit_code
    assert found.workspace is not None
    return found.workspace.label, str(found.source), Exit.USAGE if found.must_verify else Exit.DONE


ROWS: list[tuple[dict[str, Any], tuple[str | None, str | None, int]]] = [
    # What each source says alone, strongest first.
    ({"flag": "beta"}, ("beta", "flag", 0)),
    ({"flag": BETA["id"]}, ("beta", "flag", 0)),
    ({"flag": "elsewhere"}, ("elsewhere", "flag", 0)),
    ({"env": "beta"}, ("beta", "environment", 0)),
    ({"key": "beta"}, ("beta", "key", 0)),
    ({"document": state(bindings=BOUND)}, ("gamma", "binding", 0)),
    ({}, ("acme", "active", 0)),
    ({"document": state(active=None)}, ("ann-personal", "account_default", 0)),
    # Nothing says anything.
    ({"document": state(active=None, none=True)}, (None, None, Exit.USAGE)),
    ({"document": state(active=None, default=None)}, (None, None, Exit.USAGE)),
    ({"document": state(active=None, signed_in=False)}, (None, None, Exit.NO_CREDENTIAL)),
    # The stronger wins.
    ({"flag": "beta", "env": "acme"}, ("beta", "flag", 0)),
    ({"env": "beta", "document": state(bindings=BOUND)}, ("beta", "environment", 0)),
    ({"key": "acme", "document": state(active=BETA, bindings=BOUND)}, ("acme", "key", 0)),
    # A key and a name: equal is fine, different is for the server to decide, never for a guess.
    ({"flag": "acme", "key": "acme"}, ("acme", "flag", 0)),
    ({"env": "acme", "key": "acme"}, ("acme", "environment", 0)),
    ({"flag": "beta", "key": "acme"}, ("beta", "flag", Exit.USAGE)),
    ({"env": "beta", "key": "acme"}, ("beta", "environment", Exit.USAGE)),
    ({"flag": ACME["id"], "key": "acme"}, (ACME["id"], "flag", Exit.USAGE)),
    ({"flag": "beta", "key": "acme", "no_api_key": True}, ("beta", "flag", 0)),
    ({"key": "beta", "no_api_key": True}, ("acme", "active", 0)),
    # Rejected sources never fall through.
    ({"flag": BAD}, (None, None, Exit.USAGE)),
    ({"env": BAD}, (None, None, Exit.LOCAL_STATE)),
    ({"flag": "beta", "env": BAD}, ("beta", "flag", 0)),
    ({"env": ""}, (None, None, Exit.LOCAL_STATE)),
    ({"flag": "beta", "env": ""}, (None, None, Exit.LOCAL_STATE)),
    ({"key": KEYS["acme"][:-1] + "!"}, (None, None, Exit.NO_CREDENTIAL)),
    ({"key": ""}, (None, None, Exit.LOCAL_STATE)),
    ({"key": "", "no_api_key": True}, ("acme", "active", 0)),
    # Bindings: the nearest one, of this profile and mode, on whole path components.
    ({"document": state(bindings=(*BOUND, {**BETA, "path": HERE}))}, ("beta", "binding", 0)),
    ({"document": state(bindings=({**BETA, "path": "/home/ann/sr"},))}, ("acme", "active", 0)),
    ({"document": state(bindings=({**BETA, "path": "/"},))}, ("beta", "binding", 0)),
    ({"document": state(bindings=({**GAMMA, "path": "/home/ann/src", "mode": "dev"},))}, ("acme", "active", 0)),
    ({"document": state(bindings=({**GAMMA, "path": "/home/ann/src", "profile": "work"},))}, ("acme", "active", 0)),
    ({"document": state(bindings=BOUND), "where": None}, ("acme", "active", 0)),
    # Profile and mode.
    ({"mode": "dev"}, (None, None, Exit.NO_CREDENTIAL)),
    ({"environ": {"CMDOP_MODE": "dev"}}, (None, None, Exit.NO_CREDENTIAL)),
    ({"environ": {"CMDOP_MODE": "dev"}, "mode": "prod"}, ("acme", "active", 0)),
    ({"environ": {"CMDOP_MODE": "staging"}}, (None, None, Exit.LOCAL_STATE)),
    ({"environ": {"CMDOP_MODE": ""}}, (None, None, Exit.LOCAL_STATE)),
    ({"profile": "nobody"}, (None, None, Exit.NOT_FOUND)),
    ({"environ": {"CMDOP_PROFILE": "nobody"}}, (None, None, Exit.NOT_FOUND)),
    ({"environ": {"CMDOP_PROFILE": "nobody"}, "profile": "default"}, ("acme", "active", 0)),
    ({"environ": {"CMDOP_PROFILE": ""}}, (None, None, Exit.LOCAL_STATE)),
    ({"environ": {"CMDOP_SERVER_URL": ""}}, (None, None, Exit.LOCAL_STATE)),
    # What is stored for one server says nothing about another (D-23).
    ({"origin": ORIGIN}, ("acme", "active", 0)),
    ({"origin": "https://other.example"}, (None, None, Exit.NO_CREDENTIAL)),
    # Expectations.
    ({"expect": "acme"}, ("acme", "active", 0)),
    ({"expect": ACME["id"]}, ("acme", "active", 0)),
    ({"expect": "beta"}, (None, None, Exit.GUARD)),
    ({"environ": {"CMDOP_EXPECT_WORKSPACE": "beta"}}, (None, None, Exit.GUARD)),
    ({"environ": {"CMDOP_EXPECT_WORKSPACE": "beta"}, "expect": "acme"}, ("acme", "active", 0)),
    ({"environ": {"CMDOP_EXPECT_WORKSPACE": ""}}, (None, None, Exit.LOCAL_STATE)),
    ({"flag": "beta", "expect": "acme"}, (None, None, Exit.GUARD)),
    ({"flag": "elsewhere", "expect": ACME["id"]}, ("elsewhere", "flag", Exit.USAGE)),
    ({"key": "acme", "expect": "beta"}, ("acme", "key", Exit.USAGE)),
]


@pytest.mark.parametrize(
    ("asked", "expected"), ROWS, ids=[str(asked).replace(KEYS["acme"][:-1], "…")[:80] for asked, _ in ROWS]
)
def test_the_strongest_source_decides(asked: dict[str, Any], expected: tuple[str | None, str | None, int]) -> None:
    assert outcome(resolved(**asked)) == expected


FLAGS = (None, "acme", "beta", BETA["id"], BAD)
VARIABLES = (None, "acme", "beta", "", BAD)
GIVEN_KEYS = (None, "acme", "beta", "broken")
ACTIVE = (None, BETA)
DEFAULTS = (None, HOME, "off")
BINDINGS = ((), BOUND)


def told(
    flag: str | None, env: str | None, key: str | None, bound: bool, active: Any, default: Any
) -> tuple[str | None, str | None, int]:
    """Return what D-18 says, word by word: an oracle that shares no line with the resolver."""
    if env == "":
        return None, None, 78
    if key == "broken":
        return None, None, 4
    names = {"acme": "acme", "beta": "beta", BETA["id"]: BETA["id"] if key else "beta"}
    for word, source, bad in ((flag, "flag", 2), (env, "environment", 78)):
        if word is not None:
            if word == BAD:
                return None, None, bad
            return names[word], source, 2 if key is not None and word != key else 0
    if key is not None:
        return key, "key", 0
    if bound:
        return "gamma", "binding", 0
    if active is not None:
        return "beta", "active", 0
    return ("ann-personal", "account_default", 0) if default is HOME else (None, None, 2)


def test_every_combination() -> None:
    checked = 0
    for flag, env, key, bound, active, default in itertools.product(
        FLAGS, VARIABLES, GIVEN_KEYS, BINDINGS, ACTIVE, DEFAULTS
    ):
        document = state(active=active, default=HOME, none=default == "off", bindings=bound)
        if default is None:
            document = state(active=active, default=None, bindings=bound)
        found = outcome(resolved(flag=flag, env=env, key=key, document=document))
        assert found == told(flag, env, key, bool(bound), active, default), (flag, env, key, bound, active, default)
        checked += 1
    assert checked == 1200


def test_the_chain_names_every_source_and_what_became_of_it() -> None:
    found = resolved(env="beta", document=state(bindings=BOUND))
    assert [(step.name, step.value, step.outcome) for step in found.chain] == [
        ("--workspace", None, "not given"),
        ("CMDOP_WORKSPACE", "beta", "chosen"),
        ("key", None, "not given"),
        ("directory binding", "gamma", "hidden by CMDOP_WORKSPACE"),
        ("active workspace", "acme", "hidden by CMDOP_WORKSPACE"),
        ("account default", "ann-personal", "hidden by CMDOP_WORKSPACE"),
    ]
    assert found.why == "workspace beta (from CMDOP_WORKSPACE)"


def test_no_text_of_a_resolution_holds_the_key() -> None:
    broken = KEYS["acme"][:-1] + ("A" if KEYS["acme"][-1] != "A" else "B")
    for key in (KEYS["acme"], broken):
        found = resolved(key=key, flag="beta")
        assert key not in repr(found)
        assert key not in str(found.problem)


def test_an_explicit_key_is_never_helped_by_what_is_stored_for_somebody_else() -> None:
    found = resolved(key="beta", flag=BETA["id"])
    assert found.identity is None
    assert found.workspace is not None
    assert (found.workspace.id, found.workspace.slug) == (BETA["id"], None)
    assert found.must_verify


def test_the_error_without_a_workspace_lists_the_choices() -> None:
    problem = resolved(document=state(active=None, none=True)).problem
    assert problem is not None
    assert "acme, beta, ann-personal" in problem.message
    assert problem.hint == "cmdop workspace use acme"


slugs = st.sampled_from(["acme", "beta", "gamma", None])


@given(
    strong=st.sampled_from(["acme", "beta"]), env=slugs, active=st.sampled_from([ACME, BETA, None]), bound=st.booleans()
)
def test_weaker_sources_have_no_say(strong: str, env: str | None, active: Any, bound: bool) -> None:
    document = state(active=active, bindings=BOUND if bound else ())
    found = resolved(flag=strong, env=env, document=document)
    assert (found.workspace, found.source) == (resolved(flag=strong).workspace, Source.FLAG)


def test_an_empty_state_is_enough_for_a_key() -> None:
    found = resolve(Options(), {"CMDOP_API_KEY": KEYS["acme"]}, State(), directory=None)
    assert outcome(found) == ("acme", "key", 0)

"""The structs of the SDK against the OpenAPI document that the server serves: same fields, same optionality."""

from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import inspect

from cmdop_sdk import machine_models, models
from cmdop_sdk.auth import Secret
from tests.processes import Server

ANSWERS: dict[str, Any] = {
    "show_me": models.Identity,
    "list_my_workspaces": models.Page[models.Workspace],
    "list_my_sessions": models.Page[models.SignIn],
    "end_my_session": None,
    "list_my_tokens": models.Page[models.TokenFamily],
    "start_device": models.DeviceCode,
    "create_token": models.TokenGrant,
    "revoke_token": dict,
    "show_token": models.TokenInfo,
    "list_workspaces": models.Page[models.Workspace],
    "create_workspace": models.Workspace,
    "preview_slug": models.SlugPreview,
    "show_workspace": models.Workspace,
    "update_workspace": models.Workspace,
    "show_usage": models.Usage,
    "show_onboarding": models.Onboarding,
    "update_onboarding": models.Onboarding,
    "list_members": models.Page[models.Member],
    "set_role": models.Member,
    "remove_member": None,
    "list_keys": models.Page[models.Key],
    "create_key": models.CreatedKey,
    "show_key": models.Key,
    "revoke_key": models.Key,
    "list_events": models.Page[models.Event],
    "show_head": models.AuditHead,
    "show_version": models.Version,
    "register_machine": machine_models.RegisteredMachine,
    "list_join_tokens": models.Page[machine_models.JoinToken],
    "create_join_token": machine_models.CreatedJoinToken,
    "revoke_join_token": machine_models.JoinToken,
    "list_machines": models.Page[machine_models.Machine],
    "show_machine": machine_models.Machine,
    "update_machine": machine_models.Machine,
    "remove_machine": None,
    "move_machine": machine_models.Machine,
    "create_machine_ticket": machine_models.Ticket,
    "run_command": machine_models.CommandAnswer,
    "list_sessions": models.Page[machine_models.Session],
    "show_session": machine_models.Session,
    "terminate_session": machine_models.Session,
    "create_session_ticket": machine_models.Ticket,
}
STRUCTS = {
    each.__name__: each
    for module in (models, machine_models)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each is not msgspec.Struct
}
# What one side has and the other rightly has not, as struct.field.
ONLY_HERE = {"CreatedKey.replayed"}  # from a header
ONLY_THERE = {"TokenGrant.token_type"}  # always Bearer


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The OpenAPI document."""
    return dict(httpx.get(f"{server.url}/api/v1/openapi.json", timeout=60).raise_for_status().json())


def answers_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of each operation's success, ``None`` where there is no content."""
    found = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            success = next(answer for status, answer in operation["responses"].items() if str(status).startswith("2"))
            content = success.get("content") or {}
            found[operation["operationId"]] = content["application/json"]["schema"] if content else None
    return found


def test_every_operation_has_its_struct(document: dict[str, Any]) -> None:
    assert sorted(answers_of(document)) == sorted(ANSWERS)


@pytest.mark.parametrize("operation", ANSWERS)
def test_struct_and_schema_have_the_same_fields(document: dict[str, Any], operation: str) -> None:
    schema, kind = answers_of(document)[operation], ANSWERS[operation]
    if schema is None or kind in (None, dict):
        assert (schema is None) == (kind is None)
        return
    assert list(differences(document, schema, inspect.type_info(kind), operation)) == []


def differences(document: dict[str, Any], schema: dict[str, Any], kind: inspect.Type, path: str) -> Any:
    """Yield where ``kind`` would not take what ``schema`` promises."""
    schema, is_nullable = resolved(document, schema)
    if isinstance(kind, inspect.UnionType):
        inner = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        assert len(inner) == 1, path
        yield from differences(document, schema, inner[0], path)
        return
    if is_nullable and not isinstance(kind, inspect.AnyType):
        yield f"{path} may be null there"
    if isinstance(kind, inspect.StructType):
        yield from struct_differences(document, schema, kind, path)
    elif isinstance(kind, inspect.ListType):
        yield from differences(document, schema.get("items", {}), kind.item_type, f"{path}[]")
    elif isinstance(kind, inspect.FloatType) and json_type(schema) == "number":
        return
    elif spelled(kind) != "any" and spelled(kind) != json_type(schema):
        yield f"{path} is {json_type(schema)} there and {spelled(kind)} here"


def struct_differences(document: dict[str, Any], schema: dict[str, Any], kind: inspect.StructType, path: str) -> Any:
    """Yield the fields that differ."""
    name = kind.cls.__name__.partition("[")[0]
    there = schema.get("properties", {})
    here = {field.encode_name: field for field in kind.fields}
    yield from (
        f"{path}.{each} is only here" for each in here if each not in there and f"{name}.{each}" not in ONLY_HERE
    )
    yield from (
        f"{path}.{each} is only there" for each in there if each not in here and f"{name}.{each}" not in ONLY_THERE
    )
    for each, field in here.items():
        if each in there:
            if field.required and each not in schema.get("required", []):
                yield f"{path}.{each} may be absent there"
            allows_none = isinstance(field.type, inspect.UnionType) and field.type.includes_none
            inner, is_nullable = resolved(document, there[each])
            if is_nullable and not allows_none and not isinstance(field.type, inspect.AnyType):
                yield f"{path}.{each} may be null there"
            yield from differences(document, inner, field.type, f"{path}.{each}")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Follow references and ``anyOf`` with null; return the schema and whether null is allowed."""
    is_nullable = False
    while "$ref" in schema or "anyOf" in schema or "allOf" in schema:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            choices = schema.get("anyOf") or schema["allOf"]
            is_nullable = is_nullable or {"type": "null"} in choices
            (schema,) = (each for each in choices if each != {"type": "null"})
    return schema, is_nullable


def json_type(schema: dict[str, Any]) -> str:
    """Return the JSON type, with ``date-time`` told apart."""
    return "date-time" if schema.get("format") == "date-time" else str(schema.get("type", "any"))


def spelled(kind: inspect.Type) -> str:
    """Return the JSON type that ``kind`` decodes."""
    if isinstance(kind, inspect.CustomType):
        assert kind.cls is Secret
        return "string"
    names = {
        inspect.StrType: "string",
        inspect.IntType: "integer",
        inspect.FloatType: "integer",  # whole seconds are written as such, and decoded as a float
        inspect.BoolType: "boolean",
        inspect.DictType: "object",
        inspect.DateTimeType: "date-time",
        inspect.AnyType: "any",
    }
    return names[type(kind)]


@pytest.mark.parametrize("struct", STRUCTS.values(), ids=STRUCTS)
def test_structs_are_frozen_and_ignore_what_they_do_not_know(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen
    assert not struct.__struct_config__.forbid_unknown_fields


def test_moments_are_aware(server: Server) -> None:
    answer = msgspec.json.decode(b'"2026-03-29T01:30:00.5+05:45"', type=datetime)
    assert answer.utcoffset() is not None

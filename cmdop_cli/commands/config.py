"""``cmdop config``: the settings in config.toml, and a look at every local file."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmdop_cli import paths
from cmdop_cli.context import Ctx
from cmdop_cli.declare import verb
from cmdop_cli.failures import usage
from cmdop_cli.results import Column, Listing, Record
from cmdop_cli.settings import SETTINGS, Value, known
from cmdop_wire.vocab import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from cmdop_cli.context import Call

_SETTING = (Column("name", kind="id"), Column("value"))


@verb()
def list_settings(
    ctx: Ctx,
    show_origin: Annotated[bool, typer.Option("--show-origin", help="also show where each value comes from")] = False,
) -> Listing:
    """List every setting with its value.

    A variable beats the file, the file beats what is built in.

    cmdop config list
    cmdop config list --show-origin
    """
    values = [ctx.call.local.settings().value(name, ctx.call.environ) for name in SETTINGS]
    columns = (*_SETTING, Column("origin", "from"), Column("text", "meaning")) if show_origin else _SETTING
    return Listing("setting", [_fields(value) for value in values], columns, identifier="name")


@verb()
def get(ctx: Ctx, setting: Annotated[str, typer.Argument(help="name of the setting")]) -> Record:
    """Show one setting.

    cmdop config get output
    cmdop config get timeout --json
    """
    fields = _fields(ctx.call.local.settings().value(setting, ctx.call.environ))
    columns = (*_SETTING, Column("origin", "from"))
    return Record("setting", fields, columns, identifier="value", piped=_SETTING[1:])


@verb(mutates=True)
def set_setting(
    ctx: Ctx,
    setting: Annotated[str, typer.Argument(help="name of the setting")],
    value: Annotated[str | None, typer.Argument(help="its new value")] = None,
    unset: Annotated[bool, typer.Option("--unset", help="go back to the built-in value")] = False,
) -> Record:
    """Change one setting.

    Only this key of config.toml is touched; comments and the order of lines stay.

    cmdop config set output json
    cmdop config set output --unset
    """
    call = ctx.call
    declared = known(setting)
    if (value is None) is not unset:
        raise usage("give a value, or --unset", hint=f"cmdop config set {setting} VALUE")
    settings = call.local.settings()
    if call.is_dry_run:
        fields = {"name": setting, "value": declared.read(value, setting), "origin": paths.CONFIG}
        return Record("setting", fields, _SETTING, identifier="value", planned=True, piped=_SETTING[1:])
    call.local.check_schema()
    changed = settings.set(setting, value)
    call.change_state(lambda draft: draft.saw_settings(settings.stamp(), settings.document.get("output")))
    call.note(f"{setting} is {'back to what is built in' if unset else 'set'}")
    in_force = settings.value(setting, call.environ)
    if in_force.value != changed.value:
        call.warn(f"{in_force.origin} hides it: {setting} is still {in_force.value}")
    return Record("setting", _fields(changed), _SETTING, identifier="value", piped=_SETTING[1:])


@verb(lenient=True)
def path(ctx: Ctx) -> Record:
    """Show where the local files are.

    In a pipe, only the path of config.toml.

    cmdop config path
    $EDITOR "$(cmdop config path)"
    """
    root = ctx.call.local.root
    fields = {
        "directory": str(root),
        "config": str(root / paths.CONFIG),
        "profiles": str(root / paths.PROFILES),
        "state": str(root / paths.STATE),
    }
    columns = [Column(name, kind="id") for name in fields]
    return Record("path", fields, columns, identifier="config", piped=[Column("config")])


@verb(lenient=True)
def validate(ctx: Ctx) -> Listing:
    """Check every local file.

    Each is read as commands read it; a wrong one is named with the reason, and the exit status is 78.

    cmdop config validate
    cmdop config validate --json
    """
    call = ctx.call
    local = call.local
    rows = [
        _checked(paths.CONFIG, lambda: local.settings().document),
        _checked(paths.PROFILES, lambda: _all_servers(call)),
        _checked(paths.STATE, local.state),
        *_token_rows(call),
    ]
    piped = [Column("file", kind="id"), Column("is_valid", "valid"), Column("reason")]
    is_bad = any(not row["is_valid"] for row in rows)
    columns = [piped[1], piped[0], *piped[2:] * is_bad]  # paths are long, and reasons name them again
    status = Exit.LOCAL_STATE if is_bad else Exit.DONE
    return Listing("file", rows, columns, identifier="file", exit_code=status, piped=piped)


def _fields(value: Value) -> dict[str, Any]:
    return {"name": value.name, "value": value.value, "origin": value.origin, "text": SETTINGS[value.name].text}


def _checked(file: str, read: "Callable[[], object]") -> dict[str, Any]:
    from cmdop_cli.failures import Failure
    from cmdop_sdk.errors import CMDOPError

    try:
        read()
    except (Failure, CMDOPError) as wrong:
        return {"file": file, "is_valid": False, "reason": wrong.message}
    return {"file": file, "is_valid": True, "reason": None}


def _all_servers(call: "Call") -> None:
    profiles = call.local.profiles()
    for name in profiles.names():
        for mode in ("prod", "dev"):
            profiles.server(name, mode)


def _token_rows(call: "Call") -> list[dict[str, Any]]:
    from cmdop_sdk.token_files import StoredToken

    rows = []
    for token in call.store.tokens():
        if isinstance(token, StoredToken):
            file = str(token.path.relative_to(call.local.root))
            rows.append({"file": file, "is_valid": True, "reason": None})
        else:
            rows.append({"file": token.path, "is_valid": False, "reason": token.message})
    return rows

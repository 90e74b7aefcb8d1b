"""The commands that shell prompts run at every line, answered from state.json alone, and help of the program and its
nouns, from the catalog: before Typer is imported.

Only the plain case is answered here, from the bare document: a state file as we wrote it, no key, no binding for this
directory, a workspace that is found. Anything else returns ``None`` and the full command decides. A test compares
both byte for byte; the rules themselves are ``resolver.py``'s. Imports as little as possible, on purpose.
"""

import json
import os
import stat
import sys

from cmdop_cli import environment, paths, state_shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SIZE_LIMIT = 1 << 20  # bytes, as in cmdop_sdk.files
_ELSEWHERE = (  # they need more than state.json to be understood
    environment.API_KEY,
    environment.EXPECT_WORKSPACE,
    environment.OUTPUT,
    environment.SERVER_URL,
)


def run(arguments: list[str], environ: "Mapping[str, str]") -> int | None:
    """Answer the line and return its exit status, or ``None`` when it needs the full command."""
    if sys.stdout is None:
        return None
    if arguments == ["--version"] and environment.OUTPUT not in environ:
        from cmdop_cli.version import version

        return _print(f"cmdop {version()}\n")
    if not arguments or arguments[0] == "help" or arguments[-1] in ("--help", "-h"):
        from cmdop_cli import help_pages

        page = help_pages.page_of(arguments)
        return None if page is None else _print(f"{page}\n")
    if any(name in environ for name in _ELSEWHERE) or arguments == ["--version"]:
        return None
    directory = paths.plain_config_dir(environ)
    content = None if directory is None else _pristine(directory, paths.STATE)
    if directory is None or content is None:
        return None
    try:
        document = json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
        state_shape.check(document)
        found = _chosen(document, environ, os.getcwd())  # noqa: PTH109 - pathlib alone costs a third of the budget
    except (ValueError, RecursionError, OSError):
        return None
    noted = document.get("config") or {"stamp": "-"}
    if found is None or noted["stamp"] != paths.stamp_of(f"{directory}/{paths.CONFIG}"):
        return None
    if arguments == ["prompt"] and noted.get("output") in (None, "table", "tsv"):
        mode = "" if found["mode"] == state_shape.DEFAULT_MODE else f" {found['mode']}"
        return _print(f"{found['label']}{mode}\n")
    text = _shown(found, "json" if "--json" in arguments else noted.get("output")) if arguments != ["prompt"] else None
    return None if text is None else _print(text)


def _chosen(document: "dict[str, Any]", environ: "Mapping[str, str]", here: str) -> "dict[str, Any] | None":
    """Return what ``workspace current --json`` says, or ``None`` where the choice is not plain."""
    profile = environ.get(environment.PROFILE, document.get("profile") or state_shape.DEFAULT_PROFILE)
    mode = environ.get(environment.MODE, document.get("mode") or state_shape.DEFAULT_MODE)
    tables = {name: document.get(name, {}).get(profile) for name in state_shape.CHOICE_FIELDS}
    if document.get("schema") != state_shape.SCHEMA or mode not in state_shape.MODES or not any(tables.values()):
        return None
    if any(here.startswith(each.get("path") or "/") for each in document.get("bindings", [])):
        return None
    choice = {name: (table or {}).get(mode) for name, table in tables.items()}
    identity = document.get("identities", {}).get(choice["signed_in"], {})
    if environment.WORKSPACE in environ:
        place = _named(environ[environment.WORKSPACE], identity)
        source, detail = "environment", environment.WORKSPACE
    elif choice["active"] is not None:
        place, source, detail = choice["active"], "active", state_shape.active_detail(profile, mode)
    elif choice["none"] is not True:
        email = identity.get("account", {}).get("email") or ""
        place, source, detail = identity.get("default"), "account_default", state_shape.default_detail(email)
    else:
        return None
    if place is None or not (detail.isascii() and detail.isprintable()):
        return None
    return {
        "schema": "cmdop.resolution.v1",
        "workspace": {"id": place.get("id"), "slug": place.get("slug")},
        "label": place.get("slug") or place.get("id"),
        "source": source,
        "detail": detail,
        "profile": profile,
        "mode": mode,
        "checked": False,
    }


def _named(ref: str, identity: "dict[str, Any]") -> "dict[str, Any] | None":
    for each in (identity.get("memberships") or {}).get("items", []):
        if ref in (each.get("id"), each.get("slug")):
            return {"id": each.get("id"), "slug": each.get("slug")}
    if state_shape.is_workspace_id(ref):
        return {"id": ref, "slug": None}
    return {"id": None, "slug": ref} if state_shape.is_slug(ref) else None


def _shown(found: "dict[str, Any]", form: str | None) -> str | None:
    """Return the answer in ``form``, as ``output.py`` would print it."""
    form = form or ("table" if sys.stdout.isatty() else "tsv")
    if form == "json":
        return json.dumps(found, indent=2) + "\n"
    if form == "table":
        return f"workspace  {found['label']}\nfrom       {found['detail']}\n"
    return f"{found['label']}\n" if form in ("tsv", "quiet") else None


def _print(text: str) -> int | None:
    """Write ``text``; whoever does not read it is the outermost frame's business."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        return None
    return 0


def _pristine(directory: str, name: str) -> bytes | None:
    """Return the content of a file that is exactly as we leave them: ours, plain, private, no link; else ``None``."""
    try:
        folder = os.lstat(directory)
        opened = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(opened)
        for each, is_kind in ((folder, stat.S_ISDIR), (found, stat.S_ISREG)):
            if not is_kind(each.st_mode) or each.st_uid != os.geteuid() or each.st_mode & 0o077:
                return None
        content = os.read(opened, _SIZE_LIMIT)
        return content if len(content) == found.st_size else None
    except OSError:
        return None
    finally:
        os.close(opened)


def _unique(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")

"""From bytes, statuses and httpx's errors to values and exceptions: the one translation."""

from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from cmdop_sdk.auth import Secret
from cmdop_sdk.errors import CMDOPError, LocalCode, TimedOut, UnexpectedAnswer, Unreachable, UntrustedServer, error_from
from cmdop_sdk.network import retry_after, unreachable
from cmdop_sdk.transport.lean import httpx

T = TypeVar("T")


class Reply(NamedTuple, Generic[T]):
    """A decoded answer. ``is_replay`` tells that an earlier try had already done it (``Idempotent-Replayed``)."""

    value: T
    is_replay: bool
    request_id: str | None


def refused(response: httpx.Response) -> CMDOPError:
    """Return the exception for an answer that is no success."""
    return error_from(
        response.status_code,
        _loose_json(response),
        response.headers.get("X-Request-Id"),
        retry_after=retry_after(response.headers.get("Retry-After")),
    )


def decoded(response: httpx.Response, answer: type[T]) -> Reply[T]:
    """Return a success decoded as ``answer`` (``NoneType`` accepts all), or raise ``UnexpectedAnswer``."""
    request_id = response.headers.get("X-Request-Id")
    is_replay = response.headers.get("Idempotent-Replayed", "").lower() == "true"
    if answer is type(None):
        return Reply(msgspec.convert(None, answer), is_replay, request_id)
    try:
        value = msgspec.json.decode(response.content, type=answer, dec_hook=_secret)
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
        raise UnexpectedAnswer(
            f"{response.request.url.host} does not answer as a cmdop server does ({response.status_code}, {kind})",
            hint=f"curl -sS {_origin_of(response)}/.well-known/cmdop",
            http_status=response.status_code,
            request_id=request_id,
        ) from wrong
    return Reply(value, is_replay, request_id)


def _secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"no {kind.__name__}")


def _loose_json(response: httpx.Response) -> object:
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def translated(failure: httpx.HTTPError, origin: str) -> CMDOPError:
    """Return what happened on the way to ``origin`` in our words; the caller keeps ``failure`` as the cause."""
    if isinstance(failure, httpx.TimeoutException):
        verb = "connect to" if isinstance(failure, httpx.ConnectTimeout) else "hear from"
        return TimedOut(f"could not {verb} {origin} in time", hint=f"curl -sS {origin}/health/live")
    if isinstance(failure, httpx.DecodingError):
        return UnexpectedAnswer(f"{origin}: {failure}")
    what = unreachable(failure, origin)
    if isinstance(failure, httpx.ProxyError) and not isinstance(what, UntrustedServer):
        return Unreachable(f"the proxy in the environment does not lead to {origin}", hint="env | grep -i _proxy")
    return what


def redirected(origin: str, response: httpx.Response) -> UnexpectedAnswer:
    """Return the refusal to follow a redirect, naming both servers; the header is a stranger's text."""
    try:
        target = urlsplit(urljoin(origin, response.headers.get("Location", "")))
        there = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
    except ValueError:
        there = "nowhere"
    if not there.isascii() or not there.isprintable() or len(there) > 300:
        there = "an unprintable address"
    is_server = there.startswith(("http://", "https://")) and there != origin
    return UnexpectedAnswer(
        f"{origin} redirects to {there}, which is never followed: a credential stays with its server",
        code=LocalCode.REDIRECTED,
        hint=f"cmdop login --server {there}" if is_server else "",
        http_status=response.status_code,
        request_id=response.headers.get("X-Request-Id"),
    )


def _origin_of(response: httpx.Response) -> str:
    return f"{response.request.url.scheme}://{response.request.url.netloc.decode('ascii')}"

"""Device grant, token pairs, revocation (RFC 8628, RFC 6749, RFC 7009): public, the code or token is the proof."""

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router

from cmdop_server import rates
from cmdop_server.access.errors import GrantRefused, Invalid
from cmdop_server.address import client_address
from cmdop_server.api.auth import ApiRequest
from cmdop_server.api.operations import operation
from cmdop_server.api.schemas.identity import (
    DeviceAnswer,
    DeviceRequest,
    RevokeAnswer,
    RevokeRequest,
    TokenAnswer,
    TokenInfo,
    TokenRequest,
    shown_pair,
    shown_token_info,
)
from cmdop_server.credentials import sign_ins
from cmdop_server.requests import request_id
from cmdop_wire.vocab import (
    GRANT_DEVICE_CODE,
    GRANT_REFRESH,
    GRANT_SIGN_IN_TOKEN,
    AccountAction,
    ErrorCode,
)

router = Router(tags=["auth"])


@operation(router, "POST", "/auth/device", action=AccountAction.PUBLIC, answers=DeviceAnswer)
def start_device(request: HttpRequest, body: DeviceRequest) -> DeviceAnswer:
    """Start a device grant: show the user code to a person and poll ``/auth/token`` with the device code."""
    rates.check("sign_in", client_address(request))
    started = sign_ins.start_device(body.client, body.workspace, address=client_address(request))
    uri = f"{settings.CMDOP_PUBLIC_URL}/device"
    return DeviceAnswer(
        device_code=started.device_code,
        user_code=started.user_code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}?{urlencode({'user_code': started.user_code})}",
        expires_in=int(sign_ins.DEVICE_LIFE.total_seconds()),
        interval=started.interval,
    )


@operation(router, "POST", "/auth/token", action=AccountAction.PUBLIC, answers=TokenAnswer, refusals=(403, 404))
def create_token(request: HttpRequest, body: TokenRequest) -> TokenAnswer:
    """Turn an approved device code, a refresh token or a one-time sign-in token into a token pair.

    A refresh with ``workspace`` enters another workspace under the same sign-in, if it was approved for all.
    """
    rates.check("sign_in", client_address(request))
    return shown_pair(_granted(request, body), timezone.now())


@operation(router, "POST", "/auth/revoke", action=AccountAction.PUBLIC, answers=RevokeAnswer)
def revoke_token(request: HttpRequest, body: RevokeRequest) -> RevokeAnswer:
    """End a token's family, or its whole sign-in; a token that is unknown is as good as ended."""
    rates.check("sign_in", client_address(request))
    sign_ins.revoke_token(
        body.token, all_of_it=body.all, address=client_address(request), request_id=request_id(request)
    )
    return RevokeAnswer(revoked=True)


@operation(router, "GET", "/auth/token/info", action=AccountAction.ACCOUNT_VIEW, answers=TokenInfo)
def show_token(request: ApiRequest) -> TokenInfo:
    """Show what the presented credential is and when it ends."""
    return shown_token_info(request.auth)


def _granted(request: HttpRequest, body: TokenRequest) -> sign_ins.Pair:
    caller = {"address": client_address(request), "request_id": request_id(request)}
    if body.grant_type == GRANT_DEVICE_CODE:
        return sign_ins.redeem_device(_needed(body.device_code, "device_code"), body.client, **caller)
    if body.grant_type == GRANT_REFRESH:
        token = _needed(body.refresh_token, "refresh_token")
        return (
            sign_ins.exchange(token, body.workspace, **caller) if body.workspace else sign_ins.refresh(token, **caller)
        )
    if body.grant_type == GRANT_SIGN_IN_TOKEN:
        token, client = _needed(body.token, "token"), body.client or "cmdop"
        return sign_ins.redeem_sign_in_token(token, body.workspace or None, client, **caller)
    raise GrantRefused(ErrorCode.UNSUPPORTED_GRANT_TYPE, "unknown grant type")


def _needed(text: str | None, field: str) -> str:
    if not text:
        raise Invalid(f"this grant needs {field}", field=field)
    return text

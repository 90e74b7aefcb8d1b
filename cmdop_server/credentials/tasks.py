"""Which credentials are past their time, for the purge. Keys stay: their list shows what became of them."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from cmdop_server.credentials.devices import DEVICE_LIFE, WRONG_CODE_WINDOW
from cmdop_server.credentials.models import DeviceGrant, SignIn, SignInToken, Token, TokenFamily, WrongUserCode

KEPT = timedelta(days=1)  # so that logging out with a token that has just expired still ends its family


def past(now: datetime) -> dict[str, QuerySet[Any]]:
    """Return the rows that nothing asks for any more, in the order in which they must go.

    A replaced refresh token is asked for as long as its family lives: its reuse is what gives a thief away (D-16).
    """
    before = now - KEPT
    dead_sign_ins = SignIn.objects.filter(Q(ended_at__lt=before) | Q(expires_at__lt=before))
    dead_families = TokenFamily.objects.filter(Q(revoked_at__lt=before) | Q(sign_in__in=dead_sign_ins))
    return {
        "tokens": Token.objects.filter(Q(kind="access", expires_at__lt=before) | Q(family__in=dead_families)),
        "token_families": dead_families,  # each without tokens by now, so a batch of them is as small as it looks
        "sign_ins": dead_sign_ins,
        "one_time_tokens": SignInToken.objects.filter(expires_at__lt=before),
        "device_grants": DeviceGrant.objects.filter(expires_at__lt=now - DEVICE_LIFE),  # «expired» has been said
        "wrong_codes": WrongUserCode.objects.filter(at__lt=now - WRONG_CODE_WINDOW),
    }

"""A change that was let in and waited for its turn does not happen once its credential's revocation is acknowledged.

Whoever asks is proved at the start of a request, and the workspace's lock may come much later (D-14). The log is the
judge: after the event of the revocation nothing was done with that credential.
"""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.world import Api, World

AT_ONCE = 12  # so many that some always wait for the others


def _register(api: Api, slug: str) -> httpx.Response:
    return api.post("/agent/register", json={"hostname": f"h-{secrets.token_hex(6)}"})


def _enroll(api: Api, slug: str) -> httpx.Response:
    return api.post(f"/workspaces/{slug}/join-tokens", json={})


def _make_key(api: Api, slug: str) -> httpx.Response:
    return api.post(f"/workspaces/{slug}/keys", json={"kind": "workspace", "name": secrets.token_hex(6)})


def _events(world: World) -> list[dict[str, Any]]:
    api, found, cursor = world.as_("owner"), [], None
    while True:
        query = {"limit": 200, "order": "asc"} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"/workspaces/{world.acme.slug}/events", params=query).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize("act", [_register, _enroll, _make_key])
def test_nothing_is_changed_with_what_was_revoked(world: World, act: Callable[[Api, str], httpx.Response]) -> None:
    slug, owner = world.acme.slug, world.as_("owner")
    if act is _make_key:  # which no key may do
        sign_in = world.sign_in("owner")
        text, ended = sign_in["access_token"], f"/me/sessions/{sign_in['sign_in_id']}"
        who, event, revoker = sign_in["family_id"], "sign_in.ended", world.api(text)
    else:
        key = world.key("owner", "machines:write")
        text, ended = key["text"], f"/workspaces/{slug}/keys/{key['id']}"
        who, event, revoker = key["id"], "key.revoked", owner
    begun = threading.Semaphore(0)

    def ask_on() -> None:
        with Api(world.server.url, text) as api:
            while act(api, slug).status_code != 401:
                begun.release()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            pool.submit(ask_on)
        for _ in range(AT_ONCE):
            begun.acquire()
        assert revoker.delete(ended).status_code in (200, 204)
    events = _events(world)
    at = next(place for place, each in enumerate(events) if each["action"] == event)
    assert any(each["credential_id"] == who for each in events[:at])
    assert [each["action"] for each in events[at + 1 :] if each["credential_id"] == who] == []

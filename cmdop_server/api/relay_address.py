"""Where the relay is reached: on the server's own address, unless the settings name another."""

from urllib.parse import urlsplit, urlunsplit

from django.conf import settings


def relay_url(path: str) -> str:
    """Return the ``ws://`` or ``wss://`` address of one of the relay's two paths."""
    base = urlsplit(settings.CMDOP_RELAY_URL)
    return urlunsplit(("wss" if base.scheme in ("https", "wss") else "ws", base.netloc, path, "", ""))

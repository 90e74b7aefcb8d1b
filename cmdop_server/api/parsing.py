"""What counts as JSON here: UTF-8, no NaN, no infinity, nothing nested beyond the parser."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser


class StrictParser(Parser):
    """Ninja's parser without Python's extensions of JSON; whatever it raises becomes ``malformed``."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Return the body's value."""
        parsed: dict[str, Any] = json.loads(request.body.decode("utf-8"), parse_constant=_no_such_number)
        return parsed


def _no_such_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")

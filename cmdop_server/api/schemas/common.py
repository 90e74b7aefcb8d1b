"""What every noun's shapes are made of: strict bodies, times, pages, the error envelope, references."""

from datetime import datetime
from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from cmdop_server.audit.chain import timestamp
from cmdop_wire.ids import SLUG, SLUG_LENGTH
from cmdop_wire.vocab import ErrorCode

LONGEST_SECRET = 200  # a token or key with a slug of 63 characters is shorter
LONGEST_TEXT = 2000


def _on_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


# The database never sees a NUL or a surrogate from a query string.
QueryText = Annotated[
    str, Field(max_length=320, json_schema_extra={"pattern": "^[ -~]*$"}), AfterValidator(_on_one_line)
]
# What the services accept is decided there; ``json_schema_extra`` only tells readers of the document about it.
SlugText = Annotated[
    str, Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": f"^{SLUG.pattern}$", "maxLength": SLUG_LENGTH})
]
BodyText = Annotated[str, Field(max_length=LONGEST_TEXT)]
SecretText = Annotated[str, Field(max_length=LONGEST_SECRET)]
# UTC with six decimals, exactly as the audit chain hashes it.
Time = Annotated[
    datetime,
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class Answer(BaseModel):
    """What an operation answers with, or a part of it.

    No ``ninja.Schema``: that one is made to be filled from rows, and looks at every answer twice more than needed.
    """


class Body(Schema):
    """A request body: a field that is not declared is refused, so nothing can be mass-assigned."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Schema):
    """Which page of a list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=LONGEST_TEXT)


class ErrorBody(Answer):
    """What went wrong: a code to act on, a sentence, a hint that is a command, and details that depend on the code."""

    code: ErrorCode
    message: str
    hint: str
    details: dict[str, Any]
    request_id: str


class ErrorEnvelope(Answer):
    """The one shape of every answer that is no success."""

    error: ErrorBody


class WorkspaceRef(Answer):
    """A workspace named in passing."""

    id: str
    slug: str
    name: str


class PersonRef(Answer):
    """An account named in passing."""

    id: str
    email: str


class Quota(Answer):
    """How much of a limit is used; no limit is null."""

    used: int
    limit: int | None

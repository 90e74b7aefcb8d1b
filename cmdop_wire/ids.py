"""Public ids, slugs and the text of secrets: make, parse, mask.

Identity is the id; a slug is a label that people type (D-1). Test vectors for other implementations:
``docs/reference/vectors.json``.
"""

import re
import zlib
from dataclasses import dataclass

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 20  # 100 random bits
ID_PREFIXES = {
    "workspace": "ws",
    "account": "usr",
    "machine": "mch",
    "session": "ses",
    "key": "key",
    "invitation": "inv",
    "event": "evt",
    "webhook": "whk",
    "sign_in": "sig",
    "family": "fam",
    "join_token": "jtk",
}
SLUG_LENGTH = 63
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
RESERVED_SLUGS = frozenset(
    """
    about accept account accounts admin api app assets audit auth billing cabinet cmdop config dashboard decline
    details device devices docs email events export favicon graphql health help internal invitation invitations
    invite invites key keys localhost login logout machine machines mail me member members metrics new oauth oidc
    password policy profile ready register relay restore root saml scim security server session sessions settings
    shell signin signout signup slack slug-preview sso static status stream support system tenant token tokens usage
    user users version webhook webhooks well-known workspace workspaces ws www
    """.split()
)

SECRET_LENGTH = 30  # base62 characters: log2(62**30) ≥ 178 random bits (D-11)
CHECKSUM_LENGTH = 6
KEY_PREFIX = "cmd"
TOKEN_PREFIXES = {
    "access": "cmdat",
    "refresh": "cmdrt",
    "device": "cmddc",
    "sign_in": "cmdst",
    "machine": "cmdmc",
    "join": "cmdjt",
    "ticket": "cmdtk",
}
_TAIL = re.compile(rf"[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")

USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, no look-alikes; 20**8 ≥ 34.5 bits
USER_CODE_LENGTH = 8

# NFKD does not take these apart; everything else loses its combining marks. Capitals are folded first.
_TRANSLITERATED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ı": "i"}
)


def _random(alphabet: str, length: int) -> str:
    import secrets  # noqa: PLC0415 - a dozen modules that reading and masking, on every call's way, never need

    return "".join(secrets.choice(alphabet) for _ in range(length))


def make_id(kind: str) -> str:
    """Return a new public id of ``kind`` (a key of ``ID_PREFIXES``), such as ``ws_3k9…`` with 100 random bits."""
    return f"{ID_PREFIXES[kind]}_{_random(ID_ALPHABET, ID_LENGTH)}"


def is_id(text: str, kind: str) -> bool:
    """Tell whether ``text`` has the shape of a public id of ``kind``; says nothing of its existence."""
    prefix, separator, tail = text.partition("_")
    return (
        bool(separator)
        and prefix == ID_PREFIXES[kind]
        and len(tail) == ID_LENGTH
        and all(character in ID_ALPHABET for character in tail)
    )


def is_slug(text: str) -> bool:
    """Tell whether ``text`` follows the slug grammar (D-2); reserved words do, and are refused elsewhere."""
    return SLUG.fullmatch(text) is not None


def check_slug(text: str) -> str:
    """Return ``text`` when a workspace may be called so; ``ValueError`` says which rule it breaks (D-2)."""
    if not is_slug(text):
        raise ValueError(
            "a slug is 1 to 63 lower-case letters, digits and dashes, and neither begins nor ends with a dash"
        )
    if text in RESERVED_SLUGS:
        raise ValueError(f"{text} is a reserved word")
    return text


def derive_slug(name: str) -> str:
    """Return the slug that ``name`` suggests, or ``""`` when nothing of it can be kept (D-2).

    Lower-cased, accents transliterated, every other run one dash, trimmed to 63 characters: ``A & B`` → ``a-b``.
    """
    import unicodedata  # noqa: PLC0415 - a large module that most commands never need

    # Taken apart before folding (``ℌ`` is a capital only then) and after it (folding can compose).  # noqa: RUF003
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold()).translate(_TRANSLITERATED)
    kept = "".join(character for character in folded if not unicodedata.combining(character))
    return re.sub(r"[^a-z0-9]+", "-", kept).strip("-")[:SLUG_LENGTH].rstrip("-")


def suffixed_slug(slug: str, number: int) -> str:
    """Return ``slug-number``, shortened so that it still is a slug; used to suggest a free one."""
    tail = f"-{number}"
    return slug[: SLUG_LENGTH - len(tail)].rstrip("-") + tail


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def checksum(text: str) -> str:
    """Return the six base62 digits of the CRC-32 (IEEE) of ``text`` in ASCII, zero-padded."""
    return _base62(zlib.crc32(text.encode("ascii")), CHECKSUM_LENGTH)


def _sealed(head: str) -> str:
    body = head + _random(BASE62, SECRET_LENGTH)
    return body + checksum(body)


@dataclass(frozen=True, slots=True)
class KeyText:
    """The parts of a key's text; ``slug`` is a hint for people and scanners, never authority (D-1)."""

    text: str
    slug: str

    @property
    def prefix(self) -> str:
        """Return what may be shown of the key: ``cmd_<slug>_`` and four random characters (D-13)."""
        return f"{KEY_PREFIX}_{self.slug}_{self.text[-SECRET_LENGTH - CHECKSUM_LENGTH :][:4]}"

    def __repr__(self) -> str:
        return f"KeyText({self.prefix}…)"


def make_key(slug: str) -> KeyText:
    """Return a new key for the workspace that is called ``slug`` now (D-11)."""
    return KeyText(_sealed(f"{KEY_PREFIX}_{check_shape(slug)}_"), slug)


def check_shape(slug: str) -> str:
    """Return ``slug`` if it follows the grammar, else raise ``ValueError``."""
    if not is_slug(slug):
        raise ValueError("not a slug")
    return slug


def parse_key(text: str) -> KeyText:
    """Return the parts of a key, parsed from the right; ``ValueError`` (without the text) if it is none (D-11)."""
    head, separator, tail = text.rpartition("_")
    prefix, first, slug = head.partition("_")
    if not (separator and first and prefix == KEY_PREFIX and is_slug(slug) and _TAIL.fullmatch(tail)):
        raise ValueError("this is not the text of a cmdop key")
    if checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise ValueError("the key's checksum is wrong: a character is missing or mistyped")
    return KeyText(text, slug)


def make_token(kind: str) -> str:
    """Return a new secret of ``kind`` (a key of ``TOKEN_PREFIXES``), sealed like a key but without a slug."""
    return _sealed(f"{TOKEN_PREFIXES[kind]}_")


def token_from(kind: str, digest: bytes) -> str:
    """Return the token of ``kind`` whose random part is read from ``digest``, which must hold ≥ 32 random bytes.

    The same digest always gives the same token: a replayed refresh finds the successor that was handed out (D-16).
    """
    body = f"{TOKEN_PREFIXES[kind]}_{_base62(int.from_bytes(digest, 'big'), SECRET_LENGTH)}"
    return body + checksum(body)


def token_kind(text: str) -> str | None:
    """Return which kind of token ``text`` is, or ``None`` when its prefix or checksum is not ours."""
    head, _, tail = text.partition("_")
    kind = next((kind for kind, prefix in TOKEN_PREFIXES.items() if prefix == head), None)
    if kind is None or not _TAIL.fullmatch(tail) or checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return kind


_SECRET = re.compile(r"(cmd_[a-z0-9-]{1,63}_|cmd(?:at|rt|dc|st|mc|jt|tk)_)([0-9A-Za-z]{4})[0-9A-Za-z]{8,}")


def mask(text: str) -> str:
    """Return ``text`` with every secret in it cut to its visible prefix and an ellipsis."""
    return _SECRET.sub(r"\1\2…", text)


def make_user_code() -> str:
    """Return a code that a person types, such as ``BCDF-GHJK`` (RFC 8628 §6.1)."""
    code = _random(USER_CODE_ALPHABET, USER_CODE_LENGTH)
    return f"{code[:4]}-{code[4:]}"


def fold_user_code(text: str) -> str:
    """Return what a person typed in the canonical form ``BCDF-GHJK``; case, spaces and dashes do not count."""
    kept = "".join(character for character in text.upper() if character.isalnum())
    return f"{kept[:4]}-{kept[4:]}"

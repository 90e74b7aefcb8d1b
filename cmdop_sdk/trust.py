"""Which server certificate is believed: the system's authorities, one more of the user's, or a single pinned one."""

import hashlib
import hmac
import re
import ssl
from pathlib import Path

from cmdop_sdk.errors import InvalidRequest, LocalStateError

PIN = re.compile(r"sha256:[0-9a-f]{64}")


def check_pin(pin: str) -> str:
    """Return ``pin`` in its canonical form ``sha256:<64 hex digits>``; colons between digit pairs are accepted."""
    algorithm, _, digits = pin.strip().lower().partition(":")
    folded = f"{algorithm}:{digits.replace(':', '')}"
    if not PIN.fullmatch(folded):
        raise InvalidRequest(
            "a CA pin is sha256: and 64 hexadecimal digits, as the server prints it at its start",
            hint="cmdop login --server URL --ca-pin sha256:…",
        )
    return folded


def pin_of(certificate: bytes) -> str:
    """Return the pin of a certificate in DER."""
    return f"sha256:{hashlib.sha256(certificate).hexdigest()}"


def ssl_context(*, ca_file: Path | None = None, ca_pin: str | None = None) -> ssl.SSLContext:
    """Return the client's side of TLS, 1.2 or newer.

    With ``ca_pin`` exactly that server certificate is believed, whoever signed it and whatever name it bears: it is
    compared at the end of the handshake, before a byte of the request leaves. ``ca_file`` is believed beside the
    system's authorities.
    """
    if ca_pin is not None:
        return _pinned(check_pin(ca_pin))
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        # Some Python builds find no system store.
        import certifi

        context.load_verify_locations(certifi.where())
    if ca_file is not None:
        if not ca_file.is_absolute():
            # A relative one would let the working directory decide who is believed (D-23).
            raise InvalidRequest(
                f"the CA file {ca_file} is no absolute path", hint="export CMDOP_CA_FILE=/path/to/authority.pem"
            )
        try:
            context.load_verify_locations(ca_file)
        except OSError as failure:  # ssl.SSLError is one
            reason = (
                "it holds no certificate" if isinstance(failure, ssl.SSLError) else (failure.strerror or "").lower()
            )
            raise LocalStateError(f"cannot use the CA file {ca_file}: {reason}", path=ca_file) from failure
    return context


def _pinned(pin: str) -> ssl.SSLContext:
    class PinnedObject(ssl.SSLObject):
        """Ends the handshake with an error unless the peer showed the pinned certificate."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown = pin_of(self.getpeercert(binary_form=True) or b"")
            if not hmac.compare_digest(shown, pin):
                raise ssl.SSLCertVerificationError(f"the server's certificate is {shown}, not the pinned {pin}")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the pin says more than a chain could; see PinnedObject
    context.sslobject_class = PinnedObject
    return context

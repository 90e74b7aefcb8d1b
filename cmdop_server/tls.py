"""TLS material: check what the operator gives, or keep a self-signed pair in the data directory.

The pin that ``cmdop login --ca-pin`` takes is ``sha256:`` and the hexadecimal SHA-256 of the certificate in DER:
the whole certificate, so that a client needs no ASN.1 to compare it.
"""

import datetime
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cmdop_server.config import Config
from cmdop_server.data_dir import make_private_dir, read_private, write_private
from cmdop_server.refusal import Refusal

# A pinned certificate is trusted because somebody compared it once: renewing it often would only train people to
# accept new pins. Whoever wants short lives uses --tls-cert.
LIFE = datetime.timedelta(days=3650)
RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files that the server loads, and the pin when the certificate is our own."""

    certificate: Path
    key: Path
    pin: str | None


def pin_of(certificate: bytes) -> str:
    """Return the pin of a certificate in DER."""
    return f"sha256:{hashlib.sha256(certificate).hexdigest()}"


def prepare(config: Config, names: list[str]) -> Tls | None:
    """Return what to serve TLS with, ``None`` for plain http; make the self-signed pair if it is wanted."""
    if config.tls_cert is not None and config.tls_key is not None:
        check_pair(config.tls_cert, config.tls_key)
        return Tls(config.tls_cert, config.tls_key, None)
    if config.tls is not None:
        return _self_signed(config.data_dir / "tls", names)
    return None


def check_pair(certificate: Path, key: Path) -> None:
    """Refuse a certificate and key that cannot be read or do not belong together."""
    for setting, path in (("CMDOP_TLS_CERT", certificate), ("CMDOP_TLS_KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            message = f"cannot read {path}: {(error.strerror or '').lower()}"
            raise Refusal(setting, message, f"ls -l {path}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError):
        message = f"{certificate} and {key} are no certificate with its key, both PEM and the key unencrypted"
        raise Refusal("CMDOP_TLS_CERT", message, f"openssl x509 -noout -in {certificate}") from None


def _no_password() -> str:
    """Keep OpenSSL from asking on the terminal: an encrypted key is refused instead."""
    raise ValueError("the key is encrypted")


def _self_signed(folder: Path, names: list[str]) -> Tls:
    make_private_dir(folder)
    key_path, certificate_path = folder / "key.pem", folder / "cert.pem"
    key, certificate = read_private(key_path, "CMDOP_TLS"), read_private(certificate_path, "CMDOP_TLS")
    if key is not None and certificate is not None and _still_serves(certificate, names):
        check_pair(certificate_path, key_path)
    else:
        key, certificate = _make(key, names)
        write_private(key_path, key)
        write_private(certificate_path, certificate)
    der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    return Tls(certificate_path, key_path, pin_of(der))


def _still_serves(pem: bytes, names: list[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    texts = {str(name.value) for name in covered}
    lasts = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > RENEW_BEFORE
    return lasts and set(names) <= texts


def _make(old_key: bytes | None, names: list[str]) -> tuple[bytes, bytes]:
    """Return key and certificate in PEM; a renewal keeps the key."""
    if old_key is not None:
        loaded = serialization.load_pem_private_key(old_key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        key = loaded
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cmdop control plane")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_for(config: Config, public_host: str) -> list[str]:
    """Return, in canonical spelling, the names and addresses that a certificate of ours must cover."""
    wanted = {"localhost", "127.0.0.1", "::1", public_host, config.host, *config.allowed_hosts}
    canonical = set()
    for name in wanted:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if name.isascii() and not name.startswith((".", "*")):
                canonical.add(name.lower())
            continue
        if not address.is_unspecified:
            canonical.add(str(address))
    return sorted(canonical)

"""Which certificates are believed, on real TLS handshakes."""

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cmdop_sdk.client import AsyncCMDOPClient
from cmdop_sdk.errors import InvalidRequest, LocalStateError, UntrustedServer
from cmdop_sdk.trust import check_pin, pin_of
from cmdop_wire.ids import make_key
from tests.sdk.loopback import Loopback, loopback

KEY = make_key("acme").text


class Certificate:
    """A self-signed certificate for 127.0.0.1 in files, its pin, and a server context that shows it."""

    def __init__(self, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.pem = folder / f"{name}.pem"
        self.pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = folder / f"{name}.key"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.pin = pin_of(made.public_bytes(serialization.Encoding.DER))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.pem, private)


@pytest.fixture
def ours(tmp_path: Path) -> Certificate:
    """The server's certificate."""
    return Certificate(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Certificate:
    """Somebody else's."""
    return Certificate(tmp_path, "theirs")


def show(server: Loopback, **options: Any) -> str:
    """Ask who we are; return the workspace's slug."""

    async def once() -> str:
        async with AsyncCMDOPClient.remote(api_key=KEY, server=server.origin, retries=0, **options) as client:
            return (await client.me.show()).workspace.slug

    return asyncio.run(once())


def test_the_pinned_server_is_believed(ours: Certificate) -> None:
    with loopback(tls=ours.context) as server:
        assert show(server, ca_pin=ours.pin) == "acme"
        assert show(server, ca_pin=ours.pin.upper().replace("SHA256:", "SHA256:")) == "acme"


def test_another_certificate_than_the_pinned_one_gets_no_byte_of_the_request(
    ours: Certificate, theirs: Certificate
) -> None:
    with loopback(tls=theirs.context) as server:
        with pytest.raises(UntrustedServer, match=theirs.pin) as caught:
            show(server, ca_pin=ours.pin)
    assert server.seen == []
    assert (caught.value.code, caught.value.transient) == ("untrusted_server", False)


def test_a_pin_is_not_loosened_by_an_authority(ours: Certificate, theirs: Certificate) -> None:
    with loopback(tls=theirs.context) as server, pytest.raises(UntrustedServer):
        show(server, ca_pin=ours.pin, ca_file=theirs.pem)
    assert server.seen == []


def test_a_self_signed_server_is_refused_by_default_and_asked_once(ours: Certificate) -> None:
    with loopback(tls=ours.context) as server:

        async def once() -> None:
            async with AsyncCMDOPClient.remote(api_key=KEY, server=server.origin) as client:
                await client.me.show()

        with pytest.raises(UntrustedServer, match="not trusted"):
            asyncio.run(once())
    assert server.seen == []


def test_an_authority_of_one_s_own_is_believed_and_the_name_still_counts(ours: Certificate) -> None:
    with loopback(tls=ours.context) as server:
        assert show(server, ca_file=ours.pem) == "acme"
        server.origin = server.origin.replace("127.0.0.1", "localhost")
        with pytest.raises(UntrustedServer):
            show(server, ca_file=ours.pem)
    assert len(server.seen) == 1


def test_a_plain_server_behind_https_is_untrusted() -> None:
    with loopback() as server:
        server.origin = server.origin.replace("http:", "https:")
        with pytest.raises(UntrustedServer):
            show(server)
    assert server.seen == []


def test_a_ca_file_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path, reason in ((empty, "holds no certificate"), (tmp_path / "absent.pem", "no such file")):
        with pytest.raises(LocalStateError, match=reason) as caught:
            AsyncCMDOPClient.remote(api_key=KEY, server="https://cmdop.example", ca_file=path)
        assert caught.value.path == str(path)


@pytest.mark.parametrize(
    "pin", ["", "sha256:", "sha1:" + "0" * 40, "0" * 64, "sha256:" + "0" * 63, "sha256:" + "g" * 64]
)
def test_what_is_no_pin_is_refused(pin: str) -> None:
    with pytest.raises(InvalidRequest):
        AsyncCMDOPClient.remote(api_key=KEY, server="https://cmdop.example", ca_pin=pin)


def test_a_pin_may_be_written_with_colons() -> None:
    digits = "ab" * 32
    assert check_pin("SHA256:" + ":".join(["AB"] * 32)) == f"sha256:{digits}"

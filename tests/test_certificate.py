"""The certificate that a client shows in TLS: read, checked, shown, renewed."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from certificates import Pair, client_certificate
from fakes import START, FakeClock
from token_server import TokenServer, authority

from job.core.errors import EndpointUnavailable, RequestRejected, SecretUnavailable
from job.credentials.watched import WatchedSecret
from job.http.transport import Transport
from job.oauth.certificate import CertificateFiles, certificate_expiry, content
from job.oauth.request import TokenRequest, prepared

END = dt.datetime.fromtimestamp(START, dt.UTC)
OURS = client_certificate("ours")
TOMORROW = client_certificate("tomorrow", END + dt.timedelta(days=1))


def source(folder: Path, pair: Pair, *, must_be_current: bool = True) -> CertificateFiles:
    """Make a source of two files."""
    return CertificateFiles(*pair.write(folder), FakeClock(), must_be_current)


def refusal(files: CertificateFiles) -> str:
    """Return the message with which files can't be used, without the common beginning."""
    with pytest.raises(SecretUnavailable) as caught:
        files.resolve()
    assert caught.value.code == "certificate_unusable"
    assert caught.value.__cause__ is None
    return caught.value.message.removeprefix("no client certificate: ")


def test_two_files_that_belong_together_are_a_proof(tmp_path: Path) -> None:
    """What is given is both texts, so that a change of either is noticed."""
    files = source(tmp_path, TOMORROW)
    both = b"".join(TOMORROW).decode()
    assert files.resolve().reveal() == both
    assert TOMORROW.key.decode()[40:60] not in repr(files)


def test_a_renewed_certificate_is_noticed(tmp_path: Path) -> None:
    """With the same key too, a new certificate ends the waiting after a refusal."""
    watched = WatchedSecret(source(tmp_path, TOMORROW), clock=FakeClock())
    watched.resolve()
    assert not watched.changed()
    (tmp_path / "client.pem").write_bytes(b"\n" + TOMORROW.certificate)
    assert watched.changed()


@pytest.mark.fault("client-certificate-expired")
def test_an_expired_certificate_is_refused_where_its_date_counts(tmp_path: Path) -> None:
    """A CA's certificate has a date that every server checks; a self-signed one is its key."""
    pair = client_certificate("old", END)
    assert refusal(source(tmp_path, pair)) == (
        f"the certificate in {tmp_path}/client.pem expired on 2025-11-24; renew it, or correct "
        "this machine's clock"
    )
    assert source(tmp_path, pair, must_be_current=False).resolve()
    assert certificate_expiry(f"{tmp_path}/client.pem") == END


NOT_A_KEY = "is not a readable private key in PEM"
NOT_A_CERTIFICATE = "is not a readable certificate in PEM"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            Pair(TOMORROW.certificate, OURS.key),
            (
                "{0}.key is not the key of the certificate in {0}.pem; give the two that were made "
                "together"
            ),
        ),
        (Pair(TOMORROW.certificate, TOMORROW.certificate), f"the file {{0}}.key {NOT_A_KEY}"),
        (Pair(TOMORROW.key, TOMORROW.key), f"the file {{0}}.pem {NOT_A_CERTIFICATE}"),
        (Pair(b"", TOMORROW.key), f"the file {{0}}.pem {NOT_A_CERTIFICATE}"),
        (
            Pair(TOMORROW.certificate, TOMORROW.locked()),
            (
                "the file {0}.key is encrypted; decrypt it with `openssl pkey -in OLD -out NEW` "
                "and guard the file"
            ),
        ),
    ],
    ids=["another key", "certificate twice", "key twice", "empty", "locked"],
)
@pytest.mark.fault("client-key-unusable")
def test_files_that_do_not_fit_are_told(tmp_path: Path, pair: Pair, message: str) -> None:
    """The reason names the file and the cure, before any server is asked."""
    assert refusal(source(tmp_path, pair)).startswith(message.format(tmp_path / "client"))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A mount that is missing is named."""
    with pytest.raises(SecretUnavailable) as caught:
        content(f"{tmp_path}/none.pem")
    assert caught.value.message == (
        f"no client certificate: the file {tmp_path}/none.pem cannot be read (No such file or "
        "directory); check the path and its permissions"
    )


# In TLS


def asking(folder: Path, *trusted: Pair) -> tuple[str, ssl.SSLContext]:
    """Make a server that wants a certificate, one of these or signed by one; return its CA."""
    ca_file, context = authority(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    for pair in trusted:
        context.load_verify_locations(cadata=pair.certificate.decode())
    return ca_file, context


def exchange(server: TokenServer, ca_file: str, certificate: tuple[str, str] | None) -> Transport:
    """Send one request and return what sent it."""
    transport = Transport(10, ca_file, certificate=certificate)
    assert send(server, transport) == 200
    return transport


def send(server: TokenServer, transport: Transport) -> int:
    """Send one request and return the status."""
    asked = TokenRequest(server.url, (("grant_type", "client_credentials"),))
    return transport.send(prepared(asked, lambda request: request)).status


def test_the_certificate_is_shown(tmp_path: Path) -> None:
    """A server that takes only clients with a certificate that it knows takes ours."""
    ca_file, context = asking(tmp_path, OURS)
    with TokenServer(tls=context) as server:
        exchange(server, ca_file, OURS.write(tmp_path))
        assert len(server.requests) == 1


def test_a_certificate_of_a_ca_is_shown(tmp_path: Path) -> None:
    """With tls_client_auth the server knows who signed, not the certificate itself."""
    authority_of_clients = client_certificate("CA")
    signed = client_certificate("client", issuer=authority_of_clients)
    ca_file, context = asking(tmp_path, authority_of_clients)
    with TokenServer(tls=context) as server:
        exchange(server, ca_file, signed.write(tmp_path))


def test_renewed_files_are_shown_from_the_next_exchange_on(tmp_path: Path) -> None:
    """A certificate that is renewed on disk is used without a restart."""
    ca_file, context = asking(tmp_path, OURS, TODAY)
    with TokenServer(tls=context) as server:
        transport = exchange(server, ca_file, OURS.write(tmp_path))
        TODAY.write(tmp_path)
        assert send(server, transport) == 200
        OURS.write(tmp_path)
        (tmp_path / "client.key").write_bytes(TODAY.key)
        with pytest.raises(SecretUnavailable) as caught:
            send(server, transport)
        (tmp_path / "client.key").unlink()
        with pytest.raises(SecretUnavailable):
            send(server, transport)
    assert (caught.value.code, caught.value.message) == (
        "certificate_unusable",
        "no client certificate: certificate_file and key_file cannot be used together; check both",
    )


TODAY = client_certificate("today")
STRANGER = client_certificate("stranger")


@pytest.mark.parametrize("shown", [None, STRANGER], ids=["none", "unknown"])
@pytest.mark.fault("client-certificate-refused")
def test_a_server_that_wants_another_certificate_is_understood(
    tmp_path: Path, shown: Pair | None
) -> None:
    """The alert of TLS 1.2 comes in the handshake: an operator has to act, and is told where."""
    ca_file, context = asking(tmp_path, OURS)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TokenServer(tls=context) as server:
        transport = Transport(10, ca_file, certificate=shown.write(tmp_path) if shown else None)
        with pytest.raises(RequestRejected) as caught:
            send(server, transport)
    alert = "TLSV1_ALERT_UNKNOWN_CA" if shown else "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert (caught.value.code, caught.value.message) == (
        "certificate_refused",
        (
            f"127.0.0.1:{server.port} refuses the client's certificate, or wants one ({alert}); "
            "check certificate_file and key_file, and that the server knows this certificate"
        ),
    )


@pytest.mark.fault("client-certificate-refused")
def test_an_alert_that_may_be_lost_is_still_explained(tmp_path: Path) -> None:
    """The alert of TLS 1.3 comes late, and may be lost: both ends are told."""
    ca_file, context = asking(tmp_path, OURS)
    late = pytest.raises((RequestRejected, EndpointUnavailable))
    with TokenServer(tls=context) as server, late as caught:
        send(server, Transport(10, ca_file))
    assert caught.value.code in ("certificate_refused", "connection_failed")
    assert "certificate_file" in caught.value.message or "network" in caught.value.message


def test_a_locked_key_asks_nobody_for_a_password(tmp_path: Path) -> None:
    """OpenSSL would ask the terminal and wait for ever: it is never let."""
    ca_file, context = asking(tmp_path, OURS)
    paths = Pair(OURS.certificate, OURS.locked()).write(tmp_path)
    with TokenServer(tls=context) as server, pytest.raises(SecretUnavailable):
        send(server, Transport(10, ca_file, certificate=paths))

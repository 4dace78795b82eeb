"""From settings to requests: what each auth_method really sends, to servers of this machine."""

import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from certificates import client_certificate
from fakes import START, FakeClock
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import import_key
from loading import tokens_of
from token_server import Seen, TokenServer, authority

from job.compose.token_source import ClientSource, key_of, proof_of
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.errors import ExchangeError
from job.core.secret import Secret
from job.oauth.auth_methods import METHODS, OAuthClient, TokenEndpoint

LONG = "a secret that is long enough for HS256"
CLIENT = client_certificate("client")
URN = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def tools() -> Tools:
    """Make tools with a clock of the tests."""
    return Tools({"LONG": LONG}, "host", FakeClock())


def settings_of(url: str, folder: Path | str = "", **keys: Any) -> TokenSettings:  # noqa: ANN401  # settings are of many types
    """Load one token; relative paths start at `folder`."""
    sinks = [{"type": "file", "path": "one.json"}]
    table = {"token_url": url, "client_id": "my-id", "sinks": sinks} | keys
    return tokens_of({"tokens": {"one": table}}, str(folder))["one"]


def exchanged(folder: Path, **keys: Any) -> Seen:  # noqa: ANN401  # as above
    """Exchange one token and return the request as it came."""
    with TokenServer() as server:
        source = ClientSource(settings_of(server.url, folder, **keys), tools())
        assert source.fetch().access_token == Secret("tok-1")
    return server.requests[0]


def claims_of(assertion: str) -> dict[str, Any]:
    """Return the claims of an assertion, verified by the key of CLIENT or by LONG."""
    header = json.loads(base64.urlsafe_b64decode(assertion.partition(".")[0] + "=="))
    key = import_key(LONG, "oct") if header["alg"] == "HS256" else import_key(CLIENT.key, "EC")
    return dict(joserfc_jwt.decode(assertion, key).claims)


def header_of(assertion: str) -> dict[str, Any]:
    """Return the header."""
    header: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(assertion.partition(".")[0] + "==")
    )
    return header


GRANT = ("grant_type", "client_credentials")


def test_a_secret_signs(tmp_path: Path) -> None:
    """client_secret_jwt sends an assertion about the client to the endpoint, and no secret."""
    seen = exchanged(tmp_path, auth_method="client_secret_jwt", client_secret={"env": "LONG"})
    (*others, (name, assertion)) = seen.pairs
    assert others == [GRANT, ("client_id", "my-id"), ("client_assertion_type", URN)]
    claims = claims_of(assertion)
    assert name == "client_assertion"
    assert (claims["iss"], claims["sub"]) == ("my-id", "my-id")
    assert urlsplit(claims["aud"]).path == "/token"
    assert header_of(assertion) == {"alg": "HS256", "typ": "JWT"}


def test_a_key_signs_as_the_settings_say(tmp_path: Path) -> None:
    """private_key_jwt follows key_id, audience, typ, lifetime, claims and certificate."""
    CLIENT.write(tmp_path)
    seen = exchanged(
        tmp_path,
        auth_method="private_key_jwt",
        private_key={"file": "client.key"},
        certificate_file="client.pem",
        key_id="k1",
        signing_alg="ES256",
        assertion_audience="https://as.test",
        assertion_typ="none",
        assertion_lifetime="5m",
        assertion_claims={"scope": "a"},
        assertion_type="urn:other",
    )
    assertion = seen.form["client_assertion"]
    header, claims = header_of(assertion), claims_of(assertion)
    assert header.keys() == {"alg", "kid", "x5t#S256"}
    assert (header["kid"], claims["aud"], claims["scope"]) == ("k1", "https://as.test", "a")
    assert claims["exp"] - claims["iat"] == 300
    assert seen.form["client_assertion_type"] == "urn:other"


def test_the_assertion_may_be_the_grant(tmp_path: Path) -> None:
    """The grant of Google and DocuSign is data: no client id, no client_assertion."""
    CLIENT.write(tmp_path)
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    seen = exchanged(
        tmp_path,
        auth_method="private_key_jwt",
        private_key={"file": "client.key"},
        assertion_in="assertion",
        grant_type=grant,
        assertion_claims={"scope": "a b", "sub": ""},
    )
    assert seen.form.keys() == {"grant_type", "assertion"}
    assert seen.form["grant_type"] == grant
    claims = claims_of(seen.form["assertion"])
    assert (claims["iss"], claims["scope"], "sub" in claims) == ("my-id", "a b", False)


def test_the_assertion_may_be_a_bearer(tmp_path: Path) -> None:
    """The way of GitHub apps is data: a JWT of iss, iat and exp in the header, an empty body."""
    CLIENT.write(tmp_path)
    seen = exchanged(
        tmp_path,
        auth_method="private_key_jwt",
        private_key={"file": "client.key"},
        assertion_in="bearer",
        grant_type="",
        assertion_lifetime="9m",
        assertion_claims=dict.fromkeys(("sub", "aud", "nbf", "jti"), ""),
    )
    scheme, _, assertion = seen.headers["authorization"].partition(" ")
    assert (seen.pairs, scheme) == ((), "Bearer")
    assert claims_of(assertion) == {"iss": "my-id", "iat": START - 5, "exp": START - 5 + 540}


def test_an_assertion_of_others_is_read_for_every_request(tmp_path: Path) -> None:
    """A projected token that is renewed is the next one sent; no client id need be set."""
    key = import_key(CLIENT.key, "EC")
    texts = [joserfc_jwt.encode({"alg": "ES256"}, {"n": n}, key) for n in (1, 2)]
    file = tmp_path / "token"
    with TokenServer() as server:
        settings = settings_of(
            server.url,
            tmp_path,
            auth_method="client_assertion",
            client_assertion={"file": "token"},
            client_id="",
        )
        source = ClientSource(settings, tools())
        for text in texts:
            file.write_text(text + "\n")
            source.fetch()
    assert [seen.form["client_assertion"] for seen in server.requests] == texts
    assert "client_id" not in server.requests[0].form


def test_none_sends_the_client_id(tmp_path: Path) -> None:
    """A server that knows the caller otherwise is told the name alone."""
    seen = exchanged(tmp_path, auth_method="none")
    assert seen.pairs == (GRANT, ("client_id", "my-id"))
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_a_certificate_is_the_proof(tmp_path: Path, method: str) -> None:
    """The id goes into the body (RFC 8705 section 2), the proof into TLS; it is watched."""
    ca_file, context = authority(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=CLIENT.certificate.decode())
    certificate, key = CLIENT.write(tmp_path)
    keys = {"certificate_file": certificate, "key_file": "client.key", "ca_file": ca_file}
    with TokenServer(tls=context) as server:
        settings = settings_of(server.url, tmp_path, auth_method=method, **keys)
        source = ClientSource(settings, tools())
        source.fetch()
    assert server.requests[0].pairs == (GRANT, ("client_id", "my-id"))
    assert not source.changed()
    Path(certificate).write_bytes(b"\n" + CLIENT.certificate)
    assert source.changed()
    assert key == str(tmp_path / "client.key")


def test_a_certificate_may_be_shown_beside_another_proof(tmp_path: Path) -> None:
    """A server that wants both, such as ADP's, gets both."""
    ca_file, context = authority(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=CLIENT.certificate.decode())
    certificate, key = CLIENT.write(tmp_path)
    keys = {"certificate_file": certificate, "key_file": key, "ca_file": ca_file}
    with TokenServer(tls=context) as server:
        settings = settings_of(server.url, tmp_path, client_secret={"env": "LONG"}, **keys)
        ClientSource(settings, tools()).fetch()
    assert server.requests[0].headers["authorization"].startswith("Basic ")


def modern(**keys: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Return header and claims of an assertion for a place that discovery has found."""
    place = TokenEndpoint("https://as.test/token", "https://as.test")
    settings = settings_of(
        place.token_url, auth_method="client_secret_jwt", client_secret={"env": "LONG"}, **keys
    )
    proof = proof_of(settings, tools())
    client = OAuthClient(settings, settings.client_id, proof, place, FakeClock())
    auth = METHODS["client_secret_jwt"].make(client)
    assertion = auth.assertion().reveal()  # type: ignore[attr-defined]  # all of these have one
    return header_of(assertion) | {"aud": claims_of(assertion)["aud"]}


@pytest.mark.parametrize(
    ("keys", "typ", "audience"),
    [
        ({}, "client-authentication+jwt", "https://as.test"),
        ({"assertion_audience": "token_url"}, "client-authentication+jwt", "https://as.test/token"),
        ({"assertion_typ": "JWT"}, "JWT", "https://as.test"),
        ({"assertion_in": "assertion"}, "JWT", "https://as.test/token"),
    ],
)
def test_discovery_brings_the_manners_of_rfc_10070(
    keys: Mapping[str, str], typ: str, audience: str
) -> None:
    """Where the issuer is known it is the audience, and the typ is the new one, but for grants."""
    assert modern(**keys) == {"alg": "HS256", "typ": typ, "aud": audience}


@pytest.mark.fault("client-key-unusable")
def test_a_wrong_key_file_is_told_at_the_exchange(tmp_path: Path) -> None:
    """Nothing is sent when there is nothing to send; the fault waits for a changed file."""
    (tmp_path / "key.pem").write_text("no key")
    with TokenServer() as server:
        settings = settings_of(
            server.url, tmp_path, auth_method="private_key_jwt", private_key={"file": "key.pem"}
        )
        source = ClientSource(settings, tools())
        with pytest.raises(ExchangeError) as caught:
            source.fetch()
        assert (caught.value.code, server.requests) == ("private_key_unusable", [])
        assert not source.changed()
        (tmp_path / "key.pem").write_bytes(CLIENT.key)
        assert source.changed()
        source.fetch()


@pytest.mark.parametrize(
    ("status", "auth_method"), [(401, "client_secret_jwt"), (400, "private_key_jwt")]
)
@pytest.mark.fault("assertion-clock")
def test_a_wrong_clock_is_told(tmp_path: Path, status: int, auth_method: str) -> None:
    """A refused assertion and a server of another time belong together, and the message says so."""
    from token_server import refusal  # noqa: PLC0415  # the name is taken in this module's peers

    CLIENT.write(tmp_path)
    step = refusal(status, "invalid_client", {"Date": "Mon, 24 Nov 2025 16:10:00 GMT"})
    proofs = {"client_secret": {"env": "LONG"}, "private_key": {"file": "client.key"}}
    proof = "private_key" if auth_method == "private_key_jwt" else "client_secret"
    with TokenServer(step) as server:
        keys = {"auth_method": auth_method, proof: proofs[proof]}
        source = ClientSource(settings_of(server.url, tmp_path, **keys), tools())
        with pytest.raises(ExchangeError) as caught:
            source.fetch()
    assert "clock" in caught.value.message


def test_what_a_grant_asks_for_is_part_of_the_request_key() -> None:
    """Another scope or subject in the claims is another token; without claims nothing changes."""
    url = "https://as.test/token"
    keys = {"auth_method": "private_key_jwt", "private_key": {"file": "k"}}
    plain, scoped, other = (
        key_of(settings_of(url, **keys, assertion_claims=claims))
        for claims in ({}, {"scope": "a"}, {"scope": "b"})
    )
    secret = key_of(settings_of(url, client_secret={"env": "X"}))
    assert plain == secret
    assert len({plain, scoped, other}) == 3


LOADED = """
import sys
from job.core.clock import system_clock
from job.inventory.kinds import load
from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
config = load(sys.argv[1], {})
RefresherSet(Tools({"LONG": "x"}, "host", system_clock)).update(config.tokens)
print(sorted({"jwt", "cryptography", "requests", "boto3"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_nothing_of_a_method_is_loaded_before_an_exchange(tmp_path: Path) -> None:
    """Tokens with keys, certificates and assertions cost nothing until one is exchanged."""
    common = 'token_url = "https://as.test/token"\nclient_id = "c"\n'
    tables = {
        "key": 'auth_method = "private_key_jwt"\nprivate_key = { file = "k" }\n',
        "tls": 'auth_method = "tls_client_auth"\ncertificate_file = "c"\nkey_file = "k"\n',
        "own": 'auth_method = "client_assertion"\nclient_assertion = { file = "a" }\n',
        "none": 'auth_method = "none"\n',
    }
    config = tmp_path / "freshtoken.toml"
    config.write_text(
        "".join(
            f"[tokens.{name}]\n{common}{table}"
            f'[[tokens.{name}.sinks]]\ntype = "file"\npath = "{name}.json"\n'
            for name, table in tables.items()
        )
    )
    argv = [sys.executable, "-c", LOADED, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"

"""Every way in which a client proves itself, against a real authorization server over TLS."""

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from certificates import Pair, client_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import import_key
from loading import tokens_of
from running import PATIENCE_S, ROOT
from test_oidc_provider import Provider, serving
from token_server import authority

from job.compose.token_source import ClientSource
from job.compose.tools import Tools
from job.core.clock import system_clock
from job.core.errors import RequestRejected

LIFETIME = 60
SHARED_KEYS = ("token_url", "client_id", "ca_file", "proxy", "sinks")
# What breaks clients that don't form-encode Basic credentials (RFC 6749 section 2.3.1).
UGLY = ":+%&=/ "
AUTHORITY = client_certificate("Clients CA")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),  # joserfc makes the JWK of the key
]


@dataclass
class Method:
    """One client: what the server knows of it, its settings, and the file that proves it."""

    name: str
    auth_method: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    wrong: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def registered(self) -> dict[str, Any]:
        """Return the client as the server wants it."""
        return {"id": f"client-{self.name}", "method": self.auth_method, **self.metadata}

    def table(self, issuer: str, ca_file: str) -> dict[str, Any]:
        """Return the settings of its token."""
        return {
            "token_url": f"{issuer}/token",
            "client_id": f"client-{self.name}",
            "auth_method": self.auth_method,
            "ca_file": ca_file,
            "sinks": [{"type": "file", "path": f"{self.name}.json"}],
            **self.settings,
        }


def by_secret(name: str, method: str, **settings: object) -> Method:
    """Make a client with a secret, an ugly one where nothing signs with it."""
    secret = secrets.token_urlsafe(64) + (UGLY if method != "client_secret_jwt" else "")
    file = f"{name}.secret"
    return Method(
        name,
        method,
        {"secret": secret},
        {"client_secret": {"file": file}, **settings},
        {file: secret.encode()},
        {file: secrets.token_urlsafe(64).encode()},
    )


def by_key(name: str, key: Any, other: Any, kind: str, **settings: object) -> Method:  # noqa: ANN401  # keys of many types
    """Make a client that the server knows by its public key."""
    public = import_key(pem(key), kind).as_dict(private=False) | {"kid": "key-1", "use": "sig"}
    algorithm = str(settings["signing_alg"])
    file = f"{name}.key"
    return Method(
        name,
        "private_key_jwt",
        {"jwks": {"keys": [public]}, "token_endpoint_auth_signing_alg": algorithm},
        {"private_key": {"file": file}, "key_id": "key-1", **settings},
        {file: pem(key)},
        {file: pem(other)},
    )


def by_certificate(name: str, method: str, pair: Pair, wrong: Pair, **metadata: object) -> Method:
    """Make a client that shows a certificate; its tokens are bound to it (RFC 8705 section 3)."""
    files = (f"{name}.pem", f"{name}.key")
    bound = {"tls_client_certificate_bound_access_tokens": True}
    return Method(
        name,
        method,
        {**metadata, **bound},
        dict(zip(("certificate_file", "key_file"), files, strict=True)),
        dict(zip(files, pair, strict=True)),
        dict(zip(files, wrong, strict=True)),
    )


def pem(key: Any) -> bytes:  # noqa: ANN401  # as above
    """Write a private key."""
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return written


def self_signed() -> Method:
    """Make a client whose certificate the server knows by its key (RFC 8705 section 2.2)."""
    pair = client_certificate("self")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    public = import_key(pair.key, "EC").as_dict(private=False) | {"x5c": [der]}
    keys = {"jwks": {"keys": [public]}}
    return by_certificate(
        "self", "self_signed_tls_client_auth", pair, client_certificate("self"), **keys
    )


def of_authority() -> Method:
    """Make a client whose certificate a CA vouches for (RFC 8705 section 2.1)."""
    pair, wrong = (client_certificate(name, issuer=AUTHORITY) for name in ("pki", "another"))
    return by_certificate(
        "pki", "tls_client_auth", pair, wrong, tls_client_auth_subject_dn="CN=pki"
    )


RSA, RSA_2 = (rsa.generate_private_key(65537, 2048) for _ in "12")
METHODS = {
    method.name: method
    for method in (
        by_secret("basic", "client_secret_basic"),
        by_secret("post", "client_secret_post"),
        by_secret("hs256", "client_secret_jwt"),
        by_secret("hs512", "client_secret_jwt", signing_alg="HS512", assertion_audience="ISSUER"),
        by_key("rs256", RSA, RSA_2, "RSA", signing_alg="RS256"),
        by_key("ps384", RSA, RSA_2, "RSA", signing_alg="PS384", assertion_audience="ISSUER"),
        *(
            by_key(
                f"es{size}",
                ec.generate_private_key(curve),
                ec.generate_private_key(curve),
                "EC",
                signing_alg=f"ES{size}",
                assertion_typ="client-authentication+jwt",
            )
            for size, curve in ((256, ec.SECP256R1()), (384, ec.SECP384R1()), (512, ec.SECP521R1()))
        ),
        by_key(
            "eddsa",
            ed25519.Ed25519PrivateKey.generate(),
            ed25519.Ed25519PrivateKey.generate(),
            "OKP",
            signing_alg="EdDSA",
        ),
        of_authority(),
        self_signed(),
    )
}


@dataclass
class World:
    """The server with all clients, and a folder with their files."""

    provider: Provider
    ca_file: str
    folder: Path
    auditor: tuple[str, str] = field(repr=False)

    def table(self, method: Method) -> dict[str, Any]:
        """Return the settings of a client's token."""
        table = method.table(self.provider.issuer, self.ca_file)
        if table.get("assertion_audience") == "ISSUER":
            table["assertion_audience"] = self.provider.issuer
        return table

    def write(self, files: Mapping[str, bytes]) -> None:
        """Put a client's files in their place."""
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def introspect(self, token: str) -> dict[str, Any]:
        """Ask the server what it thinks of a token (RFC 7662)."""
        answer: dict[str, Any] = requests.post(
            f"{self.provider.issuer}/token/introspection",
            data={"token": token},
            auth=self.auditor,
            verify=self.ca_file,
            timeout=PATIENCE_S,
        ).json()
        return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start the server once for all methods."""
    folder = tmp_path_factory.mktemp("client_auth")
    ca_file, _ = authority(folder)
    chain = (folder / "server.pem").read_text()
    auditor = ("auditor", secrets.token_urlsafe())
    named = dict(zip(("id", "secret"), auditor, strict=True))
    settings = {
        "lifetime": LIFETIME,
        "clients": [
            *(method.registered for method in METHODS.values()),
            {**named, "method": "client_secret_basic"},
        ],
        "tls": {"key": chain, "cert": chain, "ca": AUTHORITY.certificate.decode()},
    }
    with serving(settings, folder / "provider.log") as provider:
        yield World(provider, ca_file, folder, auditor)


def source_at(world: World, table: dict[str, Any]) -> ClientSource:
    """Build what the program builds."""
    settings = tokens_of({"tokens": {"one": table}}, str(world.folder))["one"]
    return ClientSource(settings, Tools({}, "host", system_clock))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.fault("wrong-client-proof")
def test_a_method_does_all_that_is_asked_of_it(world: World, name: str) -> None:
    """The right proof brings tokens, a wrong one a refusal; the right one again is noticed."""
    method = METHODS[name]
    source = source_at(world, world.table(method))
    world.write(method.files)
    tokens = [source.fetch() for _ in "12"]  # a second assertion is not the first one again
    world.write(method.wrong)
    with pytest.raises(RequestRejected) as caught:
        source.fetch()
    assert (caught.value.code, caught.value.http_status) == ("invalid_client", 401)
    assert not source.changed()
    world.write(method.files)
    assert source.changed()
    tokens.append(source.fetch())
    assert len({token.access_token for token in tokens}) == 3
    for token in tokens:
        answer = world.introspect(token.access_token.reveal())
        assert (answer["active"], answer["client_id"]) == (True, f"client-{name}")
        assert abs(answer["exp"] - token.expires_at) <= 1
        assert answer.get("cnf") == thumbprint(method)


def thumbprint(method: Method) -> dict[str, str] | None:
    """Return what a token is bound to: RFC 8705 section 3.1."""
    pem_text = method.files.get(f"{method.name}.pem")
    if pem_text is None:
        return None
    der = x509.load_pem_x509_certificate(pem_text).public_bytes(Encoding.DER)
    digest = hashlib.sha256(der).digest()
    return {"x5t#S256": base64.urlsafe_b64encode(digest).decode().rstrip("=")}


def test_once_keeps_all_of_them(world: World) -> None:
    """One process and one file with every method: all tokens current, no word, no secret seen."""
    for method in METHODS.values():
        world.write(method.files)
    config = world.folder / "freshtoken.toml"
    config.write_text("\n".join(toml(world, method) for method in METHODS.values()))
    argv = [sys.executable, "-m", "job", "--config", str(config), "--log-level", "debug", "once"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for name in METHODS:
        document = json.loads((world.folder / f"{name}.json").read_text())
        assert world.introspect(document["access_token"])["client_id"] == f"client-{name}"
        assert document["access_token"] not in done.stderr
    for method in METHODS.values():
        for content in method.files.values():
            assert content.decode().strip()[30:60] not in done.stderr


def toml(world: World, method: Method) -> str:
    """Write a client's token; JSON's texts and lists are TOML's."""
    table = world.table(method)
    lines = [f"[tokens.{method.name}]"]
    for key, value in table.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{name} = {json.dumps(text)}" for name, text in value.items())
            lines.append(f"{key} = {{ {inner} }}")
        elif key != "sinks":
            lines.append(f"{key} = {json.dumps(value)}")
    (sink,) = table["sinks"]
    return "\n".join(
        [*lines, f"[[tokens.{method.name}.sinks]]", 'type = "file"', f'path = "{sink["path"]}"']
    )


def test_the_server_wants_one_audience_and_gets_it(world: World) -> None:
    """An audience of another server is refused: the literal that was set is what is sent."""
    method = METHODS["es256"]
    world.write(method.files)
    table = world.table(method) | {"assertion_audience": "https://another.example"}
    source = source_at(world, table)
    with pytest.raises(RequestRejected) as caught:
        source.fetch()
    assert caught.value.code == "invalid_client"


def test_an_assertion_that_others_make_is_read_for_each_request(world: World) -> None:
    """What a platform has put into the file is what is sent; one that was used is refused."""
    method = METHODS["es256"]
    table = {key: value for key, value in world.table(method).items() if key in SHARED_KEYS}
    table |= {"auth_method": "client_assertion", "client_assertion": {"file": "platform.jwt"}}
    source = source_at(world, table)
    tokens = []
    for _ in "12":
        world.write({"platform.jwt": made_elsewhere(world, method)})
        tokens.append(source.fetch().access_token.reveal())
    assert len(set(tokens)) == 2
    assert {world.introspect(token)["client_id"] for token in tokens} == {"client-es256"}
    with pytest.raises(RequestRejected) as caught:  # its jti is known by now
        source.fetch()
    assert caught.value.code == "invalid_client"


def made_elsewhere(world: World, method: Method) -> bytes:
    """Make an assertion as a platform does, by another library than ours (RFC 7523 section 3)."""
    now = int(time.time())
    client = method.registered["id"]
    claims = {
        "iss": client,
        "sub": client,
        "aud": f"{world.provider.issuer}/token",
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(),
    }
    key = import_key(method.files["es256.key"], "EC")
    return joserfc_jwt.encode({"alg": "ES256", "kid": "key-1"}, claims, key).encode()

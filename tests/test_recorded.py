"""Recorded answers of providers, read by production code with the settings of their presets."""

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from fakes import START, FakeClock
from loading import tokens_of
from token_server import Seen, TokenServer, answer

from job.compose.token_source import ClientSource
from job.compose.tools import Tools
from job.config.presets import presets
from job.config.settings import TokenSettings
from job.core import errors
from job.core.tokens import Token

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parent / "recorded"
KNOWN = presets()
ANSWERS: list[dict[str, Any]] = tomllib.loads((RECORDED / "answers.toml").read_text("utf-8"))[
    "answers"
]
REQUESTS: dict[str, dict[str, Any]] = tomllib.loads((RECORDED / "requests.toml").read_text("utf-8"))
MATTERS = ("scope", "resource", "audience")
"""Of what a provider needs of its users, what can change a request without a certificate."""
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NONE_SUCH = "no-preset"


def cases() -> Iterator[Any]:
    """Yield each answer with each of its presets, whose settings have a name of their own."""
    for number, recorded in enumerate(ANSWERS):
        for name in recorded.get("of", [NONE_SUCH]):
            about = recorded.get("about", "a token")
            yield pytest.param(f"{name}-{number}", recorded, id=f"{name}: {about}")


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with everything that a client may have to prove itself by."""
    from cryptography import x509  # noqa: PLC0415  # 60 ms
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("proofs")
    key = rsa.generate_private_key(65_537, 2048)
    none = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, none))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "id")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(datetime.fromtimestamp(START - 9, UTC))
    builder = builder.not_valid_after(datetime.fromtimestamp(START + 9, UTC))
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "secret").write_text("s3cret")
    (folder / "jwt").write_text(f"e30.{base64.urlsafe_b64encode(b'{}').decode()}.c2ln")
    return folder


def table_of(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of a token of a provider, filled in with its preset's examples."""
    preset = KNOWN.get(name)
    if preset is None:
        own = {"token_url": "https://as.example/token", "auth_method": "client_secret_post"}
        return own | proof_of("client_secret_post", name) | keys
    params = {key: need.example for key, need in preset.params.items()}
    needs = {key: need.example for key, need in preset.needs.items() if key in MATTERS}
    own = {"provider": name, "provider_params": params}
    return own | needs | proof_of(preset.settings["auth_method"], name) | keys


def loaded(tables: Mapping[str, dict[str, Any]], folder: Path) -> Mapping[str, TokenSettings]:
    """Return the settings of all tables at once: presets are read but one time."""
    usual = {"client_id": "id"}
    sinks = {name: [{"type": "file", "path": name}] for name in tables}
    named = {name: usual | table | {"sinks": sinks[name]} for name, table in tables.items()}
    return tokens_of({"tokens": named}, str(folder))


@pytest.fixture(scope="module")
def answered(proofs: Path) -> Mapping[str, TokenSettings]:
    """Give the settings for each recorded answer, by the answer's place in the file."""
    return loaded(
        {
            f"{name}-{number}": table_of(name, recorded.get("keys", {}))
            for number, recorded in enumerate(ANSWERS)
            for name in recorded.get("of", [NONE_SUCH])
        },
        proofs,
    )


@pytest.fixture(scope="module")
def asking(proofs: Path) -> Mapping[str, TokenSettings]:
    """Give the settings of each provider."""
    return loaded({name: table_of(name, {}) for name in KNOWN}, proofs)


def placed(settings: TokenSettings, host: str) -> TokenSettings:
    """Return settings of a provider that is now at another host."""
    return msgspec.structs.replace(
        settings,
        token_url=moved(settings.token_url or "", host),
        introspection_url=host if settings.introspection_url else None,
    )


def proof_of(method: str, name: str) -> dict[str, Any]:
    """Return the keys of a proof that goes with a method."""
    if method == "private_key_jwt":
        certified = "certificate_file" in KNOWN[name].needs
        return {"private_key": {"file": "key.pem"}} | (
            {"certificate_file": "cert.pem"} if certified else {}
        )
    if method == "client_assertion":
        return {"client_assertion": {"file": "jwt"}}
    return {"client_secret": {"file": "secret"}}


def moved(url: str, host: str) -> str:
    """Return a URL at another host."""
    there, here = urlsplit(url), urlsplit(host)
    return there._replace(scheme=here.scheme, netloc=here.netloc).geturl()


def fetched(settings: TokenSettings) -> Token:
    """Get a token as the program does."""
    return ClientSource(settings, Tools({}, "host", FakeClock(START))).fetch()


def outcome(settings: TokenSettings) -> dict[str, Any]:
    """Return what came of an exchange, in the words of the recorded file."""
    try:
        token = fetched(settings)
    except errors.ExchangeError as error:
        return {"kind": type(error).__name__, "code": error.code, "message": error.message}
    return {
        "token": token.access_token.reveal(),
        "life": token.lifetime,
        "source": token.expiry_source,
        "type": token.token_type,
        "extra": token.extra,
        "message": token.note,
    }


@pytest.mark.parametrize(("name", "recorded"), list(cases()))
def test_an_answer_gives_what_it_means(
    name: str, recorded: dict[str, Any], answered: Mapping[str, TokenSettings]
) -> None:
    """The preset finds the token and its life, or the refusal says who has to act, and why."""
    first = answer(recorded.get("status", 200), recorded["body"], recorded.get("headers"))
    second = answer(200, recorded.get("introspection", "{}"))
    with TokenServer(first, second) as server:
        got = outcome(placed(answered[name], server.url))
        assert len(server.requests) == 1 + ("introspection" in recorded)
    message = got.pop("message")
    if "kind" in recorded:
        assert got == {key: recorded[key] for key in ("kind", "code")}
        words = recorded.get("says", [])
    else:
        usual = {"token": "T", "source": "expires_in", "type": "Bearer", "extra": {}}
        assert got == {key: recorded.get(key, usual.get(key)) for key in got}
        words = [recorded.get("note", "")]
        assert bool(message) == ("note" in recorded)
    assert [word for word in words if word not in message] == []


def test_every_provider_has_answered() -> None:
    """No preset is without a recorded answer that holds a token."""
    answered = {
        name for recorded in ANSWERS if "life" in recorded for name in recorded.get("of", ())
    }
    assert set(KNOWN) - answered == set()


def params_of(seen: Seen) -> tuple[str, dict[str, Any]]:
    """Return where the parameters of a request were, and what they were."""
    query = dict(parse_qsl(urlsplit(seen.path).query))
    if "content-type" not in seen.headers:
        assert seen.body == ""
        return "query", query
    assert query == {}
    if seen.headers["content-type"] == "application/json":
        return "json", json.loads(seen.body)
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    return "form", seen.form


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_what_the_provider_wants(
    name: str, asking: Mapping[str, TokenSettings]
) -> None:
    """Method, place and names of the parameters, and the headers, are as its page has them."""
    expected = REQUESTS[name]
    path = KNOWN[name].settings.get("token_path", "access_token")
    with TokenServer(answer(200, {path: "T", "expires_in": 60, "expire": 60})) as server:
        settings = placed(asking[name], server.url)
        fetched(settings)
        (seen,) = server.requests
    assert seen.method == expected.get("method", "POST")
    assert urlsplit(seen.path).path == urlsplit(settings.token_url or "").path
    assert params_of(seen) == (expected.get("where", "form"), expected["params"])
    headers = expected.get("headers", {})
    assert {key: seen.headers.get(key) for key in headers} == headers
    assert ("authorization" in seen.headers) == (
        "authorization" in headers or "user-agent" in headers
    )


def test_each_request_has_an_identifier_of_its_own(asking: Mapping[str, TokenSettings]) -> None:
    """Walmart wants a fresh UUID in a header of every call."""
    with TokenServer() as server:
        settings = placed(asking["walmart"], server.url)
        for _ in range(2):
            fetched(settings)
        marks = [seen.headers["wm_qos.correlation_id"] for seen in server.requests]
    assert all(map(UUID4.fullmatch, marks))
    assert len(set(marks)) == 2

"""Which keys go with which auth_method: each mistake with its cure, and each right use."""

from collections.abc import Mapping
from typing import Any

import pytest
from loading import tokens_of

from job.config.settings import TokenSettings
from job.core.errors import ConfigError
from job.oauth.auth_methods import METHODS
from job.oauth.settings import AuthMethod

HIDDEN = "hunter2hunter2"
SECRET = {"env": "ONE_SECRET"}
KEY = {"file": "key.pem"}
TOKEN = {"file": "/var/run/secrets/tokens/freshtoken"}
TLS = {"certificate_file": "client.pem", "key_file": "client.key"}
BASE: Mapping[str, Any] = {
    "token_url": "https://as.test/token",
    "client_id": "id",
    "sinks": [{"type": "file", "path": "one.json"}],
}
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "client_id": {"client_id": "id"},
    "client_secret": {"client_secret": SECRET},
    "private_key": {"private_key": KEY},
    "client_assertion": {"client_assertion": TOKEN},
    "certificate_file": {"certificate_file": "client.pem"},
    "key_file": {"key_file": "client.key"},
}


def load(table: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> TokenSettings:
    """Load one token whose table is this beside BASE."""
    return tokens_of({"defaults": dict(defaults or {}), "tokens": {"one": {**BASE, **table}}})[
        "one"
    ]


def problems(table: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> list[str]:
    """Return what is wrong with such a token."""
    with pytest.raises(ConfigError) as caught:
        load(table, defaults)
    assert HIDDEN not in str(caught.value)
    return [problem.removeprefix("tokens.one.") for problem in caught.value.problems]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_takes_what_it_needs_and_no_more(method: AuthMethod) -> None:
    """With its own keys a method is right; without one of them, the one that lacks is told."""
    needed: dict[str, Any] = {}
    for key in METHODS[method].needs:
        needed |= GIVEN[key]
    assert load({"auth_method": method, **needed}).auth_method == method
    for key in needed:
        rest = {name: value for name, value in needed.items() if name != key}
        rest |= {"client_id": ""} if key == "client_id" else {}
        (problem,) = problems({"auth_method": method, **rest})
        assert problem.startswith(f"{key}: is missing")


SOURCES = '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'
BY_SECRET = '"client_secret_basic" or "client_secret_post" or "client_secret_jwt"'
SIGNED = '"client_secret_jwt" or "private_key_jwt"'


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, [f"client_secret: is missing; it must be {SOURCES}"]),
        ({"client_secret": []}, [f"client_secret: is missing; it must be {SOURCES}"]),
        (
            {"client_secret": SECRET, "client_id": ""},
            ["client_id: is missing; it must be text in quotes"],
        ),
        ({"client_secret": SECRET, "client_id": " "}, ["client_id: is empty"]),
        (
            {"auth_method": "client_assertion", "client_assertion": TOKEN, "client_id": " "},
            ["client_id: is empty"],
        ),
        (
            {"auth_method": "none", "client_id": ""},
            ["client_id: is missing; it must be text in quotes"],
        ),
        (
            {"private_key": KEY},
            ['private_key: goes with auth_method = "private_key_jwt"; set that, or leave it out'],
        ),
        (
            {"client_assertion": TOKEN},
            [
                (
                    'client_assertion: goes with auth_method = "client_assertion"; set that, or '
                    "leave it out"
                )
            ],
        ),
        (
            {"auth_method": "none", "client_secret": SECRET},
            [f"client_secret: goes with auth_method = {BY_SECRET}; set that, or leave it out"],
        ),
        (
            {"auth_method": "tls_client_auth"},
            [
                "certificate_file: is missing; it must be the path of a PEM file",
                "key_file: is missing; it must be the path of a PEM file",
            ],
        ),
        (
            {"auth_method": "tls_client_auth", **TLS, "token_url": "http://localhost/token"},
            ["token_url: must begin with https://, for a certificate is shown in TLS"],
        ),
        (
            {"client_secret": SECRET, "key_file": "client.key"},
            ["certificate_file: is missing beside key_file; it must be the path of a PEM file"],
        ),
        (
            {"client_secret": SECRET, "certificate_file": "client.pem"},
            ["certificate_file: is shown in TLS with key_file only; add that"],
        ),
        (
            {"client_secret": SECRET, "key_id": "k", "signing_alg": "HS256"},
            [
                'key_id: goes with auth_method = "private_key_jwt"; set that, or leave it out',
                f"signing_alg: goes with auth_method = {SIGNED}; set that, or leave it out",
            ],
        ),
        (
            {"client_secret": SECRET, "assertion_audience": "x", "assertion_in": "bearer"},
            [
                (
                    'assertion_in: goes with auth_method = "client_secret_jwt" or '
                    '"private_key_jwt" or "client_assertion"; set that, or leave it out'
                ),
                f"assertion_audience: goes with auth_method = {SIGNED}; set that, or leave it out",
            ],
        ),
        (
            {"auth_method": "private_key_jwt", "private_key": KEY, "signing_alg": "HS256"},
            ['signing_alg: goes with auth_method = "client_secret_jwt"; set that, or leave it out'],
        ),
        (
            {"auth_method": "client_secret_jwt", "client_secret": SECRET, "signing_alg": "PS256"},
            ['signing_alg: goes with auth_method = "private_key_jwt"; set that, or leave it out'],
        ),
        (
            {"auth_method": "private_key_jwt", "private_key": KEY, "signing_alg": "none"},
            [
                (
                    'signing_alg: must be one of "ES256", "ES384", "ES512", "EdDSA", "HS256", '
                    '"HS384", "HS512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"'
                )
            ],
        ),
        (
            {"auth_method": "private_key_jwt", "private_key": HIDDEN},
            [f"private_key: must say where the secret is, not hold it: {SOURCES}"],
        ),
        (
            {"auth_method": "private_key_jwt", "private_key": {}},
            [
                (
                    "private_key: needs exactly one of env, file, credential, command, aws_secret "
                    "and aws_parameter"
                )
            ],
        ),
        (
            {
                "auth_method": "private_key_jwt",
                "private_key": KEY,
                "assertion_audience": "issuer",
                "assertion_lifetime": "9s",
                "assertion_claims": {"exp": "", "jti": "", "iat": "1", "sub": "user"},
            },
            [
                "assertion_lifetime: must be at least 10s",
                "assertion_audience: needs issuer; or give the very text of the audience",
                "assertion_claims.exp: is set by freshtoken",
                "assertion_claims.iat: is set by freshtoken",
            ],
        ),
        (
            {
                "auth_method": "client_assertion",
                "client_assertion": {"aws_web_identity": "https://as.test", "duration": "2h"},
            },
            ["client_assertion.duration: must be from 1m to 1h"],
        ),
    ],
)
def test_a_key_in_the_wrong_place_is_told(table: Mapping[str, Any], expected: list[str]) -> None:
    """Each mistake is one line, with the key and what to do about it."""
    assert problems(table) == expected


@pytest.mark.parametrize(
    "table",
    [
        {"client_secret": SECRET, **TLS},
        {"auth_method": "private_key_jwt", "private_key": KEY, **TLS},
        {"auth_method": "private_key_jwt", "private_key": KEY, "certificate_file": "client.pem"},
        {"auth_method": "client_assertion", "client_assertion": TOKEN, "client_id": ""},
        {"auth_method": "client_secret_jwt", "client_secret": SECRET, "signing_alg": "HS512"},
        {
            "auth_method": "private_key_jwt",
            "private_key": KEY,
            "signing_alg": "PS256",
            "assertion_audience": "https://as.test",
            "assertion_claims": {"scope": "a", "sub": "", "nbf": ""},
        },
        {
            "auth_method": "client_assertion",
            "client_assertion": {"aws_web_identity": "https://as.test", "duration": "1h"},
        },
    ],
)
def test_what_goes_together_is_accepted(table: Mapping[str, Any]) -> None:
    """A certificate beside any method, a thumbprint, further claims: all that has a use."""
    assert load(table).client_id == table.get("client_id", "id")


def test_defaults_are_for_who_can_use_them() -> None:
    """What [defaults] says of assertions is no mistake of a token that makes none."""
    defaults = {"assertion_audience": "https://as.test", "signing_alg": "PS256", **TLS}
    assert load({"client_secret": SECRET}, defaults).signing_alg == "PS256"


def test_proofs_belong_to_a_token() -> None:
    """A key or an assertion for all clients would be one client under many names."""
    for key in ("private_key", "client_assertion"):
        (problem, *_) = problems({"client_secret": SECRET}, {key: KEY})
        assert problem == f"defaults.{key}: belongs to each token, not to all of them"

"""What `check` says of keys that tell how a server is asked and how it answers."""

from typing import Any

import pytest
from loading import tokens_of

from job.config.request_checks import secret_in_url
from job.config.settings import CommonSettings
from job.core.errors import ConfigError

BASE = {
    "token_url": "https://as.example/token",
    "client_id": "id",
    "client_secret": {"env": "S"},
    "sinks": [{"type": "file", "path": "t.json"}],
}
WORD = "must be one word, as it stands in an Authorization header"
EMPTY_PATH = "is empty; give a name, or names joined by points, such as data.accessToken"
WITHOUT_TLS = "sends the secret without TLS; use https://, or set allow_http = true"
WITH_PASSWORD = "must not hold a user or password; they go to client_id and secret"
TAKEN = "has a key of its own, or is set by freshtoken"


def problems(**keys: Any) -> list[str]:  # noqa: ANN401  # settings are of many types
    """Return what is wrong with a token that has these keys."""
    try:
        tokens_of({"tokens": {"one": BASE | keys}})
    except ConfigError as error:
        return [problem.removeprefix("tokens.one.") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "keys",
    [
        {"http_method": "GET", "request_format": "query"},
        {"request_format": "query"},
        {"request_format": "json", "grant_type": ""},
        {"client_id_param": "", "client_secret_param": "key"},
        {"client_id_param": "appid", "extra_params": {"id": "1"}},
        {"authorization_scheme": "ID", "token_type": "Zoho-oauthtoken"},
        {"token_path": "data.tokens.0.value", "expiry_path": ".expires", "expiry_unit": "ms"},
        {"introspection_url": "https://as.example/introspect?x=1"},
        {"introspection_url": "http://127.0.0.1:1/"},
        {"introspection_url": "http://as.example/", "allow_http": True},
        {"headers": {"WM_QOS.CORRELATION_ID": "{uuid}"}},
    ],
)
def test_what_providers_need_is_allowed(keys: dict[str, Any]) -> None:
    """Every way of the presets, and of their neighbours, has no problem."""
    assert problems(**keys) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"http_method": "GET"},
            ['request_format: must be "query" with http_method = "GET", which has no body'],
        ),
        (
            {"http_method": "GET", "request_format": "json"},
            ['request_format: must be "query" with http_method = "GET", which has no body'],
        ),
        ({"http_method": "PUT"}, ['http_method: must be one of "GET", "POST"']),
        ({"request_format": "xml"}, ['request_format: must be one of "form", "json", "query"']),
        ({"expiry_unit": "min"}, ['expiry_unit: must be one of "ms", "s"']),
        (
            {"client_secret_param": ""},
            ["client_secret_param: is empty; name the parameter that takes the secret"],
        ),
        (
            {"client_id_param": "key", "client_secret_param": "key"},
            ["client_id_param: must not be the same as client_secret_param"],
        ),
        (
            {"client_id_param": "appid", "extra_params": {"appid": "1"}},
            [f"extra_params.appid: {TAKEN}"],
        ),
        (
            {"client_secret_param": "pw", "extra_params": {"pw": "1", "client_secret": "2"}},
            [f"extra_params.pw: {TAKEN}", f"extra_params.client_secret: {TAKEN}"],
        ),
        ({"authorization_scheme": ""}, [f"authorization_scheme: {WORD}"]),
        ({"authorization_scheme": "a b"}, [f"authorization_scheme: {WORD}"]),
        ({"token_type": "Bearer\n"}, [f"token_type: {WORD}"]),
        ({"token_type": ""}, [f"token_type: {WORD}"]),
        ({"token_path": ""}, [f"token_path: {EMPTY_PATH}"]),
        ({"expiry_path": ""}, [f"expiry_path: {EMPTY_PATH}"]),
        (
            {"introspection_url": "as.example"},
            ["introspection_url: must be a URL: https:// and a host, without spaces"],
        ),
        (
            {"introspection_url": "http://as.example/"},
            [
                f"introspection_url: {WITHOUT_TLS}",
            ],
        ),
        (
            {"introspection_url": "https://u:p@as.example/#x"},
            [
                f"introspection_url: {WITH_PASSWORD}",
                "introspection_url: must not have a fragment (RFC 6749 section 3.2)",
            ],
        ),
    ],
)
def test_what_cannot_work_is_told_with_its_cure(keys: dict[str, Any], expected: list[str]) -> None:
    """Each mistake has one line that names the key and what to do."""
    assert problems(**keys) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"request_format": "query"}, ""),
        ({"auth_method": "client_secret_post"}, ""),
        ({"auth_method": "client_secret_post", "request_format": "json"}, ""),
        (
            {"auth_method": "client_secret_post", "request_format": "query"},
            "the client secret",
        ),
        ({"auth_method": "private_key_jwt", "request_format": "query"}, "the assertion"),
        (
            {
                "auth_method": "private_key_jwt",
                "request_format": "query",
                "assertion_in": "bearer",
            },
            "",
        ),
        ({"auth_method": "none", "request_format": "query"}, ""),
    ],
)
def test_which_credential_stands_in_the_url(keys: dict[str, Any], expected: str) -> None:
    """Only credentials that are parameters stand in a URL, and only where all parameters do."""
    assert secret_in_url(CommonSettings(**keys)) == expected

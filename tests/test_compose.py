"""From settings to objects: what is built, when, and what is shared."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import token_server
from fakes import FakeClock, record
from loading import tokens_of
from sinks import file_sink

from job.compose.refreshers import RefresherSet, sinks_of
from job.compose.token_source import key_of, params_of
from job.compose.tools import Tools, proxy_for
from job.config import Config
from job.config.settings import TokenSettings
from job.core.clock import system_clock
from job.core.refresher import Refresher
from job.core.schedule import Policy
from job.core.secret import Secret
from job.core.tokens import OutputFormat, request_key

BASE: Mapping[str, Any] = {
    "token_url": "https://as.example/token",
    "client_id": "id",
    "client_secret": {"env": "ONE_SECRET"},
    "sinks": [{"type": "file", "path": "one.json"}],
}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Undo what silences libraries in a real process."""
    yield
    logging.disable(logging.NOTSET)


def config(folder: Path | str = "/etc/job", **tokens: Mapping[str, Any]) -> Config:
    """Make a configuration of tokens; each is given by how it differs."""
    tables = {
        name: {**BASE, "sinks": [{"type": "file", "path": f"{name}.json"}], **table}
        for name, table in tokens.items()
    }
    return Config(tokens_of({"tokens": tables}, str(folder)), "here")


def one(**keys: Any) -> TokenSettings:  # noqa: ANN401  # settings are of many types
    """Make the settings of one token."""
    return config(one=keys).tokens["one"]


def tools(environ: Mapping[str, str] | None = None) -> Tools:
    """Make tools with this environment."""
    return Tools(environ or {}, "host", system_clock)


def refreshers(config: Config, environ: Mapping[str, str] | None = None) -> dict[str, Refresher]:
    """Make the refreshers of a configuration."""
    return RefresherSet(tools(environ)).update(config.tokens)


# The exchange


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_token_is_asked_for_as_the_settings_say(tmp_path: Path, method: str) -> None:
    """Method, parameters in order, headers and the secret of now reach the server."""
    table = {
        "auth_method": method,
        "scope": ["b", "a"],
        "scope_separator": ",",
        "audience": "aud",
        "resource": ["urn:x", "urn:y"],
        "extra_params": {"organization": "org"},
        "headers": {"User-Agent": "partner/1"},
        "keep_extra": ["kind"],
        "lifetime": "2m",
    }
    answers = (token_server.token("tok", kind="x", other="y"),)
    with token_server.TokenServer(*answers) as server:
        built = config(tmp_path, one={**table, "token_url": server.url})
        refresher = refreshers(built, {"ONE_SECRET": "s3cret"})["one"]
        events = refresher.step()
    assert [event.name for event in events] == [
        "token.refreshed",
        "token.promise_unholdable",
        "token.delivered",
    ]
    asked = server.requests[0]
    credentials = [("client_id", "id"), ("client_secret", "s3cret")]
    assert asked.pairs == (
        ("grant_type", "client_credentials"),
        ("scope", "b,a"),
        ("audience", "aud"),
        ("resource", "urn:x"),
        ("resource", "urn:y"),
        ("organization", "org"),
        *(credentials if method == "client_secret_post" else []),
    )
    assert asked.headers["user-agent"] == "partner/1"
    assert asked.headers.get("authorization") == (
        "Basic aWQ6czNjcmV0" if method == "client_secret_basic" else None
    )
    stored = file_sink(str(tmp_path / "one.json"), OutputFormat("json", "one")).read()
    assert stored is not None
    assert (stored.token.lifetime, stored.token.scope) == (120, "b a")
    assert dict(stored.token.extra) == {"kind": "x"}


def test_raw_basic_encoding_is_a_key(tmp_path: Path) -> None:
    """basic_encoding = "raw" sends id and secret as they are."""
    with token_server.TokenServer() as server:
        built = config(tmp_path, one={"token_url": server.url, "basic_encoding": "raw"})
        refreshers(built, {"ONE_SECRET": "s:/%"})["one"].step()
    assert server.requests[0].headers["authorization"] == "Basic aWQ6czovJQ=="


def test_the_timeout_is_the_total_deadline(tmp_path: Path) -> None:
    """A server that never answers costs `timeout`, and the failure says so."""
    with token_server.TokenServer(token_server.stall()) as server:
        built = config(tmp_path, one={"token_url": server.url, "timeout": 0.1})
        (event,) = refreshers(built, {"ONE_SECRET": "s"})["one"].step()
    assert (event.name, getattr(event, "code", "")) == ("token.refresh_failed", "timeout")


def test_a_source_notices_a_new_secret(tmp_path: Path) -> None:
    """After a rejection the secret's file is looked at, and a change ends the wait."""
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    refused, given = token_server.refusal(401, "invalid_client"), token_server.token()
    with token_server.TokenServer(refused, given) as server:
        table = {"token_url": server.url, "client_secret": {"file": "secret"}}
        refresher = refreshers(config(tmp_path, one=table))["one"]
        names = [[event.name for event in refresher.step()] for _ in range(2)]
        secret.write_text("new\n")
        names.append([event.name for event in refresher.step()])
    assert names == [["token.refresh_failed"], [], ["token.refreshed", "token.delivered"]]


def test_tokens_with_one_way_to_the_server_share_it(tmp_path: Path) -> None:
    """The trusted certificates are held once for all tokens with the same settings."""
    shared = tools({"HTTPS_PROXY": "http://proxy.example:1"})
    first, second = one(), one(audience="other")
    transport = shared.transport(first, first.token_url or "")
    assert shared.transport(second, first.token_url or "") is transport
    assert (transport.timeout_s, transport.ca_file) == (15.0, "")
    assert transport.proxies == {
        "http": "http://proxy.example:1",
        "https": "http://proxy.example:1",
    }
    other = shared.transport(one(timeout="3s", proxy=""), "https://as.example/")
    assert (other.timeout_s, other.proxies) == (3.0, {})


@pytest.mark.parametrize(
    ("ca_file", "environ", "expected"),
    [
        ("ca.pem", {"REQUESTS_CA_BUNDLE": "/env.pem"}, "/etc/job/ca.pem"),
        ("/own.pem", {}, "/own.pem"),
        (None, {"SSL_CERT_FILE": "/c", "CURL_CA_BUNDLE": "/b", "REQUESTS_CA_BUNDLE": "/a"}, "/a"),
        (None, {"SSL_CERT_FILE": "/c", "CURL_CA_BUNDLE": "/b", "REQUESTS_CA_BUNDLE": ""}, "/b"),
        ("", {"SSL_CERT_FILE": "/c"}, "/c"),
        (None, {}, ""),
    ],
)
def test_whom_to_trust(ca_file: str | None, environ: dict[str, str], expected: str) -> None:
    """The key ca_file wins over the usual variables; a relative one is beside the file."""
    settings = one(**({} if ca_file is None else {"ca_file": ca_file}))
    assert tools(environ).transport(settings, "").ca_file == expected


def test_the_proxy_is_that_of_the_url_that_is_asked() -> None:
    """An issuer inside the own network may name an endpoint that only the proxy reaches."""
    environ = {"HTTPS_PROXY": "http://proxy.example:1", "NO_PROXY": "inside.example"}
    built, settings = tools(environ), one(issuer="https://inside.example")
    inside = built.transport(settings, "https://inside.example/.well-known/x")
    outside = built.transport(settings, "https://as.example/token")
    assert (inside.proxies, outside.proxies.get("https")) == ({}, "http://proxy.example:1")


@pytest.mark.parametrize(
    ("url", "proxy", "environ", "expected"),
    [
        ("https://as.example/", None, {}, ""),
        ("https://as.example/", "http://own:1", {"HTTPS_PROXY": "http://env:1"}, "http://own:1"),
        ("https://as.example/", "", {"HTTPS_PROXY": "http://env:1"}, ""),
        ("https://as.example/", None, {"HTTPS_PROXY": "http://env:1"}, "http://env:1"),
        ("https://as.example/", None, {"HTTP_PROXY": "http://env:1"}, ""),
        ("http://as.example/", None, {"http_proxy": "http://low:1", "HTTP_PROXY": "x"}, "http://low:1"),
        ("https://as.example/", None, {"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ("https://as.example/", None, {"HTTPS_PROXY": "http://e:1", "NO_PROXY": ".example"}, ""),
        ("https://as.example/", None, {"HTTPS_PROXY": "http://e:1", "no_proxy": "*"}, ""),
        ("https://as.example/", None, {"HTTPS_PROXY": "http://e:1", "NO_PROXY": "b"}, "http://e:1"),
    ],
)  # fmt: skip
def test_which_proxy(url: str, proxy: str | None, environ: dict[str, str], expected: str) -> None:
    """The key proxy wins, empty for none; else the usual variables count, and NO_PROXY."""
    assert proxy_for(url, proxy, environ) == expected


def test_what_decides_the_token_is_in_its_key() -> None:
    """The request key follows from URL, client, scope, audience, resource and parameters."""
    settings = one(scope=["b", "a"], audience="x", resource=["urn:r"], extra_params={"p": "q"})
    url = "https://as.example/token"
    expected = request_key(url, "id", ("a", "b"), "x", ("urn:r",), {"p": "q"})
    assert key_of(settings) == expected
    assert key_of(one()) == request_key(url, "id")
    rest = [
        {"grant_type": "account_credentials"},
        {"token_path": "data.token"},
        {"token_type": "OAuth"},
        {"assertion_claims": {"scope": "a"}},
    ]
    changed = [msgspec.structs.replace(one(), **more) for more in [{}, *rest]]
    assert len(set(map(key_of, changed))) == 5
    ways = {"http_method": "GET", "request_format": "query", "expiry_unit": "ms"}
    assert key_of(one(**ways)) == key_of(one())
    assert params_of(one()) == (
        ("grant_type", "client_credentials"),
        ("scope", ""),
        ("audience", ""),
    )


# Secrets


def test_live_secrets_are_those_in_memory(tmp_path: Path) -> None:
    """Masking gets the tokens and secrets that are in use: of one token, or of all."""
    with token_server.TokenServer(
        token_server.token("tok-1"), token_server.token("tok-2")
    ) as server:
        url = {"token_url": server.url}
        built = RefresherSet(tools({"ONE_SECRET": "s1", "TWO_SECRET": "s2"}))
        two = url | {"client_secret": {"env": "TWO_SECRET"}}
        made = built.update(config(tmp_path, one=url, two=two).tokens)
        assert list(built.live_secrets(None)) == []
        for refresher in made.values():
            refresher.step()
    assert list(built.live_secrets("one")) == [Secret("tok-1"), Secret("s1")]
    every = [Secret("tok-1"), Secret("s1"), Secret("tok-2"), Secret("s2")]
    assert list(built.live_secrets(None)) == every
    assert list(built.live_secrets("unknown")) == every


# Refreshers


def test_a_refresher_outlives_a_reload_that_does_not_touch_it() -> None:
    """After a reload a token with the same settings goes on with all that is known of it."""
    built = RefresherSet(tools())
    before = built.update(config(one={}, two={}, gone={}).tokens)
    after = built.update(config(one={}, two={"audience": "new"}, new={}).tokens)
    assert list(after) == ["one", "two", "new"]
    assert after["one"] is before["one"]
    assert after["two"] is not before["two"]
    moved = built.update(config("/elsewhere", one={}).tokens)
    assert moved["one"] is not after["one"]


def test_a_folder_of_any_bytes_is_a_folder() -> None:
    """The name of the configuration's folder need not be UTF-8."""
    folder = os.fsdecode(b"/etc/\xff")
    assert list(refreshers(config(folder, one={}))) == ["one"]


def test_what_a_dead_writer_left_is_swept(tmp_path: Path) -> None:
    """Building the refreshers removes the temporary files of writers that are gone."""
    left = tmp_path / ".one.json.0123456789abcdef.tmp"
    left.write_text("half")
    refreshers(config(tmp_path, one={}))
    assert not left.exists()


def test_nothing_heavy_is_built_before_it_is_needed(tmp_path: Path) -> None:
    """A good stored token is adopted without a transport, and without reading the secret."""
    clock = FakeClock()
    built = Tools({}, "host", clock)
    settings = config(tmp_path, one={"client_secret": {"command": ["false"]}})
    sink = sinks_of("one", settings.tokens["one"], built)[0]
    sink.write(record(key=key_of(settings.tokens["one"])))
    events = RefresherSet(built).update(settings.tokens)["one"].step()
    assert [event.name for event in events] == ["token.adopted"]


def test_the_policy_is_the_settings_in_seconds_and_shared() -> None:
    """Every wish about timing reaches the schedule; equal ones are one object."""
    built = tools()
    settings = one(
        refresh_at=0.5,
        jitter=0.1,
        min_validity="2m",
        retry_budget=30,
        min_interval="10s",
        max_age="1d",
        reissue="revokes_previous",
        fresh_window="5m",
    )
    assert built.policy(settings) == Policy(
        0.5, 0.1, 120.0, 30.0, 10.0, 86_400.0, "revokes_previous", 300.0
    )
    assert built.policy(one()) == Policy()
    assert built.policy(one()) is built.policy(one(audience="x"))


# Sinks


def test_sinks_are_built_as_configured(tmp_path: Path) -> None:
    """Relative paths start at the folder, and mode and format are those of the settings."""
    table = {
        "sinks": [
            {"type": "file", "path": "a.env", "format": "env", "mode": "0640"},
            {"type": "file", "path": "/b", "format": "template", "template": "{access_token}"},
            {"type": "aws_secrets_manager", "secret_id": "prod/one", "region": "eu-west-1"},
            {"type": "aws_secrets_manager", "secret_id": "prod/two", "region": "eu-west-1"},
        ]
    }
    settings = config(tmp_path, one=table).tokens["one"]
    sinks = sinks_of("one", settings, tools())
    assert [sink.label for sink in sinks] == [
        f"file:{tmp_path}/a.env",
        "file:/b",
        "aws-secrets-manager:prod/one",
        "aws-secrets-manager:prod/two",
    ]
    sinks[0].write(record("tok"))
    assert (tmp_path / "a.env").read_text().startswith("ACCESS_TOKEN=tok\n")
    assert (tmp_path / "a.env").stat().st_mode & 0o777 == 0o640

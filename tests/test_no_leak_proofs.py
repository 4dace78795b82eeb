"""Servers that give back what a client proved itself by; then all that comes out is searched."""

import gc
import io
import re
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from certificates import client_certificate
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import import_key
from loading import tokens_of
from token_server import Seen, TokenServer, answer

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.config import Config
from job.core.clock import system_clock
from job.core.events import TokenRefreshFailed
from job.observe.log import log_observer
from job.verbs.plan import token_plans
from job.verbs.preflight import preflight

pytestmark = pytest.mark.slow

PAIR = client_certificate("client")
OTHER = client_certificate("other")
FOREIGN = joserfc_jwt.encode({"alg": "ES256"}, {"iss": "k8s"}, import_key(OTHER.key, "EC"))
LONG = "a-secret-that-is-long-enough-for-HS256-and-more"
FILES: Mapping[str, bytes] = {
    "long.secret": LONG.encode(),
    "client.key": PAIR.key,
    "client.pem": PAIR.certificate,
    "locked.key": PAIR.locked(),
    "other.key": OTHER.key,
    "token": FOREIGN.encode(),
}
SIGNED = {"auth_method": "private_key_jwt", "private_key": {"file": "client.key"}}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "secret": {"auth_method": "client_secret_jwt", "client_secret": {"file": "long.secret"}},
    "key": SIGNED,
    "thumbprint": {**SIGNED, "certificate_file": "client.pem"},
    "grant": {**SIGNED, "assertion_in": "assertion"},
    "bearer": {**SIGNED, "assertion_in": "bearer", "grant_type": ""},
    "json": {**SIGNED, "request_format": "json"},
    "query": {**SIGNED, "request_format": "query"},
    "foreign": {"auth_method": "client_assertion", "client_assertion": {"file": "token"}},
}
UNUSABLE: Mapping[str, Mapping[str, Any]] = {
    "locked": {**SIGNED, "private_key": {"file": "locked.key"}},
    "not a key": {**SIGNED, "private_key": {"file": "token"}},
    "key as assertion": {
        "auth_method": "client_assertion",
        "client_assertion": {"file": "client.key"},
    },
    "mismatch": {
        "auth_method": "tls_client_auth",
        "certificate_file": "client.pem",
        "key_file": "other.key",
    },
}


def proof_in(seen: Seen) -> str:
    """Return the assertion of a request, wherever it stands."""
    (found,) = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", f"{seen.path} {seen.headers} {seen.pairs}")
    return str(found)


ECHOES: Mapping[str, Callable[[str, Seen], bytes]] = {
    "description": lambda proof, _: answer(
        401, {"error": "invalid_client", "error_description": f"bad assertion {proof}"}
    ),
    "error": lambda proof, _: answer(400, {"error": proof}),
    "message": lambda proof, _: answer(403, {"message": proof, "errors": [{"message": proof}]}),
    "page": lambda proof, _: answer(502, f"<html>{proof}</html>", {"Content-Type": "text/html"}),
    "whole request": lambda _, seen: answer(400, {"error_description": repr(seen)}),
    "redirect": lambda proof, _: answer(302, b"", {"Location": f"/login?assertion={proof}"}),
    "token": lambda proof, _: answer(200, {"access_token": f"{proof} x", "token_type": "Bearer"}),
    "type": lambda proof, _: answer(200, {"access_token": "tok", "token_type": proof}),
}


def pieces(text: str) -> set[str]:
    """Cut what is secret in a text into parts of 16 characters."""
    lines = [line for line in text.splitlines() if not line.startswith("-----")]
    return {line[at : at + 16] for line in lines for at in range(len(line) - 15)}


def seen_in(text: str, *secrets: str) -> list[str]:
    """Return the parts of secrets that a text shows."""
    return [piece for secret in secrets for piece in pieces(secret) if piece in text]


PRIVATE = (LONG, PAIR.key.decode(), OTHER.key.decode(), PAIR.locked().decode())


def config_of(folder: Path, url: str, ways: Mapping[str, Mapping[str, Any]]) -> Config:
    """Write the files and load a token for each way."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    base = {"token_url": url, "client_id": "my-id"}
    tables = {
        name.replace(" ", "-"): {
            **base,
            **keys,
            "sinks": [{"type": "file", "path": f"{name}.json"}],
        }
        for name, keys in ways.items()
    }
    return Config(tokens_of({"tokens": tables}, str(folder)), "here")


def logged(config: Config) -> str:
    """Step every token once; return the log at debug level, the events, and all that is printed."""
    log = io.StringIO()
    composed = RefresherSet(Tools({}, "host", system_clock))
    report = log_observer(log, "json", "debug", composed.live_secrets)
    events = []
    for refresher in composed.update(config.tokens).values():
        for event in refresher.step():
            events.append(event)
            report(event)
    assert sum(isinstance(event, TokenRefreshFailed) for event in events) == len(config.tokens)
    ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith("job.")]
    assert any(type(one).__name__ == "WatchedSecret" for one in ours)
    return log.getvalue() + repr(events) + "\n".join(map(repr, ours))


@pytest.mark.parametrize("echo", ECHOES)
def test_an_assertion_that_comes_back_is_not_seen(tmp_path: Path, echo: str) -> None:
    """Promise: whatever part of an answer holds the assertion, no log, event or object shows it."""
    proofs: list[str] = []

    def play(connection: socket.socket, _: threading.Event) -> None:
        seen = server.requests[-1]
        proofs.append(proof_in(seen))
        connection.sendall(ECHOES[echo](proofs[-1], seen))

    server = TokenServer(play)
    with server:
        found = logged(config_of(tmp_path, server.url, WAYS))
    assert len(proofs) == len(WAYS)
    assert seen_in(found, *proofs, *PRIVATE) == []


def test_a_proof_that_cannot_be_used_is_not_seen(tmp_path: Path) -> None:
    """Promise: neither the failed exchange nor `check` shows a key or an assertion."""
    config = config_of(tmp_path, "https://127.0.0.1:9/token", UNUSABLE)
    found = logged(config)
    tools = Tools({}, "host", system_clock)
    found += "\n".join(map(str, token_plans(config, tools, online=False)))
    for name in config.tokens:
        found += repr(list(preflight(name, config.tokens[name], tools)))
    assert found.count("is encrypted") >= 2
    assert seen_in(found, FOREIGN, *PRIVATE) == []

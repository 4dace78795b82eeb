"""The Tiki preset and `freshtoken once` against a server that answers as Ory Hydra does."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra_server import AuthMethod, Client, HydraServer
from running import PATIENCE_S, ROOT

from job.core.secret import Secret

CLIENT_ID = "7590139168389961"
BASIC: AuthMethod = "client_secret_basic"
POST: AuthMethod = "client_secret_post"
PLAIN = secrets.token_urlsafe(24)
PLUS = f"{PLAIN}+/="
PERCENT = f"{PLAIN}100%"

pytestmark = pytest.mark.integration


class Run(NamedTuple):
    """How one `freshtoken once` ended: its status, its events, and what the file holds."""

    status: int
    events: list[dict[str, Any]]
    stored: dict[str, Any] | None
    shown: str


def once(folder: Path, server: HydraServer, secret: str, *settings: str) -> Run:
    """Run the Tiki preset against the server, with further lines of configuration."""
    (folder / "secret").write_text(secret)
    lines = [
        "[tokens.tiki]",
        'provider = "tiki"',
        f'token_url = "{server.token_url}"',
        f'client_id = "{CLIENT_ID}"',
        'client_secret = { file = "secret" }',
        'sinks = [{ type = "file", path = "tiki.json" }]',
        *settings,
    ]
    config = folder / "freshtoken.toml"
    config.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "job", "--config", str(config), "--log-format", "json", "once"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    file = folder / "tiki.json"
    stored = json.loads(file.read_text()) if file.exists() else None
    events = [json.loads(line) for line in done.stderr.splitlines()]
    return Run(done.returncode, events, stored, done.stdout + done.stderr)


def client(method: AuthMethod, secret: str = PLAIN, client_id: str = CLIENT_ID) -> Client:
    """Make a client as Tiki's console registers it: for one method."""
    return Client(client_id, Secret(secret), method, ("offline",))


@pytest.mark.parametrize("secret", [PLAIN, PLUS, PERCENT], ids=["plain", "plus", "percent"])
@pytest.mark.parametrize("method", [BASIC, POST])
def test_the_right_method_brings_a_token(tmp_path: Path, method: AuthMethod, secret: str) -> None:
    """Any secret works with either method, and the token is stored with the life that was told."""
    with HydraServer([client(method, secret)]) as server:
        run = once(tmp_path, server, secret, f'auth_method = "{method}"')
        assert run.stored is not None
        assert server.is_valid(run.stored["access_token"])
    told = [(event["event"], event["level"]) for event in run.events]
    assert (run.status, told) == (0, [("token.refreshed", "info"), ("token.delivered", "info")])
    assert run.stored["expires_at"] - run.stored["obtained_at"] in (3599, 3600)
    assert run.stored["token_type"] == "Bearer"
    assert run.events[0]["expiry_source"] == "expires_in"
    assert secret not in run.shown


class Mistake(NamedTuple):
    """What is registered, what is configured, and what comes of it."""

    registered: Client
    secret: str
    settings: tuple[str, ...]
    answer: tuple[int, str]
    words: tuple[str, ...]


BY_BODY = 'auth_method = "client_secret_post"'
RAW = 'basic_encoding = "raw"'
DENIED, MALFORMED = (401, "invalid_client"), (400, "invalid_request")
GENERIC = ("check all three", "Client authentication failed")

MISTAKES = {
    "Basic, registered for the body": Mistake(
        client(POST), PLAIN, (), DENIED, ('set auth_method = "client_secret_post"',)
    ),
    "body, registered for Basic": Mistake(
        client(BASIC), PLAIN, (BY_BODY,), DENIED, ('set auth_method = "client_secret_basic"',)
    ),
    "wrong secret, Basic": Mistake(client(BASIC), f"{PLAIN}x", (), DENIED, GENERIC),
    "wrong secret, body": Mistake(client(POST), f"{PLAIN}x", (BY_BODY,), DENIED, GENERIC),
    "unknown client": Mistake(client(BASIC, PLAIN, "1"), PLAIN, (), DENIED, GENERIC),
    "a raw plus is a space": Mistake(client(BASIC, PLUS), PLUS, (RAW,), DENIED, GENERIC),
    "a raw percent sign is refused": Mistake(
        client(BASIC, PERCENT), PERCENT, (RAW,), MALFORMED, ('set basic_encoding = "form"',)
    ),
    "a scope of others": Mistake(
        client(BASIC),
        PLAIN,
        ('scope = ["offline", "all"]',),
        (400, "invalid_scope"),
        ("correct scope", 'is not allowed to request scope "all"'),
    ),
}


@pytest.mark.fault("wrong-auth-method")
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_refusal_tells_what_to_set(tmp_path: Path, mistake: Mistake) -> None:
    """One event with the server's code and the cure, exit status 77, nothing stored or leaked."""
    with HydraServer([mistake.registered]) as server:
        run = once(tmp_path, server, mistake.secret, *mistake.settings)
    (event,) = run.events
    told = [event[name] for name in ("event", "level", "http_status", "code")]
    assert told == ["token.refresh_failed", "error", *mistake.answer]
    assert [word for word in mistake.words if word not in event["message"]] == []
    assert (run.status, run.stored) == (77, None)
    assert not [word for word in (mistake.secret, PLAIN, "bcrypt") if word in run.shown]

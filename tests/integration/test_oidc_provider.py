"""The job against a real authorization server, watched by readers who look every 50 ms.

`SOAK_SECONDS` says how long they look: 20 unless it is set.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer
from mypy_boto3_secretsmanager import SecretsManagerClient
from running import PATIENCE_S, paced

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOAK_SECONDS = paced(float(os.environ.get("SOAK_SECONDS", "20")))
LIFETIME = paced(10)
MIN_VALIDITY = paced(2)
POLL_SECONDS = 0.05
REGION = "eu-central-1"
# What breaks clients that don't form-encode Basic credentials (RFC 6749 section 2.3.1).
UGLY = ":+%&=/ "

pytestmark = [pytest.mark.integration, pytest.mark.timeout(SOAK_SECONDS + 600)]


@dataclass(frozen=True)
class Client:
    """A registered client; its id and secret are made for this run alone."""

    name: str
    method: str
    id: str = field(default_factory=lambda: f"id{UGLY}{secrets.token_hex(4)}")
    secret: str = field(default_factory=lambda: f"{secrets.token_urlsafe(24)}{UGLY}", repr=False)

    def introspect(self, issuer: str, token: str) -> dict[str, Any]:
        """Ask the server itself what it thinks of a token (RFC 7662)."""
        url, form, auth = f"{issuer}/token/introspection", {"token": token}, None
        if self.method == "client_secret_basic":
            auth = (quote_plus(self.id), quote_plus(self.secret))
        else:
            form |= {"client_id": self.id, "client_secret": self.secret}
        answer: dict[str, Any] = requests.post(url, data=form, auth=auth, timeout=PATIENCE_S).json()
        return answer


@dataclass
class Reader:
    """Somebody who reads one sink; keeps what was wrong, and the tokens that were seen."""

    label: str
    fetch: Callable[[], str | None]
    introspect: Callable[[str], dict[str, Any]]
    seen: set[str] = field(default_factory=set, repr=False)
    wrong: list[str] = field(default_factory=list)
    least_left: float = LIFETIME

    def look(self) -> None:
        """Read once. Nothing at all is right only before the first token."""
        text, now = self.fetch(), time.time()
        if text is None:
            if self.seen:
                self.wrong.append(f"{self.label}: missing")
            return
        try:
            document = json.loads(text)
            self._judge(document["access_token"], document, now)
        except (ValueError, KeyError):
            self.wrong.append(f"{self.label}: partial")

    def _judge(self, token: str, document: dict[str, Any], now: float) -> None:
        """Compare the document with the clock and, once for each token, with the server."""
        if hashlib.sha256(token.encode()).hexdigest()[:12] != document["freshtoken"]["fingerprint"]:
            self.wrong.append(f"{self.label}: not the token of its fingerprint")
        self.least_left = min(self.least_left, document["expires_at"] - now)
        if document["expires_at"] - now < MIN_VALIDITY:
            self.wrong.append(f"{self.label}: {document['expires_at'] - now:.2f} s left")
        if token not in self.seen:
            answer = self.introspect(token)
            if not answer["active"] or answer["exp"] < document["expires_at"]:
                self.wrong.append(f"{self.label}: the server does not confirm the token")
        self.seen.add(token)


@pytest.fixture
def clients() -> list[Client]:
    """Give one client for each way of proving who one is."""
    return [Client("basic", "client_secret_basic"), Client("post", "client_secret_post")]


@contextlib.contextmanager
def running(argv: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process and leave nothing of it behind."""
    with subprocess.Popen(argv, text=True, cwd=ROOT, **options) as process:
        try:
            yield process
        finally:
            process.kill()


class Provider:
    """The authorization server: where it listens, and at the end what it has granted."""

    def __init__(self, process: subprocess.Popen[str], settings: dict[str, Any]) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._stdin.write(json.dumps(settings) + "\n")
        self._stdin.flush()
        self.issuer: str = json.loads(self._stdout.readline())["issuer"]

    def finish(self) -> dict[str, Any]:
        """Stop it and return {"granted": {client id: count}, "refused": count}."""
        self._stdin.close()
        summary: dict[str, Any] = json.loads(self._stdout.readline())
        return summary


@contextlib.contextmanager
def serving(settings: dict[str, Any], log_path: Path) -> Iterator[Provider]:
    """Start the authorization server; skip where it is not installed, but never in CI."""
    node = shutil.which("node")
    reason = "" if node else "node is not installed"
    if not (HERE / "node_modules" / "oidc-provider").is_dir():
        reason = reason or "oidc-provider is not installed: run `npm ci` in tests/integration"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if node is None or reason:
        pytest.skip(reason)
    with log_path.open("w") as log:
        argv = [node, str(HERE / "oidc_provider.mjs")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with running(argv, **pipes) as process:
            yield Provider(process, settings)


@pytest.fixture
def provider(clients: list[Client], tmp_path: Path) -> Iterator[Provider]:
    """Start the authorization server with these clients."""
    registered = [{"id": c.id, "secret": c.secret, "method": c.method} for c in clients]
    settings = {"lifetime": LIFETIME, "clients": registered}
    with serving(settings, tmp_path / "provider.log") as started:
        yield started


@pytest.fixture
def aws_url(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """Start a stand-in for AWS; it is kept from logging every request."""
    caplog.set_level("WARNING", logger="werkzeug")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def secrets_manager(aws_url: str) -> Iterator[SecretsManagerClient]:
    """Give the client through which readers read."""
    client = boto3.client(
        "secretsmanager",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="reader",
        aws_secret_access_key="reader",
    )
    yield client
    client.close()


def configuration(client: Client, issuer: str, aws_url: str, folder: Path) -> str:
    """Write the part of freshtoken.toml about one client."""
    (folder / f"{client.name}.secret").write_text(client.secret + "\n")
    return f"""
        [tokens.{client.name}]
        token_url = "{issuer}/token"
        client_id = {json.dumps(client.id)}
        client_secret = {{ file = "{folder}/{client.name}.secret" }}
        auth_method = "{client.method}"
        min_validity = "{MIN_VALIDITY}s"
        retry_budget = "2s"

        [[tokens.{client.name}.sinks]]
        type = "file"
        path = "{folder}/{client.name}.json"

        [[tokens.{client.name}.sinks]]
        type = "aws_secrets_manager"
        secret_id = "integration/{client.name}"
        region = "{REGION}"
        endpoint_url = "{aws_url}"
        create = true
    """


@contextlib.contextmanager
def job(config: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the job as an operator would."""
    environ = os.environ | {
        "AWS_ACCESS_KEY_ID": "job",
        "AWS_SECRET_ACCESS_KEY": "job",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    argv = [sys.executable, "-m", "job", "--config", str(config), "run"]
    try:
        with log.open("w") as stderr, running(argv, env=environ, stderr=stderr) as process:
            yield process
    finally:
        sys.stdout.write(log.read_text())  # pytest shows it when the test fails


def file_content(path: Path) -> str | None:
    """Read the file as any program would."""
    return path.read_text() if path.exists() else None


def secret_content(secrets_manager: SecretsManagerClient, secret_id: str) -> str | None:
    """Read the current version of a secret.

    AWSCURRENT is AWS's own default; the stand-in forgets it when the label is moved.
    """
    try:
        value = secrets_manager.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
    except secrets_manager.exceptions.ResourceNotFoundException:
        return None
    return value["SecretString"]


def versions(secrets_manager: SecretsManagerClient, secret_id: str) -> list[str]:
    """Return the token of every version that the secret has ever had."""
    listed = secrets_manager.list_secret_version_ids(
        SecretId=secret_id, IncludeDeprecated=True, MaxResults=100
    )
    ids = [version["VersionId"] for version in listed["Versions"]]
    values = [secrets_manager.get_secret_value(SecretId=secret_id, VersionId=i) for i in ids]
    return [json.loads(value["SecretString"])["access_token"] for value in values]


def watch(readers: list[Reader], process: subprocess.Popen[str]) -> None:
    """Look until every reader has had a token, and for SOAK_SECONDS more."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while not all(reader.seen for reader in readers) and time.monotonic() < deadline:
        _look(readers, process, pause)
    assert all(reader.seen for reader in readers), "no first token"
    deadline = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < deadline:
        _look(readers, process, pause)


def _look(readers: list[Reader], process: subprocess.Popen[str], pause: threading.Event) -> None:
    assert process.poll() is None, "the job has ended"
    started = time.monotonic()
    for reader in readers:
        reader.look()
    pause.wait(max(0, started + POLL_SECONDS - time.monotonic()))


def test_readers_never_meet_a_bad_token(
    clients: list[Client],
    provider: Provider,
    aws_url: str,
    secrets_manager: SecretsManagerClient,
    tmp_path: Path,
) -> None:
    """With tokens of 10 seconds, whoever reads either sink always gets a whole and valid token."""
    config, log = tmp_path / "freshtoken.toml", tmp_path / "job.log"
    config.write_text(
        "\n".join(configuration(client, provider.issuer, aws_url, tmp_path) for client in clients)
    )
    files = {c.name: reader_of_file(c, provider.issuer, tmp_path) for c in clients}
    stores = {c.name: reader_of_secret(c, provider.issuer, secrets_manager) for c in clients}
    readers = [*files.values(), *stores.values()]
    with job(config, log) as process:
        watch(readers, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
    for reader in readers:
        reader.look()
    assert [wrong for reader in readers for wrong in reader.wrong] == []
    summary = provider.finish()
    for client in clients:
        tokens = versions(secrets_manager, f"integration/{client.name}")
        assert len(tokens) == summary["granted"][client.id]
        assert set(tokens) == files[client.name].seen == stores[client.name].seen
        assert SOAK_SECONDS / LIFETIME < len(tokens) < SOAK_SECONDS / (LIFETIME / 2) + 2
        assert not [text for text in (client.secret, *tokens) if text in log.read_text()]
    assert summary["refused"] == 0


def test_an_issuer_is_enough(clients: list[Client], provider: Provider, tmp_path: Path) -> None:
    """The endpoint and the method are found by the issuer's own metadata, and told by `check`."""
    basic, post = clients
    said = {basic.name: f'auth_method = "{basic.method}"', post.name: "# the issuer's choice"}
    config = tmp_path / "freshtoken.toml"
    config.write_text(
        "".join(
            configuration(client, "", "http://127.0.0.1:1", tmp_path)
            .partition("\n\n        [[tokens." + client.name + '.sinks]]\n        type = "aws')[0]
            .replace('token_url = "/token"', f'issuer = "{provider.issuer}"')
            .replace(f'auth_method = "{client.method}"', said[client.name])
            for client in clients
        )
    )
    argv = [sys.executable, "-m", "job", "--config", str(config)]
    check = subprocess.run(
        [*argv, "check", "--online"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    once = subprocess.run([*argv, "once"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (check.returncode, once.returncode) == (0, 0), check.stdout + check.stderr + once.stderr
    told = " ".join(check.stdout.split())
    assert f"oauth-authorization-server names {provider.issuer}/token, which takes" in told
    assert f"{post.method} is used" in told
    # The empty requests of `check` are what is refused.
    assert provider.finish() == {"granted": {basic.id: 1, post.id: 1}, "refused": 2}


def reader_of_file(client: Client, issuer: str, folder: Path) -> Reader:
    """Give somebody who reads the client's file."""
    path = folder / f"{client.name}.json"
    return Reader(
        f"{client.name} file",
        lambda: file_content(path),
        lambda token: client.introspect(issuer, token),
    )


def reader_of_secret(client: Client, issuer: str, secrets_manager: SecretsManagerClient) -> Reader:
    """Give somebody who reads the client's secret."""
    return Reader(
        f"{client.name} secret",
        lambda: secret_content(secrets_manager, f"integration/{client.name}"),
        lambda token: client.introspect(issuer, token),
    )

"""Rivals as real processes: daemons, cron and single runs on the same file and the same secret."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra_server import Client, HydraServer
from running import PATIENCE_S, ROOT, paced
from token_server import Play, TokenServer, token

from job.core.secret import Secret

if TYPE_CHECKING:
    from aws import FaultyAws
    from mypy_boto3_secretsmanager import SecretsManagerClient

LIFE_S = paced(6)
PERIODS = 3
SHORT = "min_validity = 0\nretry_budget = 0\nmin_interval = 1\njitter = 0.1\n"
SECRET_ID = "prod/tiki"

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[HydraServer]:
    """Start the authorization server, which counts exchanges."""
    client = Client("tiki", Secret(secrets.token_urlsafe(24)))
    with HydraServer([client], lifetime_s=3600) as running:
        running.secret = client.secret.reveal()  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Keep the processes that a test starts; none of them is left after it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def configure(folder: Path, url: str, sink: str, more: str = "", proof: str = "") -> Path:
    """Write the configuration of one token; `proof` is the client's secret."""
    (folder / "client.secret").write_text(proof or "any")
    config = folder / "freshtoken.toml"
    config.write_text(
        f'[tokens.tiki]\ntoken_url = "{url}"\nclient_id = "tiki"\n'
        f'client_secret = {{ file = "client.secret" }}\n{more}\n[[tokens.tiki.sinks]]\n{sink}\n'
    )
    return config


def file_sink() -> str:
    """Write the table of a file sink."""
    return 'type = "file"\npath = "tiki.json"'


def secret_sink(url: str) -> str:
    """Write the table of a sink in the emulated AWS."""
    return (
        f'type = "aws_secrets_manager"\nsecret_id = "{SECRET_ID}"\nregion = "eu-central-1"\n'
        f'endpoint_url = "{url}"\ncreate = true'
    )


def start(processes: list[subprocess.Popen[str]], verb: str, config: Path) -> subprocess.Popen[str]:
    """Start a verb of the program as a process of its own."""
    argv = [sys.executable, "-m", "job", verb, "--config", str(config), "--log-format", "json"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    processes.append(process)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, object]]]:
    """Return a process's exit status and what it told."""
    _, told = process.communicate(timeout=PATIENCE_S)
    return process.returncode, [json.loads(line) for line in told.splitlines()]


def in_file(folder: Path) -> Callable[[], str]:
    """Read the token in the file."""
    return lambda: str(json.loads((folder / "tiki.json").read_text())["access_token"])


def in_secret(aws: "SecretsManagerClient") -> Callable[[], str]:
    """Read the token in the secret."""

    def read() -> str:
        got = aws.get_secret_value(SecretId=SECRET_ID, VersionStage="AWSCURRENT")
        return str(json.loads(got["SecretString"])["access_token"])

    return read


# Ten at once


@pytest.mark.fault("rivals-on-one-host")
def test_ten_at_the_same_instant_make_one_exchange(
    tmp_path: Path, server: HydraServer, processes: list[subprocess.Popen[str]]
) -> None:
    """Promise: however many start together on one file, one asks and all are content."""
    config = configure(tmp_path, server.token_url, file_sink(), proof=server.secret)  # type: ignore[attr-defined]
    started = [start(processes, "once", config) for _ in range(10)]

    assert [ended(process)[0] for process in started] == [0] * 10
    assert server.exchanges("tiki") == 1
    assert server.is_valid(in_file(tmp_path)())


# Two daemons and cron


def keep(
    config: Path, processes: list[subprocess.Popen[str]], read: Callable[[], str]
) -> tuple[list[str], set[int]]:
    """Run two daemons and one `once` after the other; return the tokens that a reader saw.

    The first token is there before the daemons start; they are watched for PERIODS after it.
    """
    assert ended(start(processes, "once", config))[0] == 0
    for _ in range(2):
        start(processes, "run", config)
    seen, statuses, end = [read()], set(), time.monotonic() + PATIENCE_S
    cron = start(processes, "once", config)
    while len(seen) <= PERIODS and time.monotonic() < end:
        if cron.poll() is not None:
            statuses.add(ended(cron)[0])
            cron = start(processes, "once", config)
        if read() != seen[-1]:
            seen.append(read())
        with contextlib.suppress(subprocess.TimeoutExpired):
            cron.wait(0.05)
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        with contextlib.suppress(ValueError):  # its output has been read to the end
            ended(process)
    return [*seen, *([] if read() == seen[-1] else [read()])], statuses


@pytest.mark.fault("rivals-on-one-host")
def test_two_daemons_and_cron_share_a_file(
    tmp_path: Path, server: HydraServer, processes: list[subprocess.Popen[str]]
) -> None:
    """Promise: of all who keep one file, one asks in each period: every token made was used."""
    server.lifetime_s = LIFE_S
    config = configure(tmp_path, server.token_url, file_sink(), SHORT, server.secret)  # type: ignore[attr-defined]
    seen, statuses = keep(config, processes, in_file(tmp_path))

    assert (len(set(seen)), statuses) == (len(seen), {0})
    assert len(seen) > PERIODS
    assert server.exchanges("tiki") == len(seen)


@pytest.mark.fault("rivals-on-many-hosts")
def test_two_daemons_and_cron_share_a_secret(
    tmp_path: Path,
    server: HydraServer,
    processes: list[subprocess.Popen[str]],
    aws: "SecretsManagerClient",
    moto_url: str,
    aws_environ: object,
) -> None:
    """Promise: without a lock no token goes back, and no period has an exchange for each writer.

    Tokens this short leave no room for jitter, so rivals meet far more often than in real life
    (docs/interleavings.md has the measured rate).
    """
    server.lifetime_s = LIFE_S
    config = configure(tmp_path, server.token_url, secret_sink(moto_url), SHORT, server.secret)  # type: ignore[attr-defined]
    seen, statuses = keep(config, processes, in_secret(aws))

    assert (len(set(seen)), statuses) == (len(seen), {0})
    assert len(seen) > PERIODS
    assert len(seen) <= server.exchanges("tiki") <= 2 * len(seen)


# Holders of the lock


class Gate:
    """Holds the answer to a request back until it is opened."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.opened = threading.Event()

    def play(self, answer: bytes) -> Play:
        """Return the step of a token server that waits here."""

        def step(connection: object, _: threading.Event) -> None:
            self.asked.set()
            self.opened.wait(PATIENCE_S)
            connection.sendall(answer)  # type: ignore[attr-defined]  # a socket

        return step


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Give a gate, open at the end."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.mark.fault("lock-holder-killed")
def test_a_killed_holder_of_the_lock_blocks_nobody(
    tmp_path: Path, gate: Gate, processes: list[subprocess.Popen[str]]
) -> None:
    """Promise: kill -9 in the middle of an exchange lets the next one in at once."""
    with TokenServer(gate.play(token("lost")), token("tok-2")) as server:
        config = configure(tmp_path, server.url, file_sink())
        holder = start(processes, "once", config)
        assert gate.asked.wait(PATIENCE_S)
        waiting = start(processes, "once", config)
        holder.kill()
        assert ended(waiting)[0] == 0
        gate.opened.set()
        assert (in_file(tmp_path)(), len(server.requests)) == ("tok-2", 2)


@pytest.mark.fault("lock-holder-paused")
def test_a_paused_holder_of_the_lock_is_named(
    tmp_path: Path, gate: Gate, processes: list[subprocess.Popen[str]]
) -> None:
    """Promise: who waits for a stopped process gives up in time and says how to find it.

    Nothing is written behind its back, so when it wakes up it ends its work as if it had not slept.
    """
    with TokenServer(gate.play(token("tok-1")), token("tok-2")) as server:
        config = configure(tmp_path, server.url, file_sink(), 'timeout = "60s"')
        holder = start(processes, "once", config)
        assert gate.asked.wait(PATIENCE_S)
        os.kill(holder.pid, signal.SIGSTOP)
        status, told = ended(start(processes, "once", config))
        assert (status, told[-1]["code"]) == (74, "locked")
        assert "fuser" in str(told[-1]["message"])

        gate.opened.set()
        os.kill(holder.pid, signal.SIGCONT)
        assert ended(holder)[0] == 0
        assert ended(start(processes, "once", config))[0] == 0
        assert (in_file(tmp_path)(), len(server.requests)) == ("tok-1", 1)


@pytest.mark.fault("replica-paused")
def test_a_paused_replica_does_not_bring_an_older_token_back(
    tmp_path: Path,
    gate: Gate,
    processes: list[subprocess.Popen[str]],
    faulty_aws: "FaultyAws",
    aws: "SecretsManagerClient",
    aws_environ: object,
) -> None:
    """Promise: a replica that wakes up with an older token adopts the newer one in the secret."""
    with TokenServer(gate.play(token("tok-1")), token("tok-2")) as server:
        config = configure(tmp_path, server.url, secret_sink(faulty_aws.url), 'timeout = "60s"')
        paused = start(processes, "once", config)
        assert gate.asked.wait(PATIENCE_S)
        os.kill(paused.pid, signal.SIGSTOP)
        assert ended(start(processes, "once", config))[0] == 0

        gate.opened.set()
        os.kill(paused.pid, signal.SIGCONT)
        status, told = ended(paused)
        assert (status, told[-1]["event"]) == (0, "token.adopted")
        assert in_secret(aws)() == "tok-2"

"""Secrets Manager failing in every way, over real HTTP, under the real program.

`once` runs in this process: in one of its own most of the time would go into loading boto3.
"""

import json
import logging
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws import Effect, FaultyAws, lose_answer, lose_call, refuse
from running import PATIENCE_S, ROOT, program
from token_server import TokenServer

from job.cli import exit_status

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRET_ID = "prod/tiki"
WRITES = ("PutSecretValue", "UpdateSecretVersionStage")

pytestmark = pytest.mark.integration


class Job:
    """The program with one token in one secret; `exchanges` counts at the server."""

    def __init__(
        self,
        folder: Path,
        server: TokenServer,
        aws: FaultyAws,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        self._server = server
        self._capfd = capfd
        self.aws = aws
        (folder / "client.secret").write_text("any")
        self.config = folder / "freshtoken.toml"
        self.config.write_text(
            f'[tokens.tiki]\ntoken_url = "{server.url}"\nclient_id = "tiki"\n'
            f'client_secret = {{ file = "client.secret" }}\n[[tokens.tiki.sinks]]\n'
            f'type = "aws_secrets_manager"\nsecret_id = "{SECRET_ID}"\nregion = "eu-central-1"\n'
            f'endpoint_url = "{aws.url}"\n'
        )

    def arguments(self, verb: str) -> list[str]:
        """Return the command line of a verb."""
        return ["--config", str(self.config), "--log-format", "json", verb]

    @property
    def exchanges(self) -> int:
        return len(self._server.requests)

    def once(self) -> tuple[int, list[dict[str, Any]]]:
        """Run `freshtoken once`; return its exit status and what it told."""
        status = exit_status(self.arguments("once"))
        return status, [json.loads(line) for line in self._capfd.readouterr().err.splitlines()]

    def run_until_delivered(self) -> list[str]:
        """Run `freshtoken run` until the token is stored; return the codes of earlier failures."""
        delivered, failures = threading.Event(), []

        def listen() -> None:
            for line in process.stderr or ():
                event = json.loads(line)
                if event["event"] == "token.delivery_failed":
                    failures.append(event["code"])
                if event["event"] in {"token.delivered", "token.adopted"}:
                    delivered.set()

        argv = program(*self.arguments("run"))
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
            listener = threading.Thread(target=listen)
            listener.start()
            try:
                assert delivered.wait(PATIENCE_S)
            finally:
                process.terminate()
                listener.join(PATIENCE_S)
        assert process.returncode == 0
        return failures


@pytest.fixture
def job(
    tmp_path: Path,
    faulty_aws: FaultyAws,
    aws: "SecretsManagerClient",
    aws_environ: object,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Job]:
    """Give the program, a token server, and a secret without a value."""
    aws.create_secret(Name=SECRET_ID)
    with TokenServer() as server:
        yield Job(tmp_path, server, faulty_aws, capfd)
    logging.disable(logging.NOTSET)  # undoes what a verb does to the logging of its process


def versions(aws: "SecretsManagerClient") -> Counter[str]:
    """Count the versions of each token that was ever put."""
    listed = aws.list_secret_version_ids(SecretId=SECRET_ID, IncludeDeprecated=True)["Versions"]
    ids = [version["VersionId"] for version in listed if version.get("VersionStages")]
    texts = [aws.get_secret_value(SecretId=SECRET_ID, VersionId=i)["SecretString"] for i in ids]
    return Counter(json.loads(text)["access_token"] for text in texts)


# What AWS refuses


REFUSALS = [
    pytest.param("throttled", 74, refuse("ThrottlingException"), id="throttled"),
    pytest.param("access_denied", 77, refuse("AccessDeniedException"), id="denied"),
    pytest.param("kms_failure", 74, refuse("EncryptionFailure"), id="KMS"),
    pytest.param("kms_failure", 74, refuse("KMSDisabledException"), id="KMS disabled"),
    pytest.param("kms_failure", 74, refuse("KMSNotFoundException"), id="KMS not found"),
    pytest.param("kms_failure", 74, refuse("KMSInvalidStateException"), id="KMS state"),
    pytest.param("kms_unavailable", 74, refuse("KeyUnavailableException"), id="KMS away"),
    pytest.param("version_limit", 74, refuse("LimitExceededException"), id="limit"),
    pytest.param("service_error", 74, refuse("InternalServiceError", status=500), id="500"),
]


@pytest.mark.fault("aws-throttled")
@pytest.mark.fault("aws-denied")
@pytest.mark.fault("kms-failure")
@pytest.mark.fault("version-limit")
@pytest.mark.fault("aws-5xx")
@pytest.mark.parametrize(("code", "status", "effect"), REFUSALS)
def test_a_refused_read_mints_nothing(
    job: Job, aws: "SecretsManagerClient", code: str, status: int, effect: Effect
) -> None:
    """Promise: what can't be read is told with its code, and no token is asked for in vain."""
    job.aws.faults.plan("GetSecretValue", effect)
    exit_status, told = job.once()

    assert (exit_status, told[-1]["event"], told[-1]["code"]) == (
        status,
        "token.delivery_failed",
        code,
    )
    assert job.exchanges == 0
    assert (job.once()[0], job.exchanges, versions(aws)) == (0, 1, {"tok-1": 1})


@pytest.mark.fault("aws-throttled")
@pytest.mark.fault("aws-denied")
@pytest.mark.fault("kms-failure")
@pytest.mark.fault("version-limit")
@pytest.mark.fault("aws-5xx")
@pytest.mark.parametrize(("code", "status", "effect"), REFUSALS)
def test_a_refused_write_is_told(
    job: Job, aws: "SecretsManagerClient", code: str, status: int, effect: Effect
) -> None:
    """Promise: a refused write ends with the code and the status of its cause, and no more calls.

    A token that AWS has never got is lost with a process that ends: the next one asks again.
    """
    job.aws.faults.plan("PutSecretValue", effect)
    exit_status, told = job.once()

    assert (exit_status, told[-1]["event"], told[-1]["code"]) == (
        status,
        "token.delivery_failed",
        code,
    )
    assert job.aws.faults.calls.count("PutSecretValue") == 1
    assert (job.once()[0], job.exchanges, versions(aws)) == (0, 2, {"tok-2": 1})


@pytest.mark.fault("secret-missing")
@pytest.mark.fault("secret-deleted")
@pytest.mark.parametrize("code", ["not_found", "scheduled_for_deletion"])
def test_a_secret_that_is_not_there_mints_nothing(
    job: Job, aws: "SecretsManagerClient", code: str
) -> None:
    """Promise: a missing or deleted secret is told with the command that brings it back."""
    window: dict[str, Any] = {"ForceDeleteWithoutRecovery": True}
    if code == "scheduled_for_deletion":
        assert job.once()[0] == 0
        window = {"RecoveryWindowInDays": 7}
    before = job.exchanges
    aws.delete_secret(SecretId=SECRET_ID, **window)
    exit_status, told = job.once()

    assert (exit_status, told[-1]["code"], job.exchanges) == (74, code, before)
    assert "aws secretsmanager " in told[-1]["message"]


# Connections that die


@pytest.mark.fault("sink-answer-lost")
@pytest.mark.parametrize("effect", [lose_call, lose_answer])
@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue", *WRITES])
def test_a_connection_that_dies_is_nobodys_trouble(
    job: Job, aws: "SecretsManagerClient", operation: str, effect: Effect
) -> None:
    """Promise: a call is made again when it or its answer is lost; there is one of everything."""
    job.aws.faults.plan(operation, effect)

    assert job.run_until_delivered() == ["unreachable"]
    assert (job.exchanges, versions(aws)) == (1, {"tok-1": 1})


@pytest.mark.fault("sink-answer-lost")
@pytest.mark.fault("writer-dies-between-calls")
@pytest.mark.parametrize("effect", [lose_call, lose_answer])
@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue", *WRITES])
def test_a_connection_that_stays_dead_is_told(
    job: Job, aws: "SecretsManagerClient", operation: str, effect: Effect
) -> None:
    """Promise: the next run finishes what AWS has got, and asks anew only for what it hasn't."""
    job.aws.faults.plan(operation, effect)
    exit_status, told = job.once()
    assert (exit_status, told[-1]["code"]) == (74, "unreachable")

    never_put = operation == "PutSecretValue" and effect is lose_call
    exchanges = 2 if never_put else 1
    assert (job.once()[0], job.exchanges) == (0, exchanges)
    assert versions(aws) == {f"tok-{exchanges}": 1}


# The scheduler


@pytest.mark.fault("aws-throttled")
def test_a_scheduler_keeps_the_token_that_aws_would_not_take(
    job: Job, aws: "SecretsManagerClient"
) -> None:
    """Promise: `run` writes the same token again and again; a failing sink never mints."""
    job.aws.faults.plan("PutSecretValue", *[refuse("ThrottlingException")] * 2)

    assert job.run_until_delivered() == ["throttled"] * 2
    assert (job.exchanges, versions(aws)) == (1, {"tok-1": 1})

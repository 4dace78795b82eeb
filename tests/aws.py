"""A client of the moto server, and the faults that moto cannot give, played by boto3's hooks."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

REGION = "eu-central-1"

Effect = Callable[[AWSRequest], AWSResponse | None]


def make_client(endpoint_url: str) -> "SecretsManagerClient":
    """Return a client that gives up at once, so that no test waits for botocore's retries."""
    session = boto3.Session("fake-key-id", "fake-key", region_name=REGION)
    config = Config(
        connect_timeout=2, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1}
    )
    return session.client("secretsmanager", endpoint_url=endpoint_url, config=config)


class Faults:
    """Plays each planned effect once, at the moment a call of that operation would be sent."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.planned: dict[str, list[Effect]] = defaultdict(list)

    def plan(self, operation: str, *effects: Effect) -> None:
        self.planned[operation].extend(effects)

    def __call__(self, request: AWSRequest, event_name: str, **_: object) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        self.calls.append(operation)
        planned = self.planned[operation]
        return planned.pop(0)(request) if planned else None


@contextlib.contextmanager
def faults_of(client: "SecretsManagerClient") -> Iterator[Faults]:
    """Watch a client's calls, and play faults, until the end of the block."""
    faults = Faults()
    client.meta.events.register("before-send.secrets-manager", faults)
    try:
        yield faults
    finally:
        client.meta.events.unregister("before-send.secrets-manager", faults)


def refuse(code: str, message: str = "", status: int = 400) -> Effect:
    """Answer with an error instead of carrying the call out."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return lambda request: _answer(request, status, body)


def answer(body: bytes) -> Effect:
    """Answer with 200 and these bytes instead of carrying the call out."""
    return lambda request: _answer(request, 200, body)


def lose_call(request: AWSRequest) -> None:
    """Lose the connection before the call is carried out."""
    raise ConnectionClosedError(endpoint_url=request.url)


def lose_answer(request: AWSRequest) -> None:
    """Lose the connection after the call was carried out."""
    session = URLLib3Session()
    try:
        assert session.send(request).status_code == 200
    finally:
        session.close()
    raise ConnectionClosedError(endpoint_url=request.url)


def meanwhile(act: Callable[[], Any]) -> Effect:
    """Let a rival act first, then carry the call out."""

    def effect(_: AWSRequest) -> None:
        act()

    return effect


def fail(error: Exception) -> Effect:
    """Raise an exception where boto3 would."""

    def effect(_: AWSRequest) -> None:
        raise error

    return effect


def _answer(request: AWSRequest, status: int, body: bytes) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.1"}
    return AWSResponse(request.url, status, headers, _Body(body))


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body

"""The stores that a token can be read from: a file, a secret in AWS Secrets Manager."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Callable, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class Store(NamedTuple):
    """Where a token is stored: `read` returns the stored text, `label` names the store to people.

    `glance` returns a value that changes whenever the text does, at next to no cost: a file's
    status. It is None where even that is a slow call; where there is one, reading is cheap, too.
    """

    label: str
    read: Callable[[], str]
    glance: Callable[[], object] | None = None


def file_store(path: str) -> Store:
    """Return the store that is a file."""
    return Store(path, partial(_read, path), partial(_status, path))


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _status(path: str) -> object:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ino, status.st_size


@dataclass(frozen=True)
class Secret:
    """A secret in AWS Secrets Manager; what is None comes from boto3's own chain.

    With `json_key` the token is the value of that key.
    """

    secret_id: str
    json_key: str | None
    region: str | None
    endpoint_url: str | None
    profile: str | None

    def store(self) -> Store:
        """Return the store that is this secret."""
        return Store(f"secret {self.secret_id}", self.read)

    def read(self) -> str:
        """Return the text of the current version; raises what boto3 raises."""
        answer = self._client.get_secret_value(SecretId=self.secret_id, VersionStage="AWSCURRENT")
        text = answer["SecretString"]
        if self.json_key is None:
            return text
        value: object = json.loads(text)[self.json_key]
        return value if isinstance(value, str) else json.dumps(value)

    @cached_property
    def _client(self) -> SecretsManagerClient:
        import boto3  # noqa: PLC0415  # only readers of AWS have it
        from botocore.config import Config  # noqa: PLC0415  # the same

        session = boto3.Session(profile_name=self.profile, region_name=self.region)
        # botocore's own defaults wait 60 s for a socket and differ between its releases.
        config = Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        return session.client("secretsmanager", endpoint_url=self.endpoint_url, config=config)

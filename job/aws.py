"""The way to AWS: clients with deadlines of our own. The only importer of boto3."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def client_factory(
    region: str | None, endpoint_url: str | None, profile: str | None
) -> "Callable[[], SecretsManagerClient]":
    """Return what gives the one client of an account; all its sinks and threads may share it.

    Credentials, and whatever is None, come from boto3's own chain. What goes wrong is raised by
    the call and tried again by the next one.
    """
    return _SharedClient(region, endpoint_url, profile)


class _SharedClient:
    """A client is thread-safe, the session that makes it is not (boto3 guide, Session)."""

    def __init__(self, region: str | None, endpoint_url: str | None, profile: str | None) -> None:
        self._settings = (region, endpoint_url, profile)
        self._client: SecretsManagerClient | None = None
        self._lock = threading.Lock()

    def __call__(self) -> "SecretsManagerClient":
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> "SecretsManagerClient":
        import boto3  # noqa: PLC0415  # 0.2 s of CPU, for `check` and `get` in vain
        from botocore.config import Config  # noqa: PLC0415  # the same

        region, endpoint_url, profile = self._settings
        # botocore's own defaults wait 60 s for a socket and differ between its releases.
        config = Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=50,
        )
        session = boto3.Session(profile_name=profile, region_name=region)
        return session.client("secretsmanager", endpoint_url=endpoint_url, config=config)

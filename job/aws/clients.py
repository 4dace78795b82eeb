"""The way to AWS: clients with timeouts of our own. The only importer of boto3."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from job.http.deadline import Threads

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

    AnyClient = SecretsManagerClient | SSMClient | STSClient

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 10
"""How long a call waits for a connection, and then for anything of its answer."""

Service = Literal["secretsmanager", "ssm", "sts"]


class Account(NamedTuple):
    """Where in AWS; whatever is None comes from boto3's own chain, as the credentials do."""

    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None


class AwsClients:
    """The clients of this process: one for each service of an account, made when first called.

    What goes wrong is raised by the call and tried again by the next one.
    """

    def __init__(self) -> None:
        """Make none yet; `threads` are for calls with a deadline."""
        self.threads = Threads()
        self._shared: dict[tuple[Service, Account], _SharedClient] = {}
        self._lock = threading.Lock()

    def secrets_manager(self, account: Account) -> "Callable[[], SecretsManagerClient]":
        """Return what gives the client of Secrets Manager."""
        return cast("Callable[[], SecretsManagerClient]", self._of("secretsmanager", account))

    def parameter_store(self, account: Account) -> "Callable[[], SSMClient]":
        """Return what gives the client of SSM Parameter Store."""
        return cast("Callable[[], SSMClient]", self._of("ssm", account))

    def security_tokens(self, account: Account) -> "Callable[[], STSClient]":
        """Return what gives the client of the Security Token Service."""
        return cast("Callable[[], STSClient]", self._of("sts", account))

    def _of(self, service: Service, account: Account) -> "_SharedClient":
        with self._lock:
            return self._shared.setdefault((service, account), _SharedClient(service, account))


class _SharedClient:
    """A client is thread-safe, the session that makes it is not (boto3 guide, Session)."""

    def __init__(self, service: Service, account: Account) -> None:
        self._service = service
        self._account = account
        self._client: AnyClient | None = None
        self._lock = threading.Lock()

    def __call__(self) -> "AnyClient":
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> "AnyClient":
        import boto3  # noqa: PLC0415  # 0.2 s of CPU, for `check` and `get` in vain
        from botocore.config import Config  # noqa: PLC0415  # the same

        region, endpoint_url, profile = self._account
        # botocore's own defaults wait 60 s for a socket, and retry beside our schedule.
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=50,
        )
        session = boto3.Session(profile_name=profile, region_name=region)
        return session.client(self._service, endpoint_url=endpoint_url, config=config)

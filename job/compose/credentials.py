"""From settings to sources of secrets: the part of the composition root that knows where they are.

What speaks to AWS is loaded only when it is configured.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from job.aws.clients import Account, AwsClients
from job.config.secret_settings import AssertionSettings, SecretSettings
from job.core.clock import Clock
from job.core.ports import SecretSource
from job.credentials.command import CommandSecret
from job.credentials.environment import EnvironmentSecret
from job.credentials.file import CredentialSecret, FileSecret
from job.credentials.watched import WatchedSecret

if TYPE_CHECKING:
    from job.credentials.aws import WebIdentityToken

SecretTables = SecretSettings | tuple[SecretSettings, ...]


class Credentials:
    """Builds the sources of secrets that settings name."""

    def __init__(self, environ: Mapping[str, str], aws: AwsClients, clock: Clock) -> None:
        """Read variables from `environ`, and whatever is in AWS by these clients."""
        self._environ = environ
        self._aws = aws
        self._clock = clock

    def watched(self, settings: SecretTables) -> WatchedSecret:
        """Return where a secret comes from, or the secrets of a list, the first one first."""
        tables = settings if isinstance(settings, tuple) else (settings,)
        sources = (self._source(table) for table in tables)
        return WatchedSecret(*sources, clock=self._clock)

    def _source(self, table: SecretSettings) -> SecretSource:
        if table.env is not None:
            return EnvironmentSecret(table.env, self._environ)
        if table.file is not None:
            return FileSecret(table.file)
        if table.credential is not None:
            return CredentialSecret(table.credential, self._environ)
        if table.command is not None:
            return CommandSecret(table.command)
        return self._from_aws(table)

    def _from_aws(self, table: SecretSettings) -> SecretSource:
        from job.credentials import aws as aws_secrets  # noqa: PLC0415  # 20 ms of CPU

        account = Account(table.region, table.endpoint_url, table.profile)
        if isinstance(table, AssertionSettings) and table.aws_web_identity is not None:
            return self._web_identity(table, account)
        if table.aws_parameter is not None:
            return aws_secrets.ParameterSecret(
                table.aws_parameter, self._aws.parameter_store(account)
            )
        return aws_secrets.ManagedSecret(
            table.aws_secret or "", table.key, self._aws.secrets_manager(account)
        )

    def _web_identity(self, table: AssertionSettings, account: Account) -> "WebIdentityToken":
        from job.credentials import aws as aws_secrets  # noqa: PLC0415  # as above

        return aws_secrets.WebIdentityToken(
            table.aws_web_identity or "",
            int(table.duration),
            self._aws.security_tokens(account),
        )

"""The keys that say where a secret comes from, never the secret itself."""

from typing import ClassVar

from job.values import Duration, FilePath, OsText, Table, default

SOURCES = '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'
LEAST_S, MOST_S = 60, 3600
"""How long a token of sts:GetWebIdentityToken may live."""


class SecretSettings(Table, frozen=True, kw_only=True):
    """Where a secret comes from. It is read again for every exchange."""

    otherwise: ClassVar[str] = f"must say where the secret is, not hold it: {SOURCES}"

    env: str | None = None
    """The name of an environment variable."""
    file: FilePath | None = None
    """The path of a file that holds the secret alone."""
    credential: OsText | None = None
    """A systemd credential: a name in $CREDENTIALS_DIRECTORY."""
    command: tuple[OsText, ...] | None = None
    """A command and its arguments; it prints the secret. No shell."""
    aws_secret: str | None = None
    """The name or ARN of a secret in AWS Secrets Manager."""
    key: str | None = None
    """With aws_secret: the key of a JSON secret."""
    aws_parameter: str | None = None
    """The name or ARN of a parameter in AWS SSM Parameter Store."""
    region: str | None = None
    """The AWS region; default: boto3's own choice."""
    profile: str | None = None
    """The profile of the shared AWS configuration."""
    endpoint_url: str | None = None
    """Another AWS endpoint, such as a VPC endpoint."""


class IdentityLifetime(Duration):
    """The life of an identity token of AWS."""

    @classmethod
    def problem(cls, length_s: float | None) -> str:
        """Tell of one that AWS does not accept."""
        fits = length_s is not None and LEAST_S <= length_s <= MOST_S
        return "" if fits else "must be from 1m to 1h"


class AssertionSettings(SecretSettings, frozen=True, kw_only=True):
    """Where an assertion that others make comes from. It is read again for every exchange."""

    aws_web_identity: str | None = None
    """The audience of a token from AWS (sts:GetWebIdentityToken)."""
    duration: IdentityLifetime = default(IdentityLifetime("5m"))
    """The life of the token from AWS, 1m to 1h."""

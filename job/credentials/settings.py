"""The keys that say where a secret comes from, never the secret itself."""

from typing import Annotated, ClassVar

from msgspec import Meta

from job.values import Duration, EndpointUrl, FilePath, OsText, Profile, Region, Table, default

SOURCES = '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'
LEAST_S, MOST_S = 60, 3600
"""How long a token of sts:GetWebIdentityToken may live."""


class SecretSettings(Table, frozen=True, kw_only=True):
    """Where a secret comes from. It is read again for every exchange."""

    otherwise: ClassVar[str] = f"must say where the secret is, not hold it: {SOURCES}"

    env: Annotated[str, Meta(description="The name of an environment variable.")] | None = None
    file: (
        Annotated[FilePath, Meta(description="The path of a file that holds the secret alone.")]
        | None
    ) = None
    credential: (
        Annotated[
            OsText,
            Meta(description="A systemd credential: a name in $CREDENTIALS_DIRECTORY."),
        ]
        | None
    ) = None
    command: (
        Annotated[
            tuple[OsText, ...],
            Meta(description="A command and its arguments; it prints the secret. No shell."),
        ]
        | None
    ) = None
    aws_secret: (
        Annotated[str, Meta(description="The name or ARN of a secret in AWS Secrets Manager.")]
        | None
    ) = None
    key: Annotated[str, Meta(description="With aws_secret: the key of a JSON secret.")] | None = (
        None
    )
    aws_parameter: (
        Annotated[
            str, Meta(description="The name or ARN of a parameter in AWS SSM Parameter Store.")
        ]
        | None
    ) = None
    region: Region = None
    profile: Profile = None
    endpoint_url: EndpointUrl = None


class IdentityLifetime(Duration):
    """The life of an identity token of AWS."""

    @classmethod
    def problem(cls, length_s: float | None) -> str:
        """Tell of one that AWS does not accept."""
        fits = length_s is not None and LEAST_S <= length_s <= MOST_S
        return "" if fits else "must be from 1m to 1h"


class AssertionSettings(SecretSettings, frozen=True, kw_only=True):
    """Where an assertion that others make comes from. It is read again for every exchange."""

    aws_web_identity: (
        Annotated[
            str,
            Meta(description="The audience of a token from AWS (sts:GetWebIdentityToken)."),
        ]
        | None
    ) = None
    duration: Annotated[
        IdentityLifetime, Meta(description="The life of the token from AWS, 1m to 1h.")
    ] = default(IdentityLifetime("5m"))

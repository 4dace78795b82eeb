"""The keys that say where a secret comes from, never the secret itself."""

from typing import Annotated

from msgspec import Meta

from job.values import Duration, EndpointUrl, OsText, Profile, Region, Table


class SecretSettings(Table, frozen=True, kw_only=True):
    """Where a secret comes from. It is read again for every exchange."""

    env: Annotated[str, Meta(description="The name of an environment variable.")] | None = None
    file: (
        Annotated[OsText, Meta(description="The path of a file that holds the secret alone.")]
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


class AssertionSettings(SecretSettings, frozen=True, kw_only=True):
    """Where an assertion that others make comes from. It is read again for every exchange."""

    aws_web_identity: (
        Annotated[
            str,
            Meta(description="The audience of a token from AWS (sts:GetWebIdentityToken)."),
        ]
        | None
    ) = None
    duration: Annotated[Duration, Meta(description="The life of the token from AWS, 1m to 1h.")] = (
        "5m"
    )

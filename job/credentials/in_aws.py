"""The kinds of source in AWS; what speaks to it is loaded when one of them is configured."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from job.aws.clients import Account, AwsClients
from job.credentials.kind import Kind
from job.credentials.settings import AssertionSettings, SecretSettings
from job.values import is_url

if TYPE_CHECKING:
    from job.credentials import aws as sources

ACCOUNT = ("region", "profile", "endpoint_url")


def _secret(
    settings: SecretSettings, _: Mapping[str, str], aws: AwsClients
) -> "sources.ManagedSecret":
    from job.credentials import aws as sources  # noqa: PLC0415  # 20 ms of CPU

    client = aws.secrets_manager(_account(settings))
    return sources.ManagedSecret(settings.aws_secret or "", settings.key, client)


def _parameter(
    settings: SecretSettings, _: Mapping[str, str], aws: AwsClients
) -> "sources.ParameterSecret":
    from job.credentials import aws as sources  # noqa: PLC0415  # as above

    client = aws.parameter_store(_account(settings))
    return sources.ParameterSecret(settings.aws_parameter or "", client)


def _web_identity(
    settings: AssertionSettings, _: Mapping[str, str], aws: AwsClients
) -> "sources.WebIdentityToken":
    from job.credentials import aws as sources  # noqa: PLC0415  # as above

    client = aws.security_tokens(_account(settings))
    life_s = int(settings.duration)
    return sources.WebIdentityToken(settings.aws_web_identity or "", life_s, client)


def _account(settings: SecretSettings) -> Account:
    return Account(settings.region, settings.endpoint_url, settings.profile)


def _problems(settings: SecretSettings) -> Iterator[tuple[str, str]]:
    if settings.key == "":
        yield "key", "is empty; leave it out if the whole secret is meant"
    if settings.endpoint_url is not None and not is_url(settings.endpoint_url):
        yield "endpoint_url", "must be a URL: https:// and a host"


SECRET = Kind("aws_secret", _secret, ("key", *ACCOUNT), problems=_problems)
PARAMETER = Kind("aws_parameter", _parameter, ACCOUNT, problems=_problems)
WEB_IDENTITY = Kind("aws_web_identity", _web_identity, ACCOUNT, problems=_problems)

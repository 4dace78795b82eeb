"""The kinds of source in AWS; what speaks to it is loaded when one of them is configured."""

from collections.abc import Iterator, Mapping

from job.aws.clients import Account, AwsClients
from job.core.ports import SecretSource
from job.credentials.kind import Kind
from job.credentials.settings import AssertionSettings, SecretSettings
from job.values import is_url

ACCOUNT = ("region", "profile", "endpoint_url")


def _secret(settings: SecretSettings, _: Mapping[str, str], aws: AwsClients) -> SecretSource:
    from job.credentials.aws import ManagedSecret  # noqa: PLC0415  # 20 ms of CPU

    client = aws.secrets_manager(_account(settings))
    return ManagedSecret(settings.aws_secret or "", settings.key, client)


def _parameter(settings: SecretSettings, _: Mapping[str, str], aws: AwsClients) -> SecretSource:
    from job.credentials.aws import ParameterSecret  # noqa: PLC0415  # as above

    return ParameterSecret(settings.aws_parameter or "", aws.parameter_store(_account(settings)))


def _identity(settings: AssertionSettings, _: Mapping[str, str], aws: AwsClients) -> SecretSource:
    from job.credentials.aws import WebIdentityToken  # noqa: PLC0415  # as above

    client = aws.security_tokens(_account(settings))
    return WebIdentityToken(settings.aws_web_identity or "", int(settings.duration), client)


def _account(settings: SecretSettings) -> Account:
    return Account(settings.region, settings.endpoint_url, settings.profile)


def _problems(settings: SecretSettings) -> Iterator[tuple[str, str]]:
    if settings.key == "":
        yield "key", "is empty; leave it out if the whole secret is meant"
    if settings.endpoint_url is not None and not is_url(settings.endpoint_url):
        yield "endpoint_url", "must be a URL: https:// and a host"


SECRET = Kind("aws_secret", _secret, ("key", *ACCOUNT), problems=_problems)
PARAMETER = Kind("aws_parameter", _parameter, ACCOUNT, problems=_problems)
WEB_IDENTITY = Kind("aws_web_identity", _identity, ACCOUNT, problems=_problems)

"""Secrets out of AWS: from Secrets Manager, Parameter Store and the Security Token Service.

Errors of AWS and botocore are reported in our own words: theirs may hold the secret.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from job.aws.clients import Account
from job.aws.errors import meaning_of
from job.core.json_object import json_object
from job.core.secret import Secret
from job.credentials.base import CostlySource, Kind, secret_of, unavailable
from job.credentials.settings import SecretSettings
from job.values import is_url

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

T = TypeVar("T")

ACCOUNT = ("region", "profile", "endpoint_url")
LOOK_S = 60.0
"""How often a value in AWS is read to notice a change: each read is a request that costs money."""


@dataclass(frozen=True)
class ManagedSecret(CostlySource):
    """The current value of a secret in AWS Secrets Manager, or one `key` of its JSON object."""

    look_s: ClassVar[float] = LOOK_S

    secret_id: str
    key: str | None
    client: "Callable[[], SecretsManagerClient]"

    def resolve(self) -> Secret:
        """Return the value that GetSecretValue gives; raises SecretUnavailable."""
        place = f"the AWS secret {self.secret_id}"
        answer = _ask(
            "secretsmanager:GetSecretValue",
            place,
            lambda: self.client().get_secret_value(SecretId=self.secret_id),
        )
        is_text = "SecretString" in answer
        content = answer["SecretString"].encode() if is_text else answer["SecretBinary"]
        return secret_of(content if self.key is None else _member(content, self.key, place), place)


@dataclass(frozen=True)
class ParameterSecret(CostlySource):
    """The value of a parameter in AWS SSM Parameter Store, decrypted."""

    look_s: ClassVar[float] = LOOK_S

    name: str
    client: "Callable[[], SSMClient]"

    def resolve(self) -> Secret:
        """Return the value that GetParameter gives; raises SecretUnavailable."""
        place = f"the AWS parameter {self.name}"
        answer = _ask(
            "ssm:GetParameter",
            place,
            lambda: self.client().get_parameter(Name=self.name, WithDecryption=True),
        )
        return secret_of(answer["Parameter"].get("Value", "").encode(), place)


@dataclass(frozen=True)
class WebIdentityToken(CostlySource):
    """A signed token with which AWS tells `audience` who we are; a new one each time.

    `duration_s` is its life, 60 to 3600. Only regional endpoints of STS give it.
    """

    audience: str
    duration_s: int
    client: "Callable[[], STSClient]"
    algorithm: str = "RS256"

    def resolve(self) -> Secret:
        """Return the token that GetWebIdentityToken gives; raises SecretUnavailable."""
        place = f"the AWS identity token for {self.audience}"
        answer = _ask(
            "sts:GetWebIdentityToken",
            place,
            lambda: self.client().get_web_identity_token(
                Audience=[self.audience],
                DurationSeconds=self.duration_s,
                SigningAlgorithm=self.algorithm,
            ),
        )
        return secret_of(answer["WebIdentityToken"].encode(), place)


def _ask(action: str, place: str, call: Callable[[], T]) -> T:
    """Make a call of boto3; raises what went wrong in our words."""
    try:
        return call()
    except Exception as fault:  # noqa: BLE001  # all that runs here is boto3, its files and plug-ins
        text, passing, permission = meaning_of(fault, action)
    what, _, cure = f"{place}: {text}".partition("; ")
    usual = "it is tried again" if passing else "try it by hand with the aws command"
    raise unavailable(what, cure or usual, passing=passing, permission=permission)


def _member(content: bytes, key: str, place: str) -> bytes:
    """Return the text under a key of a JSON object."""
    document = json_object(content)
    if document is None:
        raise unavailable(f"{place} is not a JSON object", "leave `key` out, or correct the secret")
    value = document.get(key)
    if not isinstance(value, str):
        raise unavailable(f"{place} has no text under the key {key!r}", "correct `key`")
    return value.encode(errors="surrogatepass")


def _account(settings: SecretSettings) -> Account:
    return Account(settings.region, settings.endpoint_url, settings.profile)


def _problems(settings: SecretSettings) -> Iterator[tuple[str, str]]:
    if settings.key == "":
        yield "key", "is empty; leave it out if the whole secret is meant"
    if settings.endpoint_url is not None and not is_url(settings.endpoint_url):
        yield "endpoint_url", "must be a URL: https:// and a host"


SECRET = Kind(
    "aws_secret",
    lambda settings, _, aws: ManagedSecret(
        settings.aws_secret or "", settings.key, aws.secrets_manager(_account(settings))
    ),
    ("key", *ACCOUNT),
    problems=_problems,
)
PARAMETER = Kind(
    "aws_parameter",
    lambda settings, _, aws: ParameterSecret(
        settings.aws_parameter or "", aws.parameter_store(_account(settings))
    ),
    ACCOUNT,
    problems=_problems,
)
WEB_IDENTITY = Kind(
    "aws_web_identity",
    lambda settings, _, aws: WebIdentityToken(
        settings.aws_web_identity or "",
        int(settings.duration),
        aws.security_tokens(_account(settings)),
    ),
    ACCOUNT,
    problems=_problems,
)

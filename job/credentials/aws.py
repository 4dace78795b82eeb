"""Secrets out of AWS: from Secrets Manager, Parameter Store and the Security Token Service.

What AWS and botocore say went wrong is told in our words: theirs may hold the secret.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from job.aws.errors import meaning_of
from job.core.errors import SecretUnavailable
from job.core.secret import Secret
from job.credentials.base import DearSource, secret_of, unavailable
from job.http.deadline import Caller

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

T = TypeVar("T")

DEADLINE_S = 15.0
"""One socket of botocore may wait for 10 s, and it tries three times."""
LOOK_S = 60.0
"""How often a value in AWS is looked at for a change: each look is a request that costs money."""

_CURES: Mapping[str, str] = {
    "access_denied": "not allowed; allow {action} on it, and with a KMS key of your own "
    "kms:Decrypt",
    "not_found": "there is no such thing in this account and region; correct its name, or set "
    "region and profile",
    "scheduled_for_deletion": "it is scheduled for deletion; restore it, or name another",
    "invalid_request": "AWS refuses {action} in its present state; look at it in the console",
    "invalid_parameter": "AWS does not take its name; correct it",
    "throttled": "AWS throttles {action}",
}
"""By code of aws_errors: where what is said there is about a store for tokens."""
_DISABLED = "OutboundWebIdentityFederationDisabledException"
_ENABLE = (
    "outbound identity federation is disabled in this account; enable it: "
    "aws iam enable-outbound-web-identity-federation"
)


@dataclass(frozen=True, kw_only=True)
class _InAws(DearSource):
    """What AWS gives, by calls that end within `deadline_s` seconds."""

    deadline_s: float = DEADLINE_S
    caller: Caller = field(default_factory=Caller, compare=False)

    def ask(self, action: str, place: str, call: Callable[[], T]) -> T:
        """Make a call of boto3; raises what went wrong in our words."""
        try:
            return self.caller.call(call, self.deadline_s)
        except TimeoutError:
            what = f"{place} took over {self.deadline_s:g} s"
            error = unavailable(what, "check the network to AWS", passing=True)
        except Exception as fault:  # noqa: BLE001  # all that runs here is boto3, its files and plug-ins
            error = _unavailable(fault, action, place)
        raise error


@dataclass(frozen=True)
class ManagedSecret(_InAws):
    """The current value of a secret in AWS Secrets Manager, or one `key` of its JSON object."""

    look_s: ClassVar[float] = LOOK_S

    secret_id: str
    key: str | None
    client: "Callable[[], SecretsManagerClient]"

    def resolve(self) -> Secret:
        """Ask for the value (GetSecretValue); raises SecretUnavailable."""
        place = f"the AWS secret {self.secret_id}"
        answer = self.ask(
            "secretsmanager:GetSecretValue",
            place,
            lambda: self.client().get_secret_value(SecretId=self.secret_id),
        )
        is_text = "SecretString" in answer
        content = answer["SecretString"].encode() if is_text else answer["SecretBinary"]
        return secret_of(content if self.key is None else _member(content, self.key, place), place)


@dataclass(frozen=True)
class ParameterSecret(_InAws):
    """The value of a parameter in AWS SSM Parameter Store, decrypted."""

    look_s: ClassVar[float] = LOOK_S

    name: str
    client: "Callable[[], SSMClient]"

    def resolve(self) -> Secret:
        """Ask for the value (GetParameter); raises SecretUnavailable."""
        place = f"the AWS parameter {self.name}"
        answer = self.ask(
            "ssm:GetParameter",
            place,
            lambda: self.client().get_parameter(Name=self.name, WithDecryption=True),
        )
        return secret_of(answer["Parameter"].get("Value", "").encode(), place)


@dataclass(frozen=True)
class WebIdentityToken(_InAws):
    """A signed token with which AWS says to `audience` who we are; another one each time.

    `duration_s` is its life, 60 to 3600. Only regional endpoints of STS give it.
    """

    audience: str
    duration_s: int
    client: "Callable[[], STSClient]"
    algorithm: str = "RS256"

    def resolve(self) -> Secret:
        """Ask for a token (GetWebIdentityToken); raises SecretUnavailable."""
        place = f"the AWS identity token for {self.audience}"
        answer = self.ask(
            "sts:GetWebIdentityToken",
            place,
            lambda: self.client().get_web_identity_token(
                Audience=[self.audience],
                DurationSeconds=self.duration_s,
                SigningAlgorithm=self.algorithm,
            ),
        )
        return secret_of(answer["WebIdentityToken"].encode(), place)


def _unavailable(fault: Exception, action: str, place: str) -> SecretUnavailable:
    meaning = meaning_of(fault)
    message = _ENABLE if meaning.name == _DISABLED else _CURES.get(meaning.code, meaning.message)
    text = message.format(action=action, secret=place, name=meaning.name)
    what, _, cure = f"{place}: {text}".partition("; ")
    usual = "it is tried again" if meaning.passing else "try it by hand with the aws command"
    return unavailable(what, cure or usual, passing=meaning.passing, permission=meaning.permission)


def _member(content: bytes, key: str, place: str) -> bytes:
    """Return the text under a key of a JSON object."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise unavailable(f"{place} is no JSON object", "leave `key` out, or correct the secret")
    value = document.get(key)
    if not isinstance(value, str):
        raise unavailable(f"{place} has no text under the key {key!r}", "correct `key`")
    return value.encode(errors="surrogatepass")

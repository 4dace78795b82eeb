"""Secrets out of AWS: what is asked, what the answers give, and what is said of failures."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws import REGION, Faults, FaultyAws, answer, fail, lose_answer, make_client, refuse
from botocore.config import Config
from botocore.exceptions import NoCredentialsError, NoRegionError
from botocore.parsers import ResponseParserError
from fakes import FakeClock

from job.aws.clients import Account, AwsClients
from job.core.errors import SecretUnavailable
from job.core.ports import SecretSource
from job.core.secret import Secret
from job.credentials.aws import ManagedSecret, ParameterSecret, WebIdentityToken
from job.credentials.base import MAX_SECRET_BYTES
from job.credentials.watched import WatchedSecret

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

VALUE = secrets.token_urlsafe()
ID = "prod/one/client-secret"


@pytest.fixture
def ssm(aws_environ: pytest.MonkeyPatch, aws: object, moto_url: str) -> "SSMClient":
    """Give a client of an emulated Parameter Store that holds nothing yet."""
    # What moto loads at its first call may take longer than our clients wait.
    patient = Config(read_timeout=90)
    boto3.client("ssm", REGION, endpoint_url=moto_url, config=patient).describe_parameters()
    return AwsClients().parameter_store(Account(REGION, moto_url))()


@pytest.fixture
def ssm_faults(ssm: "SSMClient") -> Iterator[Faults]:
    """Watch the client's calls and play the faults that a test plans."""
    faults = Faults()
    ssm.meta.events.register("before-send.ssm", faults)
    yield faults
    ssm.meta.events.unregister("before-send.ssm", faults)


def unavailable(source: SecretSource) -> SecretUnavailable:
    """Return the error of a source; nothing of boto3 hangs on it, and it tells no value."""
    with pytest.raises(SecretUnavailable) as caught:
        source.resolve()
    error = caught.value
    assert (error.code, error.__cause__, error.__context__) == (
        "client_secret_unavailable",
        None,
        None,
    )
    assert VALUE not in str(error)
    return error


def fate(error: SecretUnavailable) -> tuple[bool, int]:
    """Return what is done about an error: whether it is tried again soon, and the exit status."""
    return error.retryable, error.exit_code


# Secrets Manager


def test_the_current_value_is_asked_for_each_time(aws: "SecretsManagerClient") -> None:
    """A rotated secret is used from the next exchange on."""
    source = ManagedSecret(ID, None, lambda: aws)
    aws.create_secret(Name=ID, SecretString="one")
    first = source.resolve()
    aws.put_secret_value(SecretId=ID, SecretString=VALUE + "\n")

    assert (first, source.resolve()) == (Secret("one"), Secret(VALUE))


def test_a_key_of_a_json_secret(aws: "SecretsManagerClient") -> None:
    """Teams keep id and secret together in one JSON secret: a key picks what is meant."""
    aws.create_secret(Name=ID, SecretString=json.dumps({"id": 7, "client_secret": VALUE + " é"}))

    assert ManagedSecret(ID, "client_secret", lambda: aws).resolve() == Secret(VALUE + " é")


def test_a_binary_secret(aws: "SecretsManagerClient") -> None:
    """A secret that was stored as bytes is text all the same, if it is any."""
    aws.create_secret(Name=ID, SecretBinary=VALUE.encode())

    assert ManagedSecret(ID, None, lambda: aws).resolve() == Secret(VALUE)


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("hunter2", "k", f"the AWS secret {ID} is not a JSON object; leave `key` out"),
        ("x" * 100_000, None, f"the AWS secret {ID} gives over {MAX_SECRET_BYTES} bytes"),
        ("[" * 60_000, "k", f"the AWS secret {ID} is not a JSON object"),
        ('["hunter2"]', "k", f"the AWS secret {ID} is not a JSON object"),
        ('{"a": "hunter2"}', "k", f"the AWS secret {ID} has no text under the key 'k'"),
        ('{"k": {"a": "hunter2"}}', "k", f"the AWS secret {ID} has no text under the key 'k'"),
        ('{"k": ""}', "k", f"the AWS secret {ID} gives nothing"),
        ('{"k": "\\ud800"}', "k", f"the AWS secret {ID} does not give UTF-8 text"),
        ("\n", None, f"the AWS secret {ID} gives nothing"),
    ],
)
def test_a_secret_that_holds_none_is_named(
    aws: "SecretsManagerClient", faults: Faults, text: str, key: str | None, problem: str
) -> None:
    """What is wrong with the value is said with its place and cure, and the value is not."""
    faults.plan("GetSecretValue", answer(json.dumps({"SecretString": text}).encode()))
    error = unavailable(ManagedSecret(ID, key, lambda: aws))

    assert problem in error.message
    assert "hunter2" not in str(error)
    assert fate(error) == (False, 78)


@pytest.mark.fault("secret-source-fails")
@pytest.mark.parametrize(
    ("effect", "expected", "problem"),
    [
        (
            refuse("AccessDeniedException", f"arn for {VALUE}"),
            (False, 77),
            "not allowed; allow secretsmanager:GetSecretValue on it",
        ),
        (refuse("ExpiredTokenException"), (False, 77), "no valid AWS credentials; set AWS_PROFILE"),
        (fail(NoCredentialsError()), (False, 77), "no valid AWS credentials"),
        (
            refuse("ResourceNotFoundException"),
            (False, 78),
            "there is no such thing in this account and region; correct its name",
        ),
        (
            refuse("InvalidRequestException", "marked for deletion"),
            (False, 78),
            "it is scheduled for deletion; restore it",
        ),
        (refuse("InvalidParameterException"), (False, 78), "AWS does not take its name"),
        (fail(NoRegionError()), (False, 78), "no AWS region; set `region`"),
        (refuse("Odd"), (False, 78), "AWS refuses secretsmanager:GetSecretValue (Odd); try it"),
        (refuse("DecryptionFailure"), (False, 78), "its KMS key can't be used"),
        (
            refuse("ThrottlingException"),
            (True, 75),
            "AWS throttles secretsmanager:GetSecretValue; it is tried again",
        ),
        (refuse("InternalServiceError", status=500), (True, 75), "AWS could not carry out"),
        (lose_answer, (True, 75), "no answer to secretsmanager:GetSecretValue"),
        (fail(ResponseParserError(f"cannot parse {VALUE}")), (True, 75), "no answer to"),
    ],
)
def test_what_aws_says_is_told_in_our_words(
    aws: "SecretsManagerClient",
    faults: Faults,
    effect: Any,  # noqa: ANN401  # what tests/aws.py makes
    expected: tuple[bool, int],
    problem: str,
) -> None:
    """What passes is tried again soon, what is denied or missing waits for an operator."""
    aws.create_secret(Name=ID, SecretString=VALUE)
    faults.plan("GetSecretValue", effect)
    error = unavailable(ManagedSecret(ID, None, lambda: aws))

    assert f"the AWS secret {ID}: {problem}" in error.message
    assert fate(error) == expected


@pytest.mark.fault("secret-source-fails")
def test_a_call_that_hangs_is_given_up(aws: object, faulty_aws: FaultyAws) -> None:
    """An endpoint that never answers costs the client's own timeout, and passes."""
    client = make_client(faulty_aws.url, read_timeout=0.1)
    faulty_aws.faults.plan("GetSecretValue", faulty_aws.stay_silent)
    error = unavailable(ManagedSecret(ID, None, lambda: client))
    client.close()

    assert f"the AWS secret {ID}: no answer to secretsmanager:GetSecretValue" in error.message
    assert fate(error) == (True, 75)


# Parameter Store


def test_a_parameter_is_decrypted(ssm: "SSMClient") -> None:
    """A SecureString comes in the clear, as it is now."""
    ssm.put_parameter(Name="/one/secret", Value=VALUE, Type="SecureString")

    assert ParameterSecret("/one/secret", lambda: ssm).resolve() == Secret(VALUE)


@pytest.mark.parametrize(
    ("effect", "expected", "problem"),
    [
        (None, (False, 78), "there is no such thing in this account and region; correct its name"),
        (refuse("InvalidKeyId"), (False, 78), "its KMS key can't be used"),
        (
            refuse("AccessDeniedException"),
            (False, 77),
            "not allowed; allow ssm:GetParameter on it, and with a KMS key of your own kms:Decrypt",
        ),
        (
            answer(b'{"Parameter": {"Name": "/one/secret"}}'),
            (False, 78),
            "gives nothing; put the secret there",
        ),
    ],
)
def test_what_is_wrong_with_a_parameter(
    ssm: "SSMClient",
    ssm_faults: Faults,
    effect: Any,  # noqa: ANN401  # what tests/aws.py makes
    expected: tuple[bool, int],
    problem: str,
) -> None:
    """The same words, with the name of the parameter and of the permission."""
    if effect:
        ssm_faults.plan("GetParameter", effect)
    error = unavailable(ParameterSecret("/one/secret", lambda: ssm))

    assert error.message.startswith("no secret: the AWS parameter /one/secret")
    assert problem in error.message
    assert fate(error) == expected


# Identity tokens


class Sts:
    """An STS that plays one answer; moto knows no GetWebIdentityToken."""

    def __init__(self, play: Callable[[], Any]) -> None:
        self.play = play
        self.asked: dict[str, Any] = {}

    def get_web_identity_token(self, **asked: Any) -> Any:  # noqa: ANN401  # boto3's ways
        self.asked = asked
        return self.play()


def identity(sts: Any) -> WebIdentityToken:  # noqa: ANN401  # any stand-in
    """Make the source of a token for this audience."""
    return WebIdentityToken("https://as.example", 300, lambda: sts)


def test_an_identity_token_is_asked_for_and_given() -> None:
    """The audience, the life and an algorithm that every server knows go to AWS."""
    sts = Sts(lambda: {"WebIdentityToken": VALUE})

    assert identity(sts).resolve() == Secret(VALUE)
    assert sts.asked == {
        "Audience": ["https://as.example"],
        "DurationSeconds": 300,
        "SigningAlgorithm": "RS256",
    }


def test_a_feature_that_is_off_is_told_with_its_cure() -> None:
    """Federation has to be enabled once in an account: the command for it is told."""

    def disabled() -> None:
        error = Exception()
        code = "OutboundWebIdentityFederationDisabledException"
        error.response = {"Error": {"Code": code}}  # type: ignore[attr-defined]
        raise error

    error = unavailable(identity(Sts(disabled)))

    assert "aws iam enable-outbound-web-identity-federation" in error.message
    assert fate(error) == (False, 78)


@pytest.mark.slow
def test_botocore_knows_the_operation(aws_environ: pytest.MonkeyPatch) -> None:
    """The installed botocore can ask for identity tokens."""
    client = AwsClients().security_tokens(Account(REGION))()

    assert "GetWebIdentityToken" in client.meta.service_model.operation_names


# Changes


def test_a_value_in_aws_is_looked_at_once_a_minute(
    aws: "SecretsManagerClient", faults: Faults
) -> None:
    """A rejected client's secret is looked at every few seconds, but each look at AWS costs."""
    aws.create_secret(Name=ID, SecretString="one")
    clock = FakeClock()
    watched = WatchedSecret(ManagedSecret(ID, None, lambda: aws), clock=clock)
    watched.resolve()
    aws.put_secret_value(SecretId=ID, SecretString="two")
    faults.calls.clear()

    seen = []
    for _ in range(13):
        seen.append(watched.changed())
        clock.advance(5)

    assert seen == [False] * 12 + [True]
    assert faults.calls == ["GetSecretValue"]


@pytest.mark.slow
def test_an_identity_token_is_never_looked_at() -> None:
    """Each is another one: that is no change."""
    clock = FakeClock()
    sts = Sts(lambda: {"WebIdentityToken": secrets.token_urlsafe()})
    watched = WatchedSecret(identity(sts), clock=clock)
    watched.resolve()
    watched.changed()
    sts.asked = {}
    clock.advance(100_000)

    assert (watched.changed(), sts.asked) == (False, {})

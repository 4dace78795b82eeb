"""What AWS and botocore say went wrong, in our words. No text of theirs is ever passed on.

ParamValidationError prints the value that it refuses, which may be a token: so only names count,
the error code of an answer or the class of an exception.
"""

import shlex
from collections.abc import Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from job.core.errors import SinkError, SinkRejected, SinkUnavailable

MAX_CODE_LENGTH = 64


class _Kind(Enum):
    LATER = "trying again may help"
    REFUSED = "an operator has to act"
    DENIED = "an operator has to give a permission"


class _Fault(NamedTuple):
    """What a name means: our code, and a message for people about {action} on {secret}.

    `of_source` is the message where the secret is not a store of ours but one that we read.
    """

    kind: _Kind
    code: str
    message: str
    of_source: str = ""


_DENIED = _Fault(
    _Kind.DENIED,
    "access_denied",
    "not allowed; allow secretsmanager:{action} on it, and with a KMS key of your own kms:Decrypt "
    "and kms:GenerateDataKey",
    "not allowed; allow {action} on it, and with a KMS key of your own kms:Decrypt",
)
_NO_CREDENTIALS = _Fault(
    _Kind.DENIED,
    "no_credentials",
    "no valid AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or give this machine a role (`aws sts get-caller-identity` shows what is found)",
)
_SIGNATURE = _Fault(
    _Kind.DENIED,
    "clock_or_credentials",
    "AWS refuses the signature; set this machine's clock, then look at the secret access key",
)
_NOT_FOUND = _Fault(
    _Kind.REFUSED,
    "not_found",
    "there is no such secret in this account and region; set `create = true`, or create it: "
    "aws secretsmanager create-secret --name {secret}",
    "there is no such thing in this account and region; correct its name, or set region and "
    "profile",
)
_DELETED = _Fault(
    _Kind.REFUSED,
    "scheduled_for_deletion",
    "it is scheduled for deletion; restore it: "
    "aws secretsmanager restore-secret --secret-id {secret}",
    "it is scheduled for deletion; restore it, or name another",
)
_INVALID_REQUEST = _Fault(
    _Kind.REFUSED,
    "invalid_request",
    "AWS refuses {action} in the secret's present state; look at it: "
    "aws secretsmanager describe-secret --secret-id {secret}",
    "AWS refuses {action} in its present state; look at it in the console",
)
_INVALID_PARAMETER = _Fault(
    _Kind.REFUSED,
    "invalid_parameter",
    "AWS does not take a parameter of {action}; check `secret_id`, `kms_key_id` and `tags`",
    "AWS does not take its name; correct it",
)
_VERSION_LIMIT = _Fault(
    _Kind.REFUSED,
    "version_limit",
    "a quota is reached. A secret keeps 100 versions and none is removed in its first 24 hours: "
    "that is one write per 14.4 minutes. Have the provider issue tokens that live longer, or use a "
    "file",
)
_KMS = _Fault(
    _Kind.REFUSED,
    "kms_failure",
    "its KMS key can't be used; see whether the key is enabled and whether its policy lets this "
    "principal in",
)
_KMS_LATER = _Fault(
    _Kind.LATER, "kms_unavailable", "AWS could not reach the secret's KMS key for {action}"
)
_EXISTS = _Fault(_Kind.LATER, "version_exists", "another writer has put a value at the same moment")
_THROTTLED = _Fault(
    _Kind.LATER,
    "throttled",
    "AWS throttles {action} (50 writes a second for account and region)",
    "AWS throttles {action}",
)
_SERVICE = _Fault(_Kind.LATER, "service_error", "AWS could not carry out {action}")
_UNREACHABLE = _Fault(
    _Kind.LATER,
    "unreachable",
    "no answer to {action}; check the network and proxy to the AWS endpoint, and `endpoint_url`",
)
_TLS = _Fault(
    _Kind.LATER,
    "tls_failure",
    "the AWS endpoint's certificate is not trusted; check AWS_CA_BUNDLE, the proxy and the clock",
)
_NO_REGION = _Fault(_Kind.REFUSED, "no_region", "no AWS region; set `region` or AWS_DEFAULT_REGION")
_NO_PROFILE = _Fault(
    _Kind.REFUSED,
    "unknown_profile",
    "there is no such AWS profile; correct `profile` or AWS_PROFILE: aws configure list-profiles",
)
_CONFIGURATION = _Fault(
    _Kind.REFUSED,
    "aws_configuration",
    "the AWS settings can't be used ({name}); check `region`, `endpoint_url` and ~/.aws/config",
)
_NO_FEDERATION = _Fault(
    _Kind.REFUSED,
    "refused",
    "outbound identity federation is disabled in this account; enable it: "
    "aws iam enable-outbound-web-identity-federation",
)
_UNKNOWN_ANSWER = _Fault(_Kind.REFUSED, "refused", "AWS refuses {action} ({name})")
_UNKNOWN_FAILURE = _Fault(_Kind.LATER, "aws_failure", "{action} failed inside botocore ({name})")

_NAMES: Mapping[_Fault, str] = {
    _DENIED: "AccessDenied AccessDeniedException NotAuthorized UnauthorizedOperation",
    _NO_CREDENTIALS: """
        UnrecognizedClientException InvalidClientTokenId ExpiredToken ExpiredTokenException
        MissingAuthenticationToken MissingAuthenticationTokenException AuthFailure
        NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError
        MetadataRetrievalError NoAuthTokenError SSOError LoginError
        RefreshWithMFAUnsupportedError UnknownCredentialError""",
    _SIGNATURE: """
        SignatureDoesNotMatch InvalidSignatureException IncompleteSignature
        IncompleteSignatureException RequestExpired RequestTimeTooSkewed""",
    _NOT_FOUND: "ResourceNotFoundException ParameterNotFound ParameterVersionNotFound",
    _INVALID_REQUEST: "InvalidRequestException",
    _INVALID_PARAMETER: """
        InvalidParameterException ValidationException ValidationError ParamValidationError""",
    _VERSION_LIMIT: "LimitExceededException",
    _KMS: """
        EncryptionFailure DecryptionFailure KMSAccessDeniedException KMSDisabledException
        KMSInvalidStateException KMSNotFoundException InvalidKeyId DisabledException
        InvalidKeyUsageException""",
    _KMS_LATER: """
        KeyUnavailableException DependencyTimeoutException KMSInternalException
        KMSThrottlingException""",
    _EXISTS: "ResourceExistsException",
    _THROTTLED: """
        Throttling ThrottlingException ThrottledException RequestThrottled
        RequestThrottledException TooManyRequestsException RequestLimitExceeded SlowDown""",
    _SERVICE: """
        InternalServiceError InternalServiceErrorException InternalFailure InternalError
        ServiceUnavailable ServiceUnavailableException RequestTimeout RequestTimeoutException""",
    _TLS: "SSLError",
    _UNREACHABLE: """
        ConnectionError HTTPClientError IncompleteReadError ResponseParserError""",
    _NO_FEDERATION: "OutboundWebIdentityFederationDisabledException",
    _NO_REGION: "NoRegionError",
    _NO_PROFILE: "ProfileNotFound",
    _CONFIGURATION: """
        ConfigNotFound ConfigParseError InvalidConfigError InvalidRegionError UnknownRegionError
        BaseEndpointResolverError EndpointProviderError InvalidRetryConfigurationError
        MissingDependencyException ValueError""",
}
"""AWS error codes (API reference, Common Errors) and botocore exceptions, sorted by meaning."""
_FAULTS: Mapping[str, _Fault] = {
    name: fault for fault, names in _NAMES.items() for name in names.split()
}


class Meaning(NamedTuple):
    """What an error of AWS or botocore means to a reader of a secret; `text` is for people."""

    text: str
    passing: bool
    permission: bool


def sink_error(error: Exception, action: str, secret_id: str) -> SinkError:
    """Return the SinkError that says what went wrong in `action` (an IAM action) and its cure."""
    fault, name = _fault_of(error)
    what = fault.message.format(action=action, secret=shlex.quote(secret_id), name=name)
    text = f"secret {secret_id}: {what}"
    if fault.kind is _Kind.LATER:
        return SinkUnavailable(fault.code, text)
    return SinkRejected(fault.code, text, permission=fault.kind is _Kind.DENIED)


def meaning_of(error: Exception, action: str) -> Meaning:
    """Return what went wrong in `action` (with its service), for a secret that is read."""
    fault, name = _fault_of(error)
    text = (fault.of_source or fault.message).format(action=action, name=name)
    return Meaning(text, fault.kind is _Kind.LATER, fault.kind is _Kind.DENIED)


def _fault_of(error: Exception) -> tuple[_Fault, str]:
    """Return what an error means, by its name alone, and that name."""
    answer: Mapping[str, Any] | None = getattr(error, "response", None)
    if answer is None:
        return next(_known(type(error)), _UNKNOWN_FAILURE), type(error).__name__
    name = _word(answer.get("Error", {}).get("Code"))
    return _of_answer(name, answer), name


def _known(kind: type[Exception]) -> Iterator[_Fault]:
    return (_FAULTS[base.__name__] for base in kind.__mro__ if base.__name__ in _FAULTS)


def _of_answer(name: str, answer: Mapping[str, Any]) -> _Fault:
    """Tell what an answer means by its code, and where that is unknown by its HTTP status."""
    if name == "InvalidRequestException" and "delet" in answer["Error"].get("Message", "").lower():
        return _DELETED
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _FAULTS.get(name, _SERVICE if is_down else _UNKNOWN_ANSWER)


def _word(code: object) -> str:
    """Return an error code if it is a plain word, as all of AWS's are."""
    text = str(code)
    return text if text.isidentifier() and len(text) <= MAX_CODE_LENGTH else "unknown"

"""What AWS and botocore say went wrong, in our words. No text of theirs is ever passed on.

ParamValidationError prints the value that it refuses, which may be a token: so only names count,
the error code of an answer or the class of an exception.
"""

import shlex
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from job.core.errors import SinkError, SinkRejected, SinkUnavailable

MAX_CODE_LENGTH = 64


class _Fault(NamedTuple):
    """What a name means: our code, and a message for people about {action} on {secret}.

    `of_source` is the message where the secret is not a store of ours but one that we read, if
    that differs; `names` are what AWS and botocore call it. What is not `passing` waits for an
    operator, who may have to give a `permission`.
    """

    code: str
    message: str
    of_source: str = ""
    names: str = ""
    passing: bool = False
    permission: bool = False


_DELETED = _Fault(
    "scheduled_for_deletion",
    "it is scheduled for deletion; restore it: "
    "aws secretsmanager restore-secret --secret-id {secret}",
    "it is scheduled for deletion; restore it, or name another",
)
_SERVICE = _Fault(
    "service_error",
    "AWS could not carry out {action}",
    names="""
        InternalServiceError InternalServiceErrorException InternalFailure InternalError
        ServiceUnavailable ServiceUnavailableException RequestTimeout RequestTimeoutException""",
    passing=True,
)
_UNKNOWN_ANSWER = _Fault("refused", "AWS refuses {action} ({name})")
_UNKNOWN_FAILURE = _Fault("aws_failure", "{action} failed inside botocore ({name})", passing=True)
_TABLE = (
    _Fault(
        "access_denied",
        "not allowed; allow secretsmanager:{action} on it, and with a KMS key of your own "
        "kms:Decrypt and kms:GenerateDataKey",
        "not allowed; allow {action} on it, and with a KMS key of your own kms:Decrypt",
        names="AccessDenied AccessDeniedException NotAuthorized UnauthorizedOperation",
        permission=True,
    ),
    _Fault(
        "no_credentials",
        "no valid AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or give this machine a role (`aws sts get-caller-identity` shows "
        "what is found)",
        names="""
            UnrecognizedClientException InvalidClientTokenId ExpiredToken ExpiredTokenException
            MissingAuthenticationToken MissingAuthenticationTokenException AuthFailure
            NoCredentialsError PartialCredentialsError CredentialRetrievalError
            TokenRetrievalError MetadataRetrievalError NoAuthTokenError SSOError LoginError
            RefreshWithMFAUnsupportedError UnknownCredentialError""",
        permission=True,
    ),
    _Fault(
        "clock_or_credentials",
        "AWS refuses the signature; set this machine's clock, then look at the secret access key",
        names="""
            SignatureDoesNotMatch InvalidSignatureException IncompleteSignature
            IncompleteSignatureException RequestExpired RequestTimeTooSkewed""",
        permission=True,
    ),
    _Fault(
        "not_found",
        "there is no such secret in this account and region; set `create = true`, or create it: "
        "aws secretsmanager create-secret --name {secret}",
        "there is no such thing in this account and region; correct its name, or set region and "
        "profile",
        names="ResourceNotFoundException ParameterNotFound ParameterVersionNotFound",
    ),
    _Fault(
        "invalid_request",
        "AWS refuses {action} in the secret's present state; look at it: aws secretsmanager "
        "describe-secret --secret-id {secret}",
        "AWS refuses {action} in its present state; look at it in the console",
        names="InvalidRequestException",
    ),
    _Fault(
        "invalid_parameter",
        "AWS does not take a parameter of {action}; check `secret_id`, `kms_key_id` and `tags`",
        "AWS does not take its name; correct it",
        names="""
            InvalidParameterException ValidationException ValidationError ParamValidationError""",
    ),
    _Fault(
        "version_limit",
        "a quota is reached. A secret keeps 100 versions and none is removed in its first 24 "
        "hours: that is one write per 14.4 minutes. Have the provider issue tokens that live "
        "longer, or use a file",
        names="LimitExceededException",
    ),
    _Fault(
        "kms_failure",
        "its KMS key can't be used; see whether the key is enabled and whether its policy lets "
        "this principal in",
        names="""
            EncryptionFailure DecryptionFailure KMSAccessDeniedException KMSDisabledException
            KMSInvalidStateException KMSNotFoundException InvalidKeyId DisabledException
            InvalidKeyUsageException""",
    ),
    _Fault(
        "kms_unavailable",
        "AWS could not reach the secret's KMS key for {action}",
        names="""
            KeyUnavailableException DependencyTimeoutException KMSInternalException
            KMSThrottlingException""",
        passing=True,
    ),
    _Fault(
        "version_exists",
        "another writer has put a value at the same moment",
        names="ResourceExistsException",
        passing=True,
    ),
    _Fault(
        "throttled",
        "AWS throttles {action} (50 writes a second for account and region)",
        "AWS throttles {action}",
        names="""
            Throttling ThrottlingException ThrottledException RequestThrottled
            RequestThrottledException TooManyRequestsException RequestLimitExceeded SlowDown""",
        passing=True,
    ),
    _Fault(
        "unreachable",
        "no answer to {action}; check the network and proxy to the AWS endpoint, and "
        "`endpoint_url`",
        names="ConnectionError HTTPClientError IncompleteReadError ResponseParserError",
        passing=True,
    ),
    _Fault(
        "tls_failure",
        "the AWS endpoint's certificate is not trusted; check AWS_CA_BUNDLE, the proxy and the "
        "clock",
        names="SSLError",
        passing=True,
    ),
    _Fault("no_region", "no AWS region; set `region` or AWS_DEFAULT_REGION", names="NoRegionError"),
    _Fault(
        "unknown_profile",
        "there is no such AWS profile; correct `profile` or AWS_PROFILE: aws configure "
        "list-profiles",
        names="ProfileNotFound",
    ),
    _Fault(
        "aws_configuration",
        "the AWS settings can't be used ({name}); check `region`, `endpoint_url` and ~/.aws/config",
        names="""
            ConfigNotFound ConfigParseError InvalidConfigError InvalidRegionError
            UnknownRegionError BaseEndpointResolverError EndpointProviderError
            InvalidRetryConfigurationError MissingDependencyException ValueError""",
    ),
    _Fault(
        "refused",
        "outbound identity federation is disabled in this account; enable it: aws iam "
        "enable-outbound-web-identity-federation",
        names="OutboundWebIdentityFederationDisabledException",
    ),
    _SERVICE,
)
"""What AWS says: its error codes (API reference, Common Errors) and botocore's exceptions."""
_FAULTS: Mapping[str, _Fault] = {name: fault for fault in _TABLE for name in fault.names.split()}


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
    if fault.passing:
        return SinkUnavailable(fault.code, text)
    return SinkRejected(fault.code, text, permission=fault.permission)


def meaning_of(error: Exception, action: str) -> Meaning:
    """Return what went wrong in `action` (with its service), for a secret that is read."""
    fault, name = _fault_of(error)
    text = (fault.of_source or fault.message).format(action=action, name=name)
    return Meaning(text, fault.passing, fault.permission)


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

"""The AWS Secrets Manager store: compare and swap with the service's own means.

A write puts the text as a version that carries a private label, then moves AWSCURRENT from the
version that was read to the new one. UpdateSecretVersionStage refuses if AWSCURRENT is no longer
there (AWS API reference, RemoveFromVersionId), so replicas need no lock, and an older token never
overwrites a newer one. A version's id is derived from the id of the one it replaces, so a repeated
write makes no second version, and one of two rivals is refused.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from job.aws.errors import sink_error
from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Conflict, Stored
from job.core.secret import Secret
from job.core.tokens import FormatName, asked_at
from job.http.deadline import Sequential
from job.sinks.secret_text import SecretText
from job.sinks.settings import Place, SinkSettings
from job.values import default, is_url

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

T = TypeVar("T")

CURRENT = "AWSCURRENT"
PENDING = "freshtoken_pending"
"""One label for all refreshes (a secret has 20 at most); AWSPENDING belongs to rotation."""
_EMPTY = ("", Secret(""))


class SecretsManagerSinkSettings(
    SinkSettings, frozen=True, kw_only=True, tag="aws_secrets_manager"
):
    """A secret in AWS Secrets Manager. Credentials come from boto3's own chain."""

    title = "AWS Secrets Manager"
    variable = "aws-secrets-manager:SECRET_ID"
    max_versions_per_day = 100

    secret_id: str
    """The secret's name or ARN."""
    format: FormatName = "json"
    """The layout of the secret's text."""
    region: str | None = None
    """The AWS region; default: boto3's own choice."""
    profile: str | None = None
    """The profile of the shared AWS configuration."""
    endpoint_url: str | None = None
    """Another AWS endpoint, such as a VPC endpoint."""
    json_key: str | None = None
    """Keep the token under this key of a JSON secret, others untouched."""
    create: bool = False
    """Create the secret if it is missing."""
    kms_key_id: str | None = None
    """The KMS key of a secret that is created."""
    tags: dict[str, str] = default({})
    """The tags of a secret that is created."""
    compare_and_swap: bool = True
    """Never overwrite a newer token of another writer. false: one plain put, for a principal that
    may do nothing else."""

    @property
    def place(self) -> Place:
        """Return the secret, and the key in it if it is not all of the secret."""
        secret = ("aws", self.region, self.profile, self.endpoint_url, self.secret_id)
        return secret if self.json_key is None else (*secret, self.json_key)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the names, too."""
        yield from super().problems()
        if not self.secret_id:
            yield "secret_id", "is empty"
        if self.json_key == "":
            yield "json_key", "is empty; leave it out to keep the whole secret"
        if self.endpoint_url is not None and not is_url(self.endpoint_url):
            yield "endpoint_url", "must be a URL: https:// and a host"


class SecretsManagerStore:
    """One secret, or the text under `json_key` of a JSON secret whose other keys are kept.

    One thread at a time may use it; `client` may be shared. A method ends within `deadline_s`
    seconds (by `monotonic`) if `calls` makes its calls; without `calls`, it only makes no further
    call after that. A revision is a version's id.
    """

    in_one_step = True

    def __init__(
        self,
        settings: SecretsManagerSinkSettings,
        client: "Callable[[], SecretsManagerClient]",
        *,
        calls: Sequential | None = None,
        deadline_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call nothing yet."""
        self._settings = settings
        self._secret_id = settings.secret_id
        self._text = SecretText(settings.secret_id, settings.json_key)
        self._creatable = ("not_found",) if settings.create else ()
        self._client = client
        self._calls = calls
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._until = 0.0
        self._content = _EMPTY
        self._settled = not settings.compare_and_swap
        self._stuck = ""
        self._put_last = ("", "")

    @property
    def label(self) -> str:
        """Return the secret's name in events."""
        return f"aws-secrets-manager:{self._secret_id}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Promote what a dead writer may have put: at the start, and after a failed write.

        Nothing is held: a rival causes a Conflict.
        """
        self._start()
        if not self._settled:
            self._settle()
        yield

    def load(self) -> Stored:
        """Return the current version.

        It is empty for an empty secret, for a missing one that is to be created, and, without
        `compare_and_swap`, for one that may not be read. A secret that holds a document needs no
        permission but GetSecretValue.
        """
        self._start()
        self._content = _EMPTY
        try:
            return self._version()
        except SinkRejected as error:
            if self._settings.compare_and_swap or error.code != "access_denied":
                raise
            return Stored()

    def replace(self, text: Secret, beside: str, expected: Stored) -> None:
        """Put a version and make it the current one, unless another has become current."""
        self._start()
        version_id, content = self._content
        if version_id != expected.revision:
            raise Conflict
        new = self._text.joined(text.reveal(), beside, content.reveal())
        if not self._settings.compare_and_swap:
            # The same text again makes no second version.
            predecessor = version_id if self._settings.json_key is not None else ""
            lineage = (predecessor, Secret(f"{new}\0{beside}").fingerprint())
            self._put(new, self._text.version_id(beside, *lineage), CURRENT)
            return
        self._settled = False
        if not self._swap(new, beside, version_id):
            self._settle()
            raise Conflict
        self._settled, self._stuck = True, ""

    def foreign(self) -> SinkRejected:
        """Return the refusal to replace a value of somebody else."""
        what = "it holds a value that freshtoken has not written"
        cure = "choose another secret or `json_key`, or set `overwrite = true`"
        return SinkRejected("foreign_secret", f"secret {self._secret_id}: {what}; {cure}")

    def _swap(self, content: str, receipt: str, replaced: str) -> bool:
        """Replace a version; False if another writer was faster."""
        fingerprint = Secret(f"{content}\0{receipt}").fingerprint()
        known, version_id = self._put_last
        if known != fingerprint:
            version_id = self._text.version_id(receipt, replaced, self._stuck)
        # A version that we have put, but could not promote yet, is the one to promote.
        self._put_last = (fingerprint, version_id)
        try:
            # A secret that is created here has this version as its current one.
            is_created = self._put(content, version_id, PENDING)
            return is_created or self._promote(version_id, replaced)
        except SinkError as error:
            if error.code != "version_exists":
                raise
            self._put_last = ("", "")
            return False

    def _settle(self) -> None:
        """Promote a version that was put but not promoted, if its token is not an older one.

        Its id shows that it was made to replace the version that is current now. One with
        AWSPREVIOUS was current itself: somebody has moved the label back on purpose.
        """
        labels = self._describe().get("VersionIdsToStages", {})
        current = next((version for version in labels if CURRENT in labels[version]), "")
        self._stuck = next((v for v in labels if PENDING in labels[v] and v != current), "")
        is_left = labels.get(self._stuck) == [PENDING]
        if is_left and self._text.is_of(self._stuck, current, "") and self._is_no_older():
            self._promote(self._stuck, current)
            self._stuck = ""
        self._settled = True

    def _is_no_older(self) -> bool:
        """Tell whether the stuck version's token is at least as new as the current one."""
        stored, stuck = (
            asked_at(version.text.reveal(), version.beside)
            for version in (self._version(), self._version(self._stuck))
        )
        return stuck is not None and (stored is None or stuck >= stored)

    def _version(self, version_id: str = "") -> Stored:
        """Return a version by its id, or the current one."""
        which = {"VersionId": version_id} if version_id else {"VersionStage": CURRENT}
        answer = self._ask(
            "GetSecretValue",
            lambda aws: _picked(aws.get_secret_value(SecretId=self._secret_id, **which)),
            "not_found",
        )
        if answer is None:
            # An empty secret gets the same answer as a missing one.
            self._describe()
        found, content = answer or ("", "")
        self._content = (found, Secret(content))
        text, receipt = self._text.parts(content, found)
        return Stored(Secret(text), receipt, found)

    def _describe(self) -> Mapping[str, Any]:
        """Describe the secret; empty if it is missing and to be created."""
        described = self._ask(
            "DescribeSecret",
            lambda aws: aws.describe_secret(SecretId=self._secret_id),
            *self._creatable,
        )
        return described or {}

    def _put(self, content: str, version_id: str, label: str) -> bool:
        """Put a version; return whether that had to create the secret."""
        answer = self._ask(
            "PutSecretValue",
            lambda aws: aws.put_secret_value(
                SecretId=self._secret_id,
                SecretString=content,
                ClientRequestToken=version_id,
                VersionStages=[label],
            ),
            *self._creatable,
        )
        if answer is None:
            self._create_secret(content, version_id)
        return answer is None

    def _promote(self, version_id: str, replaced: str) -> bool:
        """Move AWSCURRENT from one version to another; False if it was no longer there.

        The first version replaces none, and may have got the label when it was put.
        """
        removal: dict[str, Any] = {"RemoveFromVersionId": replaced} if replaced else {}
        answer = self._ask(
            "UpdateSecretVersionStage",
            lambda aws: aws.update_secret_version_stage(
                SecretId=self._secret_id,
                VersionStage=CURRENT,
                MoveToVersionId=version_id,
                **removal,
            ),
            "invalid_parameter",
            "not_found",  # the new version is not yet visible everywhere
        )
        return answer is not None

    def _create_secret(self, content: str, version_id: str) -> None:
        more: dict[str, Any] = {"KmsKeyId": key} if (key := self._settings.kms_key_id) else {}
        self._ask(
            "CreateSecret",
            lambda aws: aws.create_secret(
                Name=self._secret_id,
                SecretString=content,
                ClientRequestToken=version_id,
                Tags=[{"Key": name, "Value": value} for name, value in self._settings.tags.items()],
                **more,
            ),
        )

    def _start(self) -> None:
        self._until = self._monotonic() + self._deadline_s

    def _ask(
        self, action: str, call: "Callable[[SecretsManagerClient], T]", *tolerated: str
    ) -> T | None:
        """Make one call; raises SinkError, or returns None for these codes of one."""
        left_s = self._until - self._monotonic()
        try:
            return self._within(left_s, lambda: call(self._client()))
        except TimeoutError:
            what = f"AWS was too slow: {self._deadline_s:g} s were over at {action}"
            cure = "check the network to its endpoint"
            text = f"secret {self._secret_id}: {what}; {cure}"
            raise SinkUnavailable("timeout", text) from None
        except Exception as error:  # noqa: BLE001  # all that runs here is boto3, its files and plug-ins
            failure = sink_error(error, action, self._secret_id)
            if failure.code in tolerated:
                return None
            raise failure from None

    def _within(self, left_s: float, call: Callable[[], T]) -> T:
        """Make a call; raises TimeoutError when the time is over."""
        if self._calls is not None:
            return self._calls.call(call, left_s)
        if left_s <= 0:
            raise TimeoutError
        return call()


def _picked(answer: Mapping[str, Any]) -> tuple[str, str]:
    text = answer.get("SecretString")
    if text is None:
        text = answer["SecretBinary"].decode(errors="replace")
    return answer["VersionId"], text

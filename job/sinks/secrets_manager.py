"""The AWS Secrets Manager sink: compare and swap, by the store's own means.

A write puts the token as a version that carries a private label, then moves AWSCURRENT from the
version that was read to the new one. UpdateSecretVersionStage refuses when AWSCURRENT is no longer
there (AWS API reference, RemoveFromVersionId): so replicas need no lock, and an older token never
overwrites a newer one. A version's id is derived from the id of the one it replaces: a repeated
write makes no second version, and of two rivals one is refused.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from job.aws.errors import sink_error
from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Superseded
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Receipt, Record
from job.http.deadline import Caller
from job.sinks.secret_text import LINEAGE_LENGTH, SecretText

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

T = TypeVar("T")

CURRENT = "AWSCURRENT"
PENDING = "freshtoken_pending"
"""One label for all refreshes (a secret has 20 at most); AWSPENDING belongs to rotation."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the secret. `id` is empty if there is none, `record` None if it is not ours."""

    id: str
    text: Secret
    record: Record | None

    def holds(self, record: Record) -> bool:
        return self.record is not None and self.record.receipt == record.receipt


_NOTHING = _Version("", Secret(""), None)
_NONE_PUT: tuple[Receipt | None, str] = (None, "")


class SecretsManagerSink:
    """A record in one secret, or under `json_key` of a JSON secret whose other keys are kept.

    One thread at a time may use it; `client` may be shared. `create` makes a missing secret, with
    `kms_key_id` and `tags`. Without `compare_and_swap` a write is one plain put, for a principal
    that may do nothing else. A value that freshtoken has not written is refused unless
    `overwrite`. A method ends within `deadline_s` seconds, whatever AWS does: that is
    up to `caller`.
    """

    def __init__(  # noqa: PLR0913  # one keyword for each setting of a secret
        self,
        secret_id: str,
        layout: OutputFormat,
        client: "Callable[[], SecretsManagerClient]",
        *,
        json_key: str | None = None,
        create: bool = False,
        kms_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        compare_and_swap: bool = True,
        overwrite: bool = False,
        deadline_s: float = 30.0,
        caller: Caller | None = None,
    ) -> None:
        """Call nothing yet."""
        self.label = f"aws-secrets-manager:{secret_id}"
        self._secret_id = secret_id
        self._text = SecretText(secret_id, layout, json_key)
        self._client = client
        self._create = create
        self._kms_key_id = kms_key_id
        self._tags = tags or {}
        self._compare_and_swap = compare_and_swap
        self._overwrite = overwrite
        self._deadline_s = deadline_s
        self._until = 0.0
        self._caller = caller or Caller()
        self._seen: _Version | None = None
        self._stuck = ""
        self._own = _NONE_PUT

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Promote what a dead writer had put. Nothing is held: a rival shows at `write`."""
        self._start()
        if self._compare_and_swap:
            self._resume()
        yield

    def read(self) -> Record | None:
        """Return the current version's record, and expect that version to be there at `write`.

        None also for an empty secret, for a missing one that is to be created, and without
        `compare_and_swap` for one that may not be read. The json format needs no other right than
        GetSecretValue.
        """
        self._start()
        try:
            self._seen = self._version()
        except SinkRejected as error:
            if self._compare_and_swap or error.code != "access_denied":
                raise
            return None
        return self._seen.record

    def write(self, record: Record) -> None:
        """Make the record the current version, unless it is that already.

        A newer record that was not there at the last `read` wins: Superseded.
        """
        self._start()
        if not self._compare_and_swap:
            self._put_plainly(record)
            return
        for _ in range(ATTEMPTS):
            seen = self._expected(record)
            # Whoever fails or loses looks again: a rival's tags may be there meanwhile.
            self._seen = None
            if seen.holds(record) or self._swap(record, seen):
                return
            self._resume()
        what = "other writers were faster each time; if this goes on, give each job its own secret"
        self._refuse("contended", what, SinkUnavailable)

    def _expected(self, record: Record) -> _Version:
        """Return the version to replace: the one that was read, or else the current one."""
        if self._seen is None or self._seen.holds(record):
            self._seen = self._version()
            stored = self._seen.record
            if stored and not self._seen.holds(record) and _is_no_older(stored, record):
                # Raised once only: the next write will expect this version.
                raise Superseded(stored)
        return self._seen

    def _swap(self, record: Record, seen: _Version) -> bool:
        """Replace the expected version; False if another writer was faster."""
        text = self._text.put(record, seen.text.reveal())
        # A version that we have put, but could not promote yet, is the one to promote.
        is_put = self._own[0] == record.receipt
        version_id = self._own[1] if is_put else self._id(record, seen.id, self._stuck)
        self._own = (record.receipt, version_id)
        try:
            # A secret that is created here has its version, as the current one, from the start.
            is_created = self._put(text, version_id, PENDING)
            return is_created or self._promote(version_id, seen.id)
        except SinkError as error:
            if error.code != "version_exists":
                raise
            self._own = _NONE_PUT
            return False

    def _put_plainly(self, record: Record) -> None:
        is_shared = self._text.json_key is not None
        # Only a text that is shared with others has to be read before.
        seen = self._version() if is_shared else self._seen or _NOTHING
        if not seen.holds(record):
            receipt, layout = record.receipt, str(self._text.layout)
            predecessor = seen.id if is_shared else ""
            parts = (predecessor, receipt.fingerprint, str(receipt.expires_at), layout)
            text = self._text.put(record, seen.text.reveal())
            self._put(text, self._id(record, *parts), CURRENT)
        self._seen = None

    def _resume(self) -> None:
        """Promote a version that was put but not promoted, if its token is not an older one.

        Its id tells that it was made to replace the version that is current now. One that was
        current itself carries AWSPREVIOUS: somebody has moved the label back on purpose.
        """
        labels = self._describe().get("VersionIdsToStages", {})
        current = next((version for version in labels if CURRENT in labels[version]), "")
        self._stuck = next((v for v in labels if PENDING in labels[v] and v != current), "")
        if labels.get(self._stuck) != [PENDING] or not self._replaces(self._stuck, current):
            return
        stored, pending = self._version().record, self._version(self._stuck).record
        if pending and (stored is None or _is_no_older(pending, stored)):
            self._promote(self._stuck, current)
            self._stuck = ""

    def _version(self, version_id: str = "") -> _Version:
        """Return a version by its id, or the current one."""
        which = {"VersionId": version_id} if version_id else {"VersionStage": CURRENT}
        try:
            version_id, text = self._ask(
                "GetSecretValue",
                lambda aws: _picked(aws.get_secret_value(SecretId=self._secret_id, **which)),
            )
        except SinkRejected as error:
            if error.code != "not_found":
                raise
            # An empty secret gets the same answer as a missing one.
            self._describe()
            return _NOTHING
        return _Version(version_id, Secret(text), self._record_in(text, version_id))

    def _record_in(self, text: str, version_id: str) -> Record | None:
        record, foreign = self._text.find(text, version_id)
        if foreign and not self._overwrite:
            what = "it holds a value that freshtoken has not written"
            cure = "choose another secret or `json_key`, or set `overwrite = true`"
            self._refuse("foreign_secret", f"{what}; {cure}")
        return record

    def _id(self, record: Record, *parts: str) -> str:
        return self._text.version_id(self._lineage(*parts), record)

    def _replaces(self, version_id: str, current: str) -> bool:
        """Tell whether a version was made to replace the current one."""
        lineage = self._lineage(current, "")
        return version_id.startswith(lineage[:LINEAGE_LENGTH])

    def _lineage(self, *parts: str) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, " ".join((self.label, *parts))).hex

    def _describe(self) -> Mapping[str, Any]:
        """Describe the secret; there is nothing to say of a missing one that is to be created."""
        try:
            described: Mapping[str, Any] = self._ask(
                "DescribeSecret", lambda aws: aws.describe_secret(SecretId=self._secret_id)
            )
        except SinkRejected as error:
            if error.code != "not_found" or not self._create:
                raise
            return {}
        return described

    def _put(self, text: str, version_id: str, label: str) -> bool:
        """Put a version, in a new secret if there is none and one is asked for; True if so."""
        try:
            self._ask(
                "PutSecretValue",
                lambda aws: aws.put_secret_value(
                    SecretId=self._secret_id,
                    SecretString=text,
                    ClientRequestToken=version_id,
                    VersionStages=[label],
                ),
            )
        except SinkRejected as error:
            if error.code != "not_found" or not self._create:
                raise
            self._create_secret(text, version_id)
            return True
        return False

    def _promote(self, version_id: str, replaced: str) -> bool:
        """Move AWSCURRENT from one version to another; False if it was not there any more.

        Nothing is replaced by the first version, which may have got the label when it was put.
        """
        removal: dict[str, Any] = {"RemoveFromVersionId": replaced} if replaced else {}
        try:
            self._ask(
                "UpdateSecretVersionStage",
                lambda aws: aws.update_secret_version_stage(
                    SecretId=self._secret_id,
                    VersionStage=CURRENT,
                    MoveToVersionId=version_id,
                    **removal,
                ),
            )
        except SinkRejected as error:
            # "not_found": the new version is not yet visible everywhere.
            if error.code not in ("invalid_parameter", "not_found"):
                raise
            return False
        return True

    def _create_secret(self, text: str, version_id: str) -> None:
        more: dict[str, Any] = {"KmsKeyId": self._kms_key_id} if self._kms_key_id else {}
        self._ask(
            "CreateSecret",
            lambda aws: aws.create_secret(
                Name=self._secret_id,
                SecretString=text,
                ClientRequestToken=version_id,
                Tags=[{"Key": key, "Value": value} for key, value in self._tags.items()],
                **more,
            ),
        )

    def _start(self) -> None:
        self._until = time.monotonic() + self._deadline_s

    def _ask(self, action: str, call: "Callable[[SecretsManagerClient], T]") -> T:
        """Make one call and return its answer; raises what went wrong in our words."""
        try:
            return self._caller.call(lambda: call(self._client()), self._until - time.monotonic())
        except TimeoutError:
            what = f"AWS was too slow: {self._deadline_s:g} s were over at {action}"
            self._refuse("timeout", f"{what}; check the network to its endpoint", SinkUnavailable)
        except Exception as error:  # noqa: BLE001  # all that runs here is boto3, its files and plug-ins
            raise sink_error(error, action, self._secret_id) from None

    def _refuse(
        self, code: str, what: str, kind: type[SinkRejected | SinkUnavailable] = SinkRejected
    ) -> NoReturn:
        raise kind(code, f"secret {self._secret_id}: {what}")


def _is_no_older(stored: Record, record: Record) -> bool:
    return stored.receipt.requested_at >= record.receipt.requested_at


def _picked(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Take the id and the text out of a GetSecretValue answer."""
    text = answer.get("SecretString")
    if text is None:
        text = answer["SecretBinary"].decode(errors="replace")
    return answer["VersionId"], text

"""The AWS Secrets Manager sink: compare and swap, by the store's own means.

A write puts the token as a version that carries a private label, then moves AWSCURRENT from the
version that was read to the new one. UpdateSecretVersionStage refuses when AWSCURRENT is no longer
there (AWS API reference, RemoveFromVersionId): so replicas need no lock, and an older token never
overwrites a newer one. A version's id is derived from the id of the one it replaces: a repeated
write makes no second version, and of two rivals one is refused.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from job.errors import SinkError, SinkRejected, SinkUnavailable
from job.secret import Secret
from job.sinks import Superseded
from job.sinks.aws_errors import sink_error
from job.tokens import OutputFormat, Record, is_ours, parse, render, render_receipt

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import TagTypeDef

T = TypeVar("T")

CURRENT = "AWSCURRENT"
PENDING = "freshtoken_pending"
"""One label for all refreshes (a secret has 20 at most), and not AWSPENDING, which is rotation's."""
TAG = "freshtoken:"
MEMBER_SUFFIX = "_freshtoken"
MAX_BYTES = 65_536
ATTEMPTS = 3


def client_factory(
    region: str | None, endpoint_url: str | None, profile: str | None
) -> "Callable[[], SecretsManagerClient]":
    """Return what gives the one client of an account; all its sinks and threads may share it.

    Credentials, and whatever is None, come from boto3's own chain. What goes wrong is raised by
    the call and tried again by the next one.
    """
    return _SharedClient(region, endpoint_url, profile)


class _SharedClient:
    """A client is thread-safe, the session that makes it is not (boto3 guide, Session)."""

    def __init__(self, region: str | None, endpoint_url: str | None, profile: str | None) -> None:
        self._settings = (region, endpoint_url, profile)
        self._client: SecretsManagerClient | None = None
        self._lock = threading.Lock()

    def __call__(self) -> "SecretsManagerClient":
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> "SecretsManagerClient":
        import boto3  # noqa: PLC0415  # 0.2 s of CPU, for `check` and `get` in vain
        from botocore.config import Config  # noqa: PLC0415  # the same

        region, endpoint_url, profile = self._settings
        # botocore's own defaults wait 60 s for a socket and differ between its releases.
        config = Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=50,
        )
        session = boto3.Session(profile_name=profile, region_name=region)
        return session.client("secretsmanager", endpoint_url=endpoint_url, config=config)


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the secret. `id` is empty if there is none, `record` None if it is not ours."""

    id: str
    text: Secret
    created: float
    record: Record | None

    def holds(self, record: Record) -> bool:
        return self.record is not None and self.record.receipt == record.receipt

    def supersedes(self, other: "_Version") -> bool:
        """Tell whether this version of ours is no older than another, by AWS and by its token."""
        if self.record is None or self.created < other.created:
            return False
        if other.record is None:
            return True
        return self.record.receipt.requested_at >= other.record.receipt.requested_at


_NOTHING = _Version("", Secret(""), 0.0, None)


class SecretsManagerSink:
    """A record in one secret, or under `json_key` of a JSON secret whose other keys are kept.

    One thread at a time may use it; `client` may be shared. `create` makes a missing secret, with
    `kms_key_id` and `tags`. Without `compare_and_swap` a write is one plain put, for a principal
    that may do nothing else. A value that freshtoken has not written is refused unless
    `overwrite`. A method begins no further call when `deadline_s` seconds have passed.
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
    ) -> None:
        """Call nothing yet."""
        self.label = f"aws-secrets-manager:{secret_id}"
        self._secret_id = secret_id
        self._layout = layout
        self._client = client
        self._json_key = json_key
        self._create = create
        self._kms_key_id = kms_key_id
        self._tags = tags or {}
        self._compare_and_swap = compare_and_swap
        self._overwrite = overwrite
        self._deadline_s = deadline_s
        self._until = 0.0
        self._seen: _Version | None = None
        self._stuck = ""

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
            if seen.holds(record) or self._swap(record, seen):
                self._seen = None
                return
            self._seen = None
            self._resume()
        self._refuse("contended", "other writers were faster each time", SinkUnavailable)

    def _expected(self, record: Record) -> _Version:
        """Return the version to replace: the one that was read, or else the current one."""
        if self._seen is None or self._seen.holds(record):
            self._seen = self._version()
            stored = self._seen.record
            if stored and not self._seen.holds(record) and _is_newer(stored, record):
                # Raised once only: the next write will expect this version.
                raise Superseded(stored)
        return self._seen

    def _swap(self, record: Record, seen: _Version) -> bool:
        """Replace the expected version; False if another writer was faster."""
        text = self._payload(record, seen)
        version_id = self._id(seen.id, self._stuck)
        try:
            if not seen.id:
                self._put_first(record, text, version_id)
                return True
            self._put(text, version_id, PENDING)
            self._tag(record)
            return self._promote(version_id, seen.id)
        except SinkError as error:
            if error.code != "version_exists":
                raise
            return False

    def _put_plainly(self, record: Record) -> None:
        seen = self._version() if self._json_key else _NOTHING
        if not seen.holds(record):
            receipt = record.receipt
            version_id = self._id(
                seen.id, receipt.fingerprint, str(receipt.expires_at), str(self._layout)
            )
            self._put_first(record, self._payload(record, seen), version_id)

    def _put_first(self, record: Record, text: str, version_id: str) -> None:
        """Put a version that becomes the current one at once."""
        try:
            # Tags first: a value without them would look like somebody else's.
            self._tag(record)
            self._put(text, version_id, CURRENT)
        except SinkRejected as error:
            if error.code != "not_found" or not self._create:
                raise
            self._create_secret(record, text, version_id)

    def _resume(self) -> None:
        """Promote a version that was put but not promoted, if its token is not an older one.

        A version that was current once carries AWSPREVIOUS: it was replaced, not left behind.
        """
        described = self._describe()
        self._stuck = ""
        for version_id, labels in described.get("VersionIdsToStages", {}).items():
            if PENDING in labels and CURRENT not in labels:
                self._stuck = version_id
        if self._stuck and described["VersionIdsToStages"][self._stuck] == [PENDING]:
            current = self._version()
            if self._version(self._stuck).supersedes(current):
                self._promote(self._stuck, current.id)
                self._stuck = ""

    def _version(self, version_id: str = "") -> _Version:
        """Return a version by its id, or the current one."""
        which = {"VersionId": version_id} if version_id else {"VersionStage": CURRENT}
        try:
            version_id, created, text = self._ask(
                "GetSecretValue",
                lambda aws: _picked(aws.get_secret_value(SecretId=self._secret_id, **which)),
            )
        except SinkRejected as error:
            if error.code != "not_found":
                raise
            # An empty secret gets the same answer as a missing one.
            self._describe()
            return _NOTHING
        return _Version(version_id, Secret(text), created, self._record_in(text))

    def _record_in(self, text: str) -> Record | None:
        value, receipt = self._parts(text)
        record = parse(value, self._layout, receipt)
        ours = record or not value or self._overwrite or is_ours(value) or is_ours(receipt)
        if not ours:
            what = "it holds a value that freshtoken has not written"
            cure = "choose another secret or `json_key`, or set `overwrite = true`"
            self._refuse("foreign_secret", f"{what}; {cure}")
        return record

    def _parts(self, text: str) -> tuple[str, str]:
        """Take a secret's text apart into our value and its receipt."""
        if self._json_key is not None:
            members = self._members(text)
            beside = members.get(self._json_key + MEMBER_SUFFIX)
            return _as_text(members.get(self._json_key)), _as_text(beside)
        return text, self._tag_receipt() if text and not self._layout.carries_receipt else ""

    def _members(self, text: str) -> dict[str, Any]:
        try:
            members = json.loads(text or "{}")
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            self._refuse("not_json", "it is no JSON object; `json_key` needs one")
        return members

    def _payload(self, record: Record, seen: _Version) -> str:
        """Return the secret's new text; with `json_key` the other keys stay as they were seen."""
        text = render(record, self._layout)
        if self._json_key is not None:
            members = self._members(seen.text.reveal())
            if self._layout.carries_receipt:
                members[self._json_key] = json.loads(text)
            else:
                receipt = json.loads(render_receipt(record, self._layout))
                members |= {self._json_key: text, self._json_key + MEMBER_SUFFIX: receipt}
            text = json.dumps(members, ensure_ascii=False)
        content = text.encode(errors="replace")
        if len(content) > MAX_BYTES:
            what = f"the text is {len(content)} bytes long, a secret holds {MAX_BYTES}"
            self._refuse("too_large", f"{what}; ask for a smaller scope, or use a file")
        return content.decode()

    def _tag_receipt(self) -> str:
        """Return the receipt that `_receipt_tags` has put into the secret's tags."""
        tags = {tag["Key"]: tag["Value"] for tag in self._describe().get("Tags", [])}
        ours = {k.removeprefix(TAG): v for k, v in tags.items() if k.startswith(TAG)}
        times = {
            name: int(ours[name])
            for name in ("obtained_at", "expires_at")
            if ours.get(name, "").isdecimal()
        }
        return json.dumps(times | {"freshtoken": ours}) if ours else ""

    def _receipt_tags(self, record: Record) -> "list[TagTypeDef]":
        if self._layout.carries_receipt or self._json_key is not None:
            return []
        receipt = record.receipt
        return _tag_list(
            {
                f"{TAG}fingerprint": receipt.fingerprint,
                f"{TAG}request_key": receipt.request_key,
                f"{TAG}obtained_at": str(receipt.requested_at),
                f"{TAG}expires_at": str(receipt.expires_at),
            }
        )

    def _id(self, *parts: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join((self.label, *parts))))

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

    def _put(self, text: str, version_id: str, label: str) -> None:
        self._ask(
            "PutSecretValue",
            lambda aws: aws.put_secret_value(
                SecretId=self._secret_id,
                SecretString=text,
                ClientRequestToken=version_id,
                VersionStages=[label],
            ),
        )

    def _tag(self, record: Record) -> None:
        tags = self._receipt_tags(record)
        try:
            if tags:
                self._ask(
                    "TagResource",
                    lambda aws: aws.tag_resource(SecretId=self._secret_id, Tags=tags),
                )
        except SinkRejected as error:
            # A principal that may only put can't read receipts either.
            if self._compare_and_swap or error.code != "access_denied":
                raise

    def _promote(self, version_id: str, replaced: str) -> bool:
        """Move AWSCURRENT from one version to another; False if it was not there any more."""
        try:
            self._ask(
                "UpdateSecretVersionStage",
                lambda aws: aws.update_secret_version_stage(
                    SecretId=self._secret_id,
                    VersionStage=CURRENT,
                    MoveToVersionId=version_id,
                    RemoveFromVersionId=replaced,
                ),
            )
        except SinkRejected as error:
            # "not_found": the new version is not yet visible everywhere.
            if error.code not in ("invalid_parameter", "not_found"):
                raise
            return False
        return True

    def _create_secret(self, record: Record, text: str, version_id: str) -> None:
        tags = _tag_list(self._tags) + self._receipt_tags(record)
        more: dict[str, Any] = {"KmsKeyId": self._kms_key_id} if self._kms_key_id else {}
        self._ask(
            "CreateSecret",
            lambda aws: aws.create_secret(
                Name=self._secret_id,
                SecretString=text,
                ClientRequestToken=version_id,
                Tags=tags,
                **more,
            ),
        )

    def _start(self) -> None:
        self._until = time.monotonic() + self._deadline_s

    def _ask(self, action: str, call: "Callable[[SecretsManagerClient], T]") -> T:
        """Make one call and return its answer; raises what went wrong in our words."""
        if time.monotonic() > self._until:
            what = f"AWS was too slow: {self._deadline_s:g} s have passed before {action}"
            self._refuse("timeout", f"{what}; check the network to its endpoint", SinkUnavailable)
        try:
            return call(self._client())
        except Exception as error:  # noqa: BLE001  # all that runs here is boto3, its files and plug-ins
            raise sink_error(error, action, self._secret_id) from None

    def _refuse(
        self, code: str, what: str, kind: type[SinkRejected | SinkUnavailable] = SinkRejected
    ) -> NoReturn:
        raise kind(code, f"secret {self._secret_id}: {what}")


def _is_newer(stored: Record, record: Record) -> bool:
    return stored.receipt.requested_at >= record.receipt.requested_at


def _picked(answer: Mapping[str, Any]) -> tuple[str, float, str]:
    """Take the id, the time of creation and the text out of a GetSecretValue answer."""
    text = answer.get("SecretString")
    if text is None:
        text = answer["SecretBinary"].decode(errors="replace")
    return answer["VersionId"], answer["CreatedDate"].timestamp(), text


def _as_text(member: object) -> str:
    """Return a member of a JSON secret as text; empty placeholders are empty."""
    if isinstance(member, str) or not member:
        return member or ""
    return json.dumps(member)


def _tag_list(tags: Mapping[str, str]) -> "list[TagTypeDef]":
    return [{"Key": key, "Value": value} for key, value in tags.items()]

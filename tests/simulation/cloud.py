"""The real Secrets Manager sink against a small AWS in memory, reached through a faulty client.

What the API reference and the measurements say of labels, versions, idempotency and quotas is
kept; `cloud.py` also sees that no token makes two versions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError, ConnectTimeoutError
from sinks import secret_sink

from job.core.ports import Sink
from job.core.tokens import OutputFormat
from job.sinks.secrets_manager import CURRENT, PENDING
from simulation.audit import Breach
from simulation.ledger import SAME_CLOCK_S, Ledger, Minted
from simulation.process import Process
from simulation.stores import Place

PREVIOUS = "AWSPREVIOUS"
CALL_S = 0.03
SLOW_S = (1.5, 8.0)
MOST_VERSIONS = 100
YOUNG_S = 86_400.0
GOT_ONCE = 2
"""A token has one skew from the request and one from each process that got it."""
URL = "https://secretsmanager.invalid"
OPERATOR = ("denied", "gone", "read_only", "full")
WRITES_ONLY = ("read_only", "full", "lost_answer")
CODES = {
    "denied": "AccessDeniedException",
    "read_only": "AccessDeniedException",
    "gone": "InvalidRequestException",
    "full": "LimitExceededException",
    "throttled": "ThrottlingException",
}


@dataclass
class Version:
    """A version of the secret; `over` is the one that was left behind when it was put, if any."""

    text: str
    created_at: float
    over: str = ""
    labels: set[str] = field(default_factory=set)


class CloudStore:
    """One secret that exists already, without a value."""

    def __init__(self, place: Place, ledger: Ledger, layout: OutputFormat) -> None:
        self.place = place
        self.versions: dict[str, Version] = {}
        self.tags: dict[str, str] = {}
        self._layout = layout
        self._ledger = ledger
        self._known: dict[tuple[Minted, str, int], float] = {}

    def sink(self, process: Process) -> Sink:
        client: Any = CloudClient(self, process)
        return secret_sink("token", self._layout, lambda: client)

    def texts(self) -> Iterator[tuple[str, float]]:
        """Yield the current text and the one that a dead writer left behind, where it can be told.

        A text without its receipt is lost if the writer dies before it has put that into a tag.
        """
        for version in self.versions.values():
            if CURRENT in version.labels or (
                version.labels == {PENDING} and self._can_tell(version)
            ):
                yield version.text, version.created_at

    def _can_tell(self, pending: Version) -> bool:
        """Tell whether it shows that a version is to replace the current one.

        By its own receipt, by one clock, and by an id that is made of the current one's alone.
        """
        old = self._ledger.inside(self.versions[self.holder(CURRENT)].text)
        new = self._ledger.inside(pending.text)
        if old is None or new is None or pending.over or not self._layout.carries_receipt:
            return False
        return all(new.is_told_by(skew) for skew in old.skews)

    def holder(self, label: str) -> str:
        """Return the id of the version with a label, or an empty string."""
        return next((id_ for id_, version in self.versions.items() if label in version.labels), "")

    def add(self, version_id: str, text: str, labels: Sequence[str], process: Process) -> None:
        """Keep a new version; a process makes one of each token.

        It may make another one when its clock has been stepped, when it has lost its memory, or
        when the server has given the token to a rival too: then there are two records of it.
        """
        now, token = process.timeline.now, self._ledger.inside(text)
        if token is None:
            raise Breach("I3: a version is made that holds no whole token")
        author = (token, process.name, process.starts)
        again = abs(process.skew - self._known.get(author, inf)) < SAME_CLOCK_S
        if again and len(token.skews) <= GOT_ONCE:
            raise Breach(f"a second version is made of token {token.serial}")
        self._make_room(process)
        self._known[author] = process.skew
        pending = self.holder(PENDING)
        over = "" if pending == self.holder(CURRENT) else pending
        self.versions[version_id] = Version(text, now, over)
        self.place.tally.versions += 1
        for label in labels if self.holder(CURRENT) else {*labels, CURRENT}:
            self.move(label, version_id)

    def move(self, label: str, version_id: str) -> None:
        """Move a label; AWSPREVIOUS follows AWSCURRENT."""
        before = self.holder(label)
        if before:
            self.versions[before].labels.discard(label)
        self.versions[version_id].labels.add(label)
        if label == CURRENT:
            if before:
                self.move(PREVIOUS, before)
            self.place.stored(self.versions[version_id].text)

    def _make_room(self, process: Process) -> None:
        now = process.timeline.now
        if len(self.versions) < MOST_VERSIONS:
            return
        for version_id, version in self.versions.items():
            if not version.labels and version.created_at < now - YOUNG_S:
                del self.versions[version_id]
                return
        if len({name for _, name, _ in self._known}) == 1:
            raise Breach("one writer fills the quota of versions")
        # Two whose clocks differ much take each other's tokens for none.
        self.place.trouble(process, "quota", for_operator=True)
        raise _refusal("LimitExceededException")


class CloudClient:
    """The boto3 client of one process: the calls that the sink makes."""

    def __init__(self, store: CloudStore, process: Process) -> None:
        self._store = store
        self._process = process

    def get_secret_value(self, **asked: str) -> Mapping[str, Any]:
        self._call()
        version_id = asked.get("VersionId") or self._store.holder(asked["VersionStage"])
        if version_id not in self._store.versions:
            raise _refusal("ResourceNotFoundException")
        version = self._store.versions[version_id]
        created = datetime.fromtimestamp(version.created_at, UTC)
        return {"VersionId": version_id, "CreatedDate": created, "SecretString": version.text}

    def describe_secret(self, **asked: str) -> Mapping[str, Any]:
        self._call()
        versions = self._store.versions.items()
        return {
            "VersionIdsToStages": {id_: sorted(v.labels) for id_, v in versions if v.labels},
            "Tags": [{"Key": key, "Value": value} for key, value in self._store.tags.items()],
        }

    def put_secret_value(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401  # texts and a list
        fault = self._call(writes=True)
        version_id, text = asked["ClientRequestToken"], asked["SecretString"]
        known = self._store.versions.get(version_id)
        if known is None:
            self._store.add(version_id, text, asked["VersionStages"], self._process)
        elif known.text != text:
            raise _refusal("ResourceExistsException")
        self._answer(fault)
        return {}

    def update_secret_version_stage(self, **asked: str) -> dict[str, Any]:
        fault = self._call(writes=True)
        if asked["MoveToVersionId"] not in self._store.versions:
            raise _refusal("ResourceNotFoundException")
        if self._store.holder(asked["VersionStage"]) != asked.get("RemoveFromVersionId", ""):
            raise _refusal("InvalidParameterException")
        self._store.move(asked["VersionStage"], asked["MoveToVersionId"])
        self._answer(fault)
        return {}

    def tag_resource(self, **asked: Any) -> None:  # noqa: ANN401  # a text and a list
        fault = self._call(writes=True)
        self._store.tags |= {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
        self._answer(fault)

    def _call(self, *, writes: bool = False) -> str:
        """Reach AWS; raise what the active fault there raises, as botocore would."""
        place = self._store.place
        fault = place.fault(self._process.timeline.now)
        self._process.spend(place.rng.uniform(*SLOW_S) if fault == "slow" else CALL_S)
        if fault in ("", "slow", "lost_answer") or (fault in WRITES_ONLY and not writes):
            return fault
        place.trouble(self._process, fault, for_operator=fault in OPERATOR)
        if fault == "flaky":
            raise ConnectTimeoutError(endpoint_url=URL)
        raise _refusal(CODES[fault])

    def _answer(self, fault: str) -> None:
        """Let the answer get lost after the call was carried out."""
        self._process.touch()
        if fault == "lost_answer":
            self._store.place.trouble(self._process, fault)
            raise ConnectionClosedError(endpoint_url=URL)


def _refusal(code: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "You can't do this: it is marked for deletion."},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(answer, "simulated")

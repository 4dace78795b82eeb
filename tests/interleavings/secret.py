"""One secret of AWS Secrets Manager, as a value: a call gives an answer and the secret after it.

The rules are those of the API reference. PutSecretValue: a ClientRequestToken is a version's id;
the same one with the same text changes nothing, with another text it is refused; a label moves to
the new version, and the first version gets AWSCURRENT in any case. UpdateSecretVersionStage: a
label moves only away from where the caller says that it is. AWSPREVIOUS follows AWSCURRENT.
DescribeSecret lists the versions that have labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
READS = ("DescribeSecret", "GetSecretValue")


class Call(NamedTuple):
    """One call, as a value: `asked` has its parameters by name."""

    operation: str
    asked: tuple[tuple[str, Any], ...] = ()


class Refused(NamedTuple):
    """An answer that is an error code."""

    code: str


@dataclass(frozen=True)
class Version:
    """A version of the secret."""

    id: str
    text: str
    labels: frozenset[str]


@dataclass(frozen=True)
class SharedSecret:
    """The secret; without `exists` there is none yet."""

    exists: bool = True
    versions: tuple[Version, ...] = ()

    def at(self, label: str) -> Version | None:
        """Return the version that carries a label."""
        return next((version for version in self.versions if label in version.labels), None)

    def of(self, version_id: str) -> Version | None:
        """Return a version by its id."""
        return next((version for version in self.versions if version.id == version_id), None)

    def carry_out(self, call: Call) -> tuple["SharedSecret", object]:
        """Return the secret after a call, and the answer: a hashable value or Refused."""
        asked = dict(call.asked)
        if call.operation == "CreateSecret":
            return self._create(asked)
        if not self.exists:
            return self, Refused("ResourceNotFoundException")
        match call.operation:
            case "DescribeSecret":
                labels = tuple((v.id, tuple(sorted(v.labels))) for v in self.versions if v.labels)
                return self, labels
            case "GetSecretValue":
                return self, self._value(asked)
            case "PutSecretValue":
                return self._put(asked)
            case "UpdateSecretVersionStage":
                return self._promote(asked)
        raise LookupError(call.operation)

    def _create(self, asked: Mapping[str, Any]) -> tuple["SharedSecret", object]:
        if self.exists:
            return self, Refused("ResourceExistsException")
        return SharedSecret()._put({**asked, "VersionStages": (CURRENT,)})

    def _value(self, asked: Mapping[str, Any]) -> object:
        version = self.of(asked["VersionId"]) if "VersionId" in asked else self.at(CURRENT)
        return (version.id, version.text) if version else Refused("ResourceNotFoundException")

    def _put(self, asked: Mapping[str, Any]) -> tuple["SharedSecret", object]:
        version_id, text = asked["ClientRequestToken"], asked["SecretString"]
        known = self.of(version_id)
        if known:
            return self, None if known.text == text else Refused("ResourceExistsException")
        after = replace(self, versions=(*self.versions, Version(version_id, text, frozenset())))
        for label in {*asked["VersionStages"], *(() if self.at(CURRENT) else (CURRENT,))}:
            after = after._moved(label, version_id)
        return after, None

    def _promote(self, asked: Mapping[str, Any]) -> tuple["SharedSecret", object]:
        label, version_id = asked["VersionStage"], asked["MoveToVersionId"]
        holder = self.at(label)
        if self.of(version_id) is None:
            return self, Refused("ResourceNotFoundException")
        if (holder.id if holder else None) != asked.get("RemoveFromVersionId"):
            return self, Refused("InvalidParameterException")
        return self._moved(label, version_id), None

    def _moved(self, label: str, version_id: str) -> "SharedSecret":
        before = self.at(label)
        versions = tuple(
            replace(v, labels=v.labels | {label} if v.id == version_id else v.labels - {label})
            for v in self.versions
        )
        after = replace(self, versions=versions)
        return after._moved(PREVIOUS, before.id) if label == CURRENT and before else after

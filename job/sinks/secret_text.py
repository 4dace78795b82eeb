"""Where a secret holds the parts of a record: its text, a member of it, the version's id."""

import hashlib
import json
import re
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from job.core.errors import SinkRejected
from job.core.tokens import is_ours

MAX_BYTES = 65_536
MEMBER_SUFFIX = "_freshtoken"
LINEAGE_LENGTH = 12

_ID_WITH_RECEIPT = re.compile(
    r"[0-9a-f]{12}-(?P<fingerprint>[0-9a-f]{12})-(?P<request_key>.+)"
    r"-(?P<obtained_at>[0-9a-f]+)-(?P<expires_at>[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class SecretText:
    """The layout of one secret: the text is all of it, or a member of a JSON object (`json_key`).

    A receipt is in the version's id, which AWS stores together with the text, or, with `json_key`,
    under `<json_key>_freshtoken`.
    """

    secret_id: str
    json_key: str | None = None

    def parts(self, content: str, version_id: str) -> tuple[str, str]:
        """Return the text for readers, and the receipt; raises SinkRejected as `joined` does."""
        if self.json_key is None:
            return content, _receipt_in(version_id)
        members = self._members(content)
        receipt = members.get(self.json_key + MEMBER_SUFFIX)
        return _as_text(members.get(self.json_key)), _as_text(receipt)

    def joined(self, text: str, receipt: str, content: str) -> str:
        """Return the new content of a secret; with `json_key` its other keys are kept.

        Raises SinkRejected if there is no JSON object for `json_key`, or the text gets too large.
        """
        if self.json_key is not None:
            members = self._members(content)
            members[self.json_key] = Raw(text if is_ours(text) else json.dumps(text))
            if receipt:
                members[self.json_key + MEMBER_SUFFIX] = Raw(receipt)
            text = msgspec.json.encode(members).decode()
        size = len(text.encode())
        if size > MAX_BYTES:
            what = f"its text would have {size} bytes, a secret holds {MAX_BYTES}"
            raise self._rejected("too_large", f"{what}; ask for a smaller scope, or use a file")
        return text

    def version_id(self, receipt: str, *lineage: str) -> str:
        """Return the id of a version of this lineage; it is the same only for the same arguments.

        AWS takes any 32 to 64 characters (PutSecretValue, ClientRequestToken).
        """
        digest = hashlib.sha256("\0".join((self.secret_id, *lineage)).encode()).hexdigest()
        if self.json_key is not None or not receipt:
            return digest[:32]
        document = json.loads(receipt)
        ours = document["freshtoken"]
        times = (f"{document['obtained_at']:x}", f"{document['expires_at']:x}")
        return "-".join((digest[:LINEAGE_LENGTH], ours["fingerprint"], ours["request_key"], *times))

    def is_of(self, version_id: str, *lineage: str) -> bool:
        """Tell whether an id was made for a version of this lineage."""
        return version_id[:LINEAGE_LENGTH] == self.version_id("", *lineage)[:LINEAGE_LENGTH]

    def _members(self, content: str) -> dict[str, Raw]:
        """Return the members of a JSON object, each exactly as it was written."""
        try:
            return msgspec.json.decode(content or "{}", type=dict[str, Raw])
        except (ValueError, RecursionError):
            what = "it is not a JSON object, and `json_key` needs one"
            raise self._rejected("not_json", what) from None

    def _rejected(self, code: str, what: str) -> SinkRejected:
        return SinkRejected(code, f"secret {self.secret_id}: {what}")


def _receipt_in(version_id: str) -> str:
    """Return the receipt in a version's id as `parse` reads it; empty without one."""
    found = _ID_WITH_RECEIPT.fullmatch(version_id)
    if found is None:
        return ""
    times = {name: int(found[name], 16) for name in ("obtained_at", "expires_at")}
    ours = {name: found[name] for name in ("fingerprint", "request_key")}
    return json.dumps(times | {"freshtoken": ours})


def _as_text(member: Raw | None) -> str:
    """Return a member of a JSON object as text; a placeholder, such as null, becomes empty."""
    value = json.loads(bytes(member)) if member is not None else ""
    if isinstance(value, str):
        return value
    return json.dumps(value) if value else ""

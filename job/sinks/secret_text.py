"""How a secret's text holds a record: as the whole text, or under a key of a JSON object."""

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec import Raw

from job.core.errors import SinkRejected
from job.core.tokens import OutputFormat, Record, is_ours, parse, render, render_receipt

MAX_BYTES = 65_536
MEMBER_SUFFIX = "_freshtoken"
LINEAGE_LENGTH = 12

_ID_WITH_RECEIPT = re.compile(
    r"[0-9a-f]{12}-(?P<fingerprint>[0-9a-f]{12})-(?P<request_key>.+)"
    r"-(?P<obtained_at>[0-9a-f]+)-(?P<expires_at>[0-9a-f]+)"
)


class Finding(NamedTuple):
    """What a text holds: `foreign` is a value that is there and that freshtoken has not written."""

    record: Record | None
    foreign: bool


@dataclass(frozen=True, slots=True)
class SecretText:
    """The layout of one secret.

    A format that carries no expiry has its receipt in the version's id, which AWS stores with the
    text in one step, or with `json_key` under `<json_key>_freshtoken`.
    """

    secret_id: str
    layout: OutputFormat
    json_key: str | None = None

    def version_id(self, lineage: str, record: Record) -> str:
        """Return the id of the version that is to hold a record.

        AWS takes any 32 to 64 characters (PutSecretValue, ClientRequestToken). `lineage` is 32
        hex digits; two ids are of one lineage if they begin with the same LINEAGE_LENGTH of them.
        """
        receipt = record.receipt
        if self.json_key is not None or self.layout.carries_receipt:
            return lineage
        parts = (
            lineage[:LINEAGE_LENGTH],
            receipt.fingerprint,
            receipt.request_key,
            f"{receipt.requested_at:x}",
            f"{receipt.expires_at:x}",
        )
        return "-".join(parts)

    def find(self, text: str, version_id: str) -> Finding:
        """Return what a version holds; raises SinkRejected if `json_key` finds no JSON object."""
        value, receipt = text, _receipt_in(version_id)
        if self.json_key is not None:
            members = self._members(text)
            value = _as_text(members.get(self.json_key))
            receipt = _as_text(members.get(self.json_key + MEMBER_SUFFIX))
        record = parse(value, self.layout, receipt)
        return Finding(record, bool(value) and not (is_ours(value) or is_ours(receipt)))

    def put(self, record: Record, text: str) -> str:
        """Return the text that holds a record instead; `json_key` leaves all other keys alone.

        Raises SinkRejected if there is no JSON object for `json_key`, or the text gets too large.
        """
        new = render(record, self.layout)
        if self.json_key is not None:
            members = self._members(text)
            if self.layout.carries_receipt:
                members[self.json_key] = Raw(new)
            else:
                members[self.json_key] = Raw(json.dumps(new))
                members[self.json_key + MEMBER_SUFFIX] = Raw(render_receipt(record, self.layout))
            new = msgspec.json.encode(members).decode()
        # A surrogate in a server's odd scope can't be encoded; it must not stop its token.
        content = new.encode(errors="replace")
        if len(content) > MAX_BYTES:
            what = f"its text would have {len(content)} bytes, a secret holds {MAX_BYTES}"
            raise self._rejected("too_large", f"{what}; ask for a smaller scope, or use a file")
        return content.decode()

    def _members(self, text: str) -> dict[str, Raw]:
        """Take a JSON object apart; each member stays as it was written, to the last digit."""
        try:
            return msgspec.json.decode(text or "{}", type=dict[str, Raw])
        except (ValueError, RecursionError):
            what = "it is no JSON object, and `json_key` needs one"
            raise self._rejected("not_json", what) from None

    def _rejected(self, code: str, what: str) -> SinkRejected:
        return SinkRejected(code, f"secret {self.secret_id}: {what}")


def _receipt_in(version_id: str) -> str:
    """Return the receipt in a version's id as `parse` reads it, empty if there is none."""
    found = _ID_WITH_RECEIPT.fullmatch(version_id)
    if found is None:
        return ""
    times = {name: int(found[name], 16) for name in ("obtained_at", "expires_at")}
    ours = {name: found[name] for name in ("fingerprint", "request_key")}
    return json.dumps(times | {"freshtoken": ours})


def _as_text(member: Raw | None) -> str:
    """Return a member of a JSON object as text; an empty placeholder, such as null, is empty."""
    value = json.loads(bytes(member)) if member is not None else ""
    if isinstance(value, str):
        return value
    return json.dumps(value) if value else ""

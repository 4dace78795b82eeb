"""How a secret's text holds a record: as the whole text, or under a key of a JSON object. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from job.errors import SinkRejected
from job.tokens import OutputFormat, Record, is_ours, parse, render, render_receipt

MAX_BYTES = 65_536
TAG = "freshtoken:"
MEMBER_SUFFIX = "_freshtoken"

_RECEIPT = ("fingerprint", "request_key", "obtained_at", "expires_at")
_PREVIOUS = "previous"


class Finding(NamedTuple):
    """What a text holds: `foreign` is a value that is there and that freshtoken has not written."""

    record: Record | None
    foreign: bool


@dataclass(frozen=True, slots=True)
class SecretText:
    """The layout of one secret.

    A format that carries no expiry has its receipt beside the value: in the secret's tags, or with
    `json_key` under `<json_key>_freshtoken`.
    """

    secret_id: str
    layout: OutputFormat
    json_key: str | None = None

    @property
    def is_tagged(self) -> bool:
        """Tell whether the receipt is in the secret's tags."""
        return self.json_key is None and not self.layout.carries_receipt

    def find(self, text: str, tags: Mapping[str, str]) -> Finding:
        """Return what a text holds; raises SinkRejected if `json_key` finds no JSON object."""
        value, receipt = text, _receipt_of(tags) if self.is_tagged else ""
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

    def tags(self, record: Record, previous: Record | None) -> dict[str, str]:
        """Return the tags that keep the receipt, empty if it is in the text.

        As in a sidecar file, the receipt of the record that is being replaced goes along.
        """
        if not self.is_tagged:
            return {}
        tags = dict(zip(_RECEIPT, _values(record), strict=True))
        tags[_PREVIOUS] = "/".join(_values(previous)) if previous else ""
        return {f"{TAG}{name}": value for name, value in tags.items()}

    def _members(self, text: str) -> dict[str, Raw]:
        """Take a JSON object apart; each member stays as it was written, to the last digit."""
        try:
            return msgspec.json.decode(text or "{}", type=dict[str, Raw])
        except (ValueError, RecursionError):
            what = "it is no JSON object, and `json_key` needs one"
            raise self._rejected("not_json", what) from None

    def _rejected(self, code: str, what: str) -> SinkRejected:
        return SinkRejected(code, f"secret {self.secret_id}: {what}")


def _values(record: Record) -> tuple[str, ...]:
    receipt = record.receipt
    dates = (str(receipt.requested_at), str(receipt.expires_at))
    return (receipt.fingerprint, receipt.request_key, *dates)


def _receipt_of(tags: Mapping[str, str]) -> str:
    """Return the receipt in a secret's tags as `parse` reads it, empty if there is none."""
    ours = {key.removeprefix(TAG): tag for key, tag in tags.items() if key.startswith(TAG)}
    previous = dict(zip(_RECEIPT, ours.get(_PREVIOUS, "").split("/"), strict=False))
    return json.dumps(_document(ours) | {"previous": _document(previous)}) if ours else ""


def _document(receipt: Mapping[str, str]) -> dict[str, Any]:
    dates = ("obtained_at", "expires_at")
    times = {name: int(receipt[name]) for name in dates if receipt.get(name, "").isdecimal()}
    return times | {"freshtoken": dict(receipt)}


def _as_text(member: Raw | None) -> str:
    """Return a member of a JSON object as text; an empty placeholder, such as null, is empty."""
    value = json.loads(bytes(member)) if member is not None else ""
    if isinstance(value, str):
        return value
    return json.dumps(value) if value else ""

"""What is kept: a token, its receipt, and the texts in which a store holds them. Pure."""

import hashlib
import json
import re
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from job.core.json_object import json_object
from job.core.secret import Secret

DOCUMENT_VERSION = 1
REQUEST_KEY_LENGTH = 16
END_OF_TIME = 253_402_300_800
"""The year 10000: a time from here on is damage, and too large to compute with."""

FormatName = Literal["json", "raw", "header", "env", "template"]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token (RFC 6749 section 1.4) with the lifetime that we believe it has.

    `requested_at` and `expires_at` are epoch seconds; the first was taken before the request was
    sent, so that the second is never too late. `expiry_source` says what the lifetime is based on.
    `refresh_in` is the server's hint in seconds from `requested_at`, if any. `note` says what is
    remarkable about the response, for people; `secret_position` which of several client secrets got
    it, counted from 1. No store keeps these two.
    """

    access_token: Secret
    token_type: str
    scope: str
    requested_at: int
    expires_at: int
    expiry_source: str
    refresh_in: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    note: str = field(default="", compare=False)
    secret_position: int | None = field(default=None, compare=False)

    @property
    def lifetime(self) -> int:
        """Return the whole lifetime in seconds."""
        return self.expires_at - self.requested_at


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof, without a secret, of which token a store holds and which request got it."""

    fingerprint: str
    request_key: str
    requested_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a sink stores and can give back."""

    token: Token
    receipt: Receipt


def record_of(token: Token, request_key: str) -> Record:
    """Join a token with its receipt."""
    fingerprint = token.access_token.fingerprint()
    return Record(token, Receipt(fingerprint, request_key, token.requested_at, token.expires_at))


def request_key(
    token_url: str,
    client_id: str,
    scope: Sequence[str] = (),
    audience: str | None = None,
    resource: Sequence[str] = (),
    extra_params: Mapping[str, object] | None = None,
) -> str:
    """Return a hash of everything that decides which token the server gives, without secrets.

    A stored token with another key belongs to another request and is never adopted.
    `extra_params` are all further parameters.
    """
    parts = [token_url, client_id, sorted(scope), audience, list(resource), extra_params or {}]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:REQUEST_KEY_LENGTH]


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """How a sink's text is laid out: `token_name` and, for `template`, the `{field}` text."""

    kind: FormatName
    token_name: str
    template: str = ""

    @property
    def carries_receipt(self) -> bool:
        """Tell whether the text alone is enough to read the record back."""
        return self.kind == "json"


TEMPLATES: Mapping[str, str] = {
    "raw": "{access_token}",
    "header": "Authorization: {token_type} {access_token}\n",
}
TEMPLATE_FIELDS = ("access_token", "token_type", "expires_at", "obtained_at", "scope", "name")


_VISIBLE = re.compile(r"[!-~]+")
"""What a stored token consists of: no header could carry anything else."""
_UNKNOWN: Mapping[str, str] = {
    "access_token": r"(?P<access_token>[!-~]+)",
    "token_type": r"(?P<token_type>.{0,100}?)",
    "scope": r"(?P<scope>.{0,4096}?)",
}
"""Patterns of the fields that a short receipt lacks; bounded, to bound the search."""


def render(record: Record, layout: OutputFormat) -> str:
    """Return the text that readers find in the store."""
    if layout.kind == "json":
        return _to_json({"access_token": record.token.access_token.reveal()}, record, layout)
    if layout.kind == "env":
        values = _fields(record.token, layout.token_name)
        names = ("access_token", "token_type", "expires_at")
        return "".join(f"{name.upper()}={shlex.quote(values[name])}\n" for name in names)
    return _template_of(layout).format_map(_fields(record.token, layout.token_name))


def render_receipt(record: Record, layout: OutputFormat, previous: Record | None = None) -> str:
    """Return the `json` document without the token, to keep beside a text without expiry.

    Where text and receipt can't be replaced in one step, the receipt of the `previous` record is
    included, so that whichever text a reader finds is known.
    """
    head = {"previous": json.loads(render_receipt(previous, layout))} if previous else {}
    return _to_json(head, record, layout)


def parse(text: str, layout: OutputFormat, receipt: str = "") -> Record | None:
    """Return the record that `render` and `render_receipt` wrote, or None if they did not.

    A text and a receipt that don't belong together give None.
    """
    document = json_object(text if layout.carries_receipt else receipt) or {}
    found = _match(text, layout, document)
    previous = document.get("previous")
    if found is None and isinstance(previous, dict):
        found = _match(text, layout, previous)
    return found


def _match(text: str, layout: OutputFormat, document: Mapping[str, Any]) -> Record | None:
    ours = document.get("freshtoken")
    if not isinstance(ours, dict):
        # Also, matching a foreign text with a template of unknown fields could take hours.
        return None
    if layout.carries_receipt:
        value = document.get("access_token")
    else:
        value = _extract(text, layout, document)
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        return None
    record = _from_document(document, ours, Secret(value))
    return record if record and record.receipt.fingerprint == ours.get("fingerprint") else None


def is_ours(document: str) -> bool:
    """Tell whether a text is a document or a receipt that freshtoken wrote."""
    parsed = json_object(document)
    return parsed is not None and isinstance(parsed.get("freshtoken"), dict)


def asked_at(text: str, beside: str) -> int | None:
    """Return when the token of a text was requested, as the text or the receipt beside it says.

    None if freshtoken has written neither.
    """
    for document in filter(is_ours, (text, beside)):
        obtained_at = json.loads(document).get("obtained_at")
        return obtained_at if _is_time(obtained_at) else None
    return None


def unknown_template_fields(template: str) -> list[str]:
    """Return the fields of a template that can't be filled; raises ValueError for a stray brace.

    Conversions and format specifications (`{scope!r}`, `{name:>9}`) count as unknown: a text with
    them could not be read back.
    """
    unknown = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is not None and (name not in TEMPLATE_FIELDS or spec or conversion):
            unknown.append(
                name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            )
    return unknown


def _to_json(head: dict[str, Any], record: Record, layout: OutputFormat) -> str:
    token, receipt = record.token, record.receipt
    document = head | {
        "token_type": token.token_type,
        "expires_at": token.expires_at,
        "obtained_at": token.requested_at,
        "scope": token.scope,
    }
    if token.extra:
        document["extra"] = dict(token.extra)
    document["freshtoken"] = {
        "name": layout.token_name,
        "fingerprint": receipt.fingerprint,
        "request_key": receipt.request_key,
        "expiry_source": token.expiry_source,
        "version": DOCUMENT_VERSION,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def _from_document(
    document: Mapping[str, Any], ours: Mapping[str, Any], access_token: Secret
) -> Record | None:
    obtained_at, expires_at = document.get("obtained_at"), document.get("expires_at")
    if not _is_time(obtained_at) or not _is_time(expires_at) or obtained_at > expires_at:
        return None
    extra = document.get("extra")
    token = Token(
        access_token,
        _text(document.get("token_type")) or "Bearer",
        _text(document.get("scope")),
        obtained_at,
        expires_at,
        expiry_source=_text(ours.get("expiry_source")),
        extra=extra if isinstance(extra, dict) else {},
    )
    return record_of(token, _text(ours.get("request_key")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < END_OF_TIME


def _fields(token: Token, name: str) -> dict[str, str]:
    return {
        "access_token": token.access_token.reveal(),
        "token_type": token.token_type,
        "expires_at": str(token.expires_at),
        "obtained_at": str(token.requested_at),
        "scope": token.scope,
        "name": name,
    }


def _template_of(layout: OutputFormat) -> str:
    return layout.template if layout.kind == "template" else TEMPLATES[layout.kind]


def _extract(text: str, layout: OutputFormat, receipt: Mapping[str, Any]) -> str | None:
    """Find the token in a text by its template and the values that the receipt holds."""
    if layout.kind == "env":
        return _env_value(text, "ACCESS_TOKEN")
    template, known = _template_of(layout), {"name": layout.token_name}
    stated = {name: receipt.get(name) for name in TEMPLATE_FIELDS[1:-1]}
    known |= {name: str(value) for name, value in stated.items() if isinstance(value, str | int)}
    fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    if fields <= {"access_token", *known}:
        return _between(text, template, known)
    return _searched(text, template, known)


def _between(text: str, template: str, known: Mapping[str, str]) -> str | None:
    """Find the only unknown by its length, and check that it yields the text.

    Not by a regular expression: the scope of a hostile response can take minutes to compile.
    """
    pieces = [""]
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces[-1] += literal + known.get(name or "", "")
        if name == "access_token":
            pieces.append("")
    length = (len(text) - len("".join(pieces))) // max(len(pieces) - 1, 1)
    value = text[len(pieces[0]) : len(pieces[0]) + length]
    return value if value.join(pieces) == text else None


def _searched(text: str, template: str, known: Mapping[str, str]) -> str | None:
    pattern = ""
    for literal, name, _, _ in string.Formatter().parse(template):
        pattern += re.escape(literal)
        if name is not None:
            again = f"(?P={name})" if f"(?P<{name}>" in pattern else _UNKNOWN.get(name, "(?!)")
            pattern += re.escape(known[name]) if name in known else again
    found = re.fullmatch(pattern, text, re.DOTALL)
    return found.groupdict().get("access_token") if found else None


def _env_value(text: str, name: str) -> str | None:
    """Undo shlex.quote; shlex.split takes minutes for a token of a megabyte."""
    lines = (line.partition("=") for line in text.split("\n"))
    quoted = next((rest for head, _, rest in lines if head == name), "")
    value = quoted[1:-1].replace("'\"'\"'", "'") if quoted.startswith("'") else quoted
    return value if shlex.quote(value) == quoted else None

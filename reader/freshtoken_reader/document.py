"""What a stored text says: the token as an Authorization header, and when it expires."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Document(NamedTuple):
    """A stored text: `header` is None if it holds no token, `expires_at` if it names no expiry.

    `expires_at` is in epoch seconds.
    """

    header: str | None
    expires_at: float | None


def parse(text: str) -> Document:
    """Read a text in format json, raw or header."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return _from_json(value) if isinstance(value, dict) else Document(_from_lines(text), None)


def _from_json(value: dict[str, Any]) -> Document:
    token, kind = value.get("access_token"), value.get("token_type") or "Bearer"
    expires_at = value.get("expires_at")
    header = f"{kind} {token}" if isinstance(token, str) and token else None
    return Document(header, float(expires_at) if isinstance(expires_at, (int, float)) else None)


def _from_lines(text: str) -> str | None:
    lines = text.strip().splitlines()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.lower() == "authorization":
            return value.strip()
    return f"Bearer {lines[0]}" if len(lines) == 1 and " " not in lines[0] else None

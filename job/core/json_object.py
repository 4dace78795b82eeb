"""JSON objects from texts that anyone may have written. Pure."""

import base64
import json
from typing import Any

JWT_PARTS = 3


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Return the members of a JSON object, or None for any other text."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def claims_of(jwt: str) -> dict[str, Any] | None:
    """Return the claims of a signed JWT (RFC 7515 section 3.1), not verified, or None."""
    parts = jwt.split(".")
    if len(parts) != JWT_PARTS or not all(parts):
        return None
    header, claims = (_decoded_part(part) for part in parts[:2])
    return None if header is None else claims


def _decoded_part(part: str) -> dict[str, Any] | None:
    try:
        padded = part + "=" * (-len(part) % 4)
        return json_object(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:  # binascii's errors, and letters beyond ASCII
        return None

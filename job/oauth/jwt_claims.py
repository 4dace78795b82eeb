"""The claims of a JWT, read without verifying it: they are judged, not trusted. Pure."""

import base64
from typing import Any

from job.core.json_object import json_object

JWT_PARTS = 3


def claims_of(token: str) -> dict[str, Any] | None:
    """Return the claims of what looks like a signed JWT (RFC 7515 section 3.1), or None."""
    parts = token.split(".")
    if len(parts) != JWT_PARTS or not all(parts):
        return None
    header, claims = (_decoded(part) for part in parts[:2])
    return None if header is None else claims


def _decoded(part: str) -> dict[str, Any] | None:
    try:
        padded = part + "=" * (-len(part) % 4)
        return json_object(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:  # binascii's errors, and letters beyond ASCII
        return None

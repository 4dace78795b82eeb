"""JSON objects out of texts that anyone may have written. Pure."""

import json
from typing import Any


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """Return the members of a JSON object, or None for any other text."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None

"""Values that must never be seen."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
FINGERPRINT_LENGTH = 12
_PLAIN = re.compile(r"[\w.~-]+", re.ASCII)


class Secret:
    """A string whose repr, str, format and pickle never show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the value."""
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the one place that needs it."""
        return self._value

    def fingerprint(self) -> str:
        """Return 12 hex digits of the SHA-256: enough to compare, useless to an attacker."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def __repr__(self) -> str:
        """Show the mask only."""
        return f"Secret({MASK})"

    def __str__(self) -> str:
        """Show the mask only."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Show the mask only, whatever the format specification."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied into another process."""
        msg = "a secret can't be pickled"
        raise TypeError(msg)


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with every secret replaced, in plain, URL, Base64 and JSON form.

    A text that shows a secret only when its %XX are decoded is returned decoded.
    """
    # No form is shorter than the value itself.
    values = [value for value in (s.reveal() for s in secrets) if 0 < len(value) <= len(text)]
    if not values:
        return text
    forms = {form for value in values for form in _forms(value)}
    # Longest first: replacing a form that is part of another would leave the rest visible.
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    for decode in (unquote, unquote_plus):
        decoded = decode(text)
        if any(value in decoded and value not in text for value in values):
            return mask(decoded, map(Secret, values))
    return text


def _forms(value: str) -> Iterable[str]:
    """Return the ways in which a value may stand in a text."""
    raw = value.encode(errors="surrogatepass")  # a hostile server may send anything as a token
    encoded = base64.b64encode(raw).decode().rstrip("=")
    for_urls = encoded.translate(str.maketrans("+/", "-_"))
    if _PLAIN.fullmatch(value):  # a URL and JSON would hold it unchanged
        return (value, encoded, for_urls)
    as_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return (value, quote_plus(raw), quote(raw, safe=""), encoded, for_urls, *as_json)

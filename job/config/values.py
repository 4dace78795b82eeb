"""What the values of keys are made of."""

import re
from typing import Annotated

from msgspec import Meta, Struct

Duration = Annotated[
    str | int | float, Meta(description="A duration: 30s, 5m, 1h30m, or a number of seconds.")
]
OsText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
"""What system calls take: a NUL would end it."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNITS_S = (86_400, 3_600, 60, 1)
MAX_DURATION_S = 10 * 365 * 86_400
"""More is a mistake, and would not fit into a timer."""


def seconds(duration: str | float) -> float:
    """Return a duration in seconds; raises ValueError unless it is one, from 0 to ten years."""
    length = _parsed(duration.strip()) if isinstance(duration, str) else duration
    if not 0 <= length <= MAX_DURATION_S:
        raise ValueError
    return float(length)


def _parsed(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError
    parts = zip(found.groups(), _UNITS_S, strict=True)
    return sum(float(number or 0) * unit for number, unit in parts)


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are errors."""

"""What the values of keys are made of."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from job.core.rate import Rate

Duration = Annotated[
    str | int | float, Meta(description="A duration: 30s, 5m, 1h30m, or a number of seconds.")
]
Region = Annotated[str, Meta(description="The AWS region; default: boto3's own choice.")] | None
Profile = Annotated[str, Meta(description="The profile of the shared AWS configuration.")] | None
EndpointUrl = (
    Annotated[str, Meta(description="Another AWS endpoint, such as a VPC endpoint.")] | None
)
OsText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
"""What system calls take: a NUL would end it."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNPRINTED = re.compile(r"[\x00-\x20\x7f]")
_UNITS_S = (86_400, 3_600, 60, 1)
MAX_DURATION_S = 10 * 365 * 86_400
"""More is a mistake, and would not fit into a timer."""
PERIODS = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
MAX_RATE = 100_000
"""The time of each exchange is kept for as long as it counts."""


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


def rate(text: str) -> Rate:
    """Return a rate such as 50/12h or 10/s; raises ValueError unless it is one, of at least one."""
    count, _, period = text.replace(" ", "").partition("/")
    period = PERIODS.get(period, period)
    if not period:
        raise ValueError
    length = seconds(period if period[:1].isdecimal() else f"1{period}")
    if not (count.isascii() and count.isdecimal() and 0 < int(count) <= MAX_RATE and length):
        raise ValueError
    return Rate(int(count), length)


def is_url(text: str) -> bool:
    """Tell whether a text is an http or https URL with a host."""
    try:
        url = urlsplit(text)
        _ = url.port  # is read from the text, and checked, only now
    except ValueError:
        return False
    return url.scheme in {"https", "http"} and bool(url.hostname) and not _UNPRINTED.search(text)


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are errors."""

"""The types of values: durations, rates and paths, parsed when the configuration is read."""

import os.path
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from job.core.rate import Rate

NO_NUL = r"^[^\x00]*$"
OsText = Annotated[str, Meta(pattern=NO_NUL)]
"""What system calls take: a NUL would end it."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNPRINTED = re.compile(r"[\x00-\x20\x7f]")
_UNITS_S = (86_400, 3_600, 60, 1)
MAX_DURATION_S = 10 * 365 * 86_400
"""More is a mistake, and does not fit into a timer."""
COUNT = re.compile(r"[0-9]{1,9}")
PERIODS = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
MAX_RATE = 100_000
"""The time of each exchange is kept for as long as it counts."""

T = TypeVar("T")
ValueReader = Callable[[type, Any], Any]
"""Makes a value of a type out of what is written (msgspec's dec_hook)."""


class Duration(float):
    """A number of seconds, from 0 to ten years; `text` is how the configuration writes it.

    The constructor raises ValueError, whose message is for people and never repeats the text.
    """

    text: str | float
    least_s: ClassVar[float] = 0.0

    def __new__(cls, text: str | float) -> Self:
        """Read a duration: 30s, 5m, 1h30m, or a number of seconds."""
        length_s = _parsed(text.strip()) if isinstance(text, str) else text
        is_one = 0 <= length_s <= MAX_DURATION_S
        if problem := cls.problem(length_s if is_one else None):
            raise ValueError(problem)
        self = super().__new__(cls, length_s)
        self.text = text
        return self

    @classmethod
    def problem(cls, length_s: float | None) -> str:
        """Return what is wrong with a length, or an empty text; None means that it isn't one."""
        if length_s is None:
            return "is not a duration; write 30s, 5m, 1h30m or a number of seconds"
        return f"must be at least {cls.least_s:g}s" if length_s < cls.least_s else ""


class Timeout(Duration):
    """The deadline of a request."""

    least_s = 0.1


class TokenAge(Duration):
    """The life of a token, or a part of it."""

    least_s = 1.0


class AssertionLifetime(Duration):
    """The life of an assertion: the clock of the server may differ by some seconds."""

    least_s = 10.0


class FilePath(str):
    """The path of a file, absolute unless it is empty."""

    __slots__ = ()


def _parsed(text: str) -> float:
    """Return the length that a text says, or -1."""
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return -1
    parts = zip(found.groups(), _UNITS_S, strict=True)
    return sum(float(number or 0) * unit for number, unit in parts)


def _rate(text: str) -> Rate:
    """Return a rate such as 50/12h or 10/s; raises ValueError unless it is one, of at least one."""
    count, _, period = text.replace(" ", "").partition("/")
    period = PERIODS.get(period, period)
    number = int(count) if COUNT.fullmatch(count) else 0
    length_s = _parsed(period if period[:1].isdecimal() else f"1{period}") if period else 0
    if not (0 < number <= MAX_RATE and 0 < length_s <= MAX_DURATION_S):
        form = "such as 50/12h, 10/s or 1000/day: a number, a slash and a duration"
        raise ValueError(f"must be a rate, {form}")
    return Rate(number, length_s, text)


def value_reader(folder: str) -> ValueReader:
    """Return a function that makes values; relative paths start at `folder`.

    Equal texts give one object. It raises ValueError with what is wrong, for people, or TypeError
    for anything but a text, or a number in the case of a duration.
    """
    known: dict[tuple[type, object], object] = {}

    def read(kind: type, written: Any) -> object:  # noqa: ANN401  # a value of TOML
        if type(written) not in ((str, int, float) if issubclass(kind, Duration) else (str,)):
            raise TypeError
        value = known.get((kind, written))
        if value is None:
            value = known[kind, written] = _value(kind, written, folder)
        return value

    return read


def _value(kind: type, written: Any, folder: str) -> object:  # noqa: ANN401  # a value of TOML
    if kind is Rate:
        return _rate(written)
    if kind is not FilePath:
        return kind(written)
    if "\0" in written:
        raise TypeError
    return FilePath(os.path.join(folder, written) if written else "")


def schema_of(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of what is written for a value (msgspec's schema_hook)."""
    if issubclass(kind, Duration):
        return {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "number"}]}
    return {"type": "string"} | ({"pattern": NO_NUL} if kind is FilePath else {})


def written(value: Any) -> object:  # noqa: ANN401  # whichever value it is
    """Return how the configuration writes a duration or a rate (msgspec's enc_hook)."""
    return value.text


def default(value: T) -> T:
    """Give a key a default that is a value; json_schema adds it, since msgspec can't show it."""
    return field(default_factory=lambda: value)


def numbered(key: str, value: T | tuple[T, ...] | None) -> Iterator[tuple[str, T]]:
    """Yield each value of a key with its place: one, none, or a list counted from 1."""
    if isinstance(value, tuple):
        yield from ((f"{key}[{number}]", one) for number, one in enumerate(value, 1))
    elif value is not None:
        yield key, value


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

    otherwise: ClassVar[str] = "must be a table"
    """What to report for anything else in its place."""

"""Durations and lines of text for terminals of 80 columns. Pure."""

import textwrap
from collections.abc import Iterator, Sequence

WIDTH = 80
HEAD_WIDTH = 17
DAY_S = 86_400


def duration(length_s: float) -> str:
    """Return a duration for people, in its two largest units."""
    sign, rest = ("-", -int(length_s)) if length_s < 0 else ("", int(length_s))
    parts: list[str] = []
    for unit, size in (("d", DAY_S), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return sign + " ".join(parts[:2])


def entry(head: str, text: str) -> str:
    """Return a line with a head, wrapped."""
    return wrapped(text, f"  {head:<{HEAD_WIDTH}}", " " * (HEAD_WIDTH + 2))


def mistakes(problems: Sequence[str], origin: str, *, wrap: bool) -> Iterator[str]:
    """Yield the lines that list all problems; `origin` is empty where a problem names it."""
    indent = "  " if origin else ""
    if origin:
        yield f"{len(problems)} mistake{'s'[: len(problems) - 1]} in {origin}:"
    for problem in problems:
        yield wrapped(problem, indent, indent + "    ") if wrap else indent + problem


def wrapped(text: str, first: str, following: str) -> str:
    """Return a text in lines of WIDTH with these indents; words and URLs stay in one piece."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )

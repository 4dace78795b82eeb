"""`status` in a pipe: a table for people, or rows for programs. Pure."""

from collections.abc import Iterator, Sequence

from job.core.text import duration, wrapped
from job.observe.status import STATES, SinkStatus, TokenStatus, headline, worst_first


def rows(tokens: Sequence[TokenStatus], now: float) -> Iterator[dict[str, str | int | None]]:
    """Yield a row for each sink of each token, in the order of the configuration."""
    for token in tokens:
        for sink in token.sinks:
            yield {
                "token": token.name,
                "sink": sink.label,
                "state": sink.state,
                "expires_at": sink.expires_at,
                "left_s": None if sink.expires_at is None else int(sink.expires_at - now),
                "refresh_at": sink.refresh_at,
                "fingerprint": sink.fingerprint,
                "problem": sink.trouble.message if sink.trouble else None,
                "obtained_at": sink.obtained_at,
            }


def table(tokens: Sequence[TokenStatus], now: float) -> Iterator[str]:
    """Yield plain lines: the one sentence, a table, and below it what is wrong and what to do."""
    yield headline(tokens, now)[0]
    yield ""
    cells = [("TOKEN", "STATE", "TIME LEFT", "REFRESH", "SINK")]
    cells += [
        (name, STATES[sink.state].word, time_left(sink, now), refresh(sink, now), sink.label)
        for name, sink in sinks_in_order(tokens)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    problems = dict.fromkeys(
        f"{token.name}: {trouble.message}"
        for token in worst_first(tokens)
        for *_, trouble in token.troubles
    )
    if problems:
        yield ""
    yield from (wrapped(problem, "", "  ") for problem in problems)


def sinks_in_order(tokens: Sequence[TokenStatus]) -> list[tuple[str, SinkStatus]]:
    """Return each sink below the name of its token: the worst token, and its worst sink, first."""
    return [
        (token.name, sink) for token in worst_first(tokens) for sink in worst_first(token.sinks)
    ]


def time_left(sink: SinkStatus, now: float) -> str:
    """Return how long readers of a sink have a token yet, or how long they have had none."""
    if sink.expires_at is None:
        return "-"
    left_s = sink.expires_at - now
    return f"none for {duration(-left_s)}" if sink.state == "expired" else duration(left_s)


def refresh(sink: SinkStatus, now: float) -> str:
    """Return when the token of a sink is to be replaced, or since when it should have been."""
    if sink.refresh_at is None:
        return "-"
    wait_s = sink.refresh_at - now
    return f"in {duration(wait_s)}" if wait_s > 0 else f"{duration(-wait_s)} late"

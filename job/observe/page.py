"""The status page, which answers: is every token good, and for how long.

It works without JavaScript. Its pictures are drawn by attributes, since its content security policy
allows no inline style. What colour says, words and marks say too.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from job import __version__
from job.core.text import duration
from job.observe.http import Page
from job.observe.status import STATES, Attempt, RefresherStatus, SinkStatus, TokenState, headline

SEARCH_FROM = 10
"""From this number of tokens on, there is a search."""
SHOWN_ATTEMPTS = 30
RELOAD_S = 10
WIDTH = 1000
HEIGHT = 20
STEP = 5

HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="{reload_s}"></noscript>
<title>{mark} {title}</title>
<style>{style}</style>
</head>
<body data-now="{now}">
<a class="skip" href="#tokens">to the tokens</a>
<header>
<h1 id="verdict" class="{state}" data-mark="{mark}">{headline}</h1>
<p id="seen">seen {at} UTC</p>
</header>
<nav>{search}<div role="status"><p id="counts">{counts}</p></div></nav>
<main>
<ol id="tokens" role="list">
{tokens}
</ol>
</main>
<footer>
<p class="key">{key}</p>
<p>freshtoken {version} · <a href="status.json">as JSON</a> · <a href="metrics">metrics</a></p>
</footer>
<script>{script}</script>
</body>
</html>
"""
SEARCH = (
    '<form role="search"><label>Search <input type="search" name="q" value="{query}" '
    'placeholder="name, provider, sink, state"></label> <noscript><button>find</button></noscript>'
    "</form>"
)
KEY = (
    ("spent", "spent"),
    ("rest", "left"),
    ("refresh", "next refresh"),
    ("promise", "readers are at risk from here"),
    ("now", "now"),
)


class StatusPage:
    """Makes the page; its style and its script are read once."""

    def __init__(self) -> None:
        """Read the two files next to this one."""
        here = Path(__file__)
        self._style = here.with_name("page.css").read_text("utf-8")
        self._script = here.with_name("page.js").read_text("utf-8")

    def __call__(self, tokens: Sequence[RefresherStatus], now: float, query: str = "") -> Page:
        """Return the page that shows these tokens in this order; `now` is in epoch seconds.

        With a `query`, only tokens with that text in name, provider, sinks or state are shown.
        """
        title, state = headline(tokens, now)
        shown = [token for token in tokens if query.lower() in _words(token)]
        html = HTML.format(
            reload_s=RELOAD_S,
            title=title,
            state=state,
            mark=STATES[state].mark,
            headline=headline(tokens, now, _time)[0],
            style=self._style,
            script=self._script,
            now=int(now),
            at=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            search=SEARCH.format(query=escape(query)) if len(tokens) >= SEARCH_FROM else "",
            counts=" ".join(_counts(tokens)),
            tokens="\n".join(_token(token, now) for token in shown),
            key=" ".join(_key(*each) for each in KEY),
            version=__version__,
        )
        return Page(html, _hash(self._style), _hash(self._script))


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _counts(tokens: Sequence[RefresherStatus]) -> Iterator[str]:
    counted = Counter(token.state for token in tokens)
    for state in STATES:
        if counted[state]:
            yield f"<span>{_state(state)} {counted[state]}</span>"


def _state(state: TokenState) -> str:
    meaning = STATES[state]
    return f'<span class="state {state}">{meaning.mark} {meaning.word}</span>'


def _words(token: RefresherStatus) -> str:
    """Return the text that the search looks in."""
    sinks = (sink.label for sink in token.sinks)
    return " ".join((token.name, token.provider, STATES[token.state].word, *sinks)).lower()


def _token(token: RefresherStatus, now: float) -> str:
    provider = f" <small>provider {escape(token.provider)}</small>" if token.provider else ""
    parts = (
        f'<li class="{token.state}" data-words="{escape(_words(token))}">',
        f"<h2>{_state(token.state)} {escape(token.name)}{provider}</h2>",
        f'<p class="left">{_left(token.expires_at, now)}</p>',
        _life(token, now),
        f'<p class="marks">{" · ".join(_marks(token, now))}</p>',
        _history(token.attempts[-SHOWN_ATTEMPTS:]),
        f'<ul class="sinks">{"".join(_sink(sink, now) for sink in token.sinks)}</ul>',
        *_troubles(token, now),
        "</li>",
    )
    return "".join(parts)


def _left(expires_at: int | None, now: float) -> str:
    if expires_at is None:
        return "<strong>no token</strong>"
    if expires_at <= now:
        return f"<strong>expired</strong> {_ago(expires_at, now)}"
    return f"<strong>{_time(expires_at, now)}</strong> left"


def _marks(token: RefresherStatus, now: float) -> Iterator[str]:
    """Yield what happens next, and what has happened."""
    what = "next attempt" if token.failures else "next refresh"
    due = token.refresh_at <= now
    yield f"{what} now" if due else f"{what} in {_time(token.refresh_at, now)}"
    if token.obtained_at is not None:
        yield f"obtained {_ago(token.obtained_at, now)}"
    if token.failures:
        yield f"{token.failures} failed attempt{'s'[: token.failures - 1]}"
    if token.promise_at is not None and token.promise_at > now:
        yield f"readers are safe for {_time(token.promise_at, now)}"
    if token.fingerprint is not None:
        yield f"token {escape(token.fingerprint)}"


def _time(at: float, now: float) -> str:
    return f'<time data-at="{int(at)}">{duration(max(at - now, 0))}</time>'


def _ago(at: float, now: float) -> str:
    return f'<time data-at="{int(at)}" data-past="1">{duration(max(now - at, 0))}</time> ago'


def _life(token: RefresherStatus, now: float) -> str:
    """Draw the life of the token in hand, with the refresh, the promise and now marked."""
    if token.obtained_at is None or token.ends_at is None:
        return ""
    start, length = token.obtained_at, max(token.ends_at - token.obtained_at, 1)

    def at(moment: float) -> int:
        return min(max(round(WIDTH * (moment - start) / length), 0), WIDTH)

    promise = token.promise_at
    marks = {"refresh": token.refresh_at, "edge": promise, "promise": promise, "now": now}
    lines = (
        f'<path class="{kind}" d="M{at(moment)} 0V{HEIGHT}"/>'
        for kind, moment in marks.items()
        if moment is not None
    )
    left = duration(max(token.ends_at - now, 0))
    return (
        f'<svg class="life" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="life of {duration(length)}, {left} left">'
        f'<rect class="rest" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<rect class="spent" width="{at(now)}" height="{HEIGHT}"/>'
        f"{''.join(lines)}</svg>"
    )


def _history(attempts: Sequence[Attempt]) -> str:
    """Draw the last exchanges: how long each took, and which failed."""
    if not attempts:
        return ""
    slowest = max(attempt.exchange_ms or 0 for attempt in attempts)
    lines: dict[str, list[str]] = {"went": [], "failed": []}
    for position, attempt in enumerate(attempts):
        left = f"M{STEP * position + 2} "
        if attempt.outcome in {"ok", "unchanged"}:
            share = (attempt.exchange_ms or 0) / slowest if slowest else 0.0
            lines["went"].append(f"{left}{HEIGHT}V{HEIGHT - max(round(HEIGHT * share), 3)}")
        else:
            # Broken in the middle, so that it differs by more than its colour.
            lines["failed"].append(f"{left}{HEIGHT}V13{left}7V0")
    failed = len(lines["failed"])
    label = f"last {len(attempts)} exchanges: {failed} failed, the slowest took {slowest} ms"
    paths = "".join(f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in lines.items() if d)
    return (
        f'<svg class="history" viewBox="0 0 {STEP * SHOWN_ATTEMPTS} {HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>{paths}</svg>'
    )


def _sink(sink: SinkStatus, now: float) -> str:
    parts = [_state(sink.state), escape(sink.label)]
    if sink.state == "due" and not sink.held:
        parts.append("holds the token before")
    if sink.expires_at is not None:
        parts.append(_left(sink.expires_at, now))
    if sink.retry_at is not None:
        parts.append(f"next try in {_time(sink.retry_at, now)}")
    return f"<li>{' · '.join(parts)}</li>"


def _troubles(token: RefresherStatus, now: float) -> Iterator[str]:
    """Yield what is wrong and what to do, as the log says it."""
    for label, _, trouble in token.troubles:
        where = f"{escape(label)}: " if label else ""
        yield (
            f'<p class="trouble"><code>{escape(trouble.code)}</code> '
            f"{_ago(trouble.at, now)}: {where}{escape(trouble.message)}</p>"
        )


def _key(kind: str, text: str) -> str:
    area = kind in {"spent", "rest"}
    shape = 'rect class="{}" width="20" height="12"' if area else 'path class="{}" d="M10 0V12"'
    drawn = f"<{shape.format(kind)}/>"
    return f'<span><svg viewBox="0 0 20 12" aria-hidden="true">{drawn}</svg> {text}</span>'

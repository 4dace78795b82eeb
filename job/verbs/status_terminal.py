"""`status` on a terminal: a picture, once or moving."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from job.core.clock import Clock
from job.observe.status import (
    STATES,
    SinkStatus,
    TokenState,
    TokenStatus,
    headline,
    severity,
    worst_first,
)
from job.runners.process import TO_END, Signals
from job.verbs.status_read import Look, refresh, sinks_in_order, statuses, time_left

WIDE = 100
"""From this width on, every fact has a column of its own and there is room for a bar."""
BAR_SHARE, BAR_SHARE_ALONE = 8, 4
"""The fraction of the width that a bar takes, beside the names of sinks and without them."""
PROBLEMS_SHOWN = 10
NAMES_SHOWN = 3
GAP = (0, 2, 0, 0)
LAST_LINES = 3  # an empty one, the time of day, and one for what is typed
DRAWS_PER_SECOND = 1
STYLES: Mapping[TokenState, str] = {
    "expired": "bold red",
    "missing": "bold red",
    "unreadable": "bold red",
    "at_risk": "bold yellow",
    "unknown": "dim",
    "due": "yellow",
    "current": "green",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """The headline, a row for each sink, each problem with its cure, and the last events.

    The worst token comes first, below the lines of `above`. With `labels` off, sinks are not named,
    which leaves room for bars on any terminal. Where `height` is given, the last rows and the first
    events are left out, so that it fits.
    """

    tokens: Sequence[TokenStatus]
    now: float
    height: int | None = None
    above: Sequence[Text] = ()
    events: Sequence[Text] = ()
    labels: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield all parts, in the width of the terminal."""

        def lines(*parts: RenderableType) -> list[list[Segment]]:
            return console.render_lines(Group(*parts), options, pad=False)

        height = self.height or sys.maxsize
        head = lines(*self.above, _sentence(self.tokens, self.now), Text())
        problems = lines(*_problems(self.tokens))[: height // 2]
        room = height - len(head) - len(problems) - LAST_LINES
        rows = self._rows(lines, max(room - 2 * bool(self.events), 1), options.max_width)
        shown = self.events[-max(room - len(rows) - 1, 1) :]
        events = lines(Text(), *shown) if shown else []
        yield from _as_they_are([*head, *rows, *problems, *events])
        if self.height is not None:
            yield Text()
            yield Text(f"{clock_time(self.now)}, Ctrl-C ends", "dim")

    def _rows(
        self, lines: Callable[[RenderableType], list[list[Segment]]], room: int, width: int
    ) -> list[list[Segment]]:
        """Return the lines of the table; where there are too many, the best rows are left out."""
        ordered = sinks_in_order(self.tokens)
        table = lines(_table(ordered[:room], self.now, width, labels=self.labels))
        if len(table) <= room and len(ordered) <= room:
            return table
        return table[: room - 1] + lines(Text("... and others, none of them worse", "dim"))


def clock_time(at: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _as_they_are(lines: Iterable[list[Segment]]) -> Iterator[Segment]:
    for line in lines:
        yield from line
        yield Segment.line()


def _sentence(tokens: Sequence[TokenStatus], now: float) -> Text:
    sentence, state = headline(tokens, now)
    return Text.assemble((f"{STATES[state].mark} ", STYLES[state]), (sentence, "bold"))


def _table(
    ordered: Sequence[tuple[str, SinkStatus]], now: float, width: int, *, labels: bool
) -> Table:
    wide = width >= WIDE or not labels
    table = Table(
        box=None, padding=GAP, pad_edge=False, header_style="bold", width=width if labels else None
    )
    if wide:
        table.add_column("TOKEN", overflow="fold", max_width=width // 4)
    else:
        table.add_column("TOKEN", overflow="fold", ratio=1, min_width=width // 3)
    table.add_column("STATE", no_wrap=True)
    table.add_column("TIME LEFT", no_wrap=wide, overflow="fold")
    if wide:
        table.add_column("", no_wrap=True)
        table.add_column("REFRESH", no_wrap=True)
    if labels and wide:
        table.add_column("SINK", overflow="fold", ratio=1)
    before = ""
    for name, sink in ordered:
        shown = name if name != before else ""
        share = BAR_SHARE if labels else BAR_SHARE_ALONE
        cells = _wide(sink, now, shown, width // share) if wide else _narrow(sink, now, shown)
        table.add_row(*cells[: len(table.columns)])
        before = name
    return table


def _wide(sink: SinkStatus, now: float, name: str, width: int) -> tuple[Text, ...]:
    bar = _bar(sink, now, width)
    when = Text(refresh(sink, now))
    return Text(name), _state(sink), Text(time_left(sink, now)), bar, when, Text(sink.label, "dim")


def _narrow(sink: SinkStatus, now: float, name: str) -> tuple[Text, ...]:
    """Return two lines: the sink below the name, the refresh below the time left."""
    who = Text.assemble(*([f"{name}\n"] if name else []), (sink.label, "dim"))
    when = "" if sink.refresh_at is None else f"\nrefresh {refresh(sink, now)}"
    return who, _state(sink), Text.assemble(time_left(sink, now), (when, "dim"))


def _state(sink: SinkStatus) -> Text:
    meaning = STATES[sink.state]
    return Text(f"{meaning.mark} {meaning.word}", STYLES[sink.state])


def _bar(sink: SinkStatus, now: float, width: int) -> Text:
    """Draw what is left of a life; it shrinks to the left, past the mark of the refresh."""
    ends_at = sink.expires_at
    if ends_at is None or sink.obtained_at is None or sink.refresh_at is None:
        return Text()
    life = max(ends_at - sink.obtained_at, 1)

    def at(moment: float) -> int:
        return round(width * min(max(ends_at - moment, 0) / life, 1))

    left, mark = at(now), min(at(sink.refresh_at), width - 1)
    bar = Text.assemble(("━" * left, STYLES[sink.state]), ("─" * (width - left), "dim"))
    return Text.assemble(bar[:mark], ("┃", "bold"), bar[mark + 1 :])


def _problems(tokens: Sequence[TokenStatus]) -> Iterator[RenderableType]:
    """Yield each problem once, with the tokens that have it, and the cure below."""
    whose: dict[tuple[str, str], list[tuple[str, TokenState]]] = {}
    for token in worst_first(tokens):
        for _, state, trouble in token.troubles:
            whose.setdefault((trouble.cause, trouble.cure), []).append((token.name, state))
    grid = Table.grid(padding=(0, 1))
    for (cause, cure), bad in list(whose.items())[:PROBLEMS_SHOWN]:
        _, state = bad[0]
        names = _names(name for name, _ in bad)
        text = Text.assemble((names, "bold"), f": {cause}", f"\n{cure}" if cure else "")
        grid.add_row(Text(STATES[state].mark, STYLES[state]), text)
    if len(whose) > PROBLEMS_SHOWN:
        grid.add_row("", f"and {len(whose) - PROBLEMS_SHOWN} more: freshtoken status --json")
    if whose:
        yield Text()
        yield grid


def _names(bad: Iterable[str]) -> str:
    names = list(dict.fromkeys(bad))
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def drawn(tokens: Sequence[TokenStatus], now: float, console: Console) -> str:
    """Return the picture; where its headline scrolls away, the bottom repeats it."""
    lines = console.render_lines(Picture(tokens, now), pad=False)
    with console.capture() as captured:
        console.print(Segments(_as_they_are(lines)), end="")
        if len(lines) >= console.height:
            console.print(Text(), _sentence(tokens, now), sep="\n")
    return captured.get()


def watch(
    looks: Sequence[Look],
    console: Console,
    clock: Clock,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show the picture until a signal ends it, and return the exit status of the last one."""

    def picture() -> Picture:
        now = clock().wall
        return Picture(statuses(looks, now), now, console.height)

    live = Live(console=console, get_renderable=picture, refresh_per_second=DRAWS_PER_SECOND)
    with suppress(SystemExit), Signals(TO_END, SystemExit(0)), live:
        while True:
            for look in looks:
                if look.is_old(clock().boot):
                    look.read(clock().boot)
            pause(1 / DRAWS_PER_SECOND)
    return severity(picture().tokens)


def terminal() -> Console:
    """Return the terminal that standard output is."""
    return Console(file=sys.stdout)

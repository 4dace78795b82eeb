"""`status` on a terminal: the same rows as a picture, once or moving."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from job.core.clock import Clock
from job.observe.wording import WORDS
from job.runners.process import TO_END, Signals
from job.verbs.status import Look, Row, refresh, summary, time_left, worst, worst_first

WIDE = 100
"""With so many columns, every fact has a column of its own and there is room for a bar."""
BAR_SHARE = 8
PROBLEMS_SHOWN = 10
NAMES_SHOWN = 3
GAP = (0, 2, 0, 0)
FIXED_LINES = 5  # sentence, two empty ones, the last line, and one for what is typed
DRAWS_PER_SECOND = 1
STYLES: Mapping[str, str] = {
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
    """The one sentence, a row for each sink, and what is wrong with its cure.

    The worst token is first. Where `height` is given the last rows give way, so that it fits.
    """

    rows: Sequence[Row]
    now: float
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield all parts, for the width there is."""
        ordered = [row for group in worst_first(self.rows) for row in group]
        below = console.render_lines(Group(*_problems(ordered)), options, pad=False)
        yield _sentence(self.rows)
        yield Text()
        if self.height is None:
            yield _table(ordered, self.now, options.max_width)
            yield from _as_they_are(below)
            return
        below = below[: self.height // 2]
        room = max(self.height - len(below) - FIXED_LINES, 1)
        table = _table(ordered[:room], self.now, options.max_width)
        above = console.render_lines(table, options)
        whole = len(above) <= room and len(ordered) <= room
        yield from _as_they_are(above if whole else above[: room - 1])
        if not whole:
            yield Text("... and others, none of them worse", "dim")
        yield from _as_they_are(below)
        yield Text()
        yield Text(f"{clock_time(self.now)}, Ctrl-C ends", "dim")


def clock_time(at: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _as_they_are(lines: Iterable[list[Segment]]) -> Iterator[Segment]:
    for line in lines:
        yield from line
        yield Segment.line()


def _sentence(rows: Sequence[Row]) -> Text:
    sentence, state = summary(rows)
    return Text.assemble((f"{WORDS[state][0]} ", STYLES[state]), (sentence, "bold"))


def _table(ordered: Sequence[Row], now: float, width: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, padding=GAP, pad_edge=False, header_style="bold", width=width)
    if wide:
        table.add_column("TOKEN", overflow="fold", max_width=width // 4)
    else:
        table.add_column("TOKEN", overflow="fold", ratio=1, min_width=width // 3)
    table.add_column("STATE", no_wrap=True)
    table.add_column("TIME LEFT", no_wrap=wide, overflow="fold")
    if wide:
        table.add_column("", no_wrap=True)
        table.add_column("REFRESH", no_wrap=True)
        table.add_column("SINK", overflow="fold", ratio=1)
    before = ""
    for row in ordered:
        name = row.token if row.token != before else ""
        table.add_row(*(_wide(row, now, name, width) if wide else _narrow(row, now, name)))
        before = row.token
    return table


def _wide(row: Row, now: float, name: str, width: int) -> tuple[Text, ...]:
    bar = _bar(row, now, width // BAR_SHARE)
    when = Text(refresh(row, now))
    return Text(name), _state(row), Text(time_left(row)), bar, when, Text(row.sink, "dim")


def _narrow(row: Row, now: float, name: str) -> tuple[Text, ...]:
    """Return two lines: the sink below the name, the refresh below the time left."""
    who = Text.assemble(*([f"{name}\n"] if name else []), (row.sink, "dim"))
    when = "" if row.refresh_at is None else f"\nrefresh {refresh(row, now)}"
    return who, _state(row), Text.assemble(time_left(row), (when, "dim"))


def _state(row: Row) -> Text:
    return Text(" ".join(WORDS[row.state]), STYLES[row.state])


def _bar(row: Row, now: float, width: int) -> Text:
    """Draw what is left of a life; it shrinks to the left, past the mark of the refresh."""
    if row.expires_at is None or row.obtained_at is None or row.refresh_at is None:
        return Text()
    life = max(row.expires_at - row.obtained_at, 1)

    def at(moment: float) -> int:
        return round(width * min(max((row.expires_at or 0) - moment, 0) / life, 1))

    left, mark = at(now), min(at(row.refresh_at), width - 1)
    bar = Text.assemble(("━" * left, STYLES[row.state]), ("─" * (width - left), "dim"))
    return Text.assemble(bar[:mark], ("┃", "bold"), bar[mark + 1 :])


def _problems(ordered: Iterable[Row]) -> Iterator[RenderableType]:
    """Yield each thing that is wrong once, whose it is, and the cure below."""
    whose: dict[str, list[Row]] = {}
    for row in ordered:
        if row.problem:
            whose.setdefault(row.problem, []).append(row)
    grid = Table.grid(padding=(0, 1))
    for problem, bad in list(whose.items())[:PROBLEMS_SHOWN]:
        state = min(bad, key=attrgetter("rank")).state
        cause, _, cure = problem.partition("; ")
        told = Text.assemble((_names(bad), "bold"), f": {cause}", f"\n{cure}" if cure else "")
        grid.add_row(Text(WORDS[state][0], STYLES[state]), told)
    if len(whose) > PROBLEMS_SHOWN:
        grid.add_row("", f"and {len(whose) - PROBLEMS_SHOWN} more: freshtoken status --json")
    if whose:
        yield Text()
        yield grid


def _names(bad: Sequence[Row]) -> str:
    names = list(dict.fromkeys(row.token for row in bad))
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def drawn(rows: Sequence[Row], now: float, console: Console) -> str:
    """Return the picture; what scrolls away at the top is said again at the bottom."""
    lines = console.render_lines(Picture(rows, now), pad=False)
    with console.capture() as captured:
        console.print(Segments(_as_they_are(lines)), end="")
        if len(lines) >= console.height:
            console.print(Text(), _sentence(rows), sep="\n")
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
        return Picture([look.row(now) for look in looks], now, console.height)

    live = Live(console=console, get_renderable=picture, refresh_per_second=DRAWS_PER_SECOND)
    with suppress(SystemExit), Signals(TO_END, SystemExit(0)), live:
        while True:
            for look in looks:
                if look.is_old(clock().boot):
                    look.read(clock().boot)
            pause(1 / DRAWS_PER_SECOND)
    return worst(picture().rows)


def terminal() -> Console:
    """Return the terminal that standard output is."""
    return Console(file=sys.stdout)

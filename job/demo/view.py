"""The live view of `freshtoken demo`: an observer of events that draws what it was told.

Nothing here asks the job anything. `now` is always epoch seconds.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from job.core.events import (
    ClockStepped,
    Event,
    JobCrashed,
    JobStarted,
    JobStopped,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenUnchanged,
)

EVENTS_SHOWN = 8
TABLE_WIDTH = 120
FIXED_LINES = 9  # the title, the headings and the empty lines
REFRESH_PER_SECOND = 4
JOB = "job"
"""Who speaks in a line about no token."""

SENTENCES: Mapping[type[Event], str] = {
    JobStarted: "started; tokens to keep current: {tokens}",
    JobStopped: "stopped: {reason}",
    JobCrashed: "a bug was caught: {error}",
    ClockStepped: "the clock was set by {step_s:+.0f} s; every token is decided afresh",
    TokenAdopted: "found {fingerprint} in {sink}, good for {expires_in}; nothing was fetched",
    TokenRefreshed: "fetched {fingerprint} in {exchange_ms} ms, good for {expires_in}",
    TokenDelivered: "stored {fingerprint} in {write_ms} ms",
    TokenUnchanged: "the server gave {fingerprint} again; asking anew in {refresh_in}",
    TokenRefreshFailed: "refresh failed ({code}), trying again in {retry_in}: {message}",
    TokenDeliveryFailed: "storing failed ({code}), trying again in {retry_in}: {message}",
    TokenAtRisk: "at risk: the stored token has {expires_in} left, {promise} are promised",
    TokenExpired: "expired: readers now get a token that is refused",
    TokenPromiseUnholdable: "the promise cannot be held: {reason}",
}
"""One sentence for each event that a demo can show; `{x_in}` is the time left until `x_at`."""

STATE_STYLES: Mapping[str, str] = {
    "starting": "dim",
    "current": "green",
    "refreshing": "cyan",
    "retrying": "yellow",
    "at risk": "bold yellow",
    "expired": "bold red",
}
LEVEL_STYLES: Mapping[str, str] = {
    "info": "",
    "warning": "yellow",
    "error": "bold yellow",
    "critical": "bold red",
}


@dataclass(frozen=True, slots=True)
class Life:
    """A token's life as far as events tell it; it begins when the event was observed."""

    fingerprint: str
    begun_at: float
    refresh_at: int
    expires_at: int

    def fraction(self, at: float) -> float:
        """Return how much of the life lies before `at`, from 0 to 1."""
        whole = max(self.expires_at - self.begun_at, 1.0)
        return min(max((at - self.begun_at) / whole, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one token: `stored` is what readers get, `fetched` the newest exchange's."""

    name: str
    stored: Life | None = None
    fetched: Life | None = None
    failing: bool = False
    at_risk: bool = False
    refreshes: int = 0
    deliveries: int = 0
    failures: int = 0
    was_expired: bool = False

    def state(self, now: float) -> str:
        """Return the state in words: a key of STATE_STYLES."""
        if self.stored is None:
            return "retrying" if self.failing else "starting"
        if now >= self.stored.expires_at:
            return "expired"
        if self.at_risk:
            return "at risk"
        if self.failing:
            return "retrying"
        renewing = self.fetched != self.stored or now >= self.stored.refresh_at
        return "refreshing" if renewing else "current"

    def after(self, event: Event, now: float) -> "Track":
        """Return the track once `event` has been seen."""
        changes: dict[str, Any] = {}
        match event:
            case TokenRefreshed():
                changes = {"fetched": self._life(event, now), "refreshes": self.refreshes + 1}
                changes["failing"] = False
            case TokenDelivered():
                changes = {"stored": self.fetched, "deliveries": self.deliveries + 1}
                changes |= {"failing": False, "at_risk": False}
            case TokenAdopted() | TokenUnchanged():
                life = self._life(event, now)
                risky = self.at_risk and isinstance(event, TokenUnchanged)
                changes = {"stored": life, "fetched": life, "failing": False, "at_risk": risky}
            case TokenRefreshFailed() | TokenDeliveryFailed():
                changes = {"failing": True, "failures": self.failures + 1}
            case TokenAtRisk():
                changes = {"at_risk": True}
            case TokenExpired():
                changes = {"was_expired": True}
            case _:
                pass
        return replace(self, **changes)

    def _life(self, event: TokenRefreshed | TokenAdopted | TokenUnchanged, now: float) -> Life:
        """Make the life that an event tells of; a token known already keeps its beginning."""
        known = self.fetched
        begun = known.begun_at if known and known.fingerprint == event.fingerprint else now
        return Life(event.fingerprint, begun, event.refresh_at, event.expires_at)


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story: when, about whom, what."""

    at: float
    who: str
    what: str
    level: str


def happening(event: Event, now: float) -> Happening | None:
    """Return what to tell people about an event seen at `now`, or None if it is of no interest."""
    sentence = SENTENCES.get(type(event))
    if sentence is None:
        return None
    fields = asdict(event)
    waits = {
        f"{name.removesuffix('_at')}_in": duration(value - now)
        for name, value in fields.items()
        if name.endswith("_at") and value is not None
    }
    promise = duration(fields.get("min_validity_s", 0))
    what = sentence.format_map(fields | waits | {"promise": promise})
    return Happening(now, fields.get("token") or JOB, what, event.level)


def duration(seconds: float) -> str:
    """Return a length for people, in whole seconds begun; what is past is 0 s."""
    minutes, rest = divmod(max(math.ceil(seconds), 0), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def clock_time(at: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


class DemoView:
    """Collects events, from any thread, and shows them as a picture or as lines.

    `files` maps each token's name to the path of its file, in the order of the rows; `commands`
    are what a person may try in another terminal. `clock` gives epoch seconds.
    """

    def __init__(
        self,
        endpoint: str,
        files: Mapping[str, str],
        commands: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start with tokens of which nothing is known."""
        self._endpoint = endpoint
        self._files = files
        self._commands = commands
        self._clock = clock
        self._lock = threading.Lock()
        self._tracks = {name: Track(name) for name in files}
        self._story: deque[Happening] = deque(maxlen=EVENTS_SHOWN)

    def observe(self, event: Event) -> None:
        """Take in an event."""
        now = self._clock()
        told = happening(event, now)
        with self._lock:
            track = self._tracks.get(getattr(event, "token", None) or "")
            if track:
                self._tracks[track.name] = track.after(event, now)
            if told:
                self._story.append(told)

    def line(self, event: Event) -> str | None:
        """Return the event as one plain line, or None if it is of no interest."""
        told = happening(event, self._clock())
        if told is None:
            return None
        return f"{clock_time(told.at)}  {told.who:<{_name_width(self._files)}}  {told.what}"

    def tracks(self) -> tuple[Track, ...]:
        """Return what is known of each token now."""
        with self._lock:
            return tuple(self._tracks.values())

    def render(self, now: float) -> RenderableType:
        """Return the picture of what has been observed, as it looks at `now`."""
        with self._lock:
            tracks, story = tuple(self._tracks.values()), tuple(self._story)
        return Picture(self._endpoint, self._files, self._commands, tracks, story, now)

    def live(self, console: Console) -> Live | None:
        """Return the moving picture, or None where only lines can be shown."""
        if not console.is_interactive or console.options.ascii_only:
            return None
        return Live(
            console=console,
            get_renderable=lambda: self.render(self._clock()),
            refresh_per_second=REFRESH_PER_SECOND,
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame. It fits the height of the terminal by showing fewer of the last events."""

    endpoint: str
    files: Mapping[str, str]
    commands: Sequence[str]
    tracks: tuple[Track, ...]
    story: tuple[Happening, ...]
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, tokens, story and what to try, each set off by an empty line."""
        folder = os.path.commonpath([os.path.dirname(path) for path in self.files.values()])
        taken = FIXED_LINES + 2 * len(self.tracks) + len(self.commands)
        room = max(options.size.height - taken, 1)
        yield from _title(self.endpoint, folder)
        yield Text()
        yield _tokens(self, folder, options.max_width)
        yield Text()
        yield Text(" what happened", "bold")
        yield from _events(self, room)
        yield from _trials(self.commands)


def _name_width(files: Mapping[str, str]) -> int:
    return max(len(name) for name in (JOB, *files))


def _one_line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _title(endpoint: str, folder: str) -> Iterator[Text]:
    what = "  the real job, on this machine alone; Ctrl-C stops it"
    yield _one_line((" freshtoken demo", "bold"), what)
    yield _one_line((" token endpoint  ", "dim"), endpoint)
    yield _one_line((" files           ", "dim"), folder)


def _tokens(picture: "Picture", folder: str, width: int) -> Table:
    """Draw two lines a token: how it fares above, what lies in its file below."""
    table = Table(box=None, width=min(width, TABLE_WIDTH), padding=(0, 1), header_style="bold")
    table.add_column("token", no_wrap=True)
    table.add_column("state", width=10)
    table.add_column("life (┃ refresh point)", ratio=1, no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    for track in picture.tracks:
        state, life = track.state(picture.now), track.stored
        style = STATE_STYLES[state]
        bar = LifeBar(life, picture.now, style) if life else Text()
        left = duration(life.expires_at - picture.now) if life else ""
        table.add_row(Text(track.name), Text(state, style), bar, left)
        file = os.path.relpath(picture.files[track.name], folder)
        table.add_row("", "", Text(_detail(track, file), "dim"), "")
    return table


def _detail(track: Track, file: str) -> str:
    held = track.stored.fingerprint if track.stored else "nothing yet"
    return f"refreshes: {track.refreshes:<3}  {held:<12}  {file}"


@dataclass(frozen=True, slots=True)
class LifeBar:
    """A life as a line that fills up with age, with its refresh point marked."""

    life: Life
    now: float
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield one line as wide as there is room."""
        width = options.max_width
        mark = min(round(self.life.fraction(self.life.refresh_at) * width), width - 1)
        age = round(self.life.fraction(self.now) * width)
        bar = Text.assemble(("━" * age, self.style), ("─" * (width - age), "dim"))
        yield Text.assemble(bar[:mark], ("┃", "bold"), bar[mark + 1 :])


def _events(picture: "Picture", room: int) -> Iterator[Text]:
    width = _name_width(picture.files)
    for told in picture.story[-room:]:
        who = f"{told.who:<{width}}  "
        what = (told.what, LEVEL_STYLES[told.level])
        yield _one_line((f" {clock_time(told.at)}  ", "dim"), who, what)


def _trials(commands: Sequence[str]) -> Iterator[Text]:
    if commands:
        yield Text()
        yield Text(" try in another terminal", "bold")
    for command in commands:
        yield _one_line((f"   {command}", "cyan"))


def summary(tracks: Sequence[Track]) -> str:
    """Return what came of each token, and a last line that says how the demo ended."""
    width = max(len(track.name) for track in tracks)
    lines = [f"{track.name:<{width}}  {_came_to(track)}" for track in tracks]
    failed = [track.name for track in tracks if _broke_promise(track)]
    verdict = (
        f"Not kept current: {', '.join(failed)}." if failed else "Every token was kept current."
    )
    return "\n".join([*lines, verdict])


def exit_code(tracks: Sequence[Track]) -> int:
    """Return 0 if every token was refreshed and none was ever expired in its file, else 1."""
    return int(any(_broke_promise(track) for track in tracks))


def _broke_promise(track: Track) -> bool:
    return track.was_expired or not track.refreshes


def _came_to(track: Track) -> str:
    counts = (
        f"refreshes {track.refreshes}, deliveries {track.deliveries}, failures {track.failures}"
    )
    return f"{counts}, {'WAS EXPIRED' if track.was_expired else 'never expired'}"

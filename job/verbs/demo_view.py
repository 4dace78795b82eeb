"""`demo`: the real job against an embedded authorization server, as a live view or as lines."""

import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from rich.console import Console
from rich.live import Live
from rich.text import Text

from job.compose.job import Job, Options
from job.core.clock import Clock, system_clock
from job.core.events import Event, Level
from job.core.refresher import Refresher
from job.demo.server import AuthorizationServer
from job.demo.setup import new_clients, write_configuration
from job.demo.story import JOB, Tally, sentence_of
from job.observe.status_board import StatusBoard
from job.runners.daemon import Daemon
from job.runners.process import TO_RUN, Signals
from job.verbs.status_terminal import Picture, clock_time

EVENTS_SHOWN = 8
DRAWS_PER_SECOND = 4
LEVEL_STYLES: Mapping[Level, str] = {
    "warning": "yellow",
    "error": "bold yellow",
    "critical": "bold red",
}


class DemoView:
    """Observes a job, from any thread, and shows it as a picture or as lines.

    `commands` are for a person to try in another terminal; `refreshers` gives those in force.
    """

    def __init__(
        self,
        endpoint: str,
        names: Sequence[str],
        commands: Sequence[str],
        refreshers: Callable[[], Mapping[str, Refresher]],
        clock: Clock = system_clock,
    ) -> None:
        """Start without events."""
        self.tally = Tally(names)
        self._above = [*_heading(endpoint, commands)]
        self._width = max(map(len, (JOB, *names)))
        self._board = StatusBoard(refreshers, lambda _: "", clock)
        self._clock = clock
        self._story: deque[Text] = deque(maxlen=EVENTS_SHOWN)

    def observe(self, event: Event) -> str | None:
        """Note an event, and return it as one plain line, or None if a demo does not show it."""
        self._board.observe(event)
        self.tally.observe(event)
        now = self._clock().wall
        found = sentence_of(event, now)
        if found is None:
            return None
        at, who, what = clock_time(now), f"{found[0]:<{self._width}}", found[1]
        style = LEVEL_STYLES.get(event.level, "")
        self._story.append(_one_line((f"{at}  ", "dim"), f"{who}  ", (what, style)))
        return f"{at}  {who}  {what}"

    def picture(self, height: int) -> Picture:
        """Return the status of the tokens now, with the last events below."""
        now, events = self._clock().wall, tuple(self._story.copy())
        return Picture(self._board.statuses(), now, height, self._above, events, labels=False)

    def live(self, console: Console) -> Live | None:
        """Return the moving picture, or None where only lines can be shown."""
        if not console.is_interactive or console.options.ascii_only:
            return None
        return Live(
            console=console,
            get_renderable=lambda: self.picture(console.height),
            refresh_per_second=DRAWS_PER_SECOND,
        )


def _heading(endpoint: str, commands: Sequence[str]) -> Iterator[Text]:
    yield _one_line(("freshtoken demo", "bold"), "  the real job, on this machine alone")
    yield _one_line(("token endpoint  ", "dim"), endpoint)
    yield Text("try in another terminal", "dim")
    yield from (Text(f"  {command}", "cyan", overflow="fold") for command in commands)
    yield Text()


def _one_line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def run_demo(length_s: float | None, lifetime_s: int, tokens: int, program: str) -> int:
    """Run the job in a temporary folder for `length_s` seconds, or until Ctrl-C or SIGTERM.

    `program` is how a person starts this program, for what the view suggests to try.
    Returns 0 if every token was refreshed and none was ever expired in its file, else 1.
    """
    clients = new_clients(tokens)
    names = list(clients)
    with (
        tempfile.TemporaryDirectory(prefix="freshtoken-demo-") as folder,
        AuthorizationServer(clients, lifetime_s) as server,
    ):
        path = write_configuration(folder, server.token_url, clients, lifetime_s)
        commands = (
            f"cat {folder}/{names[0]}.json",
            f"{program} status --watch --config {path}",
        )
        job = Job(Options(path), {})
        view = DemoView(server.token_url, names, commands, job.refreshers.in_force)
        _work(lambda: job.refreshers.update(job.load().tokens), view, length_s)
    print(view.tally.summary())  # noqa: T201  # what was asked for
    return int(bool(view.tally.failed))


def _work(
    refreshers: Callable[[], Mapping[str, Refresher]], view: DemoView, length_s: float | None
) -> None:
    """Do what `run` does, with the view as the observer instead of the log."""
    console = Console()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(TO_RUN, leaving=SystemExit(0)))
        live = view.live(console)

        def report(event: Event) -> None:
            line = view.observe(event)
            if line and not live:
                console.out(line, highlight=False)

        daemon = Daemon(refreshers(), report, lambda _: refreshers())
        if live:
            stack.enter_context(live)
        if length_s is not None:
            timer = threading.Timer(length_s, daemon.obey, ["stop", "the time is over"])
            timer.start()
            stack.callback(timer.join)
            stack.callback(timer.cancel)
        signals.hand_to(daemon.obey)
        daemon.run()

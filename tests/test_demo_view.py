"""What `freshtoken demo` shows: the status of its tokens, and the last events below."""

import io
import threading
import time
from dataclasses import replace

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, token
from rich.console import Console

from job.core.errors import EndpointUnavailable
from job.core.events import (
    ClockStepped,
    Event,
    JobCrashed,
    JobReloaded,
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
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import Token
from job.demo.story import Tally, sentence_of
from job.verbs.demo_view import DemoView

URL = "http://127.0.0.1:4444/oauth2/token"
NAMES = ("orders", "catalog")
COMMANDS = ("cat /run/demo/orders.json", "freshtoken status")
SINK = "file:/run/demo/orders.json"
FIRST = "0fe8ba7b55e7"
SECOND = "3bf81892d642"


def refreshed(fingerprint: str = FIRST, name: str = "orders") -> TokenRefreshed:
    """Make the event of a token that lives 20 seconds and is refreshed after 13."""
    return TokenRefreshed(name, fingerprint, START + 20, "expires_in", START + 13, 4, 1)


def delivered(fingerprint: str = FIRST) -> TokenDelivered:
    """Make the event of a stored token."""
    return TokenDelivered("orders", SINK, fingerprint, 1)


def refresh_failed(message: str = "it answers 503") -> TokenRefreshFailed:
    """Make the event of a failed exchange."""
    return TokenRefreshFailed(
        token="orders",
        code="unavailable",
        message=message,
        http_status=503,
        failures=1,
        retry_at=START + 2,
        expires_at=START + 20,
        retryable=True,
        exit_code=75,
    )


DELIVERY_FAILED = TokenDeliveryFailed(
    token="orders",
    sink=SINK,
    code="disk_full",
    message="the disk is full",
    failures=1,
    retry_at=START + 2,
    retryable=True,
    exit_code=74,
)
AT_RISK = TokenAtRisk("orders", SINK, START + 2, 3, 5)
EXPIRED = TokenExpired("orders", SINK, START, 3, 5)


def view_of(
    *names: str,
    refreshers: dict[str, Refresher] | None = None,
    commands: tuple[str, ...] = (),
    clock: FakeClock | None = None,
) -> DemoView:
    """Make the view of a job."""
    return DemoView(URL, names or NAMES, commands, lambda: refreshers or {}, clock or FakeClock())


def refresher(name: str, clock: FakeClock, *script: Token | Exception) -> Refresher:
    """Make what keeps a token of the demo."""
    plan = Plan(Policy(jitter=0.0, min_validity=3, retry_budget=1, min_interval=1), "")
    sinks = [MemorySink(f"file:/run/demo/{name}.json")]
    return Refresher(name, ScriptedSource(*script), sinks, plan, "key", clock)


def picture(view: DemoView, width: int = 80, height: int = 24) -> list[str]:
    """Draw the view without colours, and return its lines."""
    screen = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with screen.capture() as drawn:
        screen.print(view.picture(height))
    return [line.rstrip() for line in drawn.get().splitlines()]


def local(at: float) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def story(view: DemoView, height: int = 50) -> list[str]:
    """Return the lines of the last events."""
    lines = picture(view, width=200, height=height)
    return [line for line in lines if line.startswith(f"{local(START)}  ")]


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (JobStarted("1.0", 2), "job      started; tokens to keep current: 2"),
        (JobStopped("SIGINT"), "job      stopped: SIGINT"),
        (JobCrashed("KeyError", "..."), "job      a bug was caught: KeyError"),
        (JobCrashed("KeyError", "...", "orders"), "orders   a bug was caught: KeyError"),
        (ClockStepped(-30.2), "job      the clock was set by -30 s; every token is decided afresh"),
        (
            TokenAdopted("orders", FIRST, START + 20, START + 13, SINK),
            f"orders   found {FIRST} in {SINK}, good for 20 s; nothing was fetched",
        ),
        (refreshed(), f"orders   fetched {FIRST} in 4 ms, good for 20 s"),
        (delivered(), f"orders   stored {FIRST} in 1 ms"),
        (
            TokenUnchanged("orders", FIRST, START + 20, START + 13),
            f"orders   the server gave {FIRST} again; asking anew in 13 s",
        ),
        (
            refresh_failed(),
            "orders   refresh failed (unavailable), trying again in 2 s: it answers 503",
        ),
        (
            replace(refresh_failed(), expires_at=None),
            "orders   refresh failed (unavailable), trying again in 2 s: it answers 503",
        ),
        (
            DELIVERY_FAILED,
            "orders   storing failed (disk_full), trying again in 2 s: the disk is full",
        ),
        (AT_RISK, "orders   at risk: the stored token has 2 s left, 5 s are promised"),
        (EXPIRED, "orders   expired: readers now get a token that is refused"),
        (
            TokenPromiseUnholdable("orders", 20, 300, "20 s of life are less than 300s"),
            "orders   the promise cannot be held: 20 s of life are less than 300s",
        ),
    ],
)
def test_every_event_is_a_sentence(event: Event, sentence: str) -> None:
    """Lines and picture tell an event in the same words, with the time of day before them."""
    view = view_of()
    assert view.observe(event) == f"{local(START)}  {sentence}"
    assert story(view) == [f"{local(START)}  {sentence}"]


def test_what_a_demo_never_does_is_not_told() -> None:
    """An event of no interest gives no line and does not appear in the picture."""
    view = view_of()
    assert view.observe(JobReloaded("1.0", 2)) is None
    assert story(view) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (0.1, "1 s"), (59.5, "1 min 00 s"), (3599, "59 min 59 s")],
)
def test_a_wait_ends_at_0_and_not_before(seconds: float, text: str) -> None:
    """What is still to come is never said to come in 0 s."""
    sentence = f"refresh failed (unavailable), trying again in {text}: it answers 503"
    failed = replace(refresh_failed(), retry_at=START)
    assert sentence_of(failed, START - seconds) == ("orders", sentence)


def test_outcomes_are_counted() -> None:
    """Refreshes, deliveries and failures of either kind are counted, and an expiry is kept."""
    events = (refreshed(), DELIVERY_FAILED, delivered(), refresh_failed(), EXPIRED, AT_RISK)
    assert tally_of("orders", *events, refreshed(SECOND)).summary().splitlines() == [
        "orders  refreshes 2, deliveries 1, failures 2, WAS EXPIRED",
        "Not kept current: orders.",
    ]


def test_the_picture_at_80_columns() -> None:
    """A whole frame: what to try, tokens with their bars and what is wrong, the last events."""
    clock = FakeClock()
    down = EndpointUnavailable("unavailable", "it answers 503; try again when it is back")
    tokens = {
        "orders": refresher("orders", clock, token(life=20), down),
        "catalog": refresher("catalog", clock, token("tok-2", life=60)),
    }
    view = view_of(refreshers=tokens, commands=COMMANDS, clock=clock)
    view.observe(JobStarted("1.0", 2))
    for seconds in (0, 14):
        clock.advance(seconds)
        for each in tokens.values():
            for event in each.step():
                view.observe(event)
    first, later = local(START), local(START + 14)
    assert picture(view) == [
        "freshtoken demo  the real job, on this machine alone",
        "token endpoint  http://127.0.0.1:4444/oauth2/token",
        "try in another terminal",
        "  cat /run/demo/orders.json",
        "  freshtoken status",
        "",
        "◐ Every token is good, but 1 of 2 tokens can't be refreshed",
        "",
        "TOKEN    STATE             TIME LEFT                        REFRESH",
        "orders   ◐ refresh is due  6s         ━━━━━━─┃────────────  1s late",
        "catalog  ● good            46s        ━━━━━━━┃━━━━━━━─────  in 26s",
        "",
        "◐ orders: it answers 503",
        "  try again when it is back",
        "",
        f"{first}  job      started; tokens to keep current: 2",
        f"{first}  orders   fetched 65dcf16ea3df in 0 ms, good for 20 s",
        f"{first}  orders   stored 65dcf16ea3df in 0 ms",
        f"{first}  catalog  fetched b9d7f2826c79 in 0 ms, good for 1 min 00 s",
        f"{first}  catalog  stored b9d7f2826c79 in 0 ms",
        f"{later}  orders   refresh failed (unavailable), trying again in 1 s: it answer…",
        "",
        f"{later}, Ctrl-C ends",
    ]


def test_a_wide_terminal_gets_whole_sentences() -> None:
    """At 200 columns a long message is told to its end."""
    view = view_of()
    view.observe(refresh_failed("the token endpoint answers 503 and asks to come back in an hour"))
    assert story(view)[-1].endswith("come back in an hour")


def test_the_picture_fits_the_height() -> None:
    """Only the last events are shown: at most eight, fewer on a low terminal, at least one."""
    clock = FakeClock()
    tokens = {name: refresher(name, clock) for name in NAMES}
    view = view_of(refreshers=tokens, commands=("cat it",), clock=clock)
    for number in range(20):
        view.observe(ClockStepped(number))
    assert {height: len(story(view, height)) for height in (5, 15, 20, 24, 50)} == {
        5: 1,
        15: 1,
        20: 6,
        24: 8,
        50: 8,
    }
    assert len(picture(view, height=20)) == 19
    assert story(view)[-1].endswith("set by +19 s; every token is decided afresh")


def test_a_message_is_never_markup() -> None:
    """Square brackets in what is told are shown as they are."""
    view = view_of()
    view.observe(refresh_failed("see [bold]section[/bold] [2]"))
    assert story(view)[0].endswith("see [bold]section[/bold] [2]")


def test_a_stranger_is_not_counted() -> None:
    """An event about a token that is not of the demo is told, and counts for none."""
    view = view_of()
    view.observe(refreshed(name="other"))
    assert view.tally.failed == ["orders", "catalog"]
    assert len(story(view)) == 1


def test_events_come_from_many_threads() -> None:
    """No event is lost when workers report at the same time."""
    view = view_of()

    def report() -> None:
        for _ in range(200):
            view.observe(refreshed())

    workers = [threading.Thread(target=report) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert view.tally.summary().startswith("orders   refreshes 800, ")


def test_a_terminal_gets_the_moving_picture() -> None:
    """On a terminal the view is drawn, and its thread ends with it."""
    before = set(threading.enumerate())
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"}
    )
    live = view_of().live(console)
    assert live is not None
    with live:
        pass
    assert "freshtoken demo" in screen.getvalue()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in left)


@pytest.mark.parametrize(
    ("encoding", "environ", "is_terminal"),
    [
        ("utf-8", {"TERM": "xterm"}, False),
        ("utf-8", {"TERM": "dumb"}, True),
        ("ascii", {"TERM": "xterm"}, True),
    ],
)
def test_lines_are_for_what_cannot_show_a_picture(
    encoding: str, environ: dict[str, str], *, is_terminal: bool
) -> None:
    """A pipe, a dumb terminal and one without the bar's characters get no moving picture."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, force_terminal=is_terminal, _environ=environ)
    assert view_of().live(console) is None


GOOD = [refreshed(name="good"), delivered()]
LATE = [
    refreshed(name="late"),
    replace(EXPIRED, token="late"),
    replace(DELIVERY_FAILED, token="late"),
]


def tally_of(names: str, *events: Event) -> Tally:
    """Count events of tokens."""
    tally = Tally(names.split())
    for event in events:
        tally.observe(event)
    return tally


@pytest.mark.parametrize(
    ("names", "failed"), [("good", []), ("good idle", ["idle"]), ("late good", ["late"])]
)
def test_the_demo_succeeds_if_every_token_was_kept(names: str, failed: list[str]) -> None:
    """One token that was never refreshed, or was expired once, makes the whole demo fail."""
    assert tally_of(names, *GOOD, *LATE).failed == failed


def test_the_summary_names_what_failed() -> None:
    """Each token gets a line of counts, and the last line names those that were not kept."""
    events = [replace(event, token="good") for event in (*GOOD, refreshed(), delivered())]
    assert tally_of("good idle late", *events, *LATE).summary().splitlines() == [
        "good  refreshes 2, deliveries 2, failures 0, never expired",
        "idle  refreshes 0, deliveries 0, failures 0, never expired",
        "late  refreshes 1, deliveries 0, failures 1, WAS EXPIRED",
        "Not kept current: idle, late.",
    ]


def test_the_summary_of_a_good_run() -> None:
    """When all went well the last line says so."""
    assert tally_of("good", *GOOD).summary().splitlines()[-1] == "Every token was kept current."

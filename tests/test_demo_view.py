import io
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

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
from job.demo.view import DemoView, Track, duration, exit_code, summary
from tests.fakes import START, FakeClock

URL = "http://127.0.0.1:4444/oauth2/token"
FILES = {"orders": "/run/demo/orders.json", "catalog": "/run/demo/catalog.env"}
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


def track_after(*events: Event) -> Track:
    """Let one token's track see the events, all at START."""
    track = Track("orders")
    for event in events:
        track = track.after(event, START)
    return track


def picture(view: DemoView, now: float, width: int = 80, height: int = 24) -> list[str]:
    """Draw the view without colours, and return its lines."""
    screen = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with screen.capture() as drawn:
        screen.print(view.render(now))
    return [line.rstrip() for line in drawn.get().splitlines()]


def local(at: float) -> str:
    """Tell the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def story(view: DemoView, height: int = 50) -> list[str]:
    """Return the lines under `what happened`."""
    lines = picture(view, START, width=200, height=height)
    return [line for line in lines if line.startswith(f" {local(START)[:2]}")]


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
            TokenPromiseUnholdable("orders", 20, 300, "20 s of life are less than 300 s"),
            "orders   the promise cannot be held: 20 s of life are less than 300 s",
        ),
    ],
)
def test_every_event_is_a_sentence(event: Event, sentence: str) -> None:
    """Lines and picture tell an event in the same words, with the time of day before them."""
    view = DemoView(URL, FILES, clock=lambda: START)
    view.observe(event)
    assert view.line(event) == f"{local(START)}  {sentence}"
    assert story(view) == [f" {local(START)}  {sentence}"]


def test_what_a_demo_never_does_is_not_told() -> None:
    """An event of no interest gives no line and does not appear in the picture."""
    view = DemoView(URL, FILES, clock=lambda: START)
    view.observe(JobReloaded("1.0", 2))
    assert view.line(JobReloaded("1.0", 2)) is None
    assert story(view) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.1, "1 s"),
        (59.5, "1 min 00 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
    ],
)
def test_lengths_are_told_for_people(seconds: float, text: str) -> None:
    """A countdown reaches 0 s at the very end, not before."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("events", "after_s", "state"),
    [
        ((), 0, "starting"),
        ((refreshed(),), 0, "starting"),
        ((refresh_failed(),), 0, "retrying"),
        ((refreshed(), delivered()), 12.9, "current"),
        ((refreshed(), delivered()), 13, "refreshing"),
        ((refreshed(), delivered(), refreshed(SECOND)), 1, "refreshing"),
        ((refreshed(), delivered(), refresh_failed()), 14, "retrying"),
        ((refreshed(), delivered(), refreshed(SECOND), DELIVERY_FAILED), 14, "retrying"),
        ((refreshed(), delivered(), refresh_failed(), AT_RISK), 16, "at risk"),
        ((refreshed(), delivered(), AT_RISK, EXPIRED), 20, "expired"),
        ((refreshed(), delivered()), 20, "expired"),
        ((refreshed(), delivered(), AT_RISK, refreshed(SECOND), delivered(SECOND)), 1, "current"),
        ((TokenAdopted("orders", FIRST, START + 20, START + 13, SINK),), 1, "current"),
        (
            (
                refreshed(),
                delivered(),
                AT_RISK,
                TokenUnchanged("orders", FIRST, START + 20, START + 18),
            ),
            14,
            "at risk",
        ),
        (
            (refreshed(), delivered(), TokenUnchanged("orders", FIRST, START + 20, START + 18)),
            14,
            "current",
        ),
        (
            (refreshed(), delivered(), TokenPromiseUnholdable("orders", 20, 300, "short")),
            1,
            "current",
        ),
    ],
)
def test_the_state_follows_the_events(
    events: tuple[Event, ...], after_s: float, state: str
) -> None:
    """The state speaks of the token that readers get, and of the worst that is known of it."""
    assert track_after(*events).state(START + after_s) == state


def test_outcomes_are_counted() -> None:
    """Refreshes, deliveries and failures of either kind are counted, and an expiry is kept."""
    track = track_after(
        refreshed(), DELIVERY_FAILED, delivered(), refresh_failed(), EXPIRED, refreshed(SECOND)
    )
    counts = (track.refreshes, track.deliveries, track.failures, track.was_expired)
    assert counts == (2, 1, 2, True)


def test_a_token_given_again_keeps_its_age() -> None:
    """The bar goes on where it was when the server returns the token that is stored."""
    track = track_after(refreshed(), delivered())
    track = track.after(TokenUnchanged("orders", FIRST, START + 20, START + 18), START + 13)
    assert track.stored is not None
    assert (track.stored.begun_at, track.stored.refresh_at) == (START, START + 18)


def test_the_picture_at_80_columns() -> None:
    """A whole frame: title, tokens with their bars, the story and what to try, in 24 lines."""
    clock = FakeClock()
    view = DemoView(
        URL,
        FILES,
        ["cat /run/demo/orders.json", "freshtoken status"],
        clock=lambda: clock().wall,
    )
    view.observe(JobStarted("1.0", 2))
    view.observe(refreshed())
    view.observe(delivered())
    clock.advance(1)
    view.observe(refresh_failed("Come again another day"))
    later = local(START + 1)
    assert picture(view, START + 10) == [
        " freshtoken demo  the real job, on this machine alone; Ctrl-C stops it",
        " token endpoint  http://127.0.0.1:4444/oauth2/token",
        " files           /run/demo",
        "",
        " token    state       life (┃ refresh point)                               left",
        " orders   retrying    ━━━━━━━━━━━━━━━━━━━━━━━━━━───────┃─────────────────  10 s",
        "                      refreshes: 1    0fe8ba7b55e7  orders.json",
        " catalog  starting",
        "                      refreshes: 0    nothing yet   catalog.env",
        "",
        " what happened",
        f" {local(START)}  job      started; tokens to keep current: 2",
        f" {local(START)}  orders   fetched 0fe8ba7b55e7 in 4 ms, good for 20 s",
        f" {local(START)}  orders   stored 0fe8ba7b55e7 in 1 ms",
        f" {later}  orders   refresh failed (unavailable), trying again in 1 s: Come aga…",
        "",
        " try in another terminal",
        "   cat /run/demo/orders.json",
        "   freshtoken status",
    ]


@pytest.mark.parametrize(
    ("now", "bar"),
    [
        (START - 5, "─────────────┃──────"),
        (START + 10, "━━━━━━━━━━───┃──────"),
        (START + 19.9, "━━━━━━━━━━━━━┃━━━━━━"),
        (START + 99, "━━━━━━━━━━━━━┃━━━━━━"),
    ],
)
def test_the_bar_stays_within_its_column(now: float, bar: str) -> None:
    """However far the clock is off, the bar is as wide as its column and keeps its mark."""
    view = DemoView(URL, {"orders": FILES["orders"]}, clock=lambda: START)
    view.observe(refreshed())
    view.observe(delivered())
    row = next(line for line in picture(view, now, width=48) if line.startswith(" orders"))
    assert bar in row.split()


def test_a_mark_at_the_very_end_is_seen() -> None:
    """A token refreshed at its expiry still shows where that is."""
    view = DemoView(URL, {"orders": FILES["orders"]}, clock=lambda: START)
    view.observe(TokenAdopted("orders", FIRST, START + 20, START + 21, SINK))
    row = next(line for line in picture(view, START, width=48) if line.startswith(" orders"))
    assert row.split() == ["orders", "current", "─" * 19 + "┃", "20", "s"]


def test_a_wide_terminal_gets_whole_sentences() -> None:
    """At 200 columns a long message is told to its end, and the table keeps a readable width."""
    view = DemoView(URL, FILES, clock=lambda: START)
    view.observe(refresh_failed("the token endpoint answers 503 and asks to come back in an hour"))
    lines = picture(view, START, width=200, height=50)
    assert lines[-1].endswith("come back in an hour")
    assert max(len(line) for line in lines if "left" in line) == 119


def test_the_picture_fits_the_height() -> None:
    """Only the last events are shown: at most eight, fewer on a low terminal, at least one."""
    view = DemoView(URL, FILES, ["cat it"], clock=lambda: START)
    for number in range(20):
        view.observe(ClockStepped(number))
    assert {height: len(story(view, height)) for height in (5, 15, 20, 24, 50)} == {
        5: 1,
        15: 1,
        20: 6,
        24: 8,
        50: 8,
    }
    assert len(picture(view, START, height=20)) == 20
    assert story(view)[-1].endswith("set by +19 s; every token is decided afresh")


def test_a_message_is_never_markup() -> None:
    """Square brackets in what is told are shown as they are."""
    view = DemoView(URL, FILES, clock=lambda: START)
    view.observe(refresh_failed("see [bold]section[/bold] [2]"))
    assert story(view)[0].endswith("see [bold]section[/bold] [2]")


def test_a_stranger_has_no_row() -> None:
    """An event about a token that is not among the files is told, and changes no row."""
    view = DemoView(URL, FILES, clock=lambda: START)
    view.observe(refreshed(name="other"))
    assert view.tracks() == (Track("orders"), Track("catalog"))
    assert len(story(view)) == 1


def test_events_come_from_many_threads() -> None:
    """No event is lost when workers report at the same time."""
    view = DemoView(URL, FILES, clock=lambda: START)

    def report() -> None:
        for _ in range(200):
            view.observe(refreshed())

    workers = [threading.Thread(target=report) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert view.tracks()[0].refreshes == 800


def test_a_terminal_gets_the_moving_picture() -> None:
    """On a terminal the view is drawn, and its thread ends with it."""
    before = set(threading.enumerate())
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"}
    )
    live = DemoView(URL, FILES, clock=lambda: START).live(console)
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
    assert DemoView(URL, FILES).live(console) is None


GOOD = Track("orders", refreshes=4, deliveries=4)
IDLE = Track("catalog")
LATE = Track("late", refreshes=2, deliveries=1, failures=7, was_expired=True)


@pytest.mark.parametrize(("tracks", "code"), [((GOOD,), 0), ((GOOD, IDLE), 1), ((LATE, GOOD), 1)])
def test_the_demo_succeeds_if_every_token_was_kept(tracks: tuple[Track, ...], code: int) -> None:
    """One token that was never refreshed, or was expired once, makes the whole demo fail."""
    assert exit_code(tracks) == code


def test_the_summary_names_what_failed() -> None:
    """Each token gets a line of counts, and the last line names those that were not kept."""
    assert summary((GOOD, IDLE, LATE)).splitlines() == [
        "orders   refreshes 4, deliveries 4, failures 0, never expired",
        "catalog  refreshes 0, deliveries 0, failures 0, never expired",
        "late     refreshes 2, deliveries 1, failures 7, WAS EXPIRED",
        "Not kept current: catalog, late.",
    ]


def test_the_summary_of_a_good_run() -> None:
    """When all went well the last line says so."""
    assert summary((GOOD,)).splitlines()[-1] == "Every token was kept current."

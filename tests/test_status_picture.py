"""`freshtoken status` on a terminal, whole pictures at several widths."""

import io
import os
import re
import signal
import threading
from dataclasses import replace

import pytest
from fakes import START, MemorySink, record
from rich.console import Console

from job.core.clock import Moment
from job.core.errors import SinkRejected
from job.core.schedule import Policy
from job.observe.status import SinkStatus, TokenStatus, Trouble
from job.verbs.status_read import Look, statuses
from job.verbs.status_terminal import (
    PROBLEMS_SHOWN,
    Picture,
    clock_time,
    drawn,
    terminal,
    watch,
)

NOW = START + 800
DENIED = "/run/tokens/billing.json: this process may not read it; chown it to this user"


def console(width: int, height: int = 60, *, colours: bool = False) -> Console:
    """Make a terminal whose output is kept."""
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor" if colours else None,
        legacy_windows=False,
        _environ={},
    )


def printed(on: Console) -> list[str]:
    """Return what was printed on a terminal."""
    assert isinstance(on.file, io.StringIO)
    return plain(on.file.getvalue())


def plain(text: str) -> list[str]:
    """Return what a terminal shows, without the spaces at the ends of its lines."""
    return [line.rstrip() for line in re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text).splitlines()]


def read(looks: list[Look]) -> list[TokenStatus]:
    """Read all sinks."""
    for look in looks:
        look.read(0.0)
    return statuses(looks, NOW)


def unreadable(name: str, label: str, message: str) -> TokenStatus:
    """Make the status of a token whose sink can't be read."""
    sink = SinkStatus(label, "unreadable", trouble=Trouble(START, "", message))
    return TokenStatus(name=name, sinks=(sink,))


def shown(found: list[TokenStatus], width: int, height: int = 60) -> list[str]:
    """Show tokens once."""
    on = console(width, height)
    return plain(drawn(found, NOW, on))


def good(name: str = "tiki", path: str = "/run/tokens/tiki.json") -> Look:
    """Make a look at a token that is good."""
    return Look(name, MemorySink(f"file:{path}", record()), "key", Policy())


def bad_night() -> list[Look]:
    """Make one token of every state, the best first."""
    unreadable = MemorySink("file:/run/tokens/billing.json")
    unreadable.read_errors.append(SinkRejected("permission_denied", DENIED, permission=True))
    key, policy = "key", Policy()
    return [
        good(),
        Look("partner", MemorySink("file:/run/partner", record(key="old")), key, policy),
        Look("shipping", MemorySink("file:/a", record(requested_at=NOW - 2500)), key, policy),
        Look("risky", MemorySink("file:/r", record(requested_at=NOW - 3500)), key, policy),
        Look("billing", unreadable, key, policy),
        Look("new", MemorySink("aws-secrets-manager:prod/new"), key, policy),
        Look("dead", MemorySink("file:/d1", record(requested_at=NOW - 3665)), key, policy),
        Look("dead", MemorySink("file:/d2", record(requested_at=NOW - 3600)), key, policy),
    ]


def test_one_good_token_at_80_columns() -> None:
    """The answer is the first line; the sink stands below the name, in whole."""
    assert shown(read([good()]), 80) == [
        "● Every token is good, for at least 46m 40s",
        "",
        "TOKEN                                                 STATE   TIME LEFT",
        "tiki                                                  ● good  46m 40s",
        "file:/run/tokens/tiki.json                                    refresh in 26m 52s",
    ]


def test_one_good_token_at_60_columns() -> None:
    """A long path is folded, never cut."""
    path = "/srv/tenants/north/run/freshtoken/tokens/tiki.json"
    assert shown(read([good(path=path)]), 60) == [
        "● Every token is good, for at least 46m 40s",
        "",
        "TOKEN                             STATE   TIME LEFT",
        "tiki                              ● good  46m 40s",
        "file:/srv/tenants/north/run/fres          refresh in 26m 52s",
        "htoken/tokens/tiki.json",
    ]


def test_one_good_token_at_200_columns() -> None:
    """Where there is room, the time left is drawn too, with the mark of the refresh in it."""
    bar = "━━━━━━━━┃━━━━━━━━━━──────"
    assert shown(read([good()]), 200) == [
        "● Every token is good, for at least 46m 40s",
        "",
        "TOKEN  STATE   TIME LEFT                             REFRESH     SINK",
        f"tiki   ● good  46m 40s    {bar}  in 26m 52s  file:/run/tokens/tiki.json",
    ]


@pytest.mark.parametrize(
    ("now", "refresh_at", "bar"),
    [
        (START - 5, START + 2412, "━━━━━━━┃━━━━━━━━━━━━"),
        (START + 1800, START + 2412, "━━━━━━━┃━━──────────"),
        (START + 3599, START + 2412, "───────┃────────────"),
        (START + 9999, START + 2412, "───────┃────────────"),
        (START + 1800, START - 1, "━━━━━━━━━━─────────┃"),
    ],
)
def test_the_bar_stays_within_its_column(now: int, refresh_at: int, bar: str) -> None:
    """However far the clock is off, the bar is as wide as its column and keeps its mark."""
    sink = SinkStatus("file:/a", "current", START + 3600, obtained_at=START, refresh_at=refresh_at)
    text = drawn([TokenStatus(name="tiki", sinks=(sink,))], now, console(160))
    assert bar in plain(text)[3].split()


BAD_NIGHT = [
    "✖ 4 of 7 tokens need you",
    "",
    "TOKEN                                     STATE             TIME LEFT",
    "dead                                      ✖ expired         none for 1m 5s",
    "file:/d1                                                    refresh 20m 53s late",
    "file:/d2                                  ✖ expired         none for 0s",
    "                                                            refresh 19m 48s late",
    "new                                       ✖ missing         -",
    "aws-secrets-manager:prod/new",
    "billing                                   ✖ unreadable      -",
    "file:/run/tokens/billing.json",
    "risky                                     ▲ at risk         1m 40s",
    "file:/r                                                     refresh 18m 8s late",
    "shipping                                  ◐ refresh is due  18m 20s",
    "file:/a                                                     refresh 1m 28s late",
    "partner                                   ◐ refresh is due  46m 40s",
    "file:/run/partner                                           refresh in 26m 52s",
    "tiki                                      ● good            46m 40s",
    "file:/run/tokens/tiki.json                                  refresh in 26m 52s",
    "",
    "✖ dead: it is not being refreshed",
    "  see the log of `freshtoken run`",
    "✖ new: no token has been stored yet",
    "  run `freshtoken once`",
    "✖ billing: /run/tokens/billing.json: this process may not read it",
    "  chown it to this user",
    "▲ risky, shipping: its refresh is late",
    "  see the log of `freshtoken run`",
    "◐ partner: it was got for another request, the configuration has changed since",
    "  `freshtoken run` or `freshtoken once` replaces it",
]


def test_a_bad_night_at_80_columns() -> None:
    """The worst token is first; below, each trouble is told once, with its cure."""
    assert shown(read(bad_night()), 80) == BAD_NIGHT


def test_a_bad_night_at_200_columns() -> None:
    """A row for each sink, and an empty bar where nothing is left."""
    lines = shown(read(bad_night()), 200)[2:11]
    assert [line[:84].rstrip() for line in lines] == [
        "TOKEN     STATE             TIME LEFT                                  REFRESH",
        "dead      ✖ expired         none for 1m 5s  ────────┃────────────────  20m 53s late",
        "          ✖ expired         none for 0s     ────────┃────────────────  19m 48s late",
        "new       ✖ missing         -                                          -",
        "billing   ✖ unreadable      -                                          -",
        "risky     ▲ at risk         1m 40s          ━───────┃────────────────  18m 8s late",
        "shipping  ◐ refresh is due  18m 20s         ━━━━━━━━┃────────────────  1m 28s late",
        "partner   ◐ refresh is due  46m 40s         ━━━━━━━━┃━━━━━━━━━━──────  in 26m 52s",
        "tiki      ● good            46m 40s         ━━━━━━━━┃━━━━━━━━━━──────  in 26m 52s",
    ]
    assert [line[84:].strip() for line in lines] == [
        "SINK",
        "file:/d1",
        "file:/d2",
        "aws-secrets-manager:prod/new",
        "file:/run/tokens/billing.json",
        "file:/r",
        "file:/a",
        "file:/run/partner",
        "file:/run/tokens/tiki.json",
    ]


@pytest.mark.parametrize("width", [50, 60, 80, 99, 100, 120, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    """Whatever the width, no line is longer, and no word, name or path is lost."""
    lines = shown(read(bad_night()), width)
    assert max(map(len, lines)) <= width
    text = re.sub(r"\s", "", "".join(lines))
    for token in read(bad_night()):
        assert token.name in text
    assert "…" not in text
    assert "file:/run/tokens/billing.json" in text or width < 80


@pytest.mark.slow
def test_the_worst_of_500_tokens_is_first_and_the_answer_is_also_last() -> None:
    """Whoever looks at the end of what scrolled by finds the answer and the cures there."""
    many = [good(f"t{number}") for number in range(500)]
    missing = [
        Look(f"m{number}", MemorySink(f"file:/m{number}"), "key", Policy()) for number in range(5)
    ]
    lines = shown(read([*many, *missing]), 80, height=30)
    assert lines[0] == lines[-1] == "✖ 5 of 505 tokens need you"
    assert lines[3].split()[:3] == ["m0", "✖", "missing"]
    assert lines[-5:-1] == [
        "",
        "✖ m0, m1, m2 and 2 more: no token has been stored yet",
        "  run `freshtoken once`",
        "",
    ]
    assert len(lines) == 3 + 2 * 505 + 3 + 2


def test_many_different_troubles_are_not_all_told() -> None:
    """A hundred different errors would hide the answer; --json has them all."""
    found = [
        unreadable(f"t{number}", "file:/a", f"fault {number}")
        for number in range(PROBLEMS_SHOWN + 2)
    ]
    lines = shown(found, 80)
    assert lines[-2:] == ["✖ t9: fault 9", "  and 2 more: freshtoken status --json"]


def test_colours_are_those_of_the_states() -> None:
    """Colours help where there are some."""
    text = drawn(read(bad_night()), NOW, console(80, colours=True))
    for word, code in (("expired", "1;31"), ("at risk", "1;33"), ("due", "33"), ("good", "32")):
        assert re.search(rf"\x1b\[{code}m[^\x1b]*{word}", text)


def test_no_color_is_obeyed() -> None:
    """NO_COLOR leaves weight, and takes every colour (https://no-color.org)."""
    environ = {"NO_COLOR": "1", "TERM": "xterm"}
    on = Console(file=io.StringIO(), force_terminal=True, width=80, _environ=environ)
    text = drawn(read(bad_night()), NOW, on)
    assert set(re.findall(r"\x1b\[([0-9;]*)m", text)) == {"0", "1", "2"}


def test_what_people_wrote_is_not_markup() -> None:
    """A path that looks like markup of the terminal library stays as it is."""
    found = [unreadable("t", "file:/[bold red]/x", "[/x] is wrong; see [y]")]
    assert shown(found, 80)[3:] == [
        "t                                                        ✖ unreadable  -",
        "file:/[bold red]/x",
        "",
        "✖ t: [/x] is wrong",
        "  see [y]",
    ]


def test_a_watched_picture_fits_its_terminal() -> None:
    """The rows that give way are the best ones; the cures stay, and Ctrl-C is named."""
    on = console(80, 24)
    on.print(Picture(read(bad_night()), NOW, 24))
    lines = printed(on)
    assert len(lines) == 23
    assert lines[:2] == BAD_NIGHT[:2]
    assert lines[2:10] == [*BAD_NIGHT[2:9], "... and others, none of them worse"]
    assert lines[10:21] == BAD_NIGHT[19:]
    assert lines[21:] == ["", f"{clock_time(NOW)}, Ctrl-C ends"]


def test_a_watched_picture_in_a_tiny_terminal() -> None:
    """However low it is, the answer is there."""
    on = console(60, 5)
    on.print(Picture(read(bad_night()), NOW, 5))
    assert printed(on)[0] == BAD_NIGHT[0]


class Time:
    """A clock that moves by a second at each pause, and ends the watch when its time is over."""

    def __init__(self, length: int) -> None:
        self.at = 0
        self.length = length

    def now(self) -> Moment:
        return Moment(NOW + self.at, 100.0 + self.at)

    def pause(self, seconds: float) -> None:
        self.at += int(seconds)
        if self.at >= self.length:
            os.kill(os.getpid(), signal.SIGINT)


class Counted(MemorySink):
    """A sink that counts how often it was read."""

    reads = 0

    def read(self) -> "object":  # type: ignore[override]  # what it gives is what it always gives
        self.reads += 1
        return super().read()


def test_watching_reads_at_a_humane_rate_and_ends_with_the_last_state() -> None:
    """Files are read every 2 s, stores every 30 s; Ctrl-C gives the status of the last picture."""
    before, clock, on = set(threading.enumerate()), Time(61), console(80)
    file, store = Counted("file:/a", record()), Counted("aws-secrets-manager:b", record())
    looks = [
        Look("a", file, "key", Policy()),
        replace(Look("b", store, "key", Policy()), every_s=30.0),
    ]
    assert watch(looks, on, clock.now, clock.pause) == 0
    assert (file.reads, store.reads) == (31, 3)
    lines = printed(on)
    assert "● Every token is good, for at least 45m 39s" in lines
    assert lines[-1] == f"{clock_time(NOW + 61)}, Ctrl-C ends"
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)
        assert not thread.is_alive()


def test_watching_tells_what_has_become_of_a_token() -> None:
    """A token that is gone at the last reading is critical."""
    sink, clock = MemorySink("file:/a", record()), Time(3)

    def pause(seconds: float) -> None:
        sink.stored = None
        clock.pause(seconds)

    assert watch([Look("a", sink, "key", Policy())], console(80), clock.now, pause) == 2


def test_the_terminal_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked for goes to standard output."""
    terminal().print("x")
    assert capsys.readouterr() == ("x\n", "")

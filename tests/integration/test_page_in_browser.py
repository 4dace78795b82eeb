"""The status page in a real browser: what it shows, what it does by itself, and who can use it."""

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import page_fixtures
import pytest
from browser import Browser, Tab, find_chromium

from job.observe.status import RefresherStatus

pytestmark = pytest.mark.integration

NIGHTS = [page_fixtures.good_day, page_fixtures.bad_night, page_fixtures.many]
TAB = 9
SHOWN = "[...document.querySelectorAll('ol > li')].filter(item => !item.hidden).length"
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
CUT = """[...document.querySelectorAll('body *')]
    .filter(one => !one.closest('svg, .skip') && one.scrollWidth > one.clientWidth + 1)
    .filter(one => getComputedStyle(one).display !== 'inline')
    .map(one => one.outerHTML)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a Chromium; without one there is nothing to test, but in CI there has to be one."""
    program = find_chromium()
    if program is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium here: apt-get install chromium fonts-dejavu-core")
    assert program is not None, "CI has to install chromium"
    with Browser(program) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser) -> Tab:
    """Open an empty tab."""
    return Tab(browser)


def text(tab: Tab, selector: str) -> str:
    """Return the text of an element as people see it."""
    return str(tab.evaluate(f"document.querySelector({selector!r}).innerText"))


def seconds(told: str) -> int:
    """Read a length such as 46m 40s."""
    sizes = {"h": 3600, "m": 60, "s": 1}
    return sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)([hms])", told))


@pytest.mark.parametrize("night", NIGHTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_and_nothing_is_refused(tab: Tab, night: Any, scheme: str, width: int) -> None:  # noqa: ANN401  # a function
    """On a phone and on a desk, light and dark: no error, nothing wider than the window or cut."""
    now = int(time.time())
    tab.resize(width)
    tab.prefer(prefers_color_scheme=scheme)
    with page_fixtures.served(lambda: night(now), time.time) as url:
        tab.open(url)
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (tab.evaluate(WIDTHS), tab.evaluate(CUT), tab.said) == ([width, width], [], [])
        assert tab.evaluate(SHOWN) == len(night(now))
    assert ground == {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 19, 24)"}[scheme]
    assert tab.picture().startswith(b"\x89PNG")


def test_times_count_down(tab: Tab) -> None:
    """Between two looks at the server the script keeps the times true."""
    now = int(time.time())
    with page_fixtures.served(lambda: page_fixtures.good_day(now), time.time) as url:
        tab.open(url)
        before = [seconds(text(tab, selector)) for selector in ("#verdict", ".left")]
        tab.let_pass(7)
        after = [seconds(text(tab, selector)) for selector in ("#verdict", ".left")]
    assert [6 <= was - left <= 9 for was, left in zip(before, after, strict=True)] == [True, True]


def test_it_takes_new_data_by_itself(tab: Tab) -> None:
    """Every ten seconds it shows how things are now; what was typed into the search stays."""
    now = int(time.time())
    tokens = page_fixtures.many(now)
    with page_fixtures.served(lambda: tokens, time.time) as url:
        tab.open(url)
        typed = "document.querySelector('input').value = 'tenant-01'; document.querySelector"
        tab.evaluate(f"{typed}('input').dispatchEvent(new Event('input', {{bubbles: true}}))")
        assert (text(tab, "#verdict"), tab.evaluate(SHOWN)) == ("3 of 500 tokens need you", 10)
        tokens = [*tokens[4:], page_fixtures.good_status("tenant-01x", now)]
        tab.let_pass(11)
        assert text(tab, "#verdict").startswith("Every token is good, for at least ")
        assert tab.evaluate("document.title").startswith("● Every token is good")
        assert tab.evaluate(SHOWN) == 11
    assert tab.said == []


def test_it_says_when_the_job_no_longer_answers(tab: Tab) -> None:
    """An old page never looks like a fresh one."""
    now = int(time.time())
    with page_fixtures.served(lambda: page_fixtures.good_day(now), time.time) as url:
        tab.open(url)
        assert text(tab, "#seen").startswith("seen 2")
    tab.let_pass(11)
    assert text(tab, "#seen") == "freshtoken no longer answers: what is shown is old"
    assert tab.evaluate("document.title") == "? freshtoken no longer answers"


def test_the_search_works_without_script(tab: Tab) -> None:
    """Where scripts are off, the server does the search, and the browser loads the page anew."""
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    now = int(time.time())
    with page_fixtures.served(lambda: page_fixtures.many(now), time.time) as url:
        tab.open(f"{url}?q=tenant-04")
        assert tab.evaluate(SHOWN) == 10
        assert tab.evaluate("document.querySelector('input').value") == "tenant-04"
        assert tab.evaluate("document.querySelector('noscript button').innerText") == "find"
        tab.evaluate("document.querySelector('input').value = 'billing'")
        tab.evaluate("document.querySelector('noscript button').click()")
        tab.wait("Page.loadEventFired")
        assert tab.evaluate(SHOWN) == 1
        tab.open(f"{url}?q=nothing+is+called+so")
        empty = "getComputedStyle(document.querySelector('#tokens'), '::after').content"
        assert tab.evaluate(empty) == '"no token matches the search"'


def test_keys_reach_everything_and_show_where_they_are(tab: Tab) -> None:
    """The skip link, the search and the links, in this order, each with an outline."""
    now = int(time.time())
    with page_fixtures.served(lambda: page_fixtures.many(now), time.time) as url:
        tab.open(url)
        reached = []
        for _ in range(4):
            tab.press("Tab", TAB)
            focus = "document.activeElement"
            name = tab.evaluate(f"{focus}.name || {focus}.innerText")
            reached.append((name, tab.evaluate(f"getComputedStyle({focus}).outlineStyle")))
    assert reached == [(name, "solid") for name in ("to the tokens", "q", "as JSON", "metrics")]


def test_a_screen_reader_is_told_everything(tab: Tab) -> None:
    """Headings carry the states, pictures have words, changes of the counts are announced."""
    now = int(time.time())
    tokens: list[RefresherStatus] = page_fixtures.bad_night(now)
    with page_fixtures.served(lambda: tokens, time.time) as url:
        tab.open(url)
        names = tab.names()
    headings = [name for role, name in names if role == "heading"]
    assert headings == [
        "✖ 3 of 6 tokens need you",
        "✖ expired tiki provider tiki",
        "✖ missing warehouse",
        "▲ at risk partner",
        "◐ refresh is due billing",
        "● good shipping",
        "● good search",
    ]
    pictures = [name for role, name in names if role in {"image", "img"}]
    assert len(pictures) == 11
    assert "last 18 exchanges: 6 failed, the slowest took 243 ms" in pictures
    assert "" not in pictures
    roles = [role for role, _ in names]
    assert [roles.count(role) for role in ("main", "navigation", "status", "list")] == [1, 1, 1, 7]

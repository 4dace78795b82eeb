import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fakes import START
from page_fixtures import plain_status as status

from job.observe import page
from job.observe.page import SEARCH_FROM, StatusPage
from job.observe.status import STATES, Attempt, RefresherStatus, SinkStatus, TokenState, Trouble

END = START + 3600
DUE = START + 2412
RISK = START + 3300
STYLE = (Path(page.__file__).parent / "page.css").read_text("utf-8")
EVIL = '<script>alert("1")</script>&\'"'


class Reader(HTMLParser):
    """Reads a page: the text of each token, and every tag with its attributes."""

    VOID = frozenset({"meta", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "a tag is closed that is not the last one open"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """Return what people read, with one space for each white space."""
        return " ".join(" ".join(self.texts).split())


def read(*tokens: RefresherStatus, now: float = START + 800, query: str = "") -> Reader:
    """Make the page and read it."""
    reader = Reader(StatusPage()(tokens, now, query).html)
    assert reader.open == [], "a tag was never closed"
    return reader


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([status()], "Every token is good, for at least 46m 40s"),
        (
            [status("a"), status("b", expires_at=START + 900)],
            "Every token is good, for at least 1m 40s",
        ),
        ([status("a", "at_risk"), status("b")], "1 of 2 tokens needs you"),
        ([status("a", "expired"), status("b", "missing"), status("c")], "2 of 3 tokens need you"),
        ([status("a", "missing")], "1 of 1 token needs you"),
        ([status("a", "unknown"), status("b")], "The sinks are being read"),
        (
            [status("a", "due", failures=2), status("b")],
            "Every token is good, but 1 of 2 tokens can't be refreshed",
        ),
    ],
)
def test_the_headline(tokens: list[RefresherStatus], words: str) -> None:
    """The first line, and the title of the tab, answer the question of a person on call."""
    reader = read(*tokens)
    assert reader.text.count(words) == 2
    title = re.search("<title>(.*)</title>", StatusPage()(tokens, START + 800).html)
    assert title is not None
    assert title[1].replace("&#x27;", "'").endswith(words)


def test_a_good_token() -> None:
    """All that matters of a token is told in words, times as lengths."""
    attempts = (Attempt(START - 3600, "ok", 100, 3600), Attempt(START, "ok", 200, 3600))
    reader = read(status(provider="Tiki", attempts=attempts))
    assert (
        "● good tiki provider Tiki 46m 40s left next refresh in 26m 52s · obtained 13m 20s ago · "
        "readers are safe for 41m 40s · token 9f2c1ab47e00 last 2 exchanges: 0 failed, the slowest "
        "took 200 ms ● good · file:/run/tiki · 46m 40s left"
    ) in reader.text


def test_a_bad_night() -> None:
    """What is wrong stands beside the token and the sink that it is about, with what to do."""
    sinks = (
        SinkStatus("file:/a", "expired", END, held=True, failures=0, retry_at=None, trouble=None),
        SinkStatus(
            "file:/b",
            "due",
            END + 90,
            held=False,
            failures=2,
            retry_at=END + 60,
            trouble=Trouble(END, "disk_full", "/b: no space is left; free some"),
        ),
    )
    trouble = Trouble(END - 60, "invalid_client", "check the secret")
    bad = status(
        "tiki",
        "expired",
        sinks=sinks,
        failures=3,
        trouble=trouble,
        refresh_at=END + 40,
        attempts=(Attempt(START, "ok", 0, 3600), Attempt(END - 60, "invalid_client")),
    )
    assert (
        "✖ expired tiki expired 30s ago next attempt in 10s · obtained 1h 30s ago · 3 failed "
        "attempts · token 9f2c1ab47e00 last 2 exchanges: 1 failed, the slowest took 0 ms ✖ expired "
        "· file:/a · expired 30s ago ◐ refresh is due · file:/b · holds the token before · 1m left "
        "· next try in 30s invalid_client 1m 30s ago: check the secret disk_full 30s ago: file:/b: "
        "/b: no space is left; free some"
    ) in read(bad, now=END + 30).text


def test_no_token_yet() -> None:
    """Of a token that was never got there is no life to draw and no time to tell."""
    nothing = status(
        "tiki",
        "missing",
        obtained_at=None,
        ends_at=None,
        expires_at=None,
        promise_at=None,
        fingerprint=None,
        failures=1,
        refresh_at=START,
        sinks=(
            SinkStatus(
                "file:/a", "missing", None, held=False, failures=0, retry_at=None, trouble=None
            ),
        ),
    )
    reader = read(nothing)
    assert (
        "✖ missing tiki no token next attempt now · 1 failed attempt ✖ missing · file:/a"
    ) in reader.text
    assert [kind for _, kind in reader.tags if kind.get("class") in {"life", "history"}] == []


@pytest.mark.parametrize(
    ("now", "spent", "left"),
    [
        (START - 5, "0", "1h 5s"),
        (START, "0", "1h"),
        (START + 900, "250", "45m"),
        (END + 9, "1000", "0s"),
    ],
)
def test_the_life(now: float, spent: str, left: str) -> None:
    """The bar is spent as time goes, and its words say the same to those who can't see it."""
    tags = read(status(), now=now).tags
    (bar,) = [kind for _, kind in tags if kind.get("class") == "life"]
    (grey,) = [kind for _, kind in tags if kind.get("class") == "spent" and "height" in kind][:1]
    marks = {kind["class"]: kind["d"] for tag, kind in tags if tag == "path" and "class" in kind}
    assert bar["aria-label"] == f"life of 1h, {left} left"
    assert grey["width"] == spent
    assert marks["refresh"] in {"M670 0V20", "M10 0V12"}
    first = [kind["d"] for tag, kind in tags if tag == "path"][:4]
    assert first == ["M670 0V20", "M917 0V20", "M917 0V20", f"M{spent} 0V20"]


def test_what_people_wrote_stays_text() -> None:
    """Names, sinks and messages can't become markup, whatever they hold."""
    trouble = Trouble(START, EVIL, EVIL)
    sink = SinkStatus(EVIL, "due", END, held=True, failures=1, retry_at=None, trouble=trouble)
    evil = status(EVIL, "due", provider=EVIL, fingerprint=EVIL, sinks=(sink,), trouble=trouble)
    tokens = [evil, *(status(f"t{number}") for number in range(SEARCH_FROM))]
    reader = read(*tokens, query=EVIL)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert reader.text.count(EVIL) == 9
    assert [kind["value"] for tag, kind in reader.tags if tag == "input"] == [EVIL]


def test_the_search() -> None:
    """From ten tokens on one can search, by name, provider, sink and state, without JavaScript."""
    few = [status(f"t{number}") for number in range(SEARCH_FROM - 1)]
    assert "input" not in {tag for tag, _ in read(*few).tags}
    many = [*few, status("other", "due", provider="Tiki")]

    def found(query: str) -> list[str]:
        tags = read(*many, query=query).tags
        return [str(kind["data-words"]).split()[0] for tag, kind in tags if "data-words" in kind]

    assert found("") == [each.name for each in many]
    assert found("OTHER") == ["other"]
    assert found("tiki") == ["other"]
    assert found("refresh is due") == ["other"]
    assert found("/run/t3") == ["t3"]
    assert found("nothing") == []


def test_the_counts() -> None:
    """Each state that occurs is counted, the worst first."""
    states: list[TokenState] = ["due", "current", "expired", "current", "unknown", "missing"]
    text = read(*(status(f"t{n}", state) for n, state in enumerate(states))).text
    assert ("✖ expired 1 ✖ missing 1 ○ not looked at yet 1 ◐ refresh is due 1 ● good 2") in text


def test_nothing_is_told_by_colour_alone() -> None:
    """Each state has its own words."""
    assert len({told.word for told in STATES.values()}) == len(STATES)


def colours(scheme: str) -> dict[str, str]:
    """Return the variables of the style in a colour scheme."""
    light, _, dark = STYLE.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--(\w+): (#\w+)", light.partition("@media")[0]))
    return found | (dict(re.findall(r"--(\w+): (#\w+)", dark)) if scheme == "dark" else {})


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    """All text can be read (WCAG 2.2, 1.4.3: 4.5), and so can all that is drawn (1.4.11: 3)."""
    found = colours(scheme)
    assert contrast("#000", "#fff") == pytest.approx(21)
    text = ("ink", "soft", "current", "due", "at_risk", "expired", "unknown")
    low = [
        (name, ground)
        for name in text
        for ground in ("card", "ground")
        if contrast(found[name], found[ground]) < 4.5
    ]
    drawn = (("rest", "card"), ("ink", "rest"), ("ink", "spent"), ("at_risk", "card"))
    low += [pair for pair in drawn if contrast(found[pair[0]], found[pair[1]]) < 3]
    assert low == []


def test_the_policy_lets_the_page_work() -> None:
    """The hashes are those of the style and the script, and no attribute needs another licence."""
    html, style, script = StatusPage()([status()], START)
    for tag, told in (("style", style), ("script", script)):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() == told
    attributes = {name for _, kind in Reader(html).tags for name in kind}
    assert {"style"} & attributes == set()
    assert [name for name in attributes if name.startswith("on")] == []


def test_without_javascript() -> None:
    """A browser without scripts loads the page anew by itself."""
    reader = read(status())
    assert ("meta", {"http-equiv": "refresh", "content": "10"}) in reader.tags

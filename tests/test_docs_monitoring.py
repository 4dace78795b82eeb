"""What docs/monitoring.md says can be seen is what the program shows."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from fakes import START, FakeClock
from page_fixtures import plain_status

from job.core.events import TokenDelivered, TokenRefreshed
from job.observe import http
from job.observe.http import Page, Site
from job.observe.metrics import Metrics
from job.observe.status import Attempt, SinkStatus, TokenState, Trouble
from job.observe.status_board import KEPT_ATTEMPTS

PAGE = (Path(__file__).parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
SINK = SinkStatus("file:/run/a", "current", START, trouble=Trouble(START, "c", "m"))
STATUS = plain_status("a", sinks=(SINK,), attempts=(Attempt(START, "ok", 3, 3600),))


def names_after(words: str) -> list[str]:
    """Return the names in the first column of the table that follows these words."""
    table = PAGE.partition(f"{words}\n")[2].strip().partition("\n\n")[0]
    firsts = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    return [name for cell in firsts for name in re.findall(r"`([^`]+)`", cell)]


def paths() -> list[str]:
    """Return the paths of the table."""
    return names_after("| path | answers |")


def site() -> Site:
    """Make the HTTP side of one token."""
    return Site(
        lambda: [STATUS],
        lambda _: (b"", ""),
        lambda: True,
        lambda *_: Page("", "", ""),
        FakeClock(),
    )


def ask(path: str) -> tuple[str, str]:
    """Return the status and the body of a GET."""
    told: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    body = b"".join(site()(environ, lambda status, _: told.append(status)))
    return told[0], body.decode()


def test_the_metrics_are_those_of_the_code() -> None:
    """The table has each metric with its type and its labels, and no other."""
    metrics = Metrics(lambda: [STATUS])
    metrics.observe(TokenRefreshed("a", "9f2c", START, "expires_in", START, 3, 1))
    metrics.observe(TokenDelivered("a", "file:/run/a", "9f2c", 3))
    shown = {}
    for family in metrics.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        kind = "gauge" if family.type == "info" else family.type
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        shown[f"{family.name}{suffix}"] = (kind, labels)

    rows = re.findall(r"^\| `(freshtoken_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}
    assert told == shown


def test_the_paths_are_those_of_the_code() -> None:
    """Each path of the table is answered, and it is named by the answer to any other."""
    status, body = ask("/nothing")

    assert (status, body) == ("404 Not Found", f"there are {', '.join(paths())}\n")
    assert {ask(path)[0] for path in paths()} == {"200 OK"}


def test_the_fields_are_those_of_the_document() -> None:
    """Each field of /status.json is explained, in its order, and no other."""
    document = json.loads(ask("/status.json")[1])
    (token,) = document["tokens"]

    assert names_after("The document:") == list(document)
    assert names_after("A token:") == list(token)
    assert names_after("A sink:") == list(token["sinks"][0])
    assert names_after("An attempt:") == list(token["attempts"][0])
    troubles = ", ".join(f"`{field.name}`" for field in fields(Trouble))
    assert f"or null: {troubles} |" in PAGE


def test_the_states_are_those_of_the_code() -> None:
    """Each state is explained, from best to worst."""
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert tuple(rows) == get_args(TokenState)


def test_the_numbers_are_those_of_the_code() -> None:
    """What the page promises of connections is what the constants say."""
    assert (http.THREADS, http.CONNECTIONS, http.IDLE_S, KEPT_ATTEMPTS) == (4, 100, 10, 50)

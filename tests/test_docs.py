"""The pages say what the code does."""

import re
import runpy
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from job.cli import cli
from job.core import events
from job.observe.log import NOT_LOGGED

ROOT = Path(__file__).parent.parent


def all_events() -> dict[str, type[events.Event]]:
    """Return every event that has a name."""
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type)]
    named = [kind for kind in kinds if issubclass(kind, events.Event) and "name" in vars(kind)]
    return {kind.name: kind for kind in named}


def event_rows() -> dict[str, tuple[set[str], list[str]]]:
    """Return the levels and fields that docs/events.md gives to each event."""
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| ([a-z, ]+) \| ([a-z_, ]+) \| .* \|$", page("events"), re.MULTILINE
    )
    return {
        name: (set(levels.split(", ")), sorted(names.split(", "))) for name, levels, names in rows
    }


def page(name: str) -> str:
    """Return a page of the documentation."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_references_are_made_from_the_code() -> None:
    """docs/configuration.md and docs/providers.md are what docs/generate.py writes today."""
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert page("configuration") == generate["page"]()
    assert page("providers") == generate["providers_page"]()


def test_the_events_reference_has_every_event_with_its_fields() -> None:
    """The table of docs/events.md names the events of events.py with the fields that are logged."""
    logged = {
        name: sorted(field.name for field in fields(kind) if field.name not in NOT_LOGGED)
        for name, kind in all_events().items()
    }
    assert {name: names for name, (_, names) in event_rows().items()} == logged


def test_the_events_reference_has_the_levels_of_the_types() -> None:
    """An event with one level has it in the table; one with two is a failure that may pass."""
    told = {name: levels for name, (levels, _) in event_rows().items()}
    levels = {
        name: {"warning", "error"} if isinstance(kind.level, property) else {kind.level}
        for name, kind in all_events().items()
    }
    assert told == levels
    assert set.union(*told.values()) <= set(get_args(events.Level))


def test_every_failure_code_of_the_code_is_in_the_reference() -> None:
    """A code that a sink or the exchange can give is explained in docs/events.md."""
    rooms = ("aws", "credentials", "http", "oauth", "sinks")
    sources = [path for room in rooms for path in (ROOT / "job" / room).glob("*.py")]
    given = {
        code
        for path in sources
        for code in re.findall(
            r"(?:_Fault\(|Rejected\(|Unavailable\(|Invalid\(|_refuse\(|_rejected\(|_DENIED = \("
            r"|_NO_DIRECTORY = \(|errno\.[A-Z]+: \()\s*(?:[A-Za-z_.]+,\s*)*\"([a-z0-9_]+)\"",
            path.read_text("utf-8"),
        )
    }
    assert len(given) > 30
    assert given - set(re.findall(r"`([a-z0-9_]+)`", page("events"))) - {"version_exists"} == set()


def test_the_readme_names_verbs_that_exist() -> None:
    """Every `freshtoken VERB` of the README and the guides is a verb."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        verb
        for path in pages
        for verb in re.findall(r"(?:^|`)freshtoken ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert named - set(cli.commands) == set()


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of the README, ARCHITECTURE and docs is a file of the repository."""
    broken = [
        (path.name, target)
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []

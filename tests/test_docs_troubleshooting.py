"""docs/troubleshooting.md has a place for whatever can go wrong."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])


def words(*names: str) -> set[str]:
    """Return what pages have in code font."""
    return {
        word
        for name in names
        for word in re.findall(r"`([a-z0-9_.]+)`", (DOCS / f"{name}.md").read_text("utf-8"))
    }


def first_cells(heading: str) -> set[str]:
    """Return the names in the first column of the tables of docs/events.md under a heading."""
    text = (DOCS / "events.md").read_text("utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z0-9_.]+)`", cell)}


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as renderers make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_code_has_a_cure() -> None:
    """Each code of docs/events.md stands on the page, or in that of client authentication."""
    codes = first_cells("Codes of failures")

    assert len(codes) > 60
    assert codes - words("troubleshooting", "client-authentication") == set()


def test_every_event_of_trouble_has_a_place() -> None:
    """Each event stands on the page, but for those that say that all is well."""
    well = {
        "hook.ran",
        "job.stopped",
        "token.adopted",
        "token.delivered",
    }
    assert first_cells("Log lines") - words("troubleshooting") <= well


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_headings(page: Path) -> None:
    """A link to a place in a page of ours leads to a heading that is there."""
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8"))
    broken = [
        (target, anchor)
        for target, anchor in links
        if anchor not in anchors(page.parent / target if target else page)
    ]
    assert broken == []

"""The fault matrix of docs/reliability.md and the tests that show its rows are one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FILES, SHOWN

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reliability.md"
COLUMNS = ["Name", "Fault", "Readers see", "Operators see", "Shown by"]


def rows() -> Iterator[list[str]]:
    """Yield the rows of the matrix, which has a table for each kind of fault."""
    _, _, matrix = PAGE.read_text("utf-8").partition("## The fault matrix")
    for line in matrix.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and len(cells) == len(COLUMNS) and cells != COLUMNS:
            yield cells


def test_every_row_names_its_tests_and_every_marked_test_has_its_row(
    pytestconfig: pytest.Config,
) -> None:
    """A row can't outlive its tests, and no test that shows a fault is left out of the page."""
    files = {str(path.relative_to(HERE)) for path in HERE.rglob("test_*.py")}
    if not files <= pytestconfig.stash[FILES]:
        pytest.skip("only a run that collects every file of tests can tell")
    named = {
        cells[0].strip("`"): set(re.findall(r"`([\w/]+\.py::\w+)`", cells[-1])) for cells in rows()
    }
    assert named == pytestconfig.stash[SHOWN]


def test_each_row_says_what_people_see() -> None:
    """No cell of the matrix is empty, and no fault has two rows."""
    cells = list(rows())
    assert [row for row in cells if not all(row)] == []
    assert len({row[0] for row in cells}) == len(cells)

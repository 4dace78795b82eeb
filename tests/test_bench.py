"""Each row of `make bench`, with little work: no figure is judged, but each is measured."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("once", "memory", "file", "aws", "10k", "100k")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  # the modules of a folder of scripts
    """Import the script as `make bench` runs it."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import bench  # noqa: PLC0415  # the line above finds it

    return bench


def installed(folder: Path) -> Path:
    """Make the folder of an AWS command line that does nothing."""
    aws = folder / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text("#!/bin/sh\n")
    aws.chmod(0o755)
    return aws.parent


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_each_row_measures_something(name: str, bench: Any, tmp_path: Path) -> None:  # noqa: ANN401  # as above
    """A change of the program that a row depends on can't break it unseen."""
    programs = bench.Programs(Path(sys.executable).parent, installed(tmp_path))
    row = bench.ROWS[name]
    figures = [*row.measure(programs, tmp_path, **row.small)]

    assert figures
    unseen = [figure.name for figure in figures if not (figure.value or figure.unit == "%")]
    assert [name for name in unseen if "curl" not in name and "TLS" not in name] == []


def test_all_rows_are_tried(bench: Any) -> None:  # noqa: ANN401  # as above
    """A new row has its test from the start."""
    assert tuple(bench.ROWS) == NAMES


def test_a_goal_that_is_missed_is_told(bench: Any) -> None:  # noqa: ANN401  # as above
    """The table that people paste says plainly what is met and what is not."""
    figures = bench.figures
    one = figures.Figure("CPU", 2.5, "", 1.25, "2.5 ms against 1 ms")
    seen = [one, figures.Figure("memory", 40.0, "MB", 45, "resident"), unmeasured(figures)]

    assert [figures.as_row(figure) for figure in seen] == [
        "| CPU | 2.5 (2.5 ms against 1 ms) | 1.25 | **missed** |",
        "| memory | 40 MB (resident) | 45 MB | met |",
        "| once | - (not measured: jq not installed) |  |  |",
    ]
    assert figures.summary(seen) == "1 of 2 goals met"
    assert json.loads(figures.as_json({}, seen))["figures"][0]["verdict"] == "**missed**"


def unmeasured(figures: Any) -> Any:  # noqa: ANN401  # as above
    """Make a figure that could not be measured."""
    return figures.Figure("once", None, "", None, "not measured: jq not installed")

"""Lengths and lines for people."""

import pytest

from job.core.text import duration, entry, mistakes


@pytest.mark.parametrize(
    ("length_s", "expected"),
    [
        (0, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m 59s"),
        (3600, "1h"),
        (3605, "1h 5s"),
        (86_400 + 3600 + 60, "1d 1h"),
        (172_800, "2d"),
        (-61, "-1m 1s"),
    ],
)
def test_a_length_is_told_in_its_two_largest_units(length_s: float, expected: str) -> None:
    """A person reads minutes and hours, not thousands of seconds."""
    assert duration(length_s) == expected


def test_an_entry_is_wrapped_under_its_head() -> None:
    """A long text stays in its column, and nothing that can be copied is broken."""
    path = "/run/" + "x" * 80
    assert entry("sink", "ok").splitlines() == ["  sink             ok"]
    assert entry("WARNING", "word " * 15 + path).splitlines() == [
        "  WARNING          word word word word word word word word word word word word",
        "                   word word word",
        "                   " + path,
    ]


def test_mistakes_are_counted_and_listed() -> None:
    """The file is named once, and each mistake has a line of its own."""
    problems = ("a: is wrong; " + "x " * 40, "b: too")
    assert list(mistakes(problems, "my.toml", wrap=False)) == [
        "2 mistakes in my.toml:",
        f"  {problems[0]}",
        "  b: too",
    ]
    assert "\n".join(mistakes(problems, "my.toml", wrap=True)).splitlines() == [
        "2 mistakes in my.toml:",
        "  a: is wrong; x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x",
        "      x x x x x x x",
        "  b: too",
    ]
    assert list(mistakes(("b: too",), "my.toml", wrap=False)) == [
        "1 mistake in my.toml:",
        "  b: too",
    ]


@pytest.mark.parametrize("wrap", [True, False])
def test_a_problem_that_names_its_file_stands_alone(*, wrap: bool) -> None:
    """Where nothing was read there is no list to head."""
    assert list(mistakes(("my.toml: cannot be read",), "", wrap=wrap)) == [
        "my.toml: cannot be read"
    ]

from typing import get_args

import pytest
from fakes import START
from stored import document

from freshtoken_reader.document import Document, parse
from job.core.secret import Secret
from job.core.tokens import FormatName, OutputFormat, Token, record_of, render


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (document("tok-1"), ("Bearer tok-1", START + 3600.0)),
        ('{"access_token": "tok-1"}', ("Bearer tok-1", None)),
        ('{"access_token": "tok-1", "token_type": "MAC", "expires_at": 1.5}', ("MAC tok-1", 1.5)),
        ('{"access_token": "tok-1", "token_type": null}', ("Bearer tok-1", None)),
        ('{"access_token": 7}', (None, None)),
        ('{"access_token": ""}', (None, None)),
        ("{}", (None, None)),
        ("tok-1\n", ("Bearer tok-1", None)),
        ("12345", ("Bearer 12345", None)),
        ("Authorization: Bearer tok-1\n", ("Bearer tok-1", None)),
        ("Cache-Control: none\nauthorization: Bearer tok-1\n", ("Bearer tok-1", None)),
        ("", (None, None)),
        ("no token here", (None, None)),
        ("A=1\nB=2\n", (None, None)),
    ],
)
def test_formats(text: str, found: tuple[str | None, float | None]) -> None:
    """Each format that has one token in it is read; whatever else is not taken for one."""
    assert parse(text) == found


def test_what_the_job_writes_is_what_the_reader_reads() -> None:
    """The two share no code, only the formats that docs/reading.md has."""
    token = Token(Secret("tok-1"), "MAC", "", START, START + 3600, "expires_in")
    layouts = [OutputFormat(kind, "tiki") for kind in get_args(FormatName) if kind != "template"]
    texts = {layout.kind: render(record_of(token, "key"), layout) for layout in layouts}
    assert {kind: parse(text) for kind, text in texts.items()} == {
        "json": Document("MAC tok-1", START + 3600),
        "raw": Document("Bearer tok-1", None),
        "header": Document("MAC tok-1", None),
        "env": Document(None, None),
    }

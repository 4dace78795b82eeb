"""docs/requests-and-answers.md: its keys exist, and its examples do what it says."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from fakes import START, FakeClock
from loading import tokens_of
from token_server import TokenServer, answer

from job.compose.token_source import ClientSource
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.values import value_reader

PAGE = Path(__file__).parent.parent / "docs" / "requests-and-answers.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLES = re.findall(
    r"```toml\n(.*?)```\n\n```json\n(.*?)```\n\n"
    r"A token of type `(\w+)` that lives (\d+) s, by `(\w+)`\.",
    TEXT,
    re.DOTALL,
)
SETTINGS = re.findall(r"`([a-z_]+ = [^`]+)`", TEXT)


def test_there_are_examples() -> None:
    """Every configuration of the page is tried, and so is every setting that it names."""
    assert len(EXAMPLES) == TEXT.count("```toml") == 3
    assert len(SETTINGS) >= 20


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_can_be_set(setting: str) -> None:
    """What the tables tell to set is a key with a value of its type."""
    ((key, value),) = tomllib.loads(setting).items()
    kinds = {field.name: field.type for field in msgspec.structs.fields(TokenSettings)}
    msgspec.convert(value, kinds[key], dec_hook=value_reader(""))


@pytest.mark.parametrize(("config", "body", "kind", "life", "source"), EXAMPLES)
def test_an_example_does_what_the_page_says(
    tmp_path: Path, config: str, body: str, kind: str, life: str, source: str
) -> None:
    """The configuration has no problem, and the answer beside it gives the token described."""
    (tmp_path / "secret").write_text("s3cret")
    ((name, settings),) = tokens_of(tomllib.loads(config), str(tmp_path)).items()
    with TokenServer(answer(200, body)) as server:
        moved = msgspec.structs.replace(settings, token_url=server.url)
        token = ClientSource(moved, Tools({}, "host", FakeClock(START))).fetch()
    assert (token.token_type, token.lifetime, token.expiry_source) == (kind, int(life), source)
    assert token.access_token.reveal() == "T"
    assert name in str(settings.token_url)

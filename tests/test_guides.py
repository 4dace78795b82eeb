"""The guides to secrets and limits say what the code does, and their examples load."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from loading import tokens_of

from job.aws.clients import READ_TIMEOUT_S
from job.config.json_schema import json_schema
from job.core.schedule import REJECTED_S
from job.core.state import SECRET_LOOK_S
from job.credentials.aws import LOOK_S
from job.credentials.command import CommandSecret
from job.credentials.kinds import KINDS
from job.limits.budget import RESERVE
from job.limits.endpoint import RETRY_RATE
from job.runners.sweep import WORKERS

DOCS = Path(__file__).parent.parent / "docs"
LEAST: Mapping[str, Any] = {"token_url": "https://as.example/token", "client_id": "id"}
SECRET: Mapping[str, Any] = {"client_secret": {"env": "ONE_SECRET"}}


def page(name: str) -> str:
    """Return a page in one line, as people read it."""
    return (DOCS / f"{name}.md").read_text("utf-8")


def examples(name: str) -> list[str]:
    """Return the TOML blocks of a page."""
    return re.findall(r"^```toml\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def rows(name: str) -> set[str]:
    """Return the first cells of a page's tables that are keys."""
    return set(re.findall(r"^\| `([a-z_]+)` \|", page(name), re.MULTILINE))


@pytest.mark.parametrize(
    "text", [*examples("secrets"), *examples("limits")], ids=lambda text: text.splitlines()[0]
)
def test_the_examples_are_configurations(text: str) -> None:
    """Each example is right once the rest of the token is there."""
    raw = tomllib.loads(text)
    for name, table in raw["tokens"].items():
        sinks = [{"type": "file", "path": f"{name}.json"}]
        raw["tokens"][name] = {**LEAST, **SECRET, **table, "sinks": sinks}

    assert tokens_of(raw).keys() == raw["tokens"].keys()


def test_every_source_is_explained() -> None:
    """The table of sources has each key that a secret may come from, and no other."""
    assert rows("secrets") == {kind.key for kind in KINDS}


def test_the_numbers_are_those_of_the_code() -> None:
    """What the guides promise is what the constants say."""
    keys = json_schema()["$defs"]["CommonSettings"]["properties"]
    common = {key: schema.get("default") for key, schema in keys.items()}
    secrets, limits = " ".join(page("secrets").split()), " ".join(page("limits").split())

    assert rows("limits") == {"max_rate", "max_concurrency", "max_exchanges"}
    assert f"| `max_rate` | `{common['max_rate']}` |" in limits
    assert f"| `max_concurrency` | {common['max_concurrency']} |" in limits
    assert f"holds {common['max_concurrency']} of the {WORKERS} threads" in limits
    assert f"{RETRY_RATE.count} of them ask again in each second" in limits
    assert (RESERVE, LOOK_S) == (5, 60)  # "the last fifth", "within a minute"
    assert f"within {SECRET_LOOK_S:g} seconds" in secrets
    assert f"it has {CommandSecret(()).timeout_s:g} seconds" in secrets
    assert f"sends nothing for {READ_TIMEOUT_S:g} seconds" in secrets
    assert f"slow lane of {REJECTED_S / 60:g} minutes" in secrets

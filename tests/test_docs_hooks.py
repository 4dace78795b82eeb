"""Occurrence docs/hooks.md says of hooks is what they do."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from loading import tokens_of
from token_server import TokenServer, answer

from job.config.json_schema import json_schema
from job.config.watch_settings import HookSettings
from job.core.secret import Secret
from job.http.transport import Transport
from job.observe.hook_actions import WebhookHook
from job.observe.hooks import RETRY_CAP_S, Occasion, Occurrence, retry_delay
from job.verbs.once import HOOKS_SETTLE_S
from job.verbs.run import HOOKS_S

PAGE = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")
NOW = 1_764_000_000
Signed = tuple[str, bytes]

OCCASION = Occasion("refreshed", "tiki", "file:/run/tiki", NOW, "9f2c51b0d4e7", NOW + 3600)


class Given:
    """The source of the secret that the receiver knows, too."""

    def resolve(self) -> Secret:
        return Secret("k3y")


def block(kind: str) -> str:
    """Return the one code block of a kind."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def first_cells(heading: str) -> list[str]:
    """Return the names in the first column of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)


def verifier() -> Callable[..., bool]:
    """Return the receiver's function that the page shows."""
    names: dict[str, Callable[..., bool]] = {}
    exec(block("python"), names)  # noqa: S102  # the page's own example
    return names["is_genuine"]


@pytest.fixture(scope="module")
def signed() -> Signed:
    """Give the signature and the body of a webhook that was sent."""
    with TokenServer(answer(204)) as server:
        WebhookHook(server.url, Transport(10), Given()).run(OCCASION)
    (seen,) = server.requests
    return seen.headers["freshtoken-signature"], seen.body.encode()


def test_the_receiver_believes_what_we_send(signed: Signed) -> None:
    """The page's function takes our signature, for five minutes and in no other way."""
    header, body = signed
    is_genuine = verifier()

    assert is_genuine(header, body, b"k3y", NOW + 300)
    assert json.loads(body) == OCCASION.facts()


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ({"secret": b"other"}, NOW),
        ({"body": b"{}"}, NOW),
        ({"header": "t=,v1="}, NOW),
        ({"header": "nonsense"}, NOW),
        ({"header": f"t={NOW},v1=\N{SNOWMAN}"}, NOW),
        ({"header": f"t={'9' * 5000},v1="}, NOW),
        ({}, NOW + 301),
        ({}, NOW - 301),
    ],
)
def test_the_receiver_believes_nothing_else(
    signed: Signed, change: dict[str, Any], now: int
) -> None:
    """Another secret, body, time or header is refused without an error."""
    header, body = signed
    given = {"header": header, "body": body, "secret": b"k3y", **change}

    assert verifier()(now=now, **given) is False


def test_the_example_is_a_configuration() -> None:
    """The page's hooks are right once the rest of the token is there."""
    raw = tomllib.loads(block("toml"))
    rest = {"client_id": "id", "client_secret": {"env": "S"}, "token_url": "https://as.example/t"}
    raw["tokens"]["tiki"] |= {**rest, "sinks": [{"type": "file", "path": "tiki.json"}]}

    (token,) = tokens_of(raw).values()
    assert isinstance(token.on_refresh, HookSettings)
    assert isinstance(token.on_trouble, tuple)


def test_the_facts_and_occasions_are_those_of_the_code() -> None:
    """The table of facts has each fact in order; the table of occasions each kind."""
    assert first_cells("What a hook is told") == list(OCCASION.facts())
    assert all(f"`{kind}`" in PAGE for kind in get_args(Occurrence))


def test_the_numbers_are_those_of_the_code() -> None:
    """What the page promises of time is what the constants say."""
    timeout = json_schema()["$defs"]["HookSettings"]["properties"]["timeout"]["default"]

    assert timeout == "30s"
    assert [retry_delay(failures) for failures in (1, 2, 3)] == [1, 2, 4]
    assert (RETRY_CAP_S, HOOKS_SETTLE_S, HOOKS_S) == (300, 30, 0.25)

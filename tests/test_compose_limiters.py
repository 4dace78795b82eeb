"""From settings to limits: what is shared, where it is kept, and what does not go together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import token_server
from loading import tokens_of

from job.compose.limiters import Limiters, client_of
from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.config import Config
from job.core.clock import system_clock
from job.core.errors import ConfigError
from job.core.refresher import Refresher

BASE: Mapping[str, Any] = {
    "token_url": "https://as.example/token",
    "client_id": "id",
    "client_secret": {"env": "ONE_SECRET"},
}
AWS = {"type": "aws_secrets_manager", "secret_id": "prod/one"}


def config(folder: Path | str = "/etc/job", **tokens: Mapping[str, Any]) -> Config:
    """Make a configuration of tokens; each is given by how it differs."""
    tables = {
        name: {**BASE, "sinks": [{"type": "file", "path": f"{name}.json"}], **table}
        for name, table in tokens.items()
    }
    return Config(tokens_of({"tokens": tables}, str(folder)), "here")


def problems(**tokens: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        config(**tokens)
    return list(caught.value.problems)


def refreshers(folder: Path, **tokens: Mapping[str, Any]) -> dict[str, Refresher]:
    """Build the tokens of a configuration in a new process."""
    built = RefresherSet(Tools({"ONE_SECRET": "s3cret"}, "host", system_clock))
    return built.update(config(folder, **tokens).tokens)


def test_a_rate_must_be_one() -> None:
    """What can't be read is told with its form."""
    form = "must be a rate, such as 50/12h, 10/s or 1000/day: a number, a slash and a duration"
    assert problems(one={"max_exchanges": "many", "max_rate": "10"}) == [
        f"tokens.one.max_exchanges: {form}",
        f"tokens.one.max_rate: {form}",
    ]
    assert problems(one={"max_concurrency": 0}) == [
        "tokens.one.max_concurrency: must be a number at least 1"
    ]


def test_tokens_that_share_a_limit_have_the_same() -> None:
    """One client has one budget, one endpoint one rate: two of them would be a mistake."""
    assert problems(
        one={"max_exchanges": "50/12h"},
        two={"max_exchanges": "60/12h", "max_rate": "5/s"},
        **{"a.b": {"max_concurrency": 2, "max_exchanges": "50/12h"}},
    ) == [
        "tokens.two.max_rate: differs from that of one, of the same endpoint; give both the same",
        (
            "tokens.two.max_exchanges: differs from that of one, of the same client; "
            "give both the same"
        ),
        (
            'tokens."a.b".max_concurrency: differs from that of one, of the same endpoint; '
            "give both the same"
        ),
    ]


def test_other_clients_and_other_endpoints_have_their_own() -> None:
    """Limits may differ where nothing is shared."""
    made = config(
        one={"max_exchanges": "50/12h"},
        two={"client_id": "other", "max_exchanges": "60/12h"},
        three={"token_url": "https://other.example/token", "max_rate": "1/s"},
    )
    assert len({client_of(settings) for settings in made.tokens.values()}) == 3


def test_the_count_is_kept_beside_the_first_file_of_the_client(tmp_path: Path) -> None:
    """All tokens of a client have one file; a client without a file sink has none."""
    limit = {"max_exchanges": "50/12h"}
    made = config(
        tmp_path,
        none={**limit, "sinks": [{**AWS, "secret_id": "prod/none"}]},
        one={**limit, "sinks": [AWS, {"type": "file", "path": "first.json"}]},
        two=limit,
        three={**limit, "client_id": "other", "sinks": [{**AWS, "secret_id": "prod/three"}]},
    )
    limiters = Limiters(system_clock)
    limiters.place(made.tokens.values())
    files = {name: limiters.file(settings) for name, settings in made.tokens.items()}

    first = f"{tmp_path}/.first.json.budget"
    assert {name: file and file.path for name, file in files.items()} == {
        "none": first,
        "one": first,
        "two": first,
        "three": None,
    }


@pytest.mark.fault("budget-short")
def test_a_budget_is_one_for_all_tokens_and_all_starts(tmp_path: Path) -> None:
    """Two tokens of a client share it, and a new process goes on where the old one ended."""
    limit = {"max_exchanges": "2/h"}
    with token_server.TokenServer(*map(token_server.token, "12")) as server:
        url = {"token_url": server.url, **limit}
        first = refreshers(tmp_path, one=url, two=url)
        told = [event.name for name in ("one", "two") for event in first[name].step()]
        (tmp_path / "one.json").unlink()
        second = refreshers(tmp_path, one=url, two=url)["one"].step()
        third = refreshers(tmp_path, one=url, two=url)["one"].step()

    assert told == ["token.refreshed", "token.delivered"] * 2
    assert [event.name for event in second] == ["token.budget_short"]
    assert third == ()
    assert len(server.requests) == 2

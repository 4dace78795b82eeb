"""The plan that `check` prints: when a token is refreshed, and what can be promised."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import record, token
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import tokens_of

from job.compose.refreshers import sinks_of
from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.config import Config
from job.core.clock import system_clock
from job.core.schedule import Policy, Reissue, due_at
from job.verbs.plan import TokenPlan, life_that_fits, token_plans

VERSIONS_PER_DAY = 100
BASE: Mapping[str, Any] = {
    "token_url": "https://as.example/token?tenant=hidden",
    "client_id": "id",
    "client_secret": {"env": "ONE_SECRET"},
}
FILE = {"type": "file", "path": "one.json"}
SECRET = {
    "type": "aws_secrets_manager",
    "secret_id": "prod/one",
    "region": "eu-west-1",
    "endpoint_url": "http://127.0.0.1:1",
}


def tools() -> Tools:
    """Make tools without an environment."""
    return Tools({}, "host", system_clock)


def config(folder: Path | str, *sinks: Mapping[str, Any], **keys: Any) -> Config:  # noqa: ANN401  # settings are of many types
    """Make a configuration of one token."""
    table = {**BASE, "sinks": [dict(sink) for sink in sinks] or [FILE], **keys}
    return Config(tokens_of({"tokens": {"one": table}}, str(folder)), "here")


def plan(
    folder: Path | str,
    *sinks: Mapping[str, Any],
    online: bool = False,
    **keys: Any,  # noqa: ANN401  # as above
) -> TokenPlan:
    """Return the plan of one token."""
    (found,) = token_plans(config(folder, *sinks, **keys), tools(), online=online)
    return found


def test_the_plan_of_a_token_whose_life_is_not_known(tmp_path: Path) -> None:
    """The plan has the arithmetic, and says where the life comes from; no query is shown."""
    assert str(plan(tmp_path)).splitlines() == [
        "one",
        "  token endpoint   https://as.example/token (client_secret_basic)",
        "  token life       1h (an assumption: no token has been seen yet)",
        "  refresh          37m 12s to 40m 12s after each exchange",
        "  promise          a token that is read works for 5m more, even through an",
        "                   outage of 14m 48s",
        "  exchanges        39 a day at most",
        f"  sink             file:{tmp_path}/one.json",
    ]


def test_what_is_unusual_is_in_the_plan(tmp_path: Path) -> None:
    """What makes a provider unlike RFC 6749 is told, and a secret in the URL is warned of."""
    found = plan(
        tmp_path,
        auth_method="client_secret_post",
        grant_type="client_credential",
        http_method="GET",
        request_format="query",
        token_path="data.accessToken",
        expiry_path="data.ttl",
        expiry_unit="ms",
        token_type="Token",
        introspection_url="https://as.example/introspect?tenant=hidden",
    )
    assert found.unusual == (
        ("request", "GET, parameters in the URL, grant_type client_credential"),
        (
            "answer",
            "token_path data.accessToken, expiry_path data.ttl, expiry_unit ms, token_type Token",
        ),
        (
            "introspection",
            "https://as.example/introspect, when an answer doesn't say how long the token lives",
        ),
    )
    (warning,) = (text for text in found.warnings if "URL" in text)
    assert warning == (
        "the client secret stands in the URL of the request, which servers and proxies on the way "
        'may log (freshtoken never does). If the provider takes a form, set request_format = "form"'
    )
    lines = str(found).splitlines()
    assert lines[2] == "  request          GET, parameters in the URL, grant_type client_credential"
    bare = plan(tmp_path, grant_type="", request_format="json")
    assert bare.unusual == (("request", "POST, parameters in a JSON object, grant_type not sent"),)


def test_where_the_life_is_known_from(tmp_path: Path) -> None:
    """The configuration comes first, then the stored token, the preset, and an assumption."""
    preset = {"provider": "ebay", "token_url": "https://as.example/token"}

    def life(**keys: Any) -> tuple[int, str]:  # noqa: ANN401  # as above
        found = plan(tmp_path, **keys)
        return found.life_s, found.known_from

    assert life() == (3600, "an assumption: no token has been seen yet")
    assert life(**preset) == (7200, "what ebay is known to give")
    stored = config(tmp_path)
    sinks_of("one", stored.tokens["one"], tools())[0].write(
        record(life=600, key=key_of(stored.tokens["one"]))
    )
    assert life(**preset) == (600, "as the stored token")
    assert life(lifetime="2h", **preset) == (7200, "lifetime in the configuration")


def test_a_sink_that_cannot_be_read_leaves_an_assumption(tmp_path: Path) -> None:
    """Offline nothing is asked over the network, and what can't be read tells nothing."""
    (tmp_path / "one.json").write_text("someone else's")
    assert plan(tmp_path, SECRET).known_from == "an assumption: no token has been seen yet"
    assert plan(tmp_path, online=True).known_from == "an assumption: no token has been seen yet"


def test_a_promise_that_cannot_be_held_is_told_with_the_sum(tmp_path: Path) -> None:
    """Margins longer than the life are a warning with the arithmetic and the cure."""
    lines = str(plan(tmp_path, lifetime="5m")).splitlines()
    assert lines[3:] == [
        "  refresh          2m 30s after each exchange",
        "  promise          can't be held: 2m 30s of life are left at the refresh",
        "  exchanges        576 a day at most",
        f"  sink             file:{tmp_path}/one.json",
        "  WARNING          a token that lives 300 s is refreshed after 150 s, when 150 s",
        "                   are left; min_validity asks for 300 s. Set min_validity to",
        "                   150s or less, or have the provider give longer tokens",
    ]


def test_a_promise_without_spare_time_names_no_outage(tmp_path: Path) -> None:
    """Where a refresh is just in time, no outage is survived, and none is named."""
    lines = str(plan(tmp_path, lifetime="10m", retry_budget=0)).splitlines()
    assert lines[3:6] == [
        "  refresh          5m after each exchange",
        "  promise          a token that is read works for 5m more",
        "  exchanges        288 a day at most",
    ]


def test_a_gap_that_the_provider_makes_is_told(tmp_path: Path) -> None:
    """A provider that gives nothing new before expiry leaves nothing of the life."""
    found = plan(tmp_path, reissue="same_until_expiry")
    assert "can't be held: 0s of life are left at the refresh" in str(found)
    assert found.warnings[0].startswith("this provider gives a new token only after")


def test_writes_to_aws_are_counted_against_its_limit(tmp_path: Path) -> None:
    """More than 100 secret versions a day are told, with the life that would fit."""
    few, many = plan(tmp_path, SECRET), plan(tmp_path, SECRET, lifetime="15m", min_validity="1m")
    assert [line for line in str(few).splitlines() if "versions" in line] == [
        "  secret versions  39 a day at most, in each secret"
    ]
    assert few.warnings == ()
    assert many.warnings == (
        (
            "155 secret versions a day are more than the 100 that AWS Secrets Manager keeps (it "
            "removes none that is younger than a day): writes will be refused some day. Use a "
            "file, or have the provider give tokens that live 24m or longer"
        ),
    )
    assert plan(tmp_path, FILE, lifetime="15m", min_validity="1m").warnings == ()


def test_the_cure_for_too_many_versions_is_the_key_that_makes_them(tmp_path: Path) -> None:
    """Where max_age causes the writes, longer tokens would not help."""
    found = plan(tmp_path, SECRET, max_age="10m")
    assert found.warnings[-1].endswith("Use a file, or set max_age to 15m 10s or longer")


def test_rare_exchanges_have_digits_that_mean_something(tmp_path: Path) -> None:
    """A token of months is not said to be refreshed 0 times a day."""
    assert "0.027 a day at most" in str(plan(tmp_path, lifetime="60d"))


def test_tokens_that_kill_each_other_want_one_sink(tmp_path: Path) -> None:
    """With revokes_previous a second sink has a dead token for a moment."""
    keys = {"reissue": "revokes_previous", "single_writer": True, "lifetime": "1h"}
    found = plan(tmp_path, FILE, SECRET, **keys)
    assert found.warnings == (
        (
            "a new token kills the old one, and until the last sink is written its readers have "
            "the dead one: one sink is safer"
        ),
    )
    assert plan(tmp_path, FILE, reissue="revokes_previous").warnings == ()


def test_a_secret_that_is_not_in_its_file_is_told(tmp_path: Path) -> None:
    """The commonest mistake shows before the first exchange; online it is a finding instead."""
    source = {"file": "secret"}
    (warning,) = plan(tmp_path, client_secret=source).warnings
    assert warning.startswith(f"no secret: the file {tmp_path}/secret cannot be read")
    assert plan(tmp_path, online=True, client_secret=source).warnings == ()
    (tmp_path / "secret").write_text("s3cret")
    assert plan(tmp_path, client_secret=source).warnings == ()


shares = st.sampled_from([(0.67, 0.05), (0.5, 0.0), (0.9, 0.4), (0.99, 0.1)])


@settings(database=None, deadline=None, max_examples=100)
@given(
    shares,
    st.integers(0, 3600),
    st.integers(0, 600),
    st.sampled_from(["independent", "revokes_previous"]),
)
@pytest.mark.slow
def test_the_life_that_is_said_to_fit_fits(
    share: tuple[float, float], min_validity: int, retry_budget: int, reissue: Reissue
) -> None:
    """A provider that gives tokens as long as the warning says makes the warning go away."""
    refresh_at, jitter = share
    policy = Policy(refresh_at, jitter, min_validity, retry_budget, reissue=reissue)
    life = life_that_fits(policy, 86_400 / VERSIONS_PER_DAY)
    assert 86_400 / due_at(token(requested_at=0, life=life), policy, 1.0) <= VERSIONS_PER_DAY
    assert life % 60 == 0


def test_the_budget_of_a_client_is_set_against_what_its_tokens_need(tmp_path: Path) -> None:
    """`check` does the sum for all tokens of a client, and says where the count is kept."""
    in_aws = {"sinks": [SECRET]}
    tables = {
        "one": {**BASE, "sinks": [FILE], "max_exchanges": "50/12h"},
        "two": {**BASE, **in_aws, "max_exchanges": "50/12h"},
        "three": {**BASE, "sinks": [{"type": "file", "path": "three.json"}]},
        "four": {**BASE, **in_aws, "client_id": "other", "max_exchanges": "10/d"},
    }
    tables["three"]["max_exchanges"] = "50/12h"
    tables["four"]["sinks"] = [{**SECRET, "secret_id": "prod/four"}]
    plans = {
        plan.token: plan
        for plan in token_plans(
            Config(tokens_of({"tokens": tables}, str(tmp_path)), "here"), tools(), online=False
        )
    }

    kept = f"50/12h, which is 100 a day for this client; kept in {tmp_path}/.one.json.budget"
    assert [plans[name].unusual for name in ("one", "two", "three")] == [(("budget", kept),)] * 3
    anew = (
        "10/1d, which is 10 a day for this client; counted anew by each process: no file sink "
        "keeps it"
    )
    assert plans["four"].unusual == (("budget", anew),)
    short = "the tokens of this client need up to {} exchanges a day, and max_exchanges allows {}: "
    assert any(w.startswith(short.format(117, 100)) for w in plans["one"].warnings)
    assert any(w.startswith(short.format(39, 10)) for w in plans["four"].warnings)


def test_a_budget_that_is_enough_is_no_warning(tmp_path: Path) -> None:
    """One token in an hour fits into a hundred exchanges a day."""
    found = plan(tmp_path, max_exchanges="50/12h")
    assert [warning for warning in found.warnings if "max_exchanges" in warning] == []
    assert "  budget           50/12h, which is 100 a day for this client;" in str(found)

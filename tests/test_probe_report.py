"""What two answers of a token endpoint tell of it, and which settings follow."""

import base64
import json
from typing import Any, cast

import pytest
from fakes import START

from job.config.settings import CommonSettings, TokenSettings
from job.core.rate import Rate
from job.core.secret import Secret
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse
from job.sinks.file import FileSinkSettings
from job.verbs.probe_report import Exchanged, ProbeReport, Survival, report, warning

UNKNOWN = Survival(None, "neither probe_url nor introspection_url is set")
WORKS = Survival(works=True, how="probe_url answers HTTP 200")
DEAD = Survival(works=False, how="probe_url answers HTTP 401")
UNTOLD = (
    "the answer doesn't say how long the token lives: find it out, and set it; or set "
    "introspection_url or, for a JWT, jwt_expiry"
)


def exchanged(
    token: str = "tok-1",  # noqa: S107  # no password, but the first token
    rules: ResponseRules | None = None,
    headers: dict[str, str] | None = None,
    **members: Any,  # noqa: ANN401  # JSON
) -> Exchanged:
    """Make an exchange whose answer has these members."""
    body = {"access_token": token, "token_type": "Bearer", "expires_in": 3600} | members
    body = {name: member for name, member in body.items() if member is not None}
    answer = TokenResponse(
        200, headers or {}, json.dumps(body).encode(), START, (Secret("s3cret"),)
    )
    return Exchanged(answer, read_token(answer, rules or ResponseRules()))


def seen(
    first: Exchanged,
    second: Exchanged,
    survival: Survival = WORKS,
    rules: ResponseRules | None = None,
    **settings: Any,  # noqa: ANN401  # settings are of many types
) -> ProbeReport:
    """Return the report of two exchanges with these settings."""
    return report(first, second, survival, CommonSettings(**settings), rules or ResponseRules())


def test_an_ordinary_server_needs_no_settings() -> None:
    """Two tokens of an hour, both of which work: everything is told, and nothing is to be added."""
    headers = {"date": "Mon, 24 Nov 2025 16:00:00 GMT"}
    found = seen(
        exchanged(headers=headers, scope="a"), exchanged("tok-2"), rules=ResponseRules(scope="a")
    )
    assert found == ProbeReport(
        auth_method="client_secret_basic",
        life_s=3600,
        expiry_source="expires_in",
        same_token=False,
        first_works=True,
        how="probe_url answers HTTP 200",
        skew_s=0,
        token_type="Bearer",
        asked_scope="a",
        scope="a",
        members=("access_token", "token_type", "expires_in", "scope"),
        settings={},
        notes=(),
    )
    assert list(found.lines("acme")) == [
        "  auth method      client_secret_basic was accepted",
        "  token life       1h (3600 s, by expires_in)",
        "  second token     another one",
        "  first token      still works (probe_url answers HTTP 200)",
        "  clock            this machine's is the same as the server's",
        "  scope            a",
        "  answer holds     access_token, token_type, expires_in, scope",
        "",
        "Nothing has to be added to the configuration.",
    ]


def test_a_server_that_revokes_is_told_with_the_cure_for_readers() -> None:
    """The setting is printed as TOML, and the operator learns that readers have a dead token."""
    found = seen(exchanged(), exchanged("tok-2"), DEAD)
    assert found.settings == {"reissue": "revokes_previous"}
    assert list(found.lines("my.shop"))[-6:] == [
        "",
        'Add to tokens."my.shop":',
        "",
        'reissue = "revokes_previous"',
        "",
        "Readers have a dead token now: freshtoken once my.shop --force",
    ]


def test_a_server_that_cannot_be_tried_is_told_without_a_guess() -> None:
    """Without a place to try the first token, no class is suggested."""
    found = seen(exchanged(), exchanged("tok-2"), UNKNOWN)
    assert (found.first_works, found.settings) == (None, {})
    assert found.notes == (
        "set probe_url to a URL of the API that any token may GET, to know whether it works",
    )
    assert list(found.lines("acme"))[-1] == (
        "Readers may have a dead token now: freshtoken once acme --force"
    )


@pytest.mark.parametrize(
    ("second", "survival", "settings", "added"),
    [
        ("tok-1", UNKNOWN, {}, {"reissue": "same_until_expiry"}),
        ("tok-1", UNKNOWN, {"reissue": "same_until_expiry"}, {}),
        ("tok-1", UNKNOWN, {"fresh_window": "30m"}, {}),
        ("tok-2", DEAD, {"reissue": "revokes_previous"}, {}),
        ("tok-2", WORKS, {"reissue": "revokes_previous"}, {"reissue": "independent"}),
    ],
)
def test_only_what_the_configuration_lacks_is_added(
    second: str, survival: Survival, settings: dict[str, Any], added: dict[str, Any]
) -> None:
    """A class that is set already is not suggested again; a wrong one is put right."""
    found = seen(exchanged(), exchanged(second), survival, **settings)
    assert found.settings == added
    assert (found.same_token, found.how) == (
        (True, "there is only one") if second == "tok-1" else (False, survival.how)
    )


@pytest.mark.parametrize(
    ("members", "settings", "notes"),
    [
        ({"expires_in": None, "session": {"ttl": 900}}, {"expiry_path": "session.ttl"}, ()),
        (
            {"expires_in": None, "ttl": "900", "validFor": 900},
            {"default_lifetime": "900s"},
            (UNTOLD,),
        ),
        ({"expires_in": None, "ttl": "soon"}, {"default_lifetime": "900s"}, (UNTOLD,)),
        ({"expires_in": None, "my ttl": 900}, {"default_lifetime": "900s"}, (UNTOLD,)),
        (
            {"expires_in": 899_000},
            {"max_age": "7d"},
            (
                '10d 9h is long: if the provider counts in milliseconds, set expiry_unit = "ms"',
                "a token that is renewed each week shows early that it was revoked",
            ),
        ),
        (
            {"expires_in": 5_011_271},
            {"max_age": "7d"},
            ("a token that is renewed each week shows early that it was revoked",),
        ),
    ],
)
def test_lives_that_need_a_setting(
    members: dict[str, Any], settings: dict[str, Any], notes: tuple[str, ...]
) -> None:
    """A life that isn't told, stands elsewhere, may be in milliseconds, or is very long."""
    found = seen(exchanged(**members), exchanged("tok-2"))
    assert (found.settings, found.notes) == (settings, notes)


def test_a_jwt_that_ends_before_its_answer_says_so() -> None:
    """The token's own exp is believed where it is shorter by more than a minute."""
    claims = json.dumps({"exp": START + 600}).encode()
    jwt = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
    found = seen(exchanged(jwt), exchanged("tok-2"))
    assert found.settings == {"jwt_expiry": True}
    assert found.notes == ("the token itself says that it lives 600 s",)
    assert seen(exchanged(jwt, expires_in=630), exchanged("tok-2")).settings == {}


def test_a_long_life_that_is_capped_already() -> None:
    """max_age is not suggested twice."""
    assert seen(exchanged(expires_in=5_011_271), exchanged("tok-2"), max_age="1d").settings == {}


@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ({"date": "Mon, 24 Nov 2025 16:01:30 GMT"}, "1m 30s behind the server's"),
        ({"date": "Mon, 24 Nov 2025 15:59:00 GMT"}, "1m ahead of the server's"),
        ({"date": "Mon, 24 Nov 2025 16:01:30 GMT", "age": "5"}, "no date to compare with"),
        ({}, "no date to compare with"),
    ],
)
def test_the_clocks_are_compared(headers: dict[str, str], line: str) -> None:
    """A Date that may come from a cache says nothing."""
    lines = list(seen(exchanged(headers=headers), exchanged("tok-2")).lines("acme"))
    assert line in lines[4]


def test_the_scope_is_told_where_it_is_not_the_one_that_was_asked_for() -> None:
    """Less, more or other scopes are seen at once, and so is that there is none."""
    less = seen(exchanged(scope="a"), exchanged("tok-2"), rules=ResponseRules(scope="a b"))
    more = seen(exchanged(scope="a"), exchanged("tok-2"))
    none = seen(exchanged(), exchanged("tok-2"))
    assert [list(one.lines("acme"))[5] for one in (less, more, none)] == [
        "  scope            a (asked for: a b)",
        "  scope            a (asked for: none)",
        "  scope            none was requested, and the answer names none",
    ]


def test_nothing_secret_is_told() -> None:
    """A server that echoes tokens and secrets, as names or values, makes no report of them."""
    echo = {"hunter2hunter2": 1, "s3cret": {"x": 2}, "message": "hunter2hunter2"}
    found = seen(
        exchanged("hunter2hunter2", scope="hunter2hunter2 s3cret", **echo), exchanged("tok-second")
    )
    text = f"{found!r} {json.dumps(found.settings)} {' '.join(found.lines('acme'))}"
    assert [word for word in ("hunter2hunter2", "s3cret", "tok-second") if word in text] == []


@pytest.mark.parametrize(
    ("reissue", "words"),
    [
        ("independent", "If a new token kills the one before here, the token that readers have"),
        ("revokes_previous", "A new token kills the one before here, as reissue says: the token"),
        ("same_until_expiry", "It should get the same one twice, as reissue says; if not, the"),
    ],
)
def test_a_person_is_warned_of_what_may_happen(reissue: str, words: str) -> None:
    """Before the server is asked: whom, for what, and what that may cost readers and budget."""
    settings = TokenSettings(
        token_url="https://as.example:8443/token",
        sinks=(FileSinkSettings(path="t.json"),),
        reissue=cast("Any", reissue),
        max_exchanges=Rate(50, 43_200.0, "50/12h"),
    )
    text = " ".join(warning("acme", settings).split())
    assert text.startswith(
        f"This asks as.example for two tokens, with the client of acme, and writes neither. {words}"
    )
    assert text.endswith("until `freshtoken once acme --force`. It takes two of 50/12h exchanges.")


def test_a_server_that_is_known_by_its_issuer_is_named_by_that() -> None:
    """Where discovery gives the endpoint, the warning still says whom it is about."""
    sinks = (FileSinkSettings(path="t.json"),)
    text = warning("acme", TokenSettings(issuer="https://login.example/acme", sinks=sinks))
    assert text.startswith("This asks login.example for two tokens, with the client of acme, and")
    assert text.endswith("`freshtoken once acme --force`.")

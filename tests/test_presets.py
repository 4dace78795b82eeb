"""The providers that are known: what presets.toml may hold, and how it is filled in."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from loading import tokens_of

from job.config.presets import NAME, Need, Preset, catalogue, presets
from job.config.settings import CommonSettings
from job.core.errors import ConfigError
from job.values import Duration

pytestmark = pytest.mark.slow  # a test for each of the many providers

KNOWN = presets()
NAMES = list(KNOWN)
KEYS = {field.name for field in msgspec.structs.fields(CommonSettings)}
PROOFS: Mapping[str, Mapping[str, Any]] = {
    "private_key_jwt": {"private_key": {"file": "key.pem"}},
    "client_assertion": {"client_assertion": {"file": "jwt"}},
    "tls_client_auth": {"certificate_file": "cert.pem", "key_file": "key.pem"},
}


def examples(needs: Mapping[str, Need]) -> dict[str, Any]:
    """Return what the examples of a provider's needs say."""
    return {name: need.example for name, need in needs.items()}


def table(preset: Preset, **keys: Any) -> dict[str, Any]:  # noqa: ANN401  # settings are of many types
    """Make the table of a token of a provider, filled in with its examples."""
    proof = PROOFS.get(preset.settings["auth_method"], {"client_secret": {"file": "secret"}})
    own = {
        "provider": preset.name,
        "provider_params": examples(preset.params),
        "client_id": "id",
        "sinks": [{"type": "file", "path": "t.json"}],
    }
    return {**own, **proof, **examples(preset.needs), **keys}


def problems_of(given: dict[str, Any], defaults: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Return what the configuration of one token gets told."""
    with pytest.raises(ConfigError) as caught:
        tokens_of({"defaults": defaults or {}, "tokens": {"t": given}})
    return caught.value.problems


def held(setting: object) -> set[str]:
    """Return the names in braces that a setting holds."""
    return set(NAME.findall(repr(setting)))


# What every preset keeps


def test_there_are_the_providers_that_people_use() -> None:
    """At least thirty; the one this program was first made for comes first."""
    assert len(NAMES) >= 55
    assert NAMES[:2] == ["tiki", "tiki-sandbox"]
    assert NAMES[2:] == sorted(NAMES[2:])


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_it_is_and_where_that_is_written(name: str) -> None:
    """Every provider has a title and a page; what it is known to give is a duration."""
    preset = KNOWN[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert 0 < len(preset.title) <= 60
    assert preset.docs.startswith("https://")
    assert preset.lifetime_hint is None or Duration(preset.lifetime_hint) >= 60
    assert set(preset.settings) <= KEYS
    assert {"token_url", "auth_method"} <= set(preset.settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_holds_the_names_that_it_asks_for(name: str) -> None:
    """Each name in braces is asked for, and each that is asked for is used; {uuid} is no name."""
    preset = KNOWN[name]
    assert held(dict(preset.settings)) - {"uuid"} == set(preset.params)
    assert set(preset.needs) <= KEYS - set(preset.settings) | {"client_id"}


@pytest.mark.parametrize("name", NAMES)
def test_a_host_that_is_filled_in_stays_in_its_domain(name: str) -> None:
    """Names stand for a whole host or for its first parts: what follows them is fixed."""
    host = urlsplit(KNOWN[name].settings["token_url"]).netloc
    last = NAME.split(host)[-1]
    assert re.fullmatch(r"\{[a-z]+\}", host) or re.search(r"\.[a-z-]+\.[a-z]+$", f".{last}")


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_a_provider_needs_nothing_but_what_it_asks_for(name: str) -> None:
    """With the examples filled in, the configuration is right and no name is left."""
    preset = KNOWN[name]
    settings = tokens_of({"tokens": {"t": table(preset)}})["t"]
    assert held(msgspec.to_builtins(settings, enc_hook=str)) - {"uuid"} == set()
    assert (settings.token_url or "").startswith("https://")
    assert settings.auth_method == preset.settings["auth_method"]


@pytest.mark.parametrize("name", [name for name in NAMES if KNOWN[name].params])
def test_what_is_missing_is_told_by_name(name: str) -> None:
    """Without its own parts a token is refused, each with what it is and an example."""
    preset = KNOWN[name]
    told = problems_of(table(preset, provider_params={}))
    assert set(told) == {
        f"tokens.t.provider_params.{part}: is missing: {need}"
        for part, need in preset.params.items()
    }


def test_those_that_are_not_possible_say_why() -> None:
    """A provider that can't be kept fresh has a reason and no settings, and no token names it."""
    impossible = {name: one for name, one in catalogue().items() if one.why_not}
    assert set(impossible) == set(catalogue()) - set(NAMES)
    assert {"snowflake", "sap-successfactors", "azure-imds", "shopee", "lazada"} <= set(impossible)
    assert [one.name for one in impossible.values() if one.settings or len(one.why_not) < 40] == []
    given = table(KNOWN["tiki"], provider="snowflake")
    assert problems_of(given) == ("tokens.t.provider: unknown; `freshtoken providers` lists them",)


SURVEY = """
    tiki auth0 okta okta-org entra entra-certificate entra-federated entra-v1 azure-imds
    dynamics-365 business-central sharepoint cognito keycloak ory-hydra authentik wso2
    google-service-account salesforce zoom paypal ebay amazon-sp-api amazon-ads twitch spotify
    reddit ups usps fedex dhl-ecommerce-us walmart adobe marketo snowflake databricks box
    servicenow workday sap-btp sap-ariba sap-successfactors sap-fieldglass hubspot uber soundcloud
    tokopedia wechat wechat-stable feishu tencent-faceid fiserv adp greenhouse transporeon
    knocommerce dynatrace shopee lazada github-app docusign sentry
"""
"""The providers whose documentation was read for this program."""


def test_every_provider_that_was_looked_at_is_known() -> None:
    """None was left out without a reason: it has settings, or says why it can't be kept fresh."""
    assert set(SURVEY.split()) - set(catalogue()) == set()


# How names are filled in


@pytest.mark.parametrize(
    ("provider", "name", "value"),
    [
        ("keycloak", "host", "evil.example/realms/x"),
        ("keycloak", "host", "user@evil.example"),
        ("keycloak", "host", "sso.example:443:1"),
        ("keycloak", "host", "sso..example"),
        ("keycloak", "host", "sso.example?"),
        ("keycloak", "realm", "a/b"),
        ("keycloak", "realm", ".."),
        ("keycloak", "realm", "a?b"),
        ("salesforce", "domain", "evil.example/"),
        ("salesforce", "domain", "evil.example:8443"),
        ("salesforce", "domain", "evil.example#"),
        ("entra", "tenant", "a b"),
        ("dynamics-365", "environment", "evil.example/x"),
        ("reddit", "user_agent", "agent\r\nX-Evil: 1"),
        ("zoom", "account_id", "é"),
    ],
)
def test_a_value_cannot_lead_anywhere_else(provider: str, name: str, value: str) -> None:
    """A value fits into the place it fills, or is refused; it is not repeated in the message."""
    preset = KNOWN[provider]
    given = table(preset, provider_params=examples(preset.params) | {name: value})
    assert problems_of(given) == (
        f"tokens.t.provider_params.{name}: is not what it must be: {preset.params[name]}",
    )


@pytest.mark.parametrize(
    ("provider", "name", "value", "url"),
    [
        (
            "keycloak",
            "host",
            "127.0.0.1:8443",
            "https://127.0.0.1:8443/realms/acme/protocol/openid-connect/token",
        ),
        (
            "salesforce",
            "domain",
            "acme--test.sandbox",
            "https://acme--test.sandbox.my.salesforce.com/services/oauth2/token",
        ),
        (
            "entra",
            "tenant",
            "01234567-89ab-cdef-0123-456789abcdef",
            "https://login.microsoftonline.com/01234567-89ab-cdef-0123-456789abcdef/oauth2/v2.0/token",
        ),
    ],
)
def test_a_value_fills_its_place(provider: str, name: str, value: str, url: str) -> None:
    """Ports, sandboxes and ids fit."""
    preset = KNOWN[provider]
    given = table(preset, provider_params=examples(preset.params) | {name: value})
    assert tokens_of({"tokens": {"t": given}})["t"].token_url == url


def test_names_may_stand_in_the_defaults() -> None:
    """Many tokens of one tenant name it once; a token's own value wins, other names are kept."""
    defaults = {"provider_params": {"tenant": "shared.example", "account_id": "a1"}}
    entra, zoom = KNOWN["entra"], KNOWN["zoom"]
    tokens = {
        "one": table(entra, provider_params={}),
        "two": table(entra, provider_params={"tenant": "own.example"}),
        "three": table(zoom, provider_params={}),
    }
    for number, one in enumerate(tokens.values()):
        one["sinks"] = [{"type": "file", "path": f"{number}.json"}]
    found = tokens_of({"defaults": defaults, "tokens": tokens})
    assert [found[name].token_url for name in ("one", "two")] == [
        "https://login.microsoftonline.com/shared.example/oauth2/v2.0/token",
        "https://login.microsoftonline.com/own.example/oauth2/v2.0/token",
    ]
    assert found["three"].extra_params == {"account_id": "a1"}


def test_unknown_names_are_told_with_the_nearest() -> None:
    """A slip of the pen, a name of another provider, and names without a provider."""
    entra = KNOWN["entra"]
    slip = table(entra, provider_params={"tenant": "a.example", "tennant": "b.example"})
    assert problems_of(slip) == ("tokens.t.provider_params.tennant: unknown; did you mean tenant?",)
    other = table(KNOWN["tiki"], provider_params={"realm": "x"})
    assert problems_of(other) == ("tokens.t.provider_params.realm: unknown; tiki has no such part",)
    alone = table(KNOWN["tiki"], provider_params={"realm": "x"}, token_url="https://as.example")
    del alone["provider"]
    assert problems_of(alone) == (
        "tokens.t.provider_params: goes with a provider (`freshtoken providers`)",
    )


def test_values_of_another_type_are_told_once() -> None:
    """What isn't a table of texts is told as such, and nothing else with it."""
    told = "tokens.t.provider_params: must be a table of texts in quotes"
    for wrong in ("x", {"tenant": 1}, ["tenant"]):
        assert problems_of(table(KNOWN["entra"], provider_params=wrong)) == (told,)


def test_a_key_of_the_token_makes_the_names_of_the_preset_unneeded() -> None:
    """Whoever has another address sets token_url, and no name has to be given for it."""
    given = table(KNOWN["keycloak"], provider_params={}, token_url="https://as.example/token")
    assert tokens_of({"tokens": {"t": given}})["t"].token_url == "https://as.example/token"


def test_blanks_of_what_is_needed_are_told() -> None:
    """A key that the provider needs, and that is there and empty, was forgotten."""
    entra = KNOWN["entra"]
    assert problems_of(table(entra, scope=[])) == (
        f"tokens.t.scope: is empty: {entra.needs['scope']}",
    )


def test_tables_are_joined_with_those_of_the_preset() -> None:
    """A header or parameter more doesn't hide the preset's; the same one replaces it."""
    walmart = table(KNOWN["walmart"], headers={"WM_MARKET": "ca", "WM_SVC.NAME": "Walmart Canada"})
    settings = tokens_of({"defaults": {"headers": {"X-Team": "a"}}, "tokens": {"t": walmart}})["t"]
    assert settings.headers == {
        "X-Team": "a",
        "Accept": "application/json",
        "WM_QOS.CORRELATION_ID": "{uuid}",
        "WM_SVC.NAME": "Walmart Canada",
        "WM_MARKET": "ca",
    }

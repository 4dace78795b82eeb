"""What `providers` says of the providers that are known."""

import pytest

from job.config.presets import Need, Preset, catalogue, presets
from job.verbs.providers import explained, listing

pytestmark = pytest.mark.slow  # a test for each of the many providers

CATALOGUE = catalogue()
SOME = {
    "acme": Preset("acme", "Acme shop"),
    "long-name": Preset("long-name", "A provider whose title is long"),
}


def told(preset: Preset) -> str:
    """Return the explanation in one line, without the spaces of its columns."""
    return " ".join(" ".join(explained(preset)).split())


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (None, ["acme       Acme shop", "long-name  A provider whose title is long"]),
        (80, ["acme       Acme shop", "long-name  A provider whose title is long"]),
        (
            40,
            [
                "acme       Acme shop",
                "long-name  A provider whose title is\n           long",
            ],
        ),
        (20, ["acme       Acme shop", "long-name", "  A provider whose", "title is long"]),
    ],
)
def test_the_list_fits_the_terminal(width: int | None, lines: list[str]) -> None:
    """Names stand in a column; where there is no room for two columns, titles go below."""
    assert list(listing(SOME, width)) == lines


def test_an_explanation_says_all_that_a_person_needs() -> None:
    """What to bring, what is asked of whom, how long a token lives, limits, and what comes next."""
    preset = Preset(
        "acme",
        "Acme shop",
        "https://docs.example/auth",
        {
            "token_url": "https://{host}/token",
            "auth_method": "client_secret_basic",
            "extra_params": {"shop": "{shop}"},
            "scope": ["a", "b"],
            "refresh_at": 0.75,
            "max_exchanges": "50/12h",
        },
        "It is picky.",
        ("client_secret_post", "private_key_jwt"),
        source="a public client",
        lifetime_hint="2h",
        params={"host": Need("the host", "shop.example")},
        needs={"audience": Need("the API", "api")},
    )
    assert "\n".join(explained(preset)).splitlines() == [
        "acme: Acme shop",
        "  token endpoint   https://{host}/token",
        "  auth method      client_secret_basic (or client_secret_post, private_key_jwt)",
        "  you need         client_id",
        "                   client_secret",
        '                   provider_params.host: the host, such as "shop.example"',
        '                   audience: the API, such as "api"',
        '  also set         extra_params = { shop = "{shop}" }',
        '                   scope = ["a", "b"]',
        "                   refresh_at = 0.75",
        "  token life       about 2h; what the answer says counts",
        "  a new token      leaves the one before as it is, so that readers never see a",
        "                   gap",
        "  limit            50/12h exchanges for each client",
        "  note             It is picky.",
        "  documentation    https://docs.example/auth",
        "  shown by         a public client",
        "  next             freshtoken init acme",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zoom", "a new token kills the one before: one program alone may ask"),
        ("wso2", "a new token is only given once the one before has expired: a short gap"),
        ("feishu", "a new token comes only in the last 30m of the one before"),
        ("tiki", "a new token leaves the one before as it is"),
        ("tiki", "token life what the answer says counts"),
        ("okta-org", "private_key (PEM or JWK)"),
        ("entra-federated", "client_assertion, a token that your platform makes"),
        ("soundcloud", "limit 50/12h exchanges"),
    ],
)
def test_what_readers_have_to_know_is_said_in_words(name: str, words: str) -> None:
    """The class of a provider is no word of ours, but what happens to tokens."""
    assert words in told(CATALOGUE[name])


def test_a_provider_that_is_not_possible_is_explained() -> None:
    """Whoever looks for it reads why, and is offered no next step."""
    preset = CATALOGUE["snowflake"]
    assert told(preset) == (
        f"snowflake: Snowflake not possible {preset.why_not} documentation {preset.docs}"
    )


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_explanation_fits_a_terminal(name: str) -> None:
    """No line is longer than 80 columns, but for addresses."""
    lines = "\n".join(explained(CATALOGUE[name])).splitlines()
    assert [line for line in lines if len(line) > 80 and "://" not in line] == []


def test_the_list_of_all_fits_80_columns() -> None:
    """The common terminal shows a line for each provider."""
    assert [line for line in listing(presets(), 80) if "\n" in line] == []

"""The configuration that `init` writes."""

import json
import re
import tomllib

import pytest
from loading import tokens_of

from job.config.presets import Preset, presets
from job.core.errors import ConfigError
from job.sinks.file import FileSinkSettings
from job.verbs.config_template import config_template

pytestmark = pytest.mark.slow  # a test for each of the many providers

KNOWN = presets()
SECRET_METHODS = {"client_secret_basic", "client_secret_post", "client_secret_jwt"}
"""Methods that prove the client by the secret that a config_template names anyway."""
CHOICES: list[str | None] = [None, *KNOWN]


def preset(name: str | None) -> Preset | None:
    """Return a preset by its name, or None for one's own provider."""
    return KNOWN[name] if name else None


def filled(text: str, chosen: Preset | None) -> str:
    """Fill in the blanks as a person would: with what the comment above each says."""
    blanks: dict[str, object] = {"client_id": "7590139168389961"}
    if chosen is None:
        blanks["token_url"] = "https://as.example/token"
    else:
        parts = {f"provider_params.{name}": need for name, need in chosen.params.items()}
        blanks |= {key: need.example for key, need in {**parts, **chosen.needs}.items()}
    for key, value in blanks.items():
        blank = rf'(?m)^{re.escape(key)} *= (""|\[\])'
        text, times = re.subn(blank, lambda _, k=key, v=value: f"{k} = {json.dumps(v)}", text)
        assert times == 1, key
    assert re.search(r'(?m)^[^#\n]*= *(""|\[\])', text) is None, "a blank that nobody fills"
    return text


@pytest.mark.parametrize("name", CHOICES)
def test_a_filled_in_starter_is_right(name: str | None) -> None:
    """Nothing but the blanks has to be touched, for every provider."""
    chosen, token = preset(name), name or "partner"
    tokens = tokens_of(tomllib.loads(filled(config_template(chosen), chosen)))
    assert list(tokens) == [token]
    assert tokens[token].provider == name
    assert tokens[token].sinks == (FileSinkSettings(path=f"{token}.json"),)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (None, {"client_secret": {"env": "PARTNER_CLIENT_SECRET"}}),
        ("tiki-sandbox", {"client_secret": {"env": "TIKI_SANDBOX_CLIENT_SECRET"}}),
        ("okta-org", {"private_key": {"file": "okta-org.key"}}),
        ("entra-federated", {"client_assertion": {"file": "entra-federated.jwt"}}),
        (
            "adp",
            {
                "client_secret": {"env": "ADP_CLIENT_SECRET"},
                "certificate_file": "",
                "key_file": "",
            },
        ),
    ],
)
def test_a_starter_names_what_the_client_proves_itself_by(
    name: str | None, written: dict[str, object]
) -> None:
    """A secret, a key, an assertion or a certificate, as the provider's auth method has it."""
    table = tomllib.loads(config_template(preset(name)))["tokens"][name or "partner"]
    proofs = (
        *("client_secret", "private_key", "client_assertion"),
        *("certificate_file", "key_file"),
    )
    assert {key: value for key, value in table.items() if key in proofs} == written


@pytest.mark.parametrize(
    "name", [name for name in CHOICES if name is None or set(KNOWN[name].also) <= SECRET_METHODS]
)
def test_what_is_commented_out_is_right_too(name: str | None) -> None:
    """Every key that a comment offers can be used as it stands, one auth method at a time."""
    chosen = preset(name)
    text = filled(config_template(chosen), chosen)
    lines = text[text.index("[tokens") :].splitlines()
    lines = [line for line in lines if not line.startswith("client_secret ")]
    lines = [re.sub(r"^# (?=[a-z_]+ +=|\[\[)", "", line) for line in lines]
    methods = [line for line in lines if line.startswith("auth_method")]
    for method in methods or [""]:
        others = [line for line in lines if line not in methods or line == method]
        token = tokens_of(tomllib.loads("\n".join(others)))[name or "partner"]
        assert [type(sink).__name__ for sink in token.sinks] == [
            "FileSinkSettings",
            "SecretsManagerSinkSettings",
        ]
        assert method in ("", *methods)


@pytest.mark.parametrize("name", CHOICES)
def test_blanks_are_told_by_check(name: str | None) -> None:
    """Whoever forgets blanks reads which ones, each with what belongs there."""
    chosen = preset(name)
    with pytest.raises(ConfigError) as caught:
        tokens_of(tomllib.loads(config_template(chosen)))
    place = f"tokens.{name or 'partner'}"
    told = {problem.partition(": ")[0] for problem in caught.value.problems}
    needed = {f"{place}.client_id"}
    if chosen is None:
        needed.add(f"{place}.token_url")
    else:
        needed |= {f"{place}.provider_params.{part}" for part in chosen.params}
        needed |= {f"{place}.{key}" for key in chosen.needs}
    assert told == needed


@pytest.mark.parametrize("name", CHOICES)
def test_a_starter_fits_into_a_terminal(name: str | None) -> None:
    """No line is longer than 80 columns, but for the address of a page."""
    lines = config_template(preset(name)).splitlines()
    assert [line for line in lines if len(line) > 80 and "://" not in line] == []

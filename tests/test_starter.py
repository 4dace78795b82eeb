"""The configuration that `init` writes."""

import re
import tomllib

import pytest

from job.config import tokens_of
from job.config.presets import Preset, presets
from job.config.sink_settings import FileSinkSettings
from job.starter import starter

CHOICES: list[str | None] = [None, *presets()]


def preset(name: str | None) -> Preset | None:
    """Return a preset by its name, or None for one's own provider."""
    return presets()[name] if name else None


def filled(text: str) -> str:
    """Fill in the blanks as a person would."""
    text = re.sub(r'client_id     = ""', 'client_id     = "7590139168389961"', text)
    return re.sub(r'token_url     = ""', 'token_url     = "https://as.example/token"', text)


@pytest.mark.parametrize("name", CHOICES)
def test_a_filled_in_starter_is_right(name: str | None) -> None:
    """Nothing but the blanks has to be touched, for every provider."""
    tokens = tokens_of(tomllib.loads(filled(starter(preset(name)))))
    token = name or "partner"
    variable = f"{token.upper().replace('-', '_')}_CLIENT_SECRET"
    assert list(tokens) == [token]
    assert tokens[token].provider == name
    assert tokens[token].client_secret.env == variable
    assert tokens[token].sinks == (FileSinkSettings(path=f"{token}.json"),)


@pytest.mark.parametrize("name", CHOICES)
def test_what_is_commented_out_is_right_too(name: str | None) -> None:
    """Every key that is offered in a comment can be used as it stands."""
    lines = filled(starter(preset(name))).splitlines()
    lines = [line for line in lines if not line.startswith("client_secret")]
    text = "\n".join(re.sub(r"^# (?=[a-z_]+ +=|\[\[)", "", line) for line in lines)
    token = tokens_of(tomllib.loads(text))[name or "partner"]
    assert [type(sink).__name__ for sink in token.sinks] == [
        "FileSinkSettings",
        "SecretsManagerSinkSettings",
    ]
    assert token.client_secret.file == f"/run/secrets/{name or 'partner'}"
    assert name is None or token.auth_method != presets()[name].settings["auth_method"]


@pytest.mark.parametrize("name", CHOICES)
def test_blanks_are_told_by_check(name: str | None) -> None:
    """Whoever forgets a blank reads which one."""
    with pytest.raises(Exception, match="client_id: is empty"):
        tokens_of(tomllib.loads(starter(preset(name))))


@pytest.mark.parametrize("name", CHOICES)
def test_a_starter_fits_into_a_terminal(name: str | None) -> None:
    """No line is longer than 80 columns, but for the address of a page."""
    lines = starter(preset(name)).splitlines()
    assert [line for line in lines if len(line) > 80 and "://" not in line] == []

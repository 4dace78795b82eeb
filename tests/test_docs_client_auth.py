"""docs/client-authentication.md: its examples load, and its openssl commands make what they say."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from fakes import FakeClock
from loading import tokens_of

from job.core.secret import Secret
from job.oauth.certificate import CertificateFiles, content
from job.oauth.keys import private_key
from job.oauth.settings import AuthMethod

PAGE = (Path(__file__).parent.parent / "docs" / "client-authentication.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^openssl .*$", PAGE, re.MULTILINE)


def loaded(example: str) -> Any:  # noqa: ANN401  # settings
    """Load an example as the table of a token."""
    sinks = [{"type": "file", "path": "one.json"}]
    table = {"token_url": "https://as.example.com/token", "sinks": sinks}
    return tokens_of({"tokens": {"one": table | tomllib.loads(example)}})["one"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(example: str) -> None:
    """Whoever copies an example has no mistake in it."""
    assert loaded(example)


def test_every_method_has_its_part_and_an_example() -> None:
    """No method is left out, of the table, the headings and the examples."""
    methods = set(get_args(AuthMethod))
    assert {loaded(example).auth_method for example in EXAMPLES} == methods
    assert set(re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE)) == methods
    assert set(re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE)) == methods


def test_every_key_of_the_page_is_one() -> None:
    """Keys that stand at the beginning of an example's line are keys of a token."""
    known = set(loaded(EXAMPLES[0]).__struct_fields__)
    named = set(re.findall(r"`((?:assertion|client|private|certificate|key|basic)_\w+)`", PAGE))
    codes = set(re.findall(r"`(\w+_(?:unusable|expired|refused|short))`", PAGE))
    others = {*get_args(AuthMethod), "client_assertion_type"}
    assert named - known - codes - others == set()


@pytest.mark.slow
def test_openssl_makes_what_the_page_says(tmp_path: Path) -> None:
    """Each command runs as it stands, and what it makes is a key or certificate that we can use."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for command in COMMANDS:
        subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, check=True)
    assert len(COMMANDS) == 5
    entra = Secret((tmp_path / "entra.key").read_text())
    found = private_key(entra, "PS256", None, content(str(tmp_path / "entra.pem")))
    assert "x5t#S256" in found.names
    files = str(tmp_path / "client.pem"), str(tmp_path / "client.key")
    assert CertificateFiles(*files, FakeClock(), must_be_current=True).resolve()
    assert (
        private_key(Secret((tmp_path / "client.key").read_text()), None, None).algorithm == "ES256"
    )

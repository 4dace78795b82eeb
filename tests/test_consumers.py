"""The examples of docs/consumers.md that need nothing but Python, curl, jq and a shell."""

import configparser
import json
import re
import secrets
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from consumers import PAGE, Api, examples, need, placed
from hydra_server import Client, HydraServer
from loading import tokens_of
from running import once, stored, table

from freshtoken_reader.cache import MIN_VALIDITY_S
from job.core.secret import Secret

TOKEN = secrets.token_urlsafe(24)
PATIENCE_S = 20


@pytest.fixture
def api() -> Iterator[Api]:
    """Start an API that takes one token."""
    with Api(lambda token: token == TOKEN) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the token in the formats that readers use."""
    document = {"access_token": TOKEN, "token_type": "Bearer", "expires_at": time.time() + 3600}
    (tmp_path / "tiki.json").write_text(json.dumps(document))
    (tmp_path / "tiki.header").write_text(f"Authorization: Bearer {TOKEN}\n")
    return tmp_path


def shell(script: str) -> None:
    """Run a script as the page tells."""
    command = ["sh", "-e", "-u"]
    subprocess.run(command, input=script, text=True, timeout=PATIENCE_S, check=True)


@pytest.mark.parametrize("number", [0, 2], ids=["header", "json"])
def test_curl_reads_the_file(api: Api, folder: Path, number: int) -> None:
    """The commands of the page send the token of the file."""
    need("curl")
    need("jq")
    shell(placed(examples("sh", "Curl and shell")[number], folder, api.url))
    assert api.seen == [("/", TOKEN)]


@pytest.mark.slow
def test_get_is_piped_into_curl(tmp_path: Path) -> None:
    """`freshtoken get` gives the header that curl takes."""
    need("curl")
    client = Client("tiki", Secret(secrets.token_urlsafe(24)))
    (tmp_path / "tiki.secret").write_text(client.secret.reveal())
    config = tmp_path / "freshtoken.toml"
    with HydraServer([client]) as server, Api(server.is_valid) as api:
        config.write_text(table("tiki", server.token_url))
        assert once(config).returncode == 0
        script = placed(examples("sh", "Curl and shell")[1], tmp_path, api.url)
        shell(re.sub(r"^freshtoken", f"'{sys.executable}' -m job --config '{config}'", script))
        assert api.seen == [("/", stored(tmp_path, "tiki"))]


@pytest.mark.parametrize("number", [0, 2], ids=["freshtoken_reader", "alone"])
def test_python_reads_the_file(api: Api, folder: Path, number: int) -> None:
    """The examples for Python that read the file send its token."""
    exec(placed(examples("python", "Python")[number], folder, api.url), {})  # noqa: S102  # our page
    assert api.seen == [("/", TOKEN)]


def test_every_example_is_known() -> None:
    """A block that is added is run or checked by a test, or said not to be."""
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"^```([a-z]+)$", text, re.MULTILINE)
    assert {language: blocks.count(language) for language in blocks} == {
        "sh": 6,  # four under curl and shell, one for Python, one for the agent
        "python": 4,
        "js": 2,
        "go": 1,
        "java": 1,
        "toml": 2,
        "yaml": 4,
        "nginx": 1,
        "ini": 2,
    }


def test_the_table_has_an_anchor_for_each_example() -> None:
    """Every link of the table leads to a heading of the page."""
    text = PAGE.read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


def test_the_promise_is_the_one_of_the_code() -> None:
    """The default that the page tells is the reader's own."""
    contract = " ".join((PAGE.parent / "reading.md").read_text("utf-8").split())
    assert f"at least `min_validity` left ({MIN_VALIDITY_S / 60:g} minutes" in contract
    assert f"`min_validity=`, if it isn't {MIN_VALIDITY_S:g}" in PAGE.read_text("utf-8")


def test_the_configuration_of_nginx_loads() -> None:
    """The sink and the hook of the example are what freshtoken takes."""
    raw = tomllib.loads(examples("toml", "nginx")[0])
    rest = {"token_url": "https://as.example/", "client_id": "id", "client_secret": {"env": "ONE"}}
    raw["tokens"]["tiki"] |= rest
    assert tokens_of(raw).keys() == {"tiki"}


def test_containers_share_the_folder_and_never_the_file() -> None:
    """In the compose file and the pod both mount one volume in memory, the reader read-only."""
    (compose,) = map(yaml.safe_load, examples("yaml", "Docker compose"))
    mounts = {name: service["volumes"] for name, service in compose["services"].items()}
    assert "tokens:/run/freshtoken" in mounts["freshtoken"]
    assert mounts["app"] == ["tokens:/run/freshtoken:ro"]
    assert compose["volumes"]["tokens"]["driver_opts"]["type"] == "tmpfs"

    (pod,) = map(yaml.safe_load, examples("yaml", "Kubernetes"))
    spec = pod["spec"]
    tokens = {"name": "tokens", "mountPath": "/run/freshtoken"}
    assert tokens in spec["initContainers"][0]["volumeMounts"]
    assert spec["containers"][0]["volumeMounts"] == [{**tokens, "readOnly": True}]
    assert spec["volumes"][0]["emptyDir"]["medium"] == "Memory"


def test_the_path_unit_starts_the_service_of_the_page() -> None:
    """The path unit watches the folder's file and names the service that is shown."""
    path, service = examples("ini", "systemd path unit")
    watching, restarting = configparser.ConfigParser(), configparser.ConfigParser()
    watching.read_string(path)
    restarting.read_string(service)
    assert watching["Path"]["PathChanged"] == "/run/freshtoken/tiki.json"
    assert f"`{watching['Path']['Unit']}`" in PAGE.read_text("utf-8")
    assert restarting["Service"]["Type"] == "oneshot"

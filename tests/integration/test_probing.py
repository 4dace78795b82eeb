"""`freshtoken probe` against a real authorization server, which introspects its own tokens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import PATIENCE_S
from test_oidc_provider import ROOT, Client, serving

pytestmark = pytest.mark.integration


def probed(folder: Path, client: Client, issuer: str) -> subprocess.CompletedProcess[str]:
    """Write a configuration of this client, and probe its token."""
    settings = {
        "token_url": f"{issuer}/token",
        "introspection_url": f"{issuer}/token/introspection",
        "client_id": client.id,
        "auth_method": client.method,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = "\n".join(["[tokens.one]", *lines, 'client_secret = { env = "ONE_SECRET" }'])
    (folder / "freshtoken.toml").write_text(
        f'{text}\n[[tokens.one.sinks]]\ntype = "file"\npath = "one.json"\n'
    )
    return subprocess.run(
        [sys.executable, "-m", "job", "probe", "one", "--yes", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ONE_SECRET": client.secret},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_real_server_is_understood(tmp_path: Path, method: str) -> None:
    """Two tokens, both alive by the server's own word: nothing has to be added."""
    client = Client("one", method)
    registered = [{"id": client.id, "secret": client.secret, "method": method}]
    settings = {"lifetime": 600, "clients": registered}
    with serving(settings, tmp_path / "provider.log") as provider:
        done = probed(tmp_path, client, provider.issuer)
        summary = provider.finish()
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert summary == {"granted": {client.id: 2}, "refused": 0}
    assert {key: report[key] for key in ("auth_method", "life_s", "same_token", "settings")} == {
        "auth_method": method,
        "life_s": 600,
        "same_token": False,
        "settings": {},
    }
    assert (report["first_works"], report["how"]) == (True, "introspection calls it active")
    assert not (tmp_path / "one.json").exists()


def test_a_real_server_that_refuses(tmp_path: Path) -> None:
    """A wrong secret is told as `once` tells it, with the exit status of a rejection."""
    client = Client("one", "client_secret_basic")
    registered = [{"id": client.id, "secret": "another", "method": client.method}]
    settings = {"lifetime": 600, "clients": registered}
    with serving(settings, tmp_path / "provider.log") as provider:
        done = probed(tmp_path, client, provider.issuer)
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr.startswith("one: the server does not accept this client id")
    assert client.secret not in done.stderr

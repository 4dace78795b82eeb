"""The verbs about providers as a user meets them: `init`, `providers`, `probe`."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from test_config_template import filled
from token_server import Step, TokenServer, answer, refusal, token

from job.config.presets import catalogue, presets
from job.verbs.config_template import config_template

ROOT = Path(__file__).parent.parent
KNOWN = presets()

Run = Callable[..., tuple[int, str, str]]

pytestmark = [
    pytest.mark.usefixtures("clean_place"),
    pytest.mark.slow,  # a test for each of the many providers
]


def write(server: TokenServer, **keys: object) -> None:
    """Write a configuration of one token at a server."""
    settings = {"token_url": server.url, "client_id": "id", **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = "\n".join(["[tokens.one]", *lines, 'client_secret = { env = "ONE_SECRET" }'])
    sink = '[[tokens.one.sinks]]\ntype = "file"\npath = "one.json"\n'
    Path("freshtoken.toml").write_text(f"{text}\n{sink}")


# init


@pytest.mark.parametrize("provider", [None, *KNOWN])
def test_what_init_writes_passes_check(
    run: Run, monkeypatch: pytest.MonkeyPatch, provider: str | None
) -> None:
    """Once the blanks are filled, `check` finds nothing wrong, for every provider."""
    name = provider or "partner"
    status, out, _ = run("init", *([provider] if provider else []))
    assert (status, out) == (
        0,
        "wrote freshtoken.toml: fill in the blanks, then run `freshtoken check`\n",
    )
    path = Path("freshtoken.toml")
    assert path.read_text() == config_template(KNOWN.get(name))
    path.write_text(filled(path.read_text(), KNOWN.get(name)))
    monkeypatch.setenv(f"{name.upper().replace('-', '_')}_CLIENT_SECRET", "s3cret")
    status, out, err = run("check")
    assert (status, err) == (0, "")
    assert out.startswith(f"freshtoken.toml is valid\n\n{name}\n")


def test_init_never_overwrites(run: Run) -> None:
    """A file that is there is the operator's work."""
    Path("freshtoken.toml").write_text("mine")
    problem = "freshtoken.toml: is there already; move it away, or use --config\n"
    assert run("init") == (78, "", problem)
    assert Path("freshtoken.toml").read_text() == "mine"


def test_init_writes_where_the_other_verbs_will_read(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config and FRESHTOKEN_CONFIG name the file, in that order."""
    monkeypatch.setenv("FRESHTOKEN_CONFIG", "variable.toml")
    assert run("init", "--config", "option.toml")[0] == 0
    assert run("init")[0] == 0
    assert sorted(os.listdir()) == ["option.toml", "variable.toml"]
    problem = "nowhere/x.toml: cannot be written (No such file or directory)\n"
    assert run("init", "--config", "nowhere/x.toml") == (78, "", problem)


def test_init_writes_nothing_for_a_provider_that_is_not_possible(run: Run) -> None:
    """A configuration that could never work is not begun."""
    status, out, err = run("init", "snowflake")
    assert (status, out) == (2, "")
    assert "snowflake is unknown" in err
    assert os.listdir() == []


# providers


def test_providers_lists_the_presets(run: Run) -> None:
    """One line for each provider: its name for `init`, and what it is."""
    status, out, err = run("providers")
    assert (status, err) == (0, "")
    assert [tuple(line.split(None, 1)) for line in out.splitlines()] == [
        (preset.name, preset.title) for preset in KNOWN.values()
    ]
    assert len({line.rindex(line.split(None, 1)[1]) for line in out.splitlines()}) == 1


def test_providers_explains_one(run: Run) -> None:
    """A provider's name is enough to read all that is known of it, possible or not."""
    status, out, err = run("providers", "zoom")
    assert (status, err) == (0, "")
    assert out.startswith("zoom: Zoom server-to-server OAuth\n  token endpoint ")
    assert out.endswith("freshtoken init zoom\n")
    status, out, err = run("providers", "snowflake")
    assert (status, err) == (0, "")
    assert "not possible" in out


def test_providers_are_told_to_programs_too(run: Run) -> None:
    """--json prints every member of one provider or of all."""
    status, out, _ = run("providers", "--json")
    assert (status, list(json.loads(out))) == (0, list(KNOWN))
    status, out, _ = run("providers", "shopee", "--json")
    assert json.loads(out)["shopee"]["why_not"] == catalogue()["shopee"].why_not


@pytest.mark.parametrize(("columns", "longest"), [(200, 80), (50, 50), (30, 30)])
@pytest.mark.slow
def test_the_list_fits_the_terminal_that_it_is_shown_on(columns: int, longest: int) -> None:
    """Narrow terminals get wrapped titles; wide ones get a line for each provider."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(columns)}
    lines = on_terminal(["providers"], environ)[1].strip().splitlines()
    assert max(map(len, lines)) <= longest
    assert (len(lines) > len(KNOWN)) == (columns < 80)


# probe


def test_probe_tells_what_the_server_does(run: Run) -> None:
    """It asks twice, tells what it saw and what to add, and writes nothing."""
    steps = (token("tok-1"), token("tok-2"), answer(200), answer(401))
    with TokenServer(*steps) as server:
        write(server, probe_url=server.url.replace("/token", "/api"))
        status, out, err = run("probe", "one", "--yes")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "one"
    assert out.splitlines()[-5:] == [
        "Add to tokens.one:",
        "",
        'reissue = "revokes_previous"',
        "",
        "Readers have a dead token now: freshtoken once one --force",
    ]
    assert "tok-" not in out
    assert os.listdir() == ["freshtoken.toml"]


def test_probe_tells_programs_too(run: Run) -> None:
    """--json prints the report, without a token in it."""
    with TokenServer(token("tok-1", scope="a"), token("tok-1")) as server:
        write(server, scope=["a", "b"])
        status, out, err = run("probe", "one", "--yes", "--json")
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert report["settings"] == {"reissue": "same_until_expiry"}
    assert (report["asked_scope"], report["scope"]) == ("a b", "a")
    assert "tok-1" not in out


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (refusal(401, "invalid_client"), 77, "[invalid_client]"),
        (answer(503), 75, "[http_503]"),
    ],
)
def test_probe_fails_as_once_does(run: Run, step: Step, status: int, code: str) -> None:
    """The exit status and the code say who has to act."""
    with TokenServer(step) as server:
        write(server)
        found, out, err = run("probe", "one", "--yes")
    assert (found, out) == (status, "")
    assert err.startswith("one: ")
    assert err.endswith(f"{code}\n")


def test_probe_keeps_to_the_limits_of_the_client(run: Run) -> None:
    """Its requests count as those of `run` and `once` do, in this process and in the next."""
    with TokenServer() as server:
        write(server, max_exchanges="3/1h")
        assert run("probe", "one", "--yes")[0] == 0
        status, out, err = run("probe", "one", "--yes")
    assert (status, out, len(server.requests)) == (75, "", 3)
    assert err.startswith("one: the limits of this client allow no exchange for 59m ")


def test_the_place_to_try_a_token_at_is_checked(run: Run) -> None:
    """A token goes to a URL over TLS, or to this machine."""
    with TokenServer() as server:
        write(server, probe_url="http://api.example/me")
        status, _, err = run("check")
    assert status == 78
    assert "  tokens.one.probe_url: sends the secret without TLS; use https://" in err


def test_probe_asks_nobody_without_consent(run: Run) -> None:
    """Without a terminal to ask at, and without --yes, no request is made."""
    with TokenServer(token()) as server:
        write(server)
        status, out, err = run("probe", "one")
    assert (status, out) == (2, "")
    assert "add --yes" in err
    assert server.requests == []


@pytest.mark.parametrize(("word", "status", "requests"), [("y", 0, 2), ("n", 130, 0), ("", 130, 0)])
@pytest.mark.slow
def test_probe_asks_the_person_at_the_terminal(word: str, status: int, requests: int) -> None:
    """A yes is needed; what may happen is said before."""
    with TokenServer(token("tok-1"), token("tok-2")) as server:
        write(server)
        environ = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        found, shown = on_terminal(["probe", "one"], environ, word)
    assert found == status
    assert "the token that readers have is dead" in " ".join(shown.split())
    assert len(server.requests) == requests


def on_terminal(args: list[str], environ: dict[str, str], says: str = "") -> tuple[int, str]:
    """Run the program at a terminal of its own and say one line; its status and what it shows."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "job", *args]
    with (
        subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, close_fds=True
        ) as process,
        os.fdopen(ours, "r+b", buffering=0) as terminal,
    ):
        os.close(theirs)
        terminal.write(f"{says}\n".encode())
        shown = _all_of(terminal)
        return process.wait(), shown.decode().replace("\r\n", "\n")


def _all_of(terminal: IO[bytes]) -> bytes:
    """Read until the last program has closed the terminal."""
    shown = b""
    try:
        while piece := terminal.read(4096):
            shown += piece
    except OSError:  # Linux's way to say that nobody is left
        pass
    return shown

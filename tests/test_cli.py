"""The verbs as a user meets them: what they print, where, and their exit status."""

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from fakes import record
from loading import tokens_of
from token_server import TokenServer, refusal, token

from job import __version__
from job.cli import cli
from job.compose.refreshers import sinks_of
from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.config import Config
from job.core.clock import system_clock
from job.core.tokens import OutputFormat

ROOT = Path(__file__).parent.parent
VERBS = [
    *("run", "once", "check", "status", "get", "init", "providers", "probe", "schema", "demo"),
]
PATIENCE_S = 20.0
HIDDEN = "hunter2hunter2"

Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("clean_place")


def table(url: str = "https://as.example/token", **keys: Any) -> dict[str, Any]:  # noqa: ANN401  # settings are of many types
    """Make the table of a token."""
    return {"token_url": url, "client_id": "id", "client_secret": {"env": "ONE_SECRET"}} | keys


def write(*names: str, path: str = "freshtoken.toml", **keys: Any) -> Config:  # noqa: ANN401  # as above
    """Write a configuration of tokens, one file sink each; return it as it will be loaded."""
    tables = {
        name: {"sinks": [{"type": "file", "path": f"{name}.json"}]} | table(**keys)
        for name in names or ("one",)
    }
    lines = []
    for name, keys_of_token in tables.items():
        sinks = keys_of_token.pop("sinks")
        lines += [f"[tokens.{name}]", *(f"{k} = {inline(v)}" for k, v in keys_of_token.items())]
        lines.append(f"sinks = [{', '.join(map(inline, sinks))}]")
    Path(path).write_text("\n".join(lines) + "\n")
    raw = tomllib.loads(Path(path).read_text())
    return Config(tokens_of(raw, os.getcwd()), path)


def inline(value: object) -> str:
    """Write a value as TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {inline(member)}" for key, member in value.items()) + " }"
    return json.dumps(value)


def store(config: Config, name: str = "one", value: str = "tok", age: int = 0) -> None:
    """Put a token of one hour into the sinks of a configuration, got `age` seconds ago."""
    settings = config.tokens[name]
    for sink in sinks_of(name, settings, Tools({}, "host", system_clock)):
        sink.write(record(value, int(time.time()) - age, key=key_of(settings)))


def events(stderr: str) -> list[dict[str, Any]]:
    """Return the events of a JSON log."""
    return [json.loads(line) for line in stderr.splitlines()]


# Help


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(run: Run, verb: str) -> None:
    """Help says what the verb does, shows how, explains each option, and fits 80 columns."""
    status, out, err = run(verb, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: freshtoken {verb} ")
    assert f"\n    freshtoken {verb}" in out
    assert re.search(r"\n  Examples?:\n", out)
    assert max(map(len, out.splitlines())) <= 80
    options = [p for p in cli.commands[verb].params if isinstance(p, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_help_lists_the_verbs_in_the_order_of_the_contract(run: Run) -> None:
    """A newcomer finds the first steps and every verb with a whole sentence."""
    status, out, _ = run("--help")
    listed = out.partition("Commands:\n")[2].splitlines()
    assert status == 0
    assert [line.split()[0] for line in listed] == VERBS
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)
    assert max(map(len, out.splitlines())) <= 80


def test_common_options_are_shown_where_they_matter(run: Run) -> None:
    """Every verb takes them, but a list of presets needs no configuration."""
    shown = {
        verb: [name for name in ("--config", "--log-format") if name in run(verb, "-h")[1]]
        for verb in VERBS
    }
    assert shown == {
        "run": ["--config", "--log-format"],
        "once": ["--config", "--log-format"],
        "check": ["--config"],
        "status": ["--config"],
        "get": ["--config"],
        "init": ["--config"],
        "providers": [],
        "probe": ["--config"],
        "schema": [],
        "demo": [],
    }
    assert run("providers", "--config", "x.toml", "--log-level", "info")[0] == 0


def test_the_version_is_told(run: Run) -> None:
    """--version prints name and version."""
    assert run("--version") == (0, f"freshtoken, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Usage: freshtoken"),
        (("nonsense",), "No such command 'nonsense'"),
        (("get",), "Missing argument 'NAME'"),
        (("once", "--log-format", "xml"), "'xml' is not one of 'json', 'console'"),
        (("demo", "--for", "1x"), "a duration is written as 30s or 5m"),
        (("demo", "--lifetime", "soon"), "a duration is written as 30s or 5m"),
        (("init", "nobody"), "nobody is unknown; `freshtoken providers` lists those that are"),
        (("providers", "zom"), "zom is unknown; did you mean zoom?"),
        (("probe", "nobody", "--yes"), "nobody is unknown; there are one, two"),
        (("probe", "one"), "there is no terminal: add --yes"),
        (("once", "nobody"), "nobody is unknown; there are one, two"),
        (("get", "nobody"), "nobody is unknown; there are one, two"),
    ],
)
def test_wrong_usage_is_2(run: Run, args: tuple[str, ...], message: str) -> None:
    """A slip on the command line is told on standard error, with what there is."""
    write("one", "two")
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert message in err


# once


def test_once_gets_a_token_and_says_so(run: Run) -> None:
    """A missing token is got and stored; the log is JSON lines on standard error."""
    with TokenServer(token("tok")) as server:
        write(url=server.url)
        status, out, err = run("once")
    assert (status, out) == (0, "")
    told = events(err)
    assert [(line["event"], line["level"], line["token"]) for line in told] == [
        ("token.refreshed", "info", "one"),
        ("token.delivered", "info", "one"),
    ]
    assert list(told[0])[:3] == ["timestamp", "level", "event"]
    assert json.loads(Path("one.json").read_text())["access_token"] == "tok"
    assert "tok" not in {str(value) for line in told for value in line.values()}


def test_once_prints_nothing_when_nothing_was_due(run: Run) -> None:
    """Cron sends no mail, and no request is made, however often it comes."""
    with TokenServer() as server:
        store(write(url=server.url))
        assert [run("once") for _ in range(3)] == [(0, "", "")] * 3
    assert server.requests == []


def test_once_with_force_refreshes_what_is_named(run: Run) -> None:
    """Names choose; force replaces a token that is good."""
    with TokenServer(token("new")) as server:
        config = write("one", "two", url=server.url)
        store(config, "one")
        store(config, "two")
        status, _, err = run("once", "two", "--force")
    assert status == 0
    assert {line["token"] for line in events(err)} == {"two"}
    assert len(server.requests) == 1


def test_once_with_metrics(run: Run) -> None:
    """The numbers of each run go on from those of the run before, also when nothing was due."""
    with TokenServer(token("tok")) as server:
        write(url=server.url)
        statuses = [run("once", "--metrics-file", "m.prom")[0] for _ in range(2)]
        assert len(server.requests) == 1
    assert statuses == [0, 0]
    told = Path("m.prom").read_text()
    assert 'freshtoken_exchanges_total{outcome="success",token="one"} 1.0' in told
    assert 'freshtoken_token_current{token="one"} 1.0' in told


def test_once_with_metrics_that_cannot_be_written(run: Run) -> None:
    """The token is kept all the same; the status tells, for old numbers would look good."""
    with TokenServer(token("tok")) as server:
        write(url=server.url)
        status, _, err = run("once", "--metrics-file", "nowhere/m.prom")
    assert status == 74
    assert err.splitlines()[-1] == (
        "nowhere/m.prom: the metrics can't be written (No such file or directory); check the path"
    )
    assert Path("one.json").exists()


def test_once_as_json(run: Run) -> None:
    """--json prints the outcome of each token on standard output, also when nothing was due."""
    with TokenServer(token("new")) as server:
        store(write("one", "two", url=server.url))
        status, out, _ = run("once", "--json")
    assert status == 0
    assert json.loads(out) == {
        "exit_status": 0,
        "tokens": {
            "one": {"outcome": "current", "exit_status": 0, "events": ["token.adopted"]},
            "two": {
                "outcome": "refreshed",
                "exit_status": 0,
                "events": ["token.refreshed", "token.delivered"],
            },
        },
    }


@pytest.mark.parametrize(
    ("step", "path", "status", "event"),
    [
        (refusal(401, "invalid_client"), "one.json", 77, "token.refresh_failed"),
        (refusal(503, "server_error"), "one.json", 75, "token.refresh_failed"),
        (token(), "nowhere/one.json", 74, "token.delivery_failed"),
    ],
)
def test_once_tells_failures_apart(
    run: Run, step: bytes, path: str, status: int, event: str
) -> None:
    """The exit status says who has to act."""
    with TokenServer(step) as server:
        write(url=server.url, sinks=[{"type": "file", "path": path}])
        found, out, err = run("once")
    assert (found, out) == (status, "")
    assert event in [line["event"] for line in events(err)]


def test_once_returns_the_worst_status(run: Run) -> None:
    """A rejection outweighs a server that is down, whatever the order."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with TokenServer(refusal(401, "invalid_client")) as server:
        write("one", url=f"http://127.0.0.1:{port}/", path="down.toml")
        write("two", url=server.url, path="rejected.toml")
        texts = [Path(name).read_text() for name in ("down.toml", "rejected.toml")]
        Path("freshtoken.toml").write_text("\n".join(texts))
        status, out, _ = run("once", "--json")
    tokens = json.loads(out)["tokens"]
    assert {name: outcome["exit_status"] for name, outcome in tokens.items()} == {
        "one": 75,
        "two": 77,
    }
    assert status == 77


def test_once_logs_for_people_on_request(run: Run) -> None:
    """The console format is one line for each event, and the level can be raised."""
    with TokenServer(token("a"), token("b")) as server:
        write(url=server.url)
        _, _, console = run("once", "--log-format", "console")
        _, _, silent = run("once", "--force", "--log-level", "warning")
    assert re.search(r"\[info +\] token\.refreshed +token=one ", console)
    assert silent == ""


def test_options_stand_before_the_verb_or_after_it(run: Run) -> None:
    """The one after the verb wins, and the others stay."""
    with TokenServer() as server:
        write(url=server.url, path="a.toml")
        write("two", url=server.url, path="b.toml")
        _, _, before = run("--config", "a.toml", "--log-format", "console", "once")
        _, _, after = run(
            "--config", "a.toml", "--log-format", "console", "once", "--config", "b.toml"
        )
    assert "token=one" in before
    assert "token=two" in after


# A configuration that can't be used


MISTAKES = {"client_secret": HIDDEN, "client_id": 7, "timeout": "soon", "scop": []}
PROBLEMS = [
    "tokens.one.scop: unknown key; did you mean scope?",
    "tokens.one.timeout: is not a duration; write 30s, 5m, 1h30m or a number of seconds",
    "tokens.one.client_id: must be text in quotes",
    ("tokens.one.client_secret: must say where the secret is, not hold it: "
    '{ env = "NAME" }, { file = "/path" }, { aws_secret = "NAME" } or the like'),
]  # fmt: skip


def write_mistakes() -> None:
    """Write a configuration with four mistakes."""
    lines = [f"{key} = {inline(value)}" for key, value in (table() | MISTAKES).items()]
    sinks = 'sinks = [{ type = "file", path = "one.json" }]'
    Path("freshtoken.toml").write_text("\n".join(["[tokens.one]", *lines, sinks]))


@pytest.mark.parametrize("verb", ["run", "once"])
def test_a_bad_configuration_is_an_event_where_the_log_is_json(run: Run, verb: str) -> None:
    """Every problem is in one event, exit 78, and nothing is touched."""
    write_mistakes()
    status, out, err = run(verb)
    (told,) = events(err)
    assert (status, out) == (78, "")
    assert (told["event"], told["level"]) == ("config.rejected", "error")
    assert told["problems"] == PROBLEMS
    assert HIDDEN not in err
    assert os.listdir() == ["freshtoken.toml"]


@pytest.mark.parametrize(
    "args",
    [
        ("check",),
        ("status",),
        ("get", "one"),
        ("once", "--log-format", "console"),
        ("run", "--log-format", "console"),
    ],
)
def test_a_bad_configuration_is_a_list_for_people(run: Run, args: tuple[str, ...]) -> None:
    """Every problem has a line of its own below the file's name, exit 78."""
    write_mistakes()
    status, out, err = run(*args)
    assert (status, out) == (78, "")
    assert err.splitlines() == [
        "4 mistakes in freshtoken.toml:",
        *(f"  {problem}" for problem in PROBLEMS),
    ]


def test_a_variable_that_is_not_set_is_told_with_the_rest(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verbs that need the secret ask for its variable; the others do not."""
    store(write())
    monkeypatch.delenv("ONE_SECRET")
    assert [run(*args)[0] for args in (("status",), ("get", "one"))] == [0, 0]
    problem = "tokens.one.client_secret.env: ONE_SECRET is not set; set it for this process, "
    for verb in ("run", "once", "check"):
        status, _, err = run(verb)
        assert status == 78
        assert problem in err


def test_the_environment_alone_is_a_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file, variables describe the token and its sinks."""
    with TokenServer(token("tok")) as server:
        for name, value in {
            "TOKEN_URL": server.url,
            "CLIENT_ID": "id",
            "CLIENT_SECRET": "s3cret",
            "SINK": "file:tok.txt",
            "FORMAT": "raw",
        }.items():
            monkeypatch.setenv(f"FRESHTOKEN_{name}", value)
        assert run("once")[0] == 0
    assert Path("tok.txt").read_text() == "tok"
    assert run("get", "default") == (0, "tok\n", "")


# check


def test_check_prints_the_plan_and_touches_nothing(run: Run) -> None:
    """The plan is the arithmetic of refresh and promise; nothing is sent or written."""
    with TokenServer() as server:
        write(url=server.url)
        status, out, err = run("check")
    assert (status, err) == (0, "")
    assert out.splitlines()[:4] == [
        "freshtoken.toml is valid",
        "",
        "one",
        f"  token endpoint   {server.url} (client_secret_basic)",
    ]
    assert max(len(line) for line in out.splitlines() if "file:" not in line) <= 80
    assert server.requests == []
    assert os.listdir() == ["freshtoken.toml"]


def test_check_warns_and_still_is_0(run: Run) -> None:
    """A promise that can't be held and too many versions are warnings in the plan."""
    sinks = [{"type": "aws_secrets_manager", "secret_id": "s", "region": "eu-west-1"}]
    write(lifetime="5m", sinks=sinks)
    status, out, _ = run("check")
    assert status == 0
    assert "  promise          can't be held: 2m 30s of life are left" in out
    assert "576 secret versions a day are more than the 100 that AWS" in out


def test_check_online_is_1_when_something_is_wrong(run: Run) -> None:
    """Findings follow the plan; one that is bad decides."""
    with TokenServer(refusal(400, "invalid_request"), refusal(404, "x")) as server:
        write(url=server.url)
        good, bad = run("check", "--online"), run("check", "--online")
    assert (good[0], bad[0]) == (0, 1)
    assert "  client secret    ok: its source gives one\n" in good[1]
    assert "  endpoint         ok: 127.0.0.1 answers (HTTP 400" in good[1]
    assert "  endpoint         PROBLEM: there is no token endpoint at this address" in bad[1]
    assert len(server.requests) == 2


# status and get


def test_status_is_0_1_or_2(run: Run) -> None:
    """Current, past its refresh time, expired or missing: as monitoring plugins have it."""
    config = write()
    found = [run("status")]
    for age in (4000, 3000, 0):
        store(config, value=f"tok-{age}", age=age)
        found.append(run("status"))
        Path("one.json").unlink()
    assert [status for status, _, _ in found] == [2, 2, 1, 0]
    states = [out.splitlines()[3].split()[:2] for _, out, _ in found]
    assert states == [["one", word] for word in ("missing", "expired", "refresh", "good")]
    assert {err for _, _, err in found} == {""}
    assert "tok-" not in "".join(out for _, out, _ in found)


def test_status_as_json(run: Run) -> None:
    """--json prints a row for each sink, with epoch seconds and no token."""
    config = write()
    store(config)
    status, out, _ = run("status", "--json")
    (row,) = json.loads(out)
    assert status == 0
    assert row.keys() == {
        "token",
        "sink",
        "state",
        "expires_at",
        "left_s",
        "refresh_at",
        "fingerprint",
        "problem",
        "obtained_at",
    }
    assert (row["token"], row["state"], row["problem"]) == ("one", "current", None)
    assert row["expires_at"] - row["refresh_at"] == 3600 - 2412
    assert row["fingerprint"] == record("tok").receipt.fingerprint


@pytest.mark.parametrize(
    ("args", "printed"),
    [
        ((), "tok\n"),
        (("--format", "raw"), "tok\n"),
        (("--format", "header"), "Authorization: Bearer tok\n"),
    ],
)
def test_get_prints_the_token(run: Run, args: tuple[str, ...], printed: str) -> None:
    """The token goes to standard output, with one newline and nothing else."""
    store(write())
    assert run("get", "one", *args) == (0, printed, "")


def test_get_prints_what_the_other_formats_hold(run: Run) -> None:
    """Every format of a sink but the template can be asked for."""
    store(write())
    env, document = run("get", "one", "--format", "env")[1], run("get", "one", "--format", "json")
    assert re.fullmatch(r"ACCESS_TOKEN=tok\nTOKEN_TYPE=Bearer\nEXPIRES_AT=\d+\n", env)
    assert json.loads(document[1])["access_token"] == "tok"
    stored = json.loads(Path("one.json").read_text())
    assert json.loads(document[1]) == stored
    assert OutputFormat("json", "one").carries_receipt


def test_get_without_a_valid_token_prints_nothing(run: Run) -> None:
    """A script gets an exit status and no expired token."""
    store(write(), age=4000)
    assert run("get", "one") == (75, "", "one: no valid token in its sinks\n")


def test_get_from_a_sink_that_cannot_be_read(run: Run) -> None:
    """Each sink's error is told with its cure."""
    write(sinks=[{"type": "file", "path": "nowhere/one.json"}])
    status, out, err = run("get", "one")
    assert (status, out) == (74, "")
    assert err.startswith("one: ")
    assert "create the folder" in err


# schema


def test_schema_is_a_json_schema(run: Run) -> None:
    """Editors find the dialect, the tables and the descriptions of keys."""
    status, out, err = run("schema")
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$ref"] == "#/$defs/ConfigFile"
    assert {"TokenSettings", "FileSinkSettings"} <= document["$defs"].keys()


# The process


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError(HIDDEN), 70), (KeyboardInterrupt(), 130)]
)
def test_what_nobody_expected(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    """A bug is an event with places and without values; an interrupt is quiet."""

    def broken() -> None:
        raise error

    monkeypatch.setattr(os, "uname", broken)
    found, out, err = run("check")
    assert (found, out) == (status, "")
    assert HIDDEN not in err
    assert "Traceback" not in err
    if status == 70:
        (told,) = events(err)
        assert (told["event"], told["level"], told["error"]) == (
            "job.crashed",
            "critical",
            "RuntimeError",
        )
        assert "test_cli.py" in told["traceback"]
    else:
        assert err.strip() == ""


def start(*args: str, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401  # Popen's own
    """Start the program as a user does."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "job", *args],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_on_a_terminal_mistakes_are_wrapped() -> None:
    """Where standard error is a terminal, people read lists of 80 columns and no JSON."""
    write_mistakes()
    terminal, stderr = pty.openpty()
    with start("once", stderr=stderr) as process:
        os.close(stderr)
        out, _ = process.communicate(timeout=PATIENCE_S)
    with open(terminal, "rb") as file:
        err = b""
        try:
            while piece := file.read1(65_536):
                err += piece
        except OSError:  # how Linux tells that the other side is closed
            pass
    lines = err.decode().splitlines()
    assert (process.returncode, out) == (78, "")
    assert lines[0] == "4 mistakes in freshtoken.toml:"
    assert max(map(len, lines)) <= 80
    assert len(lines) > 5


@pytest.mark.slow
def test_run_keeps_a_token_until_it_is_told_to_stop() -> None:
    """SIGTERM ends it with 0, and the log says when it started and why it stopped."""
    with TokenServer(token("tok")) as server:
        write(url=server.url)
        with start("run", stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            told = [json.loads(next(lines)) for _ in range(3)]
            process.send_signal(signal.SIGTERM)
            out, rest = process.communicate(timeout=PATIENCE_S)
    told += events(rest)
    assert [line["event"] for line in told] == [
        "job.started",
        "token.refreshed",
        "token.delivered",
        "job.stopped",
    ]
    assert (process.returncode, out) == (0, "")
    assert json.loads(Path("one.json").read_text())["access_token"] == "tok"


@pytest.mark.slow
def test_run_reads_its_configuration_again_on_sighup() -> None:
    """A new token is kept from then on, and a bad configuration is refused."""
    with TokenServer() as server:
        write(url=server.url)
        with start("run", stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            told = [json.loads(next(lines))["event"] for _ in range(3)]
            write("one", "two", url=server.url)
            process.send_signal(signal.SIGHUP)
            told += [json.loads(next(lines))["event"] for _ in range(3)]
            write_mistakes()
            process.send_signal(signal.SIGHUP)
            told.append(json.loads(next(lines))["event"])
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
    assert told[:1] + sorted(told[3:6]) + told[6:] == [
        "job.started",
        "job.reloaded",
        "token.delivered",
        "token.refreshed",
        "config.rejected",
    ]
    assert process.returncode == 0


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
@pytest.mark.slow
def test_a_log_that_cannot_be_written_changes_no_exit_status(redirection: str) -> None:
    """With standard error full or closed, `once` still says 75 of an endpoint that is down."""
    write("one", url="http://127.0.0.1:9/token")
    command = f"exec {sys.executable} -m job once {redirection}"
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (75, b"", b"")


def run_with(redirection: str, *args: str) -> tuple[int, str, str]:
    """Run a verb whose standard streams are redirected; return its status and what is left."""
    command = f"exec {sys.executable} -m job {' '.join(args)} {redirection}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


FULL = "standard output cannot be written (No space left on device)\n"


@pytest.mark.fault("output-unwritable")
@pytest.mark.parametrize(
    ("redirection", "expected"),
    [
        (">/dev/full", (74, "", FULL)),
        (">/dev/full 2>&1", (74, "", "")),
        (">&-", (0, "", "")),
        (">&- 2>&- <&-", (0, "", "")),
    ],
)
@pytest.mark.slow
def test_output_that_cannot_be_written_is_no_bug(
    redirection: str, expected: tuple[int, str, str]
) -> None:
    """A full disk behind standard output is said in words; nobody listening is nobody's fault."""
    assert run_with(redirection, "providers") == expected


@pytest.mark.fault("log-unwritable")
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
@pytest.mark.slow
def test_a_mistake_that_cannot_be_told_keeps_its_status(redirection: str) -> None:
    """The exit status tells usage and configuration apart also when no word can be written."""
    write_mistakes()
    assert run_with(redirection, "check") == (78, "", "")
    assert run_with(redirection, "nothing") == (2, "", "")
    write("one")
    assert run_with(redirection, "get", "one") == (75, "", "")


@pytest.mark.fault("output-unwritable")
@pytest.mark.slow
def test_closed_streams_are_not_taken_by_files() -> None:
    """A token's file is never opened as standard output, where others would write into it."""
    look = "import os; print(*sorted(os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)))"
    code = f"from job.runners.process import fill_streams; fill_streams(); exec({look!r}, {{}})"
    command = f"exec {sys.executable} -c {shlex.quote(code)} <&- 2>&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    null, other, pipe = done.stdout.split()
    assert (null, other, pipe.partition(":")[0]) == ("/dev/null", "/dev/null", "pipe")


@pytest.mark.slow
def test_the_demo_runs_and_ends_by_itself() -> None:
    """It needs nothing prepared and ends with a summary of each token."""
    with start("demo", "--for", "0.2s", "--tokens", "1", stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert err == ""
    assert process.returncode in {0, 1}
    assert re.search(r"\ntiki +refreshes \d+, ", out)


@pytest.mark.slow
def test_the_process_leaves_no_core_and_lets_nobody_look() -> None:
    """The program makes itself undumpable before it reads anything."""
    code = """
import atexit, ctypes, resource, sys
def look():
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    print(dumpable, resource.getrlimit(resource.RLIMIT_CORE))
atexit.register(look)
from job.cli import main
sys.argv[1:] = ["schema", "--help"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 (0, 0)"

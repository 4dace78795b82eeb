"""The Lambda handler: the pass of `once`, in time, and a failure that AWS sees."""

import json
import logging
import os
import secrets
import subprocess
import sys
import time
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from token_server import TokenServer, refusal, stall, token

from job.runners.aws_lambda import InvocationFailed, handler

ROOT = Path(__file__).parent.parent
AMPLE_MS = 30_000


class FakeContext:
    """An invocation that has so many milliseconds left."""

    def __init__(self, left_ms: int = AMPLE_MS) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return what was given."""
        return self.left_ms


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, without our variables, and undo what logging lost."""
    for name in list(os.environ):
        if name.startswith("FRESHTOKEN_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    logging.disable(logging.NOTSET)


def configure(monkeypatch: pytest.MonkeyPatch, *urls: str, more: str = "") -> str:
    """Write a configuration of tokens t0, t1, ..., one file sink each; return their secret."""
    hidden = secrets.token_urlsafe()
    monkeypatch.setenv("CLIENT_SECRET", hidden)
    text = "".join(
        f'[tokens.t{number}]\ntoken_url = "{url}"\nclient_id = "c"\n{more}'
        'client_secret = { env = "CLIENT_SECRET" }\n'
        f'[[tokens.t{number}.sinks]]\ntype = "file"\npath = "t{number}.json"\n'
        for number, url in enumerate(urls)
    )
    Path("package.toml").write_text(text)
    monkeypatch.setenv("FRESHTOKEN_CONFIG", "package.toml")
    return hidden


def stored(name: str = "t0") -> str:
    """Return the token in a sink."""
    return str(json.loads(Path(f"{name}.json").read_text())["access_token"])


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the log lines; nothing may be on standard output."""
    shown = capsys.readouterr()
    assert shown.out == ""
    return [json.loads(line) for line in shown.err.splitlines()]


def test_an_invocation_refreshes_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that is missing is got and stored; the answer is that of `once --json`."""
    with TokenServer(token("tok-1")) as server:
        configure(monkeypatch, server.url)
        answer = handler({"any": "thing"}, FakeContext())
    events = ["token.refreshed", "token.delivered"]
    told = {"outcome": "refreshed", "exit_status": 0, "events": events}
    assert answer == {"exit_status": 0, "tokens": {"t0": told}}
    assert json.loads(json.dumps(answer)) == answer
    assert stored() == "tok-1"
    assert [line["event"] for line in logged(capsys)] == events


def test_a_warm_start_is_as_a_cold_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second invocation in one process adopts what is stored, and sees a new configuration."""
    with TokenServer() as server:
        configure(monkeypatch, server.url)
        handler(None, FakeContext())
        logged(capsys)
        again = handler(None, FakeContext())
        told = {"outcome": "current", "exit_status": 0, "events": ["token.adopted"]}
        assert again == {"exit_status": 0, "tokens": {"t0": told}}
        assert logged(capsys) == []
        configure(monkeypatch, server.url, server.url)
        third = handler(None, FakeContext())
        assert [one["outcome"] for one in third["tokens"].values()] == ["current", "refreshed"]
        assert len(server.requests) == 2


def test_a_token_from_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function without a file takes its one token from FRESHTOKEN_ variables."""
    with TokenServer(token("tok-1")) as server:
        monkeypatch.setenv("FRESHTOKEN_TOKEN_URL", server.url)
        monkeypatch.setenv("FRESHTOKEN_CLIENT_ID", "c")
        monkeypatch.setenv("FRESHTOKEN_CLIENT_SECRET", secrets.token_urlsafe())
        monkeypatch.setenv("FRESHTOKEN_SINK", "file:t0.json")
        assert handler({}, FakeContext())["exit_status"] == 0
    assert stored() == "tok-1"


def test_a_failure_is_one_that_aws_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One refused token fails the invocation, the other is stored, and nothing tells the secret."""
    with TokenServer(refusal(401, "invalid_client")) as refusing, TokenServer() as server:
        hidden = configure(monkeypatch, refusing.url, server.url)
        with pytest.raises(InvocationFailed) as caught:
            handler({}, FakeContext())
    failed = caught.value
    assert str(failed) == "exit status 77: not current: t0; the log lines above say why"
    assert failed.exit_status == 77
    assert stored("t1")
    assert hidden not in "".join(traceback.format_exception(failed))
    lines = logged(capsys)
    assert "token.refresh_failed" in [line["event"] for line in lines]
    assert hidden not in json.dumps(lines)


def test_a_configuration_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mistake is one line of the log, and the invocation has failed."""
    monkeypatch.setenv("FRESHTOKEN_CONFIG", "missing.toml")
    with pytest.raises(InvocationFailed) as caught:
        handler({}, FakeContext())
    assert caught.value.exit_status == 78
    assert caught.value.__suppress_context__
    (line,) = logged(capsys)
    assert (line["event"], line["level"]) == ("config.rejected", "error")


def test_a_bug_is_told_by_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody expects is told without its values, and the invocation has failed."""
    hidden = configure(monkeypatch, "https://as.example/token")

    def broken(_: object) -> None:
        raise LookupError(hidden)

    monkeypatch.setattr(tomllib, "load", broken)
    with pytest.raises(InvocationFailed) as caught:
        handler({}, FakeContext())
    assert caught.value.exit_status == 70
    assert hidden not in "".join(traceback.format_exception(caught.value))
    lines = logged(capsys)
    assert [line["event"] for line in lines] == ["job.crashed"]
    assert hidden not in json.dumps(lines)


@pytest.mark.slow
def test_an_invocation_ends_before_aws_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An endpoint that hangs leaves time for the answer and the log; its token is not current."""
    with TokenServer(stall()) as server:
        configure(monkeypatch, server.url, more='timeout = "10s"\n')
        begun = time.monotonic()
        with pytest.raises(InvocationFailed) as caught:
            handler({}, FakeContext(left_ms=2_300))
        took_s = time.monotonic() - begun
    assert caught.value.exit_status == 75
    assert took_s < 2.0
    logged(capsys)


def test_without_any_time_it_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invocation with less time than the margin begins nothing that it can't end."""
    with TokenServer(stall()) as server:
        configure(monkeypatch, server.url)
        with pytest.raises(InvocationFailed, match="exit status 75: not current: t0"):
            handler({}, FakeContext(left_ms=500))


@pytest.mark.slow
def test_importing_the_handler_starts_nothing() -> None:
    """A cold start pays for imports alone: no thread, no file, no configuration is needed."""
    code = "import threading, job.runners.aws_lambda; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("1\n", "")

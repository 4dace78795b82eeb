import hashlib
import hmac
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import START, FakeClock
from token_server import TokenServer, answer, stall

from job.core.errors import SecretUnavailable
from job.core.events import (
    Event,
    HookFailed,
    HookRan,
    JobStarted,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenExpired,
    TokenRefreshed,
)
from job.core.secret import Secret
from job.http.transport import Transport
from job.observe.hook_actions import CommandHook, SignalHook, WebhookHook
from job.observe.hooks import HookError, Hooks, Occasion, TokenHooks, retry_delay

PATIENCE_S = 10.0
SINK = "file:/run/tiki"
DELIVERED = TokenDelivered("tiki", SINK, "9f2c", 3)
AGAIN = TokenDelivered("tiki", SINK, "51b0", 3)
AT_RISK = TokenAtRisk("tiki", SINK, START + 300, 2, 300)
EXPIRED = TokenExpired("tiki", SINK, START, 3, 300)
ADOPTED = TokenAdopted("tiki", "9f2c", START + 3600, START + 2412, SINK)
REFRESHED = Occasion("refreshed", "tiki", SINK, START, "9f2c")
RISK = Occasion("at_risk", "tiki", SINK, START, expires_at=START + 300)
RECOVERED = Occasion("recovered", "tiki", SINK, START, "9f2c")


class Recorder:
    """A hook that notes its occasions; it fails so often, and waits where it is told to."""

    def __init__(self, label: str = "hook", fails: int = 0) -> None:
        self.label = label
        self.fails = fails
        self.seen: list[Occasion] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.waits = False

    def run(self, occasion: Occasion) -> str:
        self.seen.append(occasion)
        self.began.release()
        if self.waits:
            assert self.may_end.acquire(timeout=PATIENCE_S)
        if self.fails:
            self.fails -= 1
            raise HookError("not now")
        return "done"


class Place:
    """Hooks for one token, told of by `events`; retries come at once unless `patient`."""

    def __init__(self, *, on_refresh: object = (), on_trouble: object = ()) -> None:
        self.events: list[Event] = []
        self.well = True
        self.retry_s = 0.0
        hooks = TokenHooks(on_refresh, on_trouble)  # type: ignore[arg-type]  # recorders are hooks
        self.hooks = Hooks(
            lambda name: hooks if name == "tiki" else TokenHooks(),
            lambda _: self.well,
            self.events.append,
            FakeClock(),
            lambda _: self.retry_s,
        )

    def play(self, *events: Event) -> None:
        """Let these happen, and wait until all hooks are done."""
        for event in events:
            self.hooks.observe(event)
            self.settle()

    def settle(self) -> None:
        """Wait until no hook is at work."""
        for thread in threading.enumerate():
            if thread.name == "hook":
                thread.join(PATIENCE_S)


def test_a_new_token() -> None:
    """Each sink that takes a new token is an occasion; finding a good one is none."""
    recorder = Recorder()
    place = Place(on_refresh=(recorder,))
    place.play(DELIVERED, ADOPTED, AT_RISK, JobStarted("1", 1), AGAIN)
    again = Occasion("refreshed", "tiki", SINK, START, "51b0")
    assert recorder.seen == [REFRESHED, again]
    assert place.events == [HookRan("tiki", "hook", "refreshed", 0, "done")] * 2


def test_the_expiry_is_a_fact_where_it_is_known() -> None:
    """That of the token that was got, not of another one that is delivered again."""
    recorder = Recorder()
    place = Place(on_refresh=(recorder,))
    place.play(TokenRefreshed("tiki", "9f2c", START + 3600, "expires_in", START, 1, 1))
    place.play(DELIVERED, AGAIN)
    assert [occasion.expires_at for occasion in recorder.seen] == [START + 3600, None]


def test_trouble_is_told_once_and_its_end_once() -> None:
    """Between the first alarm and the moment when all readers are well again, nothing repeats."""
    recorder = Recorder()
    place = Place(on_trouble=(recorder,))
    place.well = False
    place.play(AT_RISK, EXPIRED, DELIVERED)
    assert recorder.seen == [RISK]
    place.well = True
    place.play(DELIVERED, DELIVERED, ADOPTED)
    assert recorder.seen == [RISK, RECOVERED]
    place.play(EXPIRED, ADOPTED)
    assert [occasion.event for occasion in recorder.seen] == ["at_risk", "recovered"] * 2


def test_other_tokens_are_none_of_its_business() -> None:
    """A token without hooks runs none."""
    recorder = Recorder()
    place = Place(on_refresh=(recorder,))
    place.play(TokenDelivered("other", SINK, "9f2c", 3))
    assert recorder.seen == []


def test_a_hook_that_fails_is_tried_again() -> None:
    """It gets the same facts until it succeeds, and each failure is told with the next try."""
    recorder = Recorder(fails=2)
    place = Place(on_refresh=(recorder,))
    place.play(DELIVERED)
    assert recorder.seen == [REFRESHED] * 3
    assert place.events == [
        HookFailed("tiki", "hook", "refreshed", "not now", 1, START),
        HookFailed("tiki", "hook", "refreshed", "not now", 2, START),
        HookRan("tiki", "hook", "refreshed", 0, "done"),
    ]


def test_the_waits_between_tries() -> None:
    """They grow from a second to five minutes."""
    assert [retry_delay(n) for n in (1, 2, 3, 9, 10, 99)] == [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]


def test_a_newer_token_takes_the_place_of_one_that_waits() -> None:
    """A hook is not run for a token that readers no longer have."""
    recorder = Recorder(fails=1)
    place = Place(on_refresh=(recorder,))
    place.retry_s = PATIENCE_S
    place.hooks.observe(DELIVERED)
    assert recorder.began.acquire(timeout=PATIENCE_S)
    place.play(AGAIN)
    assert [occasion.fingerprint for occasion in recorder.seen] == ["9f2c", "51b0"]


def test_hooks_wait_for_nobody_and_nobody_for_them() -> None:
    """One that hangs delays neither the caller, nor another hook, nor runs twice at once."""
    slow, quick = Recorder("slow"), Recorder("quick")
    slow.waits = True
    place = Place(on_refresh=(slow, quick))
    place.hooks.observe(DELIVERED)
    assert slow.began.acquire(timeout=PATIENCE_S)
    assert quick.began.acquire(timeout=PATIENCE_S)
    for event in (AGAIN, DELIVERED):
        place.hooks.observe(event)
    assert len(slow.seen) == 1
    slow.may_end.release(3)
    place.settle()
    assert [occasion.fingerprint for occasion in slow.seen] == ["9f2c", "9f2c"]


def test_the_end() -> None:
    """At the end the hooks at work get their time, and no failure is tried again."""
    slow, failing = Recorder("slow"), Recorder("failing", fails=9)
    slow.waits = True
    place = Place(on_refresh=(slow, failing))
    place.retry_s = PATIENCE_S
    place.hooks.observe(DELIVERED)
    assert slow.began.acquire(timeout=PATIENCE_S)
    assert failing.began.acquire(timeout=PATIENCE_S)
    place.hooks.settle(0.0)
    place.hooks.finish(0.0)
    slow.may_end.release()
    place.settle()
    place.hooks.finish(PATIENCE_S)
    place.play(AGAIN)
    assert (len(slow.seen), len(failing.seen)) == (1, 1)


# Commands


def python(code: str, timeout_s: float = PATIENCE_S, **environ: str) -> CommandHook:
    """Make a hook that runs a piece of Python."""
    path = {"PATH": os.environ["PATH"]}
    return CommandHook((sys.executable, "-c", code), timeout_s, path | environ)


def test_a_command_gets_the_facts() -> None:
    """They are in its environment and on its standard input; the token is nowhere."""
    code = """
import json, os, sys
own = {k: v for k, v in os.environ.items() if k.startswith("FRESHTOKEN_")}
print(json.dumps([own, json.load(sys.stdin), sys.argv, os.environ["MORE"]]))
"""
    hook = python(code, MORE="more")
    assert hook.label == f"command:{os.path.basename(sys.executable)}"
    assert json.loads(hook.run(RISK)) == [
        {
            "FRESHTOKEN_EVENT": "at_risk",
            "FRESHTOKEN_TOKEN": "tiki",
            "FRESHTOKEN_SINK": SINK,
            "FRESHTOKEN_AT": str(START),
            "FRESHTOKEN_FINGERPRINT": "",
            "FRESHTOKEN_EXPIRES_AT": str(START + 300),
        },
        {
            "event": "at_risk",
            "token": "tiki",
            "sink": SINK,
            "at": START,
            "fingerprint": None,
            "expires_at": START + 300,
        },
        ["-c"],
        "more",
    ]


def test_a_command_that_fails() -> None:
    """Its status and the beginning of its output are told."""
    with pytest.raises(HookError, match=r"^it ended with status 3: oh no$"):
        python("import sys; print('oh  no', file=sys.stderr); sys.exit(3)").run(REFRESHED)


def test_a_command_that_prints_much() -> None:
    """The beginning is kept."""
    assert python("print('x' * 100_000)").run(REFRESHED) == "x" * 4096


@pytest.mark.slow
def test_a_command_that_hangs() -> None:
    """It is killed with all its children when its time is over."""
    code = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
    with pytest.raises(HookError, match=r"^it took over 1 s and was killed: \d+$") as caught:
        python(code, 1.0).run(REFRESHED)
    child = int(str(caught.value).rpartition(" ")[2])
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(child)
        assert select.select([handle], [], [], PATIENCE_S)[0] == [handle], "the child lives on"
        os.close(handle)


@pytest.mark.slow
def test_a_command_whose_child_stays() -> None:
    """A child that goes on by itself, with our output still open, holds nothing up."""
    code = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2)"], start_new_session=True)
print("ready")
"""
    assert python(code).run(REFRESHED) == "ready"


def test_a_command_that_is_not_there() -> None:
    """It is named, with the reason."""
    with pytest.raises(HookError, match=r"^/nowhere/hook cannot be run \(No such file"):
        CommandHook(("/nowhere/hook",), 1.0, {}).run(REFRESHED)


# Webhooks


class Given:
    """A source of a secret."""

    def resolve(self) -> Secret:
        return Secret("s3cret")


class Missing:
    """A source that gives none."""

    def resolve(self) -> Secret:
        raise SecretUnavailable("client_secret_unavailable", "no secret")


@pytest.fixture
def transport() -> Transport:
    """Give a way to a server of this machine."""
    return Transport(PATIENCE_S)


def test_a_webhook(transport: Transport) -> None:
    """The facts are posted as JSON, signed with the secret and the time."""
    with TokenServer(answer(204)) as server:
        hook = WebhookHook(server.url, transport, Given())
        assert (hook.label, hook.run(REFRESHED)) == ("webhook:127.0.0.1", "HTTP 204")
        assert WebhookHook(server.url, transport).run(REFRESHED) == "HTTP 204"
    body = json.dumps(REFRESHED.facts())
    mac = hmac.new(b"s3cret", f"{START}.{body}".encode(), hashlib.sha256).hexdigest()
    signed, plain = server.requests
    assert (signed.method, signed.headers["content-type"]) == ("POST", "application/json")
    assert signed.headers["freshtoken-signature"] == f"t={START},v1={mac}"
    assert signed.headers["content-length"] == str(len(body))
    assert "freshtoken-signature" not in plain.headers


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (answer(500), "the answer is HTTP 500"),
        (answer(302, b"", {"Location": "http://127.0.0.1:1/"}), "the answer is HTTP 302"),
        (stall(), "no answer [timeout]"),
    ],
)
@pytest.mark.slow
def test_a_webhook_that_fails(step: object, words: str) -> None:
    """Anything but a 2xx in time is a failure; a redirect is not followed."""
    with TokenServer(step) as server:  # type: ignore[arg-type]  # a step
        with pytest.raises(HookError) as caught:
            WebhookHook(server.url, Transport(0.3)).run(REFRESHED)
        assert str(caught.value) == words


def test_a_webhook_without_its_secret(transport: Transport) -> None:
    """Nothing is sent unsigned."""
    with TokenServer() as server:
        with pytest.raises(HookError, match=r"^nothing was sent: no secret$"):
            WebhookHook(server.url, transport, Missing()).run(REFRESHED)
        assert server.requests == []


# Signals


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process that waits for a signal."""
    code = "import signal; print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_signal(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    """The process of the file gets the signal."""
    pidfile = tmp_path / "server.pid"
    pidfile.write_text(f"{sleeper.pid}\n")
    hook = SignalHook(str(pidfile), signal.SIGHUP)
    assert (hook.label, hook.run(REFRESHED)) == ("signal:server.pid", f"SIGHUP to {sleeper.pid}")
    assert sleeper.wait(PATIENCE_S) == -signal.SIGHUP
    with pytest.raises(HookError, match="No such process"):
        hook.run(REFRESHED)


@pytest.mark.parametrize("content", ["", "none", "1", "-1", "0", "\u00e9"])
def test_a_file_without_a_process(tmp_path: Path, content: str) -> None:
    """Neither a process group nor PID 1 nor all processes are ever signalled."""
    pidfile = tmp_path / "server.pid"
    pidfile.write_text(content)
    with pytest.raises(HookError, match=r"server\.pid holds"):
        SignalHook(str(pidfile), signal.SIGTERM).run(REFRESHED)
    with pytest.raises(HookError, match=r"none can't be read \(No such file or directory\)"):
        SignalHook(str(tmp_path / "none"), signal.SIGTERM).run(REFRESHED)

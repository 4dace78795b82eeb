"""The scheduler as a real process: signals, reloads, restarts and kills."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

import pytest

from job.cli import exit_status
from job.demo.server import AuthorizationServer, Client
from job.secret import Secret

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 20.0
AT_ONCE = 4

pytestmark = pytest.mark.integration


class Job:
    """`freshtoken run` and the events that it logs; nothing of it is left after the block."""

    def __init__(self, config: Path, *before: str) -> None:
        self._argv = [*before, sys.executable, "-m", "job", "run", "--config", str(config)]
        self._told = SimpleQueue[dict[str, Any]]()
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._argv, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr
        self.process.stderr.close()
        sys.stdout.write("".join(f"{event}\n" for event in self.events))  # seen when a test fails

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            event = json.loads(line)
            self.events.append(event)
            self._told.put(event)

    def told(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait for the next event of this name that has these fields."""
        while True:
            try:
                event = self._told.get(timeout=PATIENCE_S)
            except Empty:
                pytest.fail(f"no {name} within {PATIENCE_S} s")
            if event["event"] == name and fields.items() <= event.items():
                return event

    def send(self, number: signal.Signals) -> None:
        """Send a signal, as kill(1) does."""
        os.kill(self.pid, number)

    def end(self, within_s: float = PATIENCE_S) -> int:
        """Return the exit status of a process that is on its way out."""
        status = self.process.wait(within_s)
        self._reader.join(PATIENCE_S)
        return status

    def names(self) -> list[str]:
        """Return the names of the events so far."""
        return [event["event"] for event in self.events]


class SlowServer:
    """A token endpoint whose answers wait until they are let go; `asked` counts the requests."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.requests = 0
        self.answer = threading.Event()
        self.token = secrets.token_urlsafe(24)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    @property
    def url(self) -> str:
        """Return the address of the token endpoint."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/token"

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.requests += 1
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        body = json.dumps({"access_token": self.token, "expires_in": 3600}).encode()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            connection.recv(65_536)
            self.asked.release()
            self.answer.wait(PATIENCE_S)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


NAMES = ("kept", "changed", "removed", "added")


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    """Start the authorization server, with a client for each token."""
    clients = [Client(name, Secret(secrets.token_urlsafe(24)), scopes=("a",)) for name in NAMES]
    with AuthorizationServer(clients) as running:
        running.secrets = {c.client_id: c.secret.reveal() for c in clients}  # type: ignore[attr-defined]
        yield running


def configure(folder: Path, server: AuthorizationServer, *names: str, **more: str) -> Path:
    """Write the configuration of some tokens; `more` has further lines for one of them."""
    tables = []
    for name in names:
        (folder / f"{name}.secret").write_text(server.secrets[name])  # type: ignore[attr-defined]
        tables.append(table(name, server.token_url, more.get(name, "")))
    config = folder / "freshtoken.toml"
    config.write_text("\n".join(tables))
    return config


def configure_slow(folder: Path, server: SlowServer) -> Path:
    """Write the configuration of one token of a slow server."""
    (folder / "slow.secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(table("slow", server.url))
    return config


def table(name: str, url: str, more: str = "") -> str:
    """Write one token's table."""
    return (
        f'[tokens.{name}]\ntoken_url = "{url}"\nclient_id = "{name}"\n'
        f'client_secret = {{ file = "{name}.secret" }}\n{more}\n'
        f'[[tokens.{name}.sinks]]\ntype = "file"\npath = "{name}.json"\n'
    )


def stored(folder: Path, name: str) -> str:
    """Return the token that readers find."""
    token: str = json.loads((folder / f"{name}.json").read_text())["access_token"]
    return token


def once(config: Path) -> subprocess.CompletedProcess[str]:
    """Run `freshtoken once` as cron does."""
    argv = [sys.executable, "-m", "job", "once", "--config", str(config)]
    return subprocess.run(
        argv, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False
    )


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_job_at_once(
    tmp_path: Path, server: AuthorizationServer, number: signal.Signals
) -> None:
    """Promise: SIGTERM and Ctrl-C leave within seconds, with status 0 and a last line."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        job.send(number)
        assert job.end(within_s=5.0) == 0
        assert job.names() == ["job.started", "token.refreshed", "token.delivered", "job.stopped"]
        assert job.events[-1]["reason"] == number.name
    assert server.is_valid(stored(tmp_path, "kept"))


def test_sigterm_waits_for_the_exchange_in_hand(tmp_path: Path) -> None:
    """Promise: a token that is being fetched is stored before the process leaves."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        job.send(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            job.process.wait(0.3)
        slow.answer.set()
        assert job.end(within_s=5.0) == 0
        assert job.names() == ["job.started", "token.refreshed", "token.delivered", "job.stopped"]
    assert stored(tmp_path, "slow") == slow.token


def test_sigterm_waits_for_seconds_and_no_longer(tmp_path: Path) -> None:
    """Promise: an exchange that hangs doesn't hold the process; the store stays as it was."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        before = time.monotonic()
        job.send(signal.SIGTERM)
        assert job.end(within_s=9.0) == 0
        assert time.monotonic() - before < 9.0
        assert job.names() == ["job.started", "job.stopped"]
    assert not (tmp_path / "slow.json").exists()


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    """Promise: an impatient supervisor gets status 0 too, and the token is stored."""
    with SlowServer() as slow, Job(configure_slow(tmp_path, slow)) as job:
        assert slow.asked.acquire(timeout=PATIENCE_S)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            job.send(number)
        with pytest.raises(subprocess.TimeoutExpired):
            job.process.wait(0.3)
        slow.answer.set()
        assert job.end(within_s=5.0) == 0
    assert stored(tmp_path, "slow") == slow.token


def test_a_full_log_disk_stops_nothing(tmp_path: Path, server: AuthorizationServer) -> None:
    """Promise: when no line can be written, tokens are still kept and signals still heard."""
    config = configure(tmp_path, server, "kept")
    argv = [sys.executable, "-m", "job", "run", "--config", str(config)]
    with open("/dev/full", "w") as full, subprocess.Popen(argv, stderr=full, cwd=ROOT) as process:
        try:
            assert appears(tmp_path / "kept.json", process)
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert server.is_valid(stored(tmp_path, "kept"))


def appears(path: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait for a file of a process that says nothing."""
    until = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < until:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            return False
    return path.exists()


# Reload and refresh


def test_sighup_takes_a_new_configuration(tmp_path: Path, server: AuthorizationServer) -> None:
    """Promise: added and changed tokens are got, removed ones rest, unchanged ones cost nothing."""
    with Job(configure(tmp_path, server, "kept", "changed", "removed")) as job:
        for _ in range(3):
            job.told("token.delivered")
        first = {name: stored(tmp_path, name) for name in ("kept", "changed", "removed")}
        configure(tmp_path, server, "kept", "changed", "added", changed='scope = ["a"]')
        job.send(signal.SIGHUP)
        assert job.told("job.reloaded")["tokens"] == 3
        assert {job.told("token.delivered")["token"] for _ in range(2)} == {"changed", "added"}
        job.send(signal.SIGUSR1)
        assert {job.told("token.delivered")["token"] for _ in range(3)} == {
            "kept",
            "changed",
            "added",
        }
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert {name: server.exchanges(name) for name in NAMES} == {
        "kept": 2,
        "changed": 3,
        "removed": 1,
        "added": 2,
    }
    assert stored(tmp_path, "removed") == first["removed"]
    assert stored(tmp_path, "changed") != first["changed"]
    assert not {"job.crashed", "token.refresh_failed"} & set(job.names())


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("[tokens.kept", "is not TOML"),
        ("[tokens.kept]\nclient_id = 7\n", "tokens.kept.client_id"),
        ("", "tokens: there is none"),
        (None, "cannot be read"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
    ids=["no toml", "wrong keys", "empty", "no file", "too deep"],
)
def test_sighup_refuses_a_broken_configuration(
    tmp_path: Path, server: AuthorizationServer, broken: str | None, problem: str
) -> None:
    """Promise: a bad file is told and changes nothing; a good one after it is taken."""
    config = configure(tmp_path, server, "kept")
    with Job(config) as job:
        job.told("token.delivered")
        if broken is None:
            config.unlink()
        else:
            config.write_text(broken)
        job.send(signal.SIGHUP)
        assert problem in " ".join(job.told("config.rejected")["problems"])
        job.send(signal.SIGUSR1)
        job.told("token.delivered", token="kept")
        configure(tmp_path, server, "kept", "added")
        job.send(signal.SIGHUP)
        job.told("token.delivered", token="added")
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert (server.exchanges("kept"), server.exchanges("added")) == (2, 1)


def test_sigusr1_refreshes_now(tmp_path: Path, server: AuthorizationServer) -> None:
    """Promise: each SIGUSR1 gives every token a new exchange, due or not."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        seen = [stored(tmp_path, "kept")]
        for _ in range(3):
            job.send(signal.SIGUSR1)
            job.told("token.delivered")
            seen.append(stored(tmp_path, "kept"))
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert len(set(seen)) == 4
    assert server.exchanges("kept") == 4


# Restarts


def test_a_hundred_runs_of_once_ask_for_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise: cron every minute costs no request while the stored token is good.

    Twenty are processes of their own; the others, for the sake of time, are runs in this one.
    """
    with SlowServer() as server:
        server.answer.set()
        config = configure_slow(tmp_path, server)
        assert once(config).returncode == 0
        assert server.requests == 1
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            runs = list(at_once.map(once, [config] * 20))
        assert [(run.returncode, run.stdout, run.stderr) for run in runs] == [(0, "", "")] * 20
        assert [exit_status(["once", "--config", str(config)]) for _ in range(80)] == [0] * 80
        assert capfd.readouterr() == ("", "")
        assert server.requests == 1


def test_twenty_restarts_ask_for_nothing(tmp_path: Path) -> None:
    """Promise: a job that is restarted, however often, goes on with the token that it stored."""

    def restart(config: Path) -> tuple[int, list[str]]:
        with Job(config) as job:
            job.told("token.adopted")
            job.send(signal.SIGTERM)
            return job.end(), job.names()

    with SlowServer() as server:
        server.answer.set()
        config = configure_slow(tmp_path, server)
        assert once(config).returncode == 0
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            restarts = list(at_once.map(restart, [config] * 20))
        assert restarts == [(0, ["job.started", "token.adopted", "job.stopped"])] * 20
        assert server.requests == 1


def test_a_killed_job_is_taken_up_again(tmp_path: Path) -> None:
    """Promise: kill -9 in an exchange leaves no lock and no litter; then a start does the rest."""
    with SlowServer() as slow:
        config = configure_slow(tmp_path, slow)
        for _ in range(3):
            with Job(config) as job:
                assert slow.asked.acquire(timeout=PATIENCE_S)
                job.send(signal.SIGKILL)
                assert job.end() == -signal.SIGKILL
        assert not (tmp_path / "slow.json").exists()
        slow.answer.set()
        before = time.monotonic()
        with Job(config) as job:
            job.told("token.delivered")
            assert time.monotonic() - before < 10.0
            job.send(signal.SIGTERM)
            assert job.end() == 0
        assert stored(tmp_path, "slow") == slow.token
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".slow.json.lock", "freshtoken.toml", "slow.json", "slow.secret"]


# The clock

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    int file = clock == CLOCK_REALTIME ? open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY) : -1;
    char text[32] = {0};
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
    if (file >= 0) close(file);
    return result;
}
"""
"""Steps the wall clock of one process alone, by what stands in a file."""


@pytest.fixture
def clock_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that steps the clock of processes started from now on."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = "no C compiler to make a clock that can be stepped"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "shim.c").write_text(SHIM)
    library, offset = folder / "shim.so", folder / "offset"
    build = [str(compiler), "-shared", "-fPIC", "-o", str(library), str(folder / "shim.c"), "-ldl"]
    subprocess.run(build, check=True, capture_output=True, timeout=PATIENCE_S)
    offset.write_text("0")
    monkeypatch.setenv("CLOCK_OFFSET_FILE", str(offset))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return offset


def test_a_stepped_clock_is_seen_and_the_sweep_goes_on(
    tmp_path: Path, server: AuthorizationServer, clock_offset: Path
) -> None:
    """Promise: whatever the wall clock does, the token is decided afresh within seconds.

    APScheduler alone would sleep through a step back, and count all the ticks of a step forward.
    """
    steps = (3600, -3600, 30 * 365 * 86_400)
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        before = 0
        for offset in steps:
            began = time.monotonic()
            # Replaced and not rewritten: an empty file would be one more step.
            (tmp_path / "next").write_text(str(offset))
            (tmp_path / "next").replace(clock_offset)
            assert job.told("clock.stepped")["step_s"] == offset - before
            job.told("token.delivered")
            assert time.monotonic() - began < 5.0
            before = offset
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert server.exchanges("kept") == 1 + len(steps)
    assert "job.crashed" not in job.names()


# The process itself


def namespace() -> list[str] | None:
    """Return the command that starts a program as PID 1 of a namespace, or None if none may."""
    for more in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *more, "--pid", "--fork", "--kill-child"]
        if shutil.which(command[0]) and not subprocess.call(
            [*command, "true"], stderr=subprocess.DEVNULL
        ):
            return command
    return None


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_as_pid_1_it_hears_sigterm(tmp_path: Path, server: AuthorizationServer) -> None:
    """Promise: in a container without an init, `docker stop` ends it at once and cleanly."""
    command = namespace()
    if command is None:
        pytest.skip("this user may not make a pid namespace (unshare --pid)")
    with Job(configure(tmp_path, server, "kept"), *command) as job:
        job.told("token.delivered")
        job.pid = child_of(job.process.pid)
        status = Path(f"/proc/{job.pid}/status").read_text()
        assert next(line for line in status.splitlines() if line.startswith("NSpid")).endswith(
            "\t1"
        )
        job.send(signal.SIGHUP)
        job.told("job.reloaded")
        job.send(signal.SIGTERM)
        assert job.end(within_s=5.0) == 0
        assert job.names()[-1] == "job.stopped"


def test_it_leaves_no_core_and_opens_its_memory_to_nobody(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    """Promise: a crash writes no secret to a disk (core(5), prctl(2) PR_SET_DUMPABLE)."""
    with Job(configure(tmp_path, server, "kept")) as job:
        job.told("token.delivered")
        limits = Path(f"/proc/{job.pid}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        job.send(signal.SIGTERM)
        assert job.end() == 0
    code = (
        "import ctypes; from job.process import harden; harden();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert asked.stdout == "0\n"


def test_it_has_no_thread_for_each_token(tmp_path: Path, server: AuthorizationServer) -> None:
    """Promise: an idle job has the sweep, the guard and few workers, whatever it has done."""
    with Job(configure(tmp_path, server, *NAMES)) as job:
        for _ in range(5):
            for _ in NAMES:
                job.told("token.delivered")
            threads = len(list(Path(f"/proc/{job.pid}/task").iterdir()))
            assert threads <= 3 + 2 * len(NAMES)
            job.send(signal.SIGUSR1)
        job.send(signal.SIGTERM)
        assert job.end() == 0
    assert "job.crashed" not in job.names()

"""Runs the program as a process, against token endpoints of the loopback interface."""

import contextlib
import functools
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
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

import pytest

ROOT = Path(__file__).parent.parent
PATIENCE_S = 120.0
"""How long a test waits for what must happen. Only a failure waits so long, whatever the load."""
START_S = 0.1
"""How long the interpreter takes to start on an idle machine."""
BUSIEST = 10.0
"""However busy the machine is, no promise is given more than so many times its time."""


def program(*args: str) -> list[str]:
    """Return the command line of a verb."""
    return [sys.executable, "-m", "job", *args]


def stretched(seconds: float) -> float:
    """Return the time that something may take here and now which takes so long when all is idle.

    For promises about real time: by the load, or by how long a process took to start.
    """
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(1.0, load, _slowness()), BUSIEST)


def paced(seconds: float) -> int:
    """Return a length for what plays in real time, longer on a machine that is unusually busy.

    The lengths are made for the load of six tests at once on two cores.
    """
    return round(seconds * max(1.0, stretched(1.0) / 4))


def repetitions(number: int) -> int:
    """Return how often to try the same: so often in CI, a quarter of it elsewhere."""
    return number if os.environ.get("CI") == "true" else -(-number // 4)


@functools.cache
def _slowness() -> float:
    before = time.monotonic()
    # Without site-packages, so that neither coverage nor an editable install is measured.
    subprocess.run([sys.executable, "-I", "-S", "-c", "import json, ssl"], check=True)
    return (time.monotonic() - before) / START_S


def missing(what: str) -> None:
    """Skip a test for a tool that is not there; in CI that is a failure."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def until(true: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Wait until something is true of the world of a process; False once that has ended."""
    end = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
    return true()


@functools.cache
def namespace() -> tuple[str, ...]:
    """Return the command that starts a program as PID 1 of a namespace; skip if none may."""
    for more in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *more, "--pid", "--fork", "--kill-child"]
        if shutil.which(command[0]) and not subprocess.call(
            [*command, "true"], stderr=subprocess.DEVNULL
        ):
            return tuple(command)
    pytest.skip("this user may not make a pid namespace (unshare --pid)")


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


class Job:
    """`freshtoken run` and the events that it logs; nothing of it is left after the block.

    `before` is a command that starts it, `flags` are options of `run`.
    """

    def __init__(self, config: Path, *before: str, flags: Sequence[str] = ()) -> None:
        self._argv = [*before, *program("run", "--config", str(config), *flags)]
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
        """Return the exit status of a process that ends within a time, on an idle machine."""
        status = self.process.wait(stretched(within_s))
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
    return subprocess.run(
        program("once", "--config", str(config)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )


def configure_slow(folder: Path, server: SlowServer) -> Path:
    """Write the configuration of one token of a slow server."""
    (folder / "slow.secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(table("slow", server.url))
    return config

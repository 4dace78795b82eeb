"""The tutorial, followed: each of its commands is run, and prints what the page says."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra_server import Client, HydraServer
from running import PATIENCE_S, missing, until

from job.core.secret import Secret

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
CLIENT = Client("7590139168389961", Secret("s3cret"))
TIKI_URL, TIKI_HOST = "https://api.tiki.vn/sc/oauth2/token", "https://api.tiki.vn"
LISTEN = "127.0.0.1:9464"
ON_A_TERMINAL = " --log-format console"

pytestmark = pytest.mark.integration

Block = tuple[str, str]


class World(NamedTuple):
    """A folder to work in, and the stand-ins for Tiki and for the status page's address."""

    folder: Path
    token_url: str
    listen: str
    environ: dict[str, str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a folder, an authorization server and an AWS, all on loopback."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  # costs a second to import

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    environ = {
        "PATH": f"{_programs(tmp_path)}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "fake",
        "AWS_SECRET_ACCESS_KEY": "fake",
    }
    with HydraServer([CLIENT], 3600) as server, socket.create_server(("127.0.0.1", 0)) as s:
        listen = f"127.0.0.1:{s.getsockname()[1]}"
        s.close()
        yield World(tmp_path, server.token_url, listen, environ)
    moto.stop()


def _programs(folder: Path) -> Path:
    """Return a folder with `freshtoken` and `python`, as an installation has them."""
    path = folder / "bin"
    path.mkdir()
    for name, module in (("freshtoken", "-m job"), ("python", "")):
        script = f'#!/bin/sh\nPYTHONPATH={ROOT}:{ROOT}/reader exec {sys.executable} {module} "$@"\n'
        (path / name).write_text(script)
        (path / name).chmod(0o755)
    return path


def blocks() -> list[Block]:
    """Return the code blocks of the page: their kind and their text."""
    return re.findall(r"^```([a-z]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands(console: str) -> list[Block]:
    """Return the commands of a console block, each with what it printed."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)


VARYING = (
    (r'"access_token": "[^"]*"', '"access_token": "..."'),
    (r"http://127\.0\.0\.1:\d+/oauth2/token", TIKI_URL),
    (r"127\.0\.0\.1 answers", "api.tiki.vn answers"),
    (r"\b[0-9a-f]{12,16}\b", "HEX"),
    (r"\b[\d-]+T[\d:.]+Z", "MOMENT"),
    (r"\b\d{10}\b|\b1\.\d+e\+09\b", "EPOCH"),
    (r"_ms=\d+|version=\S+", "VALUE"),
    (r"(at least|good|in) +(\d+h ?)?(\d+m ?)?(\d+s)?(?= |$)", r"\1 TIME"),
    (r" +", " "),
)


def alike(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run."""
    for pattern, same in VARYING:
        text = re.sub(pattern, same, text, flags=re.MULTILINE)
    return [line.strip() for line in text.splitlines()]


def kinds(text: str) -> set[str]:
    """Return the kinds of lines of a demo: how many there are is a matter of milliseconds."""
    return {re.sub(r"\d+", "N", line) for line in alike(text)}


def spoken(command: str) -> str:
    """Return a command with the log that a terminal would have."""
    return re.sub(r"(freshtoken (once|run))\b", rf"\1{ON_A_TERMINAL}", command)


def do(world: World, command: str) -> str:
    """Run a command of the page and return what it printed."""
    ran = subprocess.run(
        ["/bin/bash", "-c", spoken(command).replace(LISTEN, world.listen)],
        cwd=world.folder,
        env=world.environ,
        input=f"{CLIENT.secret.reveal()}\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ran.stdout


def configure(world: World, text: str) -> None:
    """Write the page's configuration, but for the addresses of the stand-ins."""
    provider = 'provider      = "tiki"'
    assert provider in text
    text = text.replace(provider, f'{provider}\ntoken_url = "{world.token_url}"')
    (world.folder / "freshtoken.toml").write_text(text.replace(LISTEN, world.listen))


def read(world: World, code: str) -> None:
    """Run the page's reader; the stand-in for the API has nothing but tokens: 404."""
    (world.folder / "reader.py").write_text(
        code.replace(TIKI_HOST, world.token_url.removesuffix("/oauth2/token"))
    )
    assert do(world, "python reader.py") == "404\n"


class Following:
    """Somebody who does what the page says, from top to bottom."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.folder / "run.log"
        self._told = ""
        self._does: dict[str, Callable[[str], None]] = {
            "console": self._console,
            "toml": lambda text: configure(world, text),
            "python": lambda text: read(world, text),
        }
        self.running: subprocess.Popen[str] | None = None

    def follow(self) -> None:
        """Do it all; what is in a block of another kind (`sh`) is for the reader's own machine."""
        for kind, text in blocks():
            if kind in self._does:
                self._does[kind](text)

    def _console(self, text: str) -> None:
        for command, told in commands(text):
            if command == "freshtoken run":
                self._run(told)
            elif " demo " in command:
                assert kinds(do(self._world, command)) == kinds(told), command
            else:
                assert alike(do(self._world, command)) == alike(told), command

    def _run(self, told: str) -> None:
        with self._log.open("w") as log:
            self.running = subprocess.Popen(
                ["/bin/bash", "-c", f"exec {spoken('freshtoken run')}"],
                cwd=self._world.folder,
                env=self._world.environ,
                stderr=log,
                text=True,
            )
        assert until(lambda: len(self._lines()) == len(told.splitlines()), self.running)
        assert self._lines() == alike(told)

    def _lines(self) -> list[str]:
        return alike(self._log.read_text())


def test_the_tutorial_is_what_happens(world: World) -> None:
    """From the demo to the bad day, each command prints what the page says; Ctrl-C ends it."""
    if not Path("/usr/bin/curl").exists():
        missing("curl is not installed")
    following = Following(world)
    try:
        following.follow()
        assert following.running is not None
        following.running.send_signal(signal.SIGINT)
        assert following.running.wait(PATIENCE_S) == 0
    finally:
        if following.running is not None:
            following.running.kill()
            following.running.wait(PATIENCE_S)

"""`freshtoken status` as a person starts it: on a terminal, in a pipe, and watching."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from fakes import record
from running import PATIENCE_S, ROOT

from job.compose.refreshers import sinks_of
from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.core.clock import system_clock
from job.inventory.kinds import load

pytestmark = pytest.mark.integration

CTRL_C = b"\x03"
TOKEN = """\
[tokens.{name}]
token_url = "http://127.0.0.1:9/token"
client_id = "c"
client_secret = {{ file = "secret" }}
sinks = [{{ type = "file", path = "{name}.json" }}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a configuration of two tokens and store the first; the path."""
    path = tmp_path / "freshtoken.toml"
    path.write_text("".join(TOKEN.format(name=name) for name in ("one", "two")))
    put(path, "one")
    return path


def put(path: Path, name: str) -> None:
    """Store a good token."""
    config = load(str(path), {})
    settings = config.tokens[name]
    (sink,) = sinks_of(name, settings, Tools({}, "host", system_clock))
    sink.write(record(f"tok-{name}", int(time.time()), key=key_of(settings)))


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, config: Path, *options: str, columns: int = 80, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        unset = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
        plain = {name: value for name, value in os.environ.items() if name not in unset}
        plain |= {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "job", "status", "--config", str(config), *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=plain | environ,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_take_the_terminal,  # noqa: PLW1509  # no thread runs here
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, words: str) -> None:
        """Read until these words are shown."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            self._read()

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._ours, keys)

    def finish(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], PATIENCE_S)
        assert ready, "nothing is shown"
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # all who had the terminal are gone
            return False
        self.shown += read.decode()
        return bool(read)


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def piped(config: Path, *options: str, **environ: str) -> tuple[int, str, str]:
    """Run `status` in a pipe: its exit status, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "job", "status", "--config", str(config), *options],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1", "FORCE_COLOR": ""} | environ,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_shows_marks_and_colours(config: Path, columns: int) -> None:
    """The sentence is first, the worst token next, the cure below; the status says the same."""
    terminal = Terminal(config, columns=columns)
    assert terminal.finish() == 2
    assert "\x1b[1;31m✖ missing\x1b[0m" in terminal.shown
    lines = re.sub("\x1b\\[[0-9;]*m", "", terminal.shown).splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0] == "✖ 1 of 2 tokens needs you"
    assert [line.split()[0] for line in lines[3:] if "✖ m" in line or "● g" in line] == [
        "two",
        "one",
    ]
    assert [line.strip() for line in lines[-2:]] == [
        "✖ two: no token has been stored yet",
        "run `freshtoken once`",
    ]


def test_no_color_and_dumb_terminals(config: Path) -> None:
    """Without colours the words say it; a terminal that can't draw gets plain text."""
    grey = Terminal(config, NO_COLOR="1")
    assert grey.finish() == 2
    assert "✖ missing" in grey.shown
    assert set(re.findall(r"\x1b\[([0-9;]*)m", grey.shown)) <= {"0", "1", "2"}
    dumb = Terminal(config, TERM="dumb")
    assert dumb.finish() == 2
    assert dumb.shown.isascii()
    assert "\x1b" not in dumb.shown


def test_a_pipe_gets_plain_text(config: Path) -> None:
    """No colour, no marks; pictures for those who ask; rows for programs."""
    put(config, "two")
    status, out, err = piped(config)
    assert (status, err) == (0, "")
    assert out.isascii()
    assert "\x1b" not in out
    assert out.startswith("Every token is good, for at least 59m ")
    assert "\x1b[32m● good\x1b[0m" in piped(config, FORCE_COLOR="1")[1]
    rows = json.loads(piped(config, "--json", FORCE_COLOR="1")[1])
    assert [(row["token"], row["state"]) for row in rows] == [
        ("one", "current"),
        ("two", "current"),
    ]


def test_watching_needs_a_terminal(config: Path) -> None:
    """In a pipe, --watch is a usage error that says what to do instead."""
    for options in (("--watch",), ("--watch", "--json")):
        status, out, err = piped(config, *options, FORCE_COLOR="1")
        assert (status, out) == (2, "")
        assert "--watch needs a terminal; elsewhere run `status` again and again" in err


def test_watching_sees_a_new_token_and_ends_with_the_last_state(config: Path) -> None:
    """What changes is shown by itself; Ctrl-C ends it with the status of the last picture."""
    terminal = Terminal(config, "--watch")
    terminal.read_until("1 of 2 tokens needs you")
    put(config, "two")
    terminal.read_until("Every token is good")
    terminal.press(CTRL_C)
    assert terminal.finish() == 0
    assert terminal.shown.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_watching_a_bad_token_ends_with_2(config: Path) -> None:
    """A SIGTERM ends it as well, with what was true then."""
    terminal = Terminal(config, "--watch")
    terminal.read_until("1 of 2 tokens needs you")
    terminal.process.terminate()
    assert terminal.finish() == 2


def test_a_pipe_pays_for_no_picture(config: Path) -> None:
    """A health check may ask each minute: in a pipe nothing heavy is loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "job", "status", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
        env=os.environ | {"FORCE_COLOR": ""},
    )
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert {"rich", "requests", "boto3", "structlog", "waitress"} & loaded == set()
    assert "msgspec" in loaded

"""`freshtoken demo` as a newcomer sees it."""

import os
import pty
import re
import subprocess

import pytest
from running import PATIENCE_S, paced, program

pytestmark = pytest.mark.integration
DEMO = program("demo", "--tokens", "2", "--lifetime", f"{paced(3)}s")


def test_the_demo_prints_lines_where_there_is_no_terminal() -> None:
    """It keeps short tokens current with the job of `run`, ends by itself, and says how it went."""
    done = subprocess.run(
        [*DEMO, "--for", f"{paced(5)}s"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    last = done.stdout.splitlines()[-3:]
    kept = r"refreshes [2-9], deliveries [2-9], failures 0, never expired"
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"tiki +{kept}", last[0])
    assert re.fullmatch(rf"partner +{kept}", last[1])
    assert last[2] == "Every token was kept current."
    assert done.stderr == ""


def test_the_demo_shows_a_live_view_on_a_terminal() -> None:
    """On a terminal it draws the tokens, and Ctrl-C (SIGINT) ends it with the summary."""
    master, slave = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "LANG": "C.UTF-8", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(DEMO, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        seen = _read_until(master, "Every token is good")
        process.send_signal(2)
        seen += _read_until(master, None)
        assert process.wait(timeout=PATIENCE_S) == 0
    os.close(master)
    assert "Every token was kept current." in seen


def _read_until(master: int, text: str | None) -> str:
    """Return what the terminal shows until `text` is there, or until its end for None."""
    seen = ""
    while text is None or text not in seen:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # Linux says so when the other end is closed
            break
        seen += piece.decode(errors="replace")
    return seen


def test_a_length_that_is_none_is_a_usage_error() -> None:
    """A word that is no duration is refused with how to write one, as usage (2)."""
    done = subprocess.run(
        [*DEMO, "--for", "soon"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "a duration is written as 30s or 5m" in done.stderr

"""A writer killed at 200 random moments: the file is whole each time, and no leftovers stay."""

import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job.sinks.file import FileSink, sweep
from job.tokens import FormatName, OutputFormat

ROOT = Path(__file__).parent.parent.parent
KILLS = 100
LONGEST_LIFE_S = 0.15
"""Long beside a write even on a machine that is busy with other tests."""

# Forks a writer for each line that it reads, tells its process id, and when it is dead.
WRITERS = """
import hashlib, os, secrets, sys, time
from job.secret import Secret
from job.sinks.file import FileSink
from job.tokens import OutputFormat, Token, record_of

def write_for_ever(path, kind):
    sink = FileSink(path, OutputFormat(kind, "tiki"))
    while True:
        value = secrets.token_hex(secrets.randbelow(20_000))
        value += hashlib.sha256(value.encode()).hexdigest()
        now = int(time.time())
        with sink.claim():
            sink.read()
            sink.write(record_of(Token(Secret(value), "Bearer", "", now, now + 60, "test"), "key"))

for _ in sys.stdin:
    writer = os.fork()
    if writer == 0:
        write_for_ever(*sys.argv[1:])
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print("dead", flush=True)
"""

pytestmark = pytest.mark.integration


def is_whole(value: str) -> bool:
    """Tell whether a token is complete: it ends with the hash of the rest."""
    return hashlib.sha256(value[:-64].encode()).hexdigest() == value[-64:]


@pytest.mark.parametrize("kind", ["json", "raw"])
def test_the_file_is_always_whole(tmp_path: Path, kind: FormatName) -> None:
    """A kill at any moment leaves the old token or the new one, and its receipt knows it."""
    path = tmp_path / "token"
    sink = FileSink(str(path), OutputFormat(kind, "tiki"))
    seed = secrets.randbits(32)
    moments = random.Random(seed)  # noqa: S311  # moments to kill at, not secrets
    fingerprints = set()
    leftovers = 0
    command = [sys.executable, "-c", WRITERS, str(path), kind]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for number in range(KILLS):
            print(file=writers.stdin, flush=True)
            writer = int(writers.stdout.readline())
            time.sleep(moments.uniform(0, LONGEST_LIFE_S))
            os.kill(writer, signal.SIGKILL)
            assert writers.stdout.readline() == "dead\n"

            record = sink.read()
            if record is None and not fingerprints:
                continue  # killed before the first write was done
            assert record is not None, f"kill {number} of seed {seed}"
            assert is_whole(record.token.access_token.reveal()), f"kill {number} of seed {seed}"
            fingerprints.add(record.receipt.fingerprint)
            if number % 10 == 0:
                leftovers += sweep([str(path)])
        writers.stdin.close()

    leftovers += sweep([str(path)])
    names = {entry.name for entry in tmp_path.iterdir()}
    sidecar = {"token.freshtoken.json"} if kind == "raw" else set()
    assert names == {"token", ".token.lock"} | sidecar
    # This proves that the kills have hit writers at work.
    assert len(fingerprints) + leftovers > KILLS // 10

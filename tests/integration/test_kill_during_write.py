"""Writers killed at random moments, with and without a busy reader: what is read is whole.

READS=1000000 makes the reader as busy as it was for the evidence in docs/reliability.md.
"""

import contextlib
import hashlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import PATIENCE_S, ROOT, repetitions, stretched
from sinks import file_sink

from job.core.tokens import FormatName, OutputFormat
from job.sinks.file import sweep

KILLS = repetitions(100)
READS = int(os.environ.get("READS", repetitions(100_000)))
LONGEST_LIFE_S = 0.15
"""Long beside a write."""

# Forks a writer for each line that it reads, tells its process id, and when it is dead.
WRITERS = """
import hashlib, os, secrets, sys, time
sys.path.insert(0, "tests")
from sinks import file_sink
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Token, record_of

def write_for_ever(path, kind):
    sink = file_sink(path, OutputFormat(kind, "tiki"))
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


@contextlib.contextmanager
def writers_of(path: Path, kind: FormatName) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Give what starts a writer, does something meanwhile, and kills the writer."""
    command = [sys.executable, "-c", WRITERS, str(path), kind]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        asked, told = writers.stdin, writers.stdout

        def write_while(meanwhile: Callable[[], object]) -> None:
            print(file=asked, flush=True)
            writer = int(told.readline())
            try:
                meanwhile()
            finally:
                os.kill(writer, signal.SIGKILL)
                assert told.readline() == "dead\n"

        yield write_while
        writers.stdin.close()


@pytest.mark.fault("busy-reader")
@pytest.mark.fault("kill-during-write")
@pytest.mark.parametrize("kind", ["json", "raw"])
@pytest.mark.timeout(600 + READS // 100)
def test_a_busy_reader_sees_only_whole_tokens(tmp_path: Path, kind: FormatName) -> None:
    """A reader that never rests, beside writers that are killed all the time, reads whole tokens.

    It reads as programs do, with open(2); one read in sixteen also asks for the receipt.
    """
    path, seen = tmp_path / "token", set()
    sink = file_sink(str(path), OutputFormat(kind, "tiki"))
    moments = random.Random(READS)  # noqa: S311  # moments to kill at, not secrets
    reads = kills = 0

    def read_a_while() -> None:
        nonlocal reads
        until = time.monotonic() + moments.uniform(0, LONGEST_LIFE_S)
        while time.monotonic() < until:
            for _ in range(16):
                text = path.read_text()
                value = json.loads(text)["access_token"] if kind == "json" else text
                assert is_whole(value), f"read {reads}"
                reads += 1
            record = sink.read()
            assert record is not None, f"read {reads}"
            assert is_whole(record.token.access_token.reveal())
            seen.add(record.receipt.fingerprint)

    with writers_of(path, kind) as write_while:
        write_while(lambda: appears(path))
        while reads < READS // 2 or len(seen) <= READS // 1000:
            write_while(read_a_while)
            kills += 1
    sys.stdout.write(f"{kind}: {reads} reads of {len(seen)} tokens, {kills} writers killed\n")


def appears(path: Path) -> None:
    """Wait for the first write."""
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.fault("kill-during-write")
@pytest.mark.parametrize("kind", ["json", "raw"])
def test_the_file_is_always_whole(tmp_path: Path, kind: FormatName) -> None:
    """A kill at any moment leaves the old token or the new one, and its receipt knows it."""
    path = tmp_path / "token"
    sink = file_sink(str(path), OutputFormat(kind, "tiki"))
    seed = secrets.randbits(32)
    moments = random.Random(seed)  # noqa: S311  # moments to kill at, not secrets
    fingerprints = set()
    leftovers = 0
    with writers_of(path, kind) as write_while:
        for number in range(KILLS):
            write_while(lambda: time.sleep(moments.uniform(0, stretched(LONGEST_LIFE_S))))
            record = sink.read()
            if record is None and not fingerprints:
                continue  # killed before the first write was done
            assert record is not None, f"kill {number} of seed {seed}"
            assert is_whole(record.token.access_token.reveal()), f"kill {number} of seed {seed}"
            fingerprints.add(record.receipt.fingerprint)
            if number % 10 == 0:
                leftovers += sweep([str(path)])

    leftovers += sweep([str(path)])
    names = {entry.name for entry in tmp_path.iterdir()}
    sidecar = {"token.freshtoken.json"} if kind == "raw" else set()
    assert names == {"token", ".token.lock"} | sidecar
    # This proves that the kills have hit writers at work.
    assert len(fingerprints) + leftovers > KILLS // 10

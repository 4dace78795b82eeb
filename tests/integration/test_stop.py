"""Stopping and starting, as a real process: SIGTERM at any moment, storms, and a log that hangs."""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import (
    PATIENCE_S,
    ROOT,
    Job,
    SlowServer,
    child_of,
    configure_slow,
    missing,
    namespace,
    once,
    program,
    repetitions,
    stored,
    stretched,
    table,
    until,
)
from token_server import TokenServer, drip, token

if TYPE_CHECKING:
    from aws import FaultyAws
    from mypy_boto3_secretsmanager import SecretsManagerClient

STOP_S = 8.0
"""Five seconds are promised; the rest is for the start and the end of a process."""
MOMENTS = repetitions(40)
SEED = 7
AT_ONCE = 4
LATEST_S = 1.2
"""By then a start is over, and the exchange has begun, on a machine that is busy."""

Process = subprocess.Popen[str]

pytestmark = pytest.mark.integration


def configure(folder: Path, url: str, more: str = "") -> Path:
    """Write the configuration of one token."""
    (folder / "one.secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(table("one", url, more))
    return config


def start(*args: str, stderr: int = subprocess.PIPE) -> AbstractContextManager[Process]:
    """Start the program."""
    return started(program(*args), stderr)


@contextmanager
def started(argv: Sequence[str], stderr: int = subprocess.PIPE) -> Iterator[Process]:
    """Start a process that is killed at the end, whatever happens."""
    with subprocess.Popen(argv, stderr=stderr, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def left_in(folder: Path) -> set[str]:
    """Return what is in a folder beside the configuration."""
    return {path.name for path in folder.iterdir()} - {"freshtoken.toml", "one.secret"}


# At any moment


def stop_at(folder: Path, moment_s: float, *numbers: signal.Signals) -> str:
    """Start a job whose exchange takes a while and stop it then; say what is wrong with its end."""
    with TokenServer(drip(token("whole-token"), pause_s=0.003)) as server:
        config = configure(folder, server.url)
        with start("run", "--config", str(config)) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment_s)
            for number in numbers:
                process.send_signal(number)
            before = time.monotonic()
            _, told = process.communicate(timeout=PATIENCE_S)
            took_s = time.monotonic() - before
        asked = len(server.requests)
    events = [json.loads(line)["event"] for line in told.splitlines()]
    whole = ["job.started", *["token.refreshed", "token.delivered"] * asked, "job.stopped"]
    # Until our first line a signal kills, and a busy machine takes long to come to it. What comes
    # after that is shown exactly by test_sigterm_while_it_is_being_loaded.
    killed = process.returncode == -numbers[0] and not events and not asked
    files = {"one.json", ".one.json.lock"} if asked else set()
    wrong = [
        f"status {process.returncode}" if process.returncode and not killed else "",
        f"took {took_s:.1f} s" if took_s > stretched(STOP_S) else "",
        f"told {events}" if events not in ([], whole) else "",
        f"left {left_in(folder)}" if left_in(folder) != files else "",
        "token" if asked and stored(folder, "one") != "whole-token" else "",
    ]
    return ", ".join(filter(None, wrong))


@pytest.mark.fault("sigterm")
def test_sigterm_at_any_moment(tmp_path: Path) -> None:
    """Promise: from start to work, it leaves in time with 0; what was asked for is stored whole.

    Nothing else is left behind, and a second signal right after the first changes nothing.
    """
    draw = random.Random(SEED)  # noqa: S311  # moments, no secrets
    moments = [draw.uniform(0.0, LATEST_S) for _ in range(MOMENTS)]
    both = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    folders = [tmp_path / str(number) for number in range(MOMENTS)]
    for folder in folders:
        folder.mkdir()

    def run(number: int) -> str:
        return stop_at(folders[number], moments[number], *both[: 1 + 2 * (number % 2)])

    with ThreadPoolExecutor(AT_ONCE) as at_once:
        wrong = list(at_once.map(run, range(MOMENTS)))
    assert {moments[n]: what for n, what in enumerate(wrong) if what} == {}


# Sends SIGTERM when a module is looked for, or when the interpreter ends.
HOOKED = """
import atexit, os, signal, sys
moment, number = sys.argv[1], int(sys.argv[2])
class Hook:
    def find_spec(self, name, *_):
        if name == moment:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Hook())
if moment == "the end":
    atexit.register(os.kill, os.getpid(), number)
sys.argv = ["freshtoken", *sys.argv[3:]]
from job.__main__ import main
main()
"""


def hooked(
    moment: str, number: signal.Signals, *args: str, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a verb that sends itself a signal at a moment of its start, or at its end."""
    return subprocess.run(
        [*before, sys.executable, "-c", HOOKED, moment, str(int(number)), *args],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )


STARTING = [
    "job.cli",
    "click",
    "job.compose.refreshers",
    "job.runners.daemon",
    "apscheduler.schedulers.background",
]


@pytest.mark.fault("sigterm-at-start")
def test_sigterm_while_it_is_being_loaded(tmp_path: Path) -> None:
    """Promise: from our first line on SIGTERM is heard: status 0, nothing asked for, no litter."""
    with TokenServer() as server:
        config = str(configure(tmp_path, server.url))

        def run(moment: str) -> tuple[int, str]:
            done = hooked(moment, signal.SIGTERM, "run", "--config", config)
            return done.returncode, done.stderr

        with ThreadPoolExecutor(AT_ONCE) as at_once:
            assert list(at_once.map(run, STARTING)) == [(0, "")] * len(STARTING)
        assert server.requests == []
    assert left_in(tmp_path) == set()


@pytest.mark.fault("sigterm-at-start")
def test_as_pid_1_it_hears_sigterm_while_it_is_being_loaded(tmp_path: Path) -> None:
    """Promise: the kernel hides from PID 1 what it doesn't handle; ours is not lost for that."""
    config = str(configure(tmp_path, "http://127.0.0.1:9/token"))
    for moment in ("click", "job.runners.daemon"):
        done = hooked(moment, signal.SIGTERM, "run", "--config", config, before=namespace())
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.fault("sigterm-at-start")
def test_verbs_that_only_show_something_die_of_sigterm_as_any_program(tmp_path: Path) -> None:
    """Promise: a signal that waited while they were being loaded isn't lost either."""
    config = str(configure(tmp_path, "http://127.0.0.1:9/token"))
    for verb in ("status", "check"):
        assert hooked("click", signal.SIGTERM, verb, "--config", config).returncode == -15
    assert hooked("click", signal.SIGTERM, "once", "--config", config).returncode == 75


@pytest.mark.fault("sigterm")
def test_a_signal_while_it_leaves_changes_nothing(tmp_path: Path) -> None:
    """Promise: while the interpreter ends, an impatient supervisor still gets status 0."""
    config = str(configure(tmp_path, "http://127.0.0.1:9/token"))
    argv = [sys.executable, "-c", HOOKED, "the end", "15", "run", "--config", config]
    with started(argv) as process:
        assert process.stderr is not None
        assert "job.started" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "job.stopped" in told.splitlines()[-1]


def test_sighup_while_it_is_being_loaded_is_a_reload(tmp_path: Path) -> None:
    """Promise: a configuration that is changed during a start comes into force."""
    hook = HOOKED.replace("os.kill(os.getpid(), number)", "os.kill(os.getpid(), signal.SIGHUP)", 1)
    with TokenServer() as server:
        config = str(configure(tmp_path, server.url))
        argv = [sys.executable, "-c", hook, "job.runners.daemon", "15", "run", "--config", config]
        with started(argv) as process:
            assert process.stderr is not None
            told = [json.loads(line)["event"] for line in iter_until(process, "job.reloaded")]
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
    assert told[0] == "job.started"
    assert process.returncode == 0


DYING = """
import threading
def die():
    while threading.excepthook is threading.__excepthook__:
        threading.Event().wait(0.01)
    {}["s3cret"]
thread = threading.Thread(target=die)
"""


@pytest.mark.fault("exception-anywhere")
def test_what_a_thread_dies_of_is_told_as_an_event(tmp_path: Path) -> None:
    """Promise: Python's own way would print the message of the error, whatever stands in it."""
    hook = DYING + HOOKED.replace("os.kill(os.getpid(), number)", "thread.start()", 1)
    with TokenServer() as server:
        config = str(configure(tmp_path, server.url))
        argv = [sys.executable, "-c", hook, "job.runners.daemon", "15", "run", "--config", config]
        with started(argv) as process:
            lines = list(iter_until(process, "job.crashed"))
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=PATIENCE_S)
    crash = json.loads(lines[-1])
    assert (crash["event"], crash["error"]) == ("job.crashed", "KeyError")
    assert "s3cret" not in "".join(lines) + rest
    assert process.returncode == 0


def iter_until(process: Process, word: str) -> Iterator[str]:
    """Yield what a process tells, up to a line with this word."""
    assert process.stderr is not None
    for line in process.stderr:
        yield line
        if word in line:
            return


# In the middle of something


@contextmanager
def unread(fifo: Path) -> Iterator[None]:
    """Hold whoever opens this FIFO, in the middle of reading it."""
    writer: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):  # nobody has it open yet
            writer.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writer)

    end = time.monotonic() + PATIENCE_S
    waiting = threading.Event()
    while not is_read() and time.monotonic() < end:
        waiting.wait(0.02)
    assert writer
    try:
        yield
    finally:
        os.close(writer[0])


@pytest.mark.fault("reload-hangs")
def test_sigterm_while_a_configuration_hangs(tmp_path: Path) -> None:
    """Promise: a configuration that is never read to its end holds up neither start nor stop."""
    with TokenServer() as server:
        config = configure(tmp_path, server.url)
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        argv = ("run", "--config", str(fifo))
        with start(*argv) as process, unread(fifo):
            before = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, told) == (0, "")
        assert time.monotonic() - before < stretched(1.0)
        with Job(config) as job:
            job.told("token.delivered")
            fifo.replace(config)
            job.send(signal.SIGHUP)
            with unread(config):
                job.send(signal.SIGUSR1)
                job.told("token.delivered")
                job.send(signal.SIGTERM)
                assert job.end(within_s=2.0) == 0
            assert job.names()[-1] == "job.stopped"


@pytest.mark.fault("sigterm")
def test_sigterm_while_a_command_hangs(tmp_path: Path) -> None:
    """Promise: a password manager that hangs holds the stop up for 5 s, and no longer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    slow = f'client_secret = {{ command = ["cat", "{fifo}"] }}'
    config = configure(tmp_path, "http://127.0.0.1:9/token")
    config.write_text(re.sub("client_secret = .*", lambda _: slow, config.read_text()))
    with Job(config) as job, unread(fifo):
        job.send(signal.SIGTERM)
        assert job.end(within_s=STOP_S) == 0
        assert job.names() == ["job.started", "job.stopped"]


@pytest.mark.fault("sigterm-during-write")
def test_sigterm_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """Promise: a disk that takes a second for a sync holds the stop up, and the file is whole."""
    if shutil.which("strace") is None:
        missing("no strace to make a disk slow")
    log = tmp_path.parent / f"{tmp_path.name}.strace"
    slow = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=fsync,rename,renameat,renameat2"]
    slow += ["-e", "inject=fsync:delay_enter=1000000"]
    with TokenServer(token("whole-token")) as server:
        config = configure(tmp_path, server.url)
        with Job(config, *slow) as job:
            assert until(
                lambda: any(name.endswith(".tmp") for name in left_in(tmp_path)),
                job.process,
            )
            os.kill(child_of(job.pid), signal.SIGTERM)
            assert job.end(within_s=STOP_S) == 0
            assert job.names() == [
                "job.started",
                "token.refreshed",
                "token.delivered",
                "job.stopped",
            ]
    assert left_in(tmp_path) == {"one.json", ".one.json.lock"}
    assert stored(tmp_path, "one") == "whole-token"


@pytest.fixture
def slow_aws(moto_url: str, aws: "SecretsManagerClient") -> Iterator["FaultyAws"]:
    """Give an AWS that can be made slow, with an empty secret `t` in it."""
    from aws import FaultyAws  # noqa: PLC0415  # loads boto3

    aws.create_secret(Name="t")
    with FaultyAws(moto_url) as slow:
        yield slow


@pytest.mark.fault("sigterm-during-write")
@pytest.mark.parametrize("answers", [True, False], ids=["slow", "hung"])
def test_sigterm_in_the_middle_of_a_call_to_aws(
    tmp_path: Path,
    slow_aws: "FaultyAws",
    aws: "SecretsManagerClient",
    aws_environ: pytest.MonkeyPatch,
    *,
    answers: bool,
) -> None:
    """Promise: a slow put is finished and its version promoted; a hung one holds for 5 s only."""
    from aws import meanwhile  # noqa: PLC0415  # loads boto3

    asked, answer = threading.Event(), threading.Event()
    slow_aws.faults.plan(
        "PutSecretValue", meanwhile(lambda: (asked.set(), answer.wait(PATIENCE_S)))
    )
    with TokenServer(token("whole-token")) as server:
        config = configure(tmp_path, server.url)
        sink = 'type = "aws_secrets_manager"\nsecret_id = "t"\nregion = "eu-central-1"\n'
        sink += f'endpoint_url = "{slow_aws.url}"\n'
        config.write_text(re.sub(r'type = "file"\npath = .*\n', lambda _: sink, config.read_text()))
        with Job(config) as job:
            assert asked.wait(PATIENCE_S)
            job.send(signal.SIGTERM)
            if answers:
                with pytest.raises(subprocess.TimeoutExpired):
                    job.process.wait(0.3)
                answer.set()
            assert job.end(within_s=STOP_S) == 0
            answer.set()
    if answers:
        current = aws.get_secret_value(SecretId="t")
        assert json.loads(current["SecretString"])["access_token"] == "whole-token"
        assert job.names() == ["job.started", "token.refreshed", "token.delivered", "job.stopped"]


def test_the_time_for_a_stop_can_be_set(tmp_path: Path) -> None:
    """Promise: --stop-timeout bounds what a hung exchange may cost, from signal to exit."""
    with (
        SlowServer() as slow,
        Job(configure_slow(tmp_path, slow), flags=["--stop-timeout", "2s"]) as job,
    ):
        assert slow.asked.acquire(timeout=PATIENCE_S)
        before = time.monotonic()
        job.send(signal.SIGTERM)
        # Less than the four seconds that work in hand has by default.
        assert job.end(within_s=4.0) == 0
        assert time.monotonic() - before >= 1.0


# Storms, and a log that is not read


@pytest.mark.fault("signal-storm")
def test_a_storm_of_signals(tmp_path: Path) -> None:
    """Promise: hundreds of reloads and refreshes ask for at most one token a second.

    No thread and no file is left of them, and SIGTERM is heard among them.
    """
    with TokenServer() as server:
        config = configure(tmp_path, server.url)
        with Job(config) as job:
            job.told("token.delivered")
            before = time.monotonic()
            for _ in range(300):
                job.send(signal.SIGUSR1)
                job.send(signal.SIGHUP)
            job.told("job.reloaded")
            job.told("token.delivered")
            config.write_text(config.read_text() + 'mode = "0640"\n')
            job.send(signal.SIGHUP)
            job.told("job.reloaded")
            took_s = time.monotonic() - before
            assert len(server.requests) <= 2 + took_s
            files = len(list(Path(f"/proc/{job.pid}/fd").iterdir()))
            threads = len(list(Path(f"/proc/{job.pid}/task").iterdir()))
            assert (files < 30, threads < 15) == (True, True)
            for _ in range(50):
                job.send(signal.SIGUSR1)
                job.send(signal.SIGHUP)
                job.send(signal.SIGTERM)
            assert job.end(within_s=STOP_S) == 0
            assert job.names()[-1] == "job.stopped"
    assert "job.crashed" not in job.names()


@pytest.mark.fault("log-hangs")
def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """Promise: with a full pipe as its log, tokens are kept, signals heard; it ends with 0."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, b"x" * 4096)
        with TokenServer() as server:
            config = configure(tmp_path, server.url)
            with start("run", "--config", str(config), stderr=writer) as process:
                try:
                    assert until((tmp_path / "one.json").exists, process)
                    process.send_signal(signal.SIGUSR1)
                    assert until(lambda: len(server.requests) > 1, process)
                    before = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(PATIENCE_S) == 0
                    assert time.monotonic() - before < stretched(STOP_S)
                finally:
                    process.kill()
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.fault("log-unwritable")
def test_a_log_whose_reader_is_gone_stops_nothing(tmp_path: Path) -> None:
    """Promise: SIGPIPE doesn't kill; tokens are kept, and a stop is status 0."""
    reader, writer = os.pipe()
    os.close(reader)
    with TokenServer() as server:
        config = configure(tmp_path, server.url)
        with start("run", "--config", str(config), stderr=writer) as process:
            os.close(writer)
            try:
                assert until((tmp_path / "one.json").exists, process)
                process.send_signal(signal.SIGPIPE)
                process.send_signal(signal.SIGUSR1)
                assert until(lambda: len(server.requests) > 1, process)
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()


# Once


@pytest.mark.fault("sigterm-once")
def test_sigterm_finishes_the_exchange_of_once(tmp_path: Path) -> None:
    """Promise: a token that has been asked for is stored, and the status tells how it stands."""
    with SlowServer() as slow:
        config = configure_slow(tmp_path, slow)
        with start("once", "--config", str(config)) as process:
            assert slow.asked.acquire(timeout=PATIENCE_S)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            slow.answer.set()
            _, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert [json.loads(line)["event"] for line in told.splitlines()] == [
            "token.refreshed",
            "token.delivered",
        ]
    assert stored(tmp_path, "slow") == slow.token


@pytest.mark.fault("once-hangs")
def test_once_ends_by_itself_and_by_sigterm_whatever_hangs(tmp_path: Path) -> None:
    """Promise: within its time, or within 5 s of a signal, it leaves with 75, and no litter."""

    def run(folder: Path, *flags: str, stop: bool) -> tuple[int, bool, set[str]]:
        folder.mkdir()
        with SlowServer() as slow:
            config = configure_slow(folder, slow)
            with start("once", "--config", str(config), *flags) as process:
                assert slow.asked.acquire(timeout=PATIENCE_S)
                before = time.monotonic()
                if stop:
                    process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE_S)
            in_time = time.monotonic() - before < stretched(STOP_S + 3.0 * (not stop))
        return process.returncode, in_time, left_in(folder) - {"slow.secret"}

    with ThreadPoolExecutor(2) as at_once:
        ends = at_once.map(
            lambda how: run(tmp_path / how[0], *how[1], stop=how[2]),
            [("by itself", ["--timeout", "3s"], False), ("by SIGTERM", [], True)],
        )
        assert list(ends) == [(75, True, {".slow.json.lock"})] * 2


@pytest.mark.fault("once-overlaps")
def test_two_that_overlap_ask_once(tmp_path: Path) -> None:
    """Promise: a `once` that cron starts while another is at work waits, and adopts its token."""
    with SlowServer() as slow:
        config = configure_slow(tmp_path, slow)
        with ThreadPoolExecutor(3) as at_once:
            runs = [at_once.submit(once, config) for _ in range(3)]
            assert slow.asked.acquire(timeout=PATIENCE_S)
            slow.answer.set()
            ended = [run.result(PATIENCE_S) for run in runs]
        assert [run.returncode for run in ended] == [0, 0, 0]
        assert slow.requests == 1
    assert stored(tmp_path, "slow") == slow.token

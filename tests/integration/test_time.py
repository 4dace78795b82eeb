"""Clocks that step, stop and lie, with the real scheduler in a real process."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import pytest
from running import PATIENCE_S, Job, missing, stored, stretched, table
from token_server import TokenServer, token

AFRESH_S = 5.0
"""Within this time after a step, or after waking, everything has been decided afresh."""
HOUR_S, YEAR_S = 3600, 365 * 86_400
BEYOND_ALL_S = 300 * YEAR_S

pytestmark = pytest.mark.integration

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    int known = clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME;
    int file = known ? open(getenv("CLOCK_OFFSETS_FILE"), O_RDONLY | O_CLOEXEC) : -1;
    char text[64] = {0};
    long wall = 0, boot = 0;
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) sscanf(text, "%ld %ld", &wall, &boot);
    if (file >= 0) close(file);
    if (known) now->tv_sec += clock == CLOCK_REALTIME ? wall : boot;
    return result;
}
"""
"""Moves the wall clock and the boot clock of one process alone, by what stands in a file."""


class Clocks:
    """The clocks of the processes that are started from now on, in this folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offsets"
        self.wall_s = 0

    def move(self, wall_s: int, boot_s: int = 0) -> None:
        """Put the clocks so far ahead of the true ones."""
        self.wall_s = wall_s
        following = self._file.with_suffix(".next")
        following.write_text(f"{wall_s} {boot_s}")
        # Replaced and not rewritten: an empty file would be one more step.
        following.replace(self._file)

    def now(self) -> float:
        """Return what the wall clock of these processes says."""
        return time.time() + self.wall_s


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the clocks that can be moved."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing("no C compiler to make clocks that can be moved")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "shim.c").write_text(SHIM)
    made = folder / "shim.so"
    build = [str(compiler), "-shared", "-fPIC", "-o", str(made), str(folder / "shim.c"), "-ldl"]
    subprocess.run(build, check=True, capture_output=True, timeout=PATIENCE_S)
    return made


@pytest.fixture
def clocks(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Give the clocks of all processes that a test starts."""
    folder = tmp_path / "clocks"
    folder.mkdir()
    made = Clocks(folder)
    made.move(0)
    monkeypatch.setenv("CLOCK_OFFSETS_FILE", str(folder / "offsets"))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return made


@pytest.fixture
def server() -> Iterator[TokenServer]:
    """Start a token endpoint whose tokens live for an hour."""
    with TokenServer() as running:
        yield running


def configure(folder: Path, server: TokenServer) -> Path:
    """Write the configuration of one token."""
    (folder / "one.secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(table("one", server.url))
    return config


def expires_at(folder: Path) -> int:
    """Return the expiry that readers find."""
    found: int = json.loads((folder / "one.json").read_text())["expires_at"]
    return found


def is_fresh(left_s: float) -> bool:
    """Tell whether a token of an hour was asked for a moment ago."""
    return HOUR_S - stretched(10.0) < left_s <= HOUR_S


def end(job: Job) -> None:
    """Stop a job that must be well."""
    job.send(signal.SIGTERM)
    assert job.end() == 0
    assert "job.crashed" not in job.names()


# Steps


@pytest.mark.fault("clock-step")
@pytest.mark.parametrize(
    "offsets",
    [
        (HOUR_S, 0, -HOUR_S),
        (10 * YEAR_S, -10 * YEAR_S, 0),
        (int(datetime(2038, 1, 19, 3, 14, tzinfo=UTC).timestamp() - time.time()), 57 * YEAR_S),
    ],
    ids=["an hour", "ten years", "2038 and later"],
)
def test_a_stepped_clock_is_seen_and_the_sweep_goes_on(
    tmp_path: Path, server: TokenServer, clocks: Clocks, offsets: tuple[int, ...]
) -> None:
    """Promise: whatever the wall clock does, readers soon find a token that is good by it.

    APScheduler alone would sleep through a step back, and count all the ticks of a step forward.
    """
    with Job(configure(tmp_path, server)) as job:
        job.told("token.delivered")
        for offset in offsets:
            step, began = offset - clocks.wall_s, time.monotonic()
            clocks.move(offset)
            assert abs(job.told("clock.stepped")["step_s"] - step) < 1.0
            job.told("token.delivered")
            assert time.monotonic() - began < stretched(AFRESH_S)
            assert is_fresh(expires_at(tmp_path) - clocks.now())
        end(job)
    assert len(server.requests) == 1 + len(offsets)


@pytest.mark.fault("boot-in-1970")
def test_a_boot_without_a_clock(tmp_path: Path, server: TokenServer, clocks: Clocks) -> None:
    """Promise: a machine that wakes in 1970 gets a token, and another when the time is known.

    What it finds in its sink is from its future, and is worth nothing until then.
    """
    config = configure(tmp_path, server)
    with Job(config) as job:
        job.told("token.delivered")
        end(job)
    clocks.move(100 - int(time.time()))
    with Job(config) as job:
        job.told("token.delivered")
        assert 3600 < expires_at(tmp_path) < 3800
        clocks.move(0)
        job.told("clock.stepped")
        job.told("token.delivered")
        assert is_fresh(expires_at(tmp_path) - clocks.now())
        end(job)
    assert len(server.requests) == 3


@pytest.mark.fault("daylight-saving")
@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("America/New_York", datetime(2030, 3, 10, 6, 59, 59, tzinfo=UTC)),
        ("America/New_York", datetime(2030, 11, 3, 5, 59, 59, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2030, 4, 6, 14, 59, 59, tzinfo=UTC)),
        ("No/Such_Zone", datetime(2030, 6, 1, tzinfo=UTC)),
    ],
    ids=["gap", "fold", "half an hour", "nonsense"],
)
def test_daylight_saving_changes_nothing(
    tmp_path: Path,
    server: TokenServer,
    clocks: Clocks,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    moment: datetime,
) -> None:
    """Promise: the sweep ticks through a change of the local time, and the log stays in UTC."""
    monkeypatch.setenv("TZ", zone)
    clocks.move(int(moment.timestamp() - time.time()) - 1)
    with Job(configure(tmp_path, server)) as job:
        job.told("token.delivered")
        for _ in range(3):
            job.send(signal.SIGUSR1)
            job.told("token.delivered")
        assert clocks.now() > moment.timestamp()
        end(job)
    stamps = [event["timestamp"] for event in job.events]
    assert all(stamp.startswith("2030-") and stamp.endswith("Z") for stamp in stamps)
    assert stamps == sorted(stamps)
    assert "clock.stepped" not in job.names()


# Sleep


@pytest.mark.fault("suspend")
def test_a_suspended_laptop_decides_afresh(
    tmp_path: Path, server: TokenServer, clocks: Clocks
) -> None:
    """Promise: after hours of sleep the token is replaced within seconds of waking.

    In a suspend both clocks run on, while the one that timers wait by stands still.
    """
    with Job(configure(tmp_path, server)) as job:
        job.told("token.delivered")
        for slept_s in (HOUR_S, 10 * HOUR_S):
            woke = time.monotonic()
            clocks.move(slept_s, slept_s)
            job.told("token.delivered")
            assert time.monotonic() - woke < stretched(AFRESH_S)
            assert is_fresh(expires_at(tmp_path) - clocks.now())
        end(job)
    assert "clock.stepped" not in job.names()
    assert len(server.requests) == 3


def paused(job: Job, seconds: float, meanwhile: Callable[[], object]) -> None:
    """Stop a process with SIGSTOP for a while, and let it go on."""
    job.send(signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, job.pid, os.WSTOPPED | os.WNOWAIT)
        with pytest.raises(subprocess.TimeoutExpired):
            job.process.wait(seconds)
        meanwhile()
    finally:
        job.send(signal.SIGCONT)


@pytest.mark.fault("paused")
def test_a_paused_machine_decides_afresh(tmp_path: Path, clocks: Clocks) -> None:
    """Promise: what became due during a pause is done within 5 s of its end, and only once.

    So it is whether the wall clock went on meanwhile, as with SIGSTOP, or is set right after it.
    """
    with TokenServer(token("short", 4), token("hour"), token("last")) as server:
        with Job(configure(tmp_path, server)) as job:
            job.told("token.delivered")
            paused(job, 3.0, lambda: None)
            woke = time.monotonic()
            job.told("token.delivered")
            assert time.monotonic() - woke < stretched(AFRESH_S)
            assert stored(tmp_path, "one") == "hour"
            paused(job, 0.1, lambda: clocks.move(HOUR_S))
            woke = time.monotonic()
            job.told("token.delivered")
            assert time.monotonic() - woke < stretched(AFRESH_S)
            assert stored(tmp_path, "one") == "last"
            end(job)
        assert len(server.requests) == 3


@pytest.mark.fault("paused")
def test_a_pause_in_the_middle_of_an_exchange(tmp_path: Path) -> None:
    """Promise: an exchange whose deadline passed in a pause is over, and is made again at once."""
    asked, answers = SimpleQueue[bool](), SimpleQueue[bool]()

    def hold(connection: object, _: object) -> None:
        asked.put(True)  # noqa: FBT003  # that it came is all there is to tell
        answers.get(timeout=PATIENCE_S)

    with TokenServer(hold, token("second")) as server:
        config = configure(tmp_path, server)
        config.write_text(config.read_text().replace("token_url", 'timeout = "3s"\ntoken_url'))
        with Job(config) as job:
            assert asked.get(timeout=PATIENCE_S)
            paused(job, 3.5, lambda: None)
            woke = time.monotonic()
            assert job.told("token.refresh_failed")["code"] == "timeout"
            job.told("token.delivered")
            assert time.monotonic() - woke < stretched(AFRESH_S)
            answers.put(True)  # noqa: FBT003  # the same
            end(job)
    assert stored(tmp_path, "one") == "second"


# Threads that die or hang


@pytest.mark.fault("sweep-dead")
def test_clocks_that_cannot_be_read_end_the_process(
    tmp_path: Path, server: TokenServer, clocks: Clocks
) -> None:
    """Promise: when every look at a clock raises, the watchdog lives, and has the process leave.

    Python can't tell a time beyond the year 2262: it raises in whichever thread asks, and to
    APScheduler it says the same time for ever.
    """
    config = configure(tmp_path, server)
    with Job(config) as job:
        job.told("token.delivered")
        clocks.move(BEYOND_ALL_S, BEYOND_ALL_S)
        assert job.told("job.crashed")["error"] == "OverflowError"
        assert job.told("job.crashed")["error"] == "the sweep has missed 10 ticks"
        assert job.end() == 70
    clocks.move(0)
    with Job(config) as job:
        job.told("token.adopted")
        end(job)
    assert len(server.requests) == 1


@contextmanager
def hung(thread: str) -> Iterator[None]:
    """Hold one thread of a process in its next system call for a minute."""
    if shutil.which("strace") is None:
        missing("no strace to make a thread hang")
    calls = ["trace=futex,restart_syscall"]
    calls += [f"inject={name}:delay_enter=60000000:when=1" for name in ("futex", "restart_syscall")]
    argv = ["strace", "-qq", "-o", os.devnull, *(w for call in calls for w in ("-e", call))]
    with subprocess.Popen([*argv, "-p", thread]) as holding:
        try:
            yield
        finally:
            holding.kill()


@pytest.mark.fault("sweep-dead")
def test_a_hung_scheduler_ends_the_process_and_a_new_one_goes_on(
    tmp_path: Path, server: TokenServer
) -> None:
    """Promise: when APScheduler's own thread hangs, the process leaves with 70 within seconds.

    It is not working any more, so its supervisor has to start another, which mints nothing.
    """
    config = configure(tmp_path, server)
    with Job(config) as job:
        job.told("token.delivered")
        threads = sorted(int(path.name) for path in Path(f"/proc/{job.pid}/task").iterdir())
        # In the order of their start: the main thread, the one that logs, the scheduler's.
        began = time.monotonic()
        with hung(str(threads[2])):
            assert job.told("job.crashed")["error"] == "the sweep has missed 10 ticks"
        assert job.end() == 70
        assert time.monotonic() - began < stretched(10.0 + AFRESH_S)
        assert job.names()[-1] == "job.stopped"
    with Job(config) as job:
        job.told("token.adopted")
        end(job)
    assert len(server.requests) == 1

"""Rows of many tokens in one process, on a clock that runs faster than life."""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from figures import Figure
from processes import (
    WORKERS,
    Failed,
    Programs,
    argv,
    cpu_of,
    cpu_so_far,
    environment,
    memory_mb,
    running,
    server,
    wait_for,
)

SOON_S = 3.0
"""In real seconds, from the leap of the clock to the first token that is due."""
REFRESH_S = 60.0
SETTLE_S = 3.0
"""A token that is due this shortly before the end is not counted: it may be on its way."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many tokens, and how they are watched; times in real seconds.

    Nothing is due until `first_due_s` after they began to be stored: in that time the process has
    to start (within `start_s`) and is watched idle. Then its clock leaps to where the first is
    nearly due and is `rate` times as fast from then on, and it is watched for `busy_s` from the
    first refresh on.
    """

    tokens: int
    rate: float
    first_due_s: int
    start_s: float
    idle_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was seen of one run; times in real seconds, CPU in parts of a core, memory in MB."""

    start_s: float
    idle_cpu: float
    busy_cpu: float
    memory: float
    peak: float
    late: list[float]
    failures: int


def many(programs: Programs, folder: Path, load: Load) -> Iterator[Figure]:
    """Measure lateness, memory and CPU of so many one-hour tokens in files."""
    seen = _weigh(programs.job, folder, load)
    name = f"{load.tokens} tokens: "
    late = statistics.quantiles(seen.late, n=100)
    detail = (
        f"worst {max(seen.late):.2f} s, median {late[49]:.2f} s of {len(seen.late)} refreshes, "
        f"{len(seen.late) / load.busy_s:.0f}/s where life has {load.tokens / 2412:.0f}/s; "
        f"{100 * seen.busy_cpu:.0f} % of a core; failures: {seen.failures}"
    )
    yield Figure(name + "p99 lateness", late[98], "s", 2, detail)
    detail = f"at most {seen.peak:.0f} MB; started, all tokens read, in {seen.start_s:.1f} s"
    yield Figure(name + "memory", seen.memory, "MB", 300, detail)
    detail = f"of one core, over {load.idle_s:.0f} s in which nothing was due"
    goal = 1 if load.tokens <= 10_000 else None  # noqa: PLR2004  # the goal names this number
    yield Figure(name + "CPU when idle", 100 * seen.idle_cpu, "%", goal, detail)


def _weigh(job: Path, folder: Path, load: Load) -> Weighed:
    env, python, log = environment(folder), job / "python", folder / "many.log"
    count = str(load.tokens)
    with server("token_server.py", env, count, python=python) as url:
        stored = argv(python, WORKERS / "stored_tokens.py", folder, url, count, load.first_due_s)
        cpu_of(stored, env)
        run = argv(python, WORKERS / "compressed_run.py", folder / "many.toml", load.rate)
        began = time.monotonic()
        with running(run, env, log) as process:
            wait_for(process, log, "token.adopted", load.tokens, load.start_s)
            start_s = time.monotonic() - began
            idle_cpu = _share(process.pid, load.idle_s)
            speed = _speed_up(process, min(_due(log).values()), load.rate)
            wait_for(process, log, "token.refreshed", 1, REFRESH_S)
            busy_cpu = _share(process.pid, load.busy_s)
            end = time.time()
            memory, peak = memory_mb(process.pid), memory_mb(process.pid, "VmHWM")
    late, failures = _lateness(log, speed, end)
    return Weighed(start_s, idle_cpu, busy_cpu, memory, peak, late, failures)


@dataclass(frozen=True, slots=True)
class Speed:
    """How the clock of the process runs: ahead by `leap_s` at `begin`, and `rate` times as fast."""

    begin: float
    leap_s: float
    rate: float

    def real(self, moment: float) -> float:
        """Return when the clock of the process showed a moment after `begin`."""
        return self.begin + (moment - self.begin - self.leap_s) / self.rate


def _speed_up(process: "subprocess.Popen[bytes]", first_due: float, rate: float) -> Speed:
    """Make the clock of the process fast from now on."""
    begin = time.time()
    if begin > first_due:
        raise Failed("tokens were due while it was to be idle; raise first_due_s")
    speed = Speed(begin, max(first_due - begin - SOON_S * rate, 0.0), rate)
    if process.stdin is not None:
        process.stdin.write(f"{speed.begin} {speed.leap_s}\n".encode())
        process.stdin.flush()
    return speed


def _share(pid: int, seconds: float) -> float:
    """Return the part of a core that a process uses for so long from now on."""
    cpu, began = cpu_so_far(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_so_far(pid) - cpu) / (time.monotonic() - began)


def _lateness(log: Path, speed: Speed, end: float) -> tuple[list[float], int]:
    """Return by how many real seconds each refresh came after it was due, and the failures.

    A refresh has come when its line is logged, after the file was written; one that was due but
    has not come counts as late until the end.
    """
    due = {name: speed.real(at) for name, at in _due(log).items()}
    came: dict[str, float] = {}
    for event in _events(log):
        if event["event"] == "token.refreshed":
            moment = datetime.fromisoformat(str(event["timestamp"])).timestamp()
            came.setdefault(str(event["token"]), moment)
    failures = sum(event["level"] != "info" for event in _events(log))
    counted = [name for name, at in due.items() if at < end - SETTLE_S]
    if len(counted) < 100:  # noqa: PLR2004  # fewer have no p99
        raise Failed(f"only {len(counted)} tokens came due")
    return [came.get(name, end) - due[name] for name in counted], failures


def _due(log: Path) -> dict[str, float]:
    """Return when each token that was found stored is due, by the clock of the process."""
    adopted = (event for event in _events(log) if event["event"] == "token.adopted")
    return {str(event["token"]): float(str(event["refresh_at"])) for event in adopted}


def _events(log: Path) -> Iterator[Mapping[str, object]]:
    with log.open("rb") as lines:
        yield from map(json.loads, lines)

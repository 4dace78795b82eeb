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
    argv,
    cpu_of,
    cpu_so_far,
    environment,
    memory_mb,
    running,
    server,
    wait_for,
)

SETTLE_S = 3.0
"""A token that is due this shortly before the end is not counted: it may be on its way."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many tokens, and how they are watched; times in real seconds.

    Nothing is due until `first_due_s` after they were stored: in that time the process has to
    start (within `start_s`) and is watched idle. From then on its clock is `rate` times as fast
    as life, and it is watched for `busy_s` from the first refresh on.
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


def many(job: Path, folder: Path, load: Load) -> Iterator[Figure]:
    """Measure lateness, memory and CPU of so many one-hour tokens in files."""
    seen = _weigh(job, folder, load)
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
            begin = _begin(process)
            wait_for(process, log, "token.refreshed", 1, load.first_due_s)
            busy_cpu = _share(process.pid, load.busy_s)
            end = time.time()
            memory, peak = memory_mb(process.pid), memory_mb(process.pid, "VmHWM")
    late, failures = _lateness(log, begin, end, load.rate)
    return Weighed(start_s, idle_cpu, busy_cpu, memory, peak, late, failures)


def _begin(process: "subprocess.Popen[bytes]") -> float:
    """Make the clock of the process fast from now on; return the moment."""
    begin = time.time()
    if process.stdin is not None:
        process.stdin.write(f"{begin}\n".encode())
        process.stdin.flush()
    return begin


def _share(pid: int, seconds: float) -> float:
    """Return the part of a core that a process uses for so long from now on."""
    cpu, began = cpu_so_far(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_so_far(pid) - cpu) / (time.monotonic() - began)


def _lateness(log: Path, begin: float, end: float, rate: float) -> tuple[list[float], int]:
    """Return by how many real seconds each refresh came after it was due, and the failures.

    A refresh has come when its line is logged, after the file was written; one that was due but
    has not come counts as late until the end.
    """
    due: dict[str, float] = {}
    came: dict[str, float] = {}
    failures = 0
    for line in log.read_bytes().splitlines():
        event: Mapping[str, object] = json.loads(line)
        name = str(event.get("token"))
        if event["event"] == "token.adopted":
            due[name] = _real(float(str(event["refresh_at"])), begin, rate)
        elif event["event"] == "token.refreshed":
            came[name] = datetime.fromisoformat(str(event["timestamp"])).timestamp()
        elif event["level"] != "info":
            failures += 1
    counted = [name for name, at in due.items() if at < end - SETTLE_S]
    if len(counted) < 100:  # noqa: PLR2004  # fewer have no p99
        raise Failed(f"only {len(counted)} tokens came due")
    return [came.get(name, end) - due[name] for name in counted], failures


def _real(moment: float, begin: float, rate: float) -> float:
    """Return when the clock of the process, fast since `begin`, showed a moment."""
    return moment if moment < begin else begin + (moment - begin) / rate

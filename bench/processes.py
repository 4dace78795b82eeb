"""Programs that are started and weighed, from outside: wait4(2) and proc(5)."""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WORKERS = Path(__file__).parent / "workers"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SECRET = "not-a-secret"  # noqa: S105  # of the client that exists in these measurements alone
STOP_S = 30.0
LOOK_S = 0.2


class Failed(Exception):
    """Raised when a program that is measured did not do its work; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The folders that hold what is measured: freshtoken with its Python, and the command `aws`."""

    job: Path
    aws: Path


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds (user and system, with all child processes) of several runs of one program."""

    runs: tuple[float, ...]

    @property
    def best(self) -> float:
        """Return the least: what the program costs when nothing disturbs it."""
        return min(self.runs)

    @property
    def median(self) -> float:
        """Return the median."""
        return statistics.median(self.runs)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return what measured programs see of the environment: nothing of the caller's but PATH."""
    aws = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    path = os.environ["PATH"]
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "BENCH_SECRET": SECRET} | aws | more


def argv(*parts: object) -> list[str]:
    """Return a command line."""
    return [str(part) for part in parts]


def cpu_of(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Run a program to its end and return its CPU seconds; raises Failed."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise Failed(f"{command[0]}: {output.read().decode(errors='replace')[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def side_by_side(rounds: int, *programs: Callable[[], float]) -> list[Cost]:
    """Run the programs in turn, so that what else the machine does hits them alike."""
    for program in programs:
        program()  # fills the file cache
    runs = [[program() for program in programs] for _ in range(rounds)]
    return [Cost(column) for column in zip(*runs, strict=True)]


@contextlib.contextmanager
def server(worker: str, env: Mapping[str, str], *arguments: str, python: Path) -> Iterator[str]:
    """Run a worker that serves until its standard input ends; give the address that it prints."""
    command = argv(python, WORKERS / worker, *arguments)
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield str(process.stdout and process.stdout.readline().strip())
        finally:
            process.communicate(timeout=STOP_S)


def this_python() -> Path:
    """Return the interpreter that runs this, whose environment has the stand-in for AWS."""
    return Path(sys.executable)


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that goes on until SIGTERM, with its standard error in `log`."""
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=stderr) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(STOP_S)


def wait_for(
    process: "subprocess.Popen[bytes]", log: Path, event: str, count: int, seconds: float
) -> None:
    """Wait until the log has an event so many times; raises Failed after so many seconds."""
    until, wanted, seen = time.monotonic() + seconds, f'"event": "{event}"'.encode(), 0
    with log.open("rb") as written:
        rest = b""
        while seen < count:
            *lines, rest = (rest + written.read()).split(b"\n")
            seen += sum(wanted in line for line in lines)
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"{seen} of {count} {event}; {log.read_text()[-2000:]}")
            time.sleep(LOOK_S)


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Return resident memory in MB (10^6 bytes); `VmHWM` gives the highest so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise Failed(f"process {pid} is gone")


def cpu_so_far(pid: int) -> float:
    """Return the CPU seconds that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

"""The file sink under real faults: system calls that fail or are the last, disks, mounts, owners.

Nothing is patched. strace(1) finds out which calls a write makes, and then has each of them fail,
or kills the writer as it enters one; file systems are mounted, filled up and made read-only.
"""

import errno
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from fakes import START, record
from running import PATIENCE_S, ROOT, Job, missing, program
from sinks import file_sink
from token_server import TokenServer

from job.core.tokens import FormatName, OutputFormat
from job.sinks.file import sweep

KINDS: tuple[FormatName, ...] = ("json", "raw", "header", "env", "template")
TEMPLATE = "token={access_token} until={expires_at}\n"
OLD = record("tok-old", START)
NEW = record("tok-new-and-longer", START + 2000)

pytestmark = pytest.mark.integration


def layout_of(kind: FormatName) -> OutputFormat:
    """Return the layout of a kind."""
    return OutputFormat(kind, "tiki", TEMPLATE if kind == "template" else "")


def names_in(folder: Path) -> set[str]:
    """Return what a folder holds."""
    return {entry.name for entry in folder.iterdir()}


def expected_names(kind: FormatName) -> set[str]:
    """Return what is beside a value when nobody is writing."""
    sidecar = set() if kind == "json" else {"value.freshtoken.json"}
    return {"value", ".value.lock"} | sidecar


# Each system call of a write

# Forks a writer for each line that it reads and tells its process id. The writer waits for SIGUSR1,
# in a call that is none of a file's, and tells how it went in shared memory, by no call at all.
WRITERS = """
import ctypes, json, mmap, os, signal, sys
sys.path.insert(0, "tests")
from fakes import START, record
from job.core.errors import JobError
from job.core.tokens import OutputFormat
from sinks import file_sink

PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
told = mmap.mmap(-1, 100)

def write(path, kind, template):
    signal.sigwait({signal.SIGUSR1})
    try:
        sink = file_sink(path, OutputFormat(kind, "tiki", template))
        with sink.claim():
            sink.read()
            sink.write(record("tok-new-and-longer", START + 2000))
        outcome = "ok"
    except JobError as error:
        outcome = f"{error.code} {error.exit_code}"
    except BaseException as error:
        outcome = f"a crash: {type(error).__name__}"
    told[:] = outcome.encode().ljust(100)
    os._exit(0)

for line in sys.stdin:
    told[:] = b"killed".ljust(100)
    writer = os.fork()
    if writer == 0:
        write(**json.loads(line))
    print(writer, flush=True)
    os.waitpid(writer, 0)
    print(told[:].decode().strip(), flush=True)
"""


class Call(NamedTuple):
    """A system call of a write: the `number`-th of this name, and its arguments."""

    name: str
    number: int
    arguments: str


class Writers:
    """Processes that each write one record under strace(1)."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("strace") is None:
            missing("strace is not installed")
        self._log = folder / "strace.log"

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-c", WRITERS],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()

    def run(self, path: Path, kind: FormatName, *inject: str) -> str:
        """Have a writer replace the record at a path; return "ok", "killed" or the error."""
        template = layout_of(kind).template
        writer = int(self._ask(json.dumps({"path": str(path), "kind": kind, "template": template})))
        command = ["strace", "-y", "-p", str(writer), "-o", str(self._log)]
        command += ["-e", "trace=%file,%desc", *inject]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            os.kill(writer, signal.SIGUSR1)
            outcome = self._answer()
            strace.communicate(timeout=PATIENCE_S)
        if "attached" not in said:
            missing(f"strace may not watch another process: {said}")
        return outcome

    def calls(self) -> list[Call]:
        """Return the calls of the last run that touched files, in their order."""
        found = re.findall(r"^(\w+)\((.*)\)\s+= ", self._log.read_text(), re.MULTILINE)
        counts: dict[str, Iterator[int]] = {}
        return [
            Call(name, next(counts.setdefault(name, itertools.count(1))), arguments)
            for name, arguments in found
            if name != "mmap"
        ]

    def _ask(self, question: str) -> str:
        assert self._server.stdin is not None
        print(question, file=self._server.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().rstrip("\n")


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writers]:
    """Start what forks writers, once."""
    with Writers(tmp_path_factory.mktemp("strace")) as started:
        yield started


@pytest.fixture(scope="module")
def calls_of(
    writers: Writers, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[FormatName], list[Call]]:
    """Find out, once for each kind, which calls a write makes."""
    known: dict[FormatName, list[Call]] = {}

    def calls_of(kind: FormatName) -> list[Call]:
        if kind not in known:
            path = stored(tmp_path_factory.mktemp(kind), kind)
            assert writers.run(path, kind) == "ok"
            assert file_sink(str(path), layout_of(kind)).read() == NEW
            known[kind] = writers.calls()
        return known[kind]

    return calls_of


def stored(folder: Path, kind: FormatName) -> Path:
    """Store the old record in an empty folder."""
    path = folder / "value"
    file_sink(str(path), layout_of(kind)).write(OLD)
    return path


def publishing(calls: Sequence[Call]) -> int:
    """Return the place of the call after which readers find the new value."""
    return max(place for place, call in enumerate(calls) if call.name.startswith("rename"))


def is_essential(call: Call) -> bool:
    """Tell whether there is no good write without this call."""
    steps = ("write", "fsync", "fchmod", "fchown", "flock", "rename")
    return call.name.startswith(steps) or "O_CREAT" in call.arguments


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_a_write_are_known(
    calls_of: Callable[[FormatName], list[Call]], kind: FormatName
) -> None:
    """These tests see what they fail: the file and its folder are synced, and in which order."""
    calls = calls_of(kind)
    essential = [call.name for call in calls if is_essential(call)]
    files = 1 if kind == "json" else 2

    assert essential.count("openat") == 1 + files
    assert [essential.count(name) for name in ("write", "fsync")] == [files, files + 1]
    assert sum(name.startswith("rename") for name in essential) == files
    last_write = max(place for place, call in enumerate(calls) if call.name == "write")
    syncs = [place for place, call in enumerate(calls) if call.name == "fsync"]
    assert last_write < syncs[-2] < publishing(calls) < syncs[-1]
    assert "O_EXCL" in "".join(call.arguments for call in calls)


ERRORS = {
    "ENOSPC": "disk_full 74",
    "EDQUOT": "disk_full 74",
    "EIO": "io_error 74",
    "EROFS": "read_only 74",
}


@pytest.mark.fault("disk-full")
@pytest.mark.fault("disk-error")
@pytest.mark.fault("disk-read-only")
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_fails_once(
    writers: Writers,
    calls_of: Callable[[FormatName], list[Call]],
    tmp_path: Path,
    kind: FormatName,
    name: str,
) -> None:
    """Whichever call fails: the old token stays until the new one is there, and no litter."""
    calls = calls_of(kind)
    for place, call in chosen(kind, name, calls):
        path = stored(fresh(tmp_path), kind)
        outcome = writers.run(path, kind, f"--inject={call.name}:error={name}:when={call.number}")

        sink = file_sink(str(path), layout_of(kind))
        assert outcome in ({ERRORS[name]} if is_essential(call) else {ERRORS[name], "ok"}), call
        assert sink.read() == (NEW if place > publishing(calls) or outcome == "ok" else OLD), call
        assert names_in(path.parent) == expected_names(kind), call
        sink.write(NEW)
        assert sink.read() == NEW, call


def chosen(kind: FormatName, fault: str, calls: Sequence[Call]) -> Iterator[tuple[int, Call]]:
    """Choose the calls to fail: all of them for two faults and two kinds, else the essential."""
    thorough = kind in ("json", "raw") and fault in ("EIO", "SIGKILL")
    for place, call in enumerate(calls):
        if thorough or is_essential(call):
            yield place, call


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


@pytest.mark.fault("kill-during-write")
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_is_the_last(
    writers: Writers,
    calls_of: Callable[[FormatName], list[Call]],
    tmp_path: Path,
    kind: FormatName,
) -> None:
    """A writer killed at whatever call leaves a whole token, no lock, and litter that is swept."""
    calls, swept = calls_of(kind), 0
    for place, call in chosen(kind, "SIGKILL", calls):
        path = stored(fresh(tmp_path), kind)
        inject = f"--inject={call.name}:signal=SIGKILL:when={call.number}"
        assert writers.run(path, kind, inject) == "killed", call

        sink = file_sink(str(path), layout_of(kind))
        assert sink.read() == (NEW if place > publishing(calls) else OLD), call
        swept += sweep([str(path)])
        assert names_in(path.parent) == expected_names(kind), call
        sink.write(NEW)
        assert sink.read() == NEW, call
    assert swept > 0


@pytest.mark.parametrize("kind", ["json", "raw"])
def test_every_call_is_interrupted(
    writers: Writers,
    calls_of: Callable[[FormatName], list[Call]],
    tmp_path: Path,
    kind: FormatName,
) -> None:
    """A signal in the middle of a call (EINTR) costs nothing, or one attempt."""
    calls = calls_of(kind)
    for place, call in enumerate(calls):
        path = stored(fresh(tmp_path), kind)
        outcome = writers.run(path, kind, f"--inject={call.name}:error=EINTR:when={call.number}")

        sink = file_sink(str(path), layout_of(kind))
        assert outcome in ("ok", "io_error 74"), call
        assert sink.read() == (NEW if place > publishing(calls) or outcome == "ok" else OLD), call
        assert names_in(path.parent) == expected_names(kind), call


@pytest.mark.fault("short-write")
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_that_loses_bytes_is_noticed(
    writers: Writers, tmp_path: Path, kind: FormatName
) -> None:
    """A file system that claims to have written what it has not gets no torn token published."""
    path = stored(tmp_path, kind)
    assert writers.run(path, kind, "--inject=write:retval=5:when=1") == "io_error 74"

    assert file_sink(str(path), layout_of(kind)).read() == OLD
    assert names_in(path.parent) == expected_names(kind)


# The real program, on real file systems


def configure(folder: Path, url: str, path: Path, kind: FormatName = "json") -> Path:
    """Write the configuration of one token, kept in a file at `path`."""
    (folder / "secret").write_text("s3cret")
    config = folder / "freshtoken.toml"
    config.write_text(
        f'[tokens.tiki]\ntoken_url = "{url}"\nclient_id = "c"\n'
        f'client_secret = {{ file = "{folder / "secret"}" }}\n'
        f'[[tokens.tiki.sinks]]\ntype = "file"\npath = "{path}"\nformat = "{kind}"\n'
    )
    return config


def once(config: Path, *before: str) -> tuple[int, list[str]]:
    """Run `freshtoken once`; return its exit status and the codes of its failed deliveries."""
    argv = [*before, *program("once", "--config", str(config))]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
        env=unmeasured() if before else None,
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    codes = [e["code"] for e in events if e["event"] == "token.delivery_failed"]
    return done.returncode, codes


def unmeasured() -> dict[str, str]:
    """Return the environment of a program whose coverage nobody measures.

    The calls that fail are to be its own, and not those by which its coverage is kept.
    """
    return {key: value for key, value in os.environ.items() if key != "COVERAGE_PROCESS_CONFIG"}


def strace_of(call: str, fault: str) -> list[str]:
    """Return what makes one call of a program fail, and the program no slower."""
    if shutil.which("strace") is None:
        missing("strace is not installed")
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]
    return [*command, "-e", f"trace=/^{call}", "-e", f"inject=/^{call}:{fault}:when=1"]


@pytest.mark.fault("disk-full")
@pytest.mark.fault("disk-error")
@pytest.mark.fault("disk-read-only")
@pytest.mark.fault("no-permission")
@pytest.mark.fault("other-file-system")
@pytest.mark.parametrize(
    ("call", "error", "status", "code"),
    [
        ("fsync", "ENOSPC", 74, "disk_full"),
        ("fsync", "EDQUOT", 74, "disk_full"),
        ("fsync", "EIO", 74, "io_error"),
        ("fchmod", "EROFS", 74, "read_only"),
        ("fchown", "EPERM", 77, "permission_denied"),
        ("rename", "EXDEV", 74, "io_error"),
        ("rename", "EBUSY", 74, "mount_point"),
        ("flock", "ENOLCK", 74, "io_error"),
    ],
)
def test_once_tells_which_fault_it_met(
    tmp_path: Path, call: str, error: str, status: int, code: str
) -> None:
    """The program says what failed and who has to act; the next run makes up for it."""
    path = stored(fresh(tmp_path), "json")
    with TokenServer() as server:
        config = configure(tmp_path.parent, server.url, path)
        assert once(config, *strace_of(call, f"error={error}")) == (status, [code])
        assert file_sink(str(path), layout_of("json")).read() == OLD
        assert names_in(tmp_path) == expected_names("json")

        assert once(config) == (0, [])
    assert file_sink(str(path), layout_of("json")).read() not in (None, OLD)


@pytest.mark.fault("kill-during-write")
@pytest.mark.parametrize("call", ["fchmod", "write", "fsync", "rename"])
def test_once_is_killed_and_the_next_run_makes_up(tmp_path: Path, call: str) -> None:
    """Kill -9 of the program costs at most one token; its litter is gone after the next run."""
    path = stored(fresh(tmp_path), "raw")
    with TokenServer() as server:
        config = configure(tmp_path.parent, server.url, path, "raw")
        argv = [*strace_of(call, "signal=SIGKILL"), *program("once", "--config", str(config))]
        killed = subprocess.run(argv, cwd=ROOT, timeout=PATIENCE_S, check=False, env=unmeasured())
        assert killed.returncode == -signal.SIGKILL
        assert file_sink(str(path), layout_of("raw")).read() == OLD

        assert once(config) == (0, [])
        assert len(server.requests) <= 2
    assert file_sink(str(path), layout_of("raw")).read() not in (None, OLD)
    assert names_in(tmp_path) == expected_names("raw")


@pytest.mark.fault("short-write")
def test_once_may_write_only_the_beginning(tmp_path: Path) -> None:
    """A write that the system cuts short, here at the process's limit, leaves the old token."""
    if shutil.which("prlimit") is None:
        missing("prlimit is not installed")
    path = stored(fresh(tmp_path), "json")
    with TokenServer() as server:
        config = configure(tmp_path.parent, server.url, path)
        assert once(config, "prlimit", "--fsize=100") == (74, ["disk_full"])
        assert file_sink(str(path), layout_of("json")).read() == OLD
        assert names_in(tmp_path) == expected_names("json")

        assert once(config) == (0, [])


Break = Callable[[Path, ExitStack], Callable[[], object]]
"""Breaks the place of a file and returns what repairs it; the stack is unwound after the test."""


def mount(*arguments: str) -> None:
    """Mount something, as far as that is allowed here."""
    if os.getuid() != 0:
        pytest.skip("only root may mount")
    command = ["mount", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr}")


def unmount(place: Path) -> None:
    """Undo a mount, if it is one still."""
    if f" {place} " in Path("/proc/self/mountinfo").read_text():
        subprocess.run(["umount", str(place)], check=True)  # noqa: S607  # wherever it is


def give_to(path: Path, mode: int) -> None:
    """Give a file or folder to somebody else."""
    if os.getuid() != 0:
        pytest.skip("only root may give a file away")
    os.chown(path, 1234, 1234)
    path.chmod(mode)


def full(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Put the token on a disk that is then filled to the last byte."""
    content = path.read_bytes()
    mount("-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(path.parent))
    stack.callback(unmount, path.parent)
    path.write_bytes(content)
    path.with_name(".value.lock").touch()
    filler = path.with_name("filler")
    with open(filler, "wb", buffering=0) as file:
        for size in (4096, 1):
            while_fits(lambda size=size: file.write(b"x" * size))  # type: ignore[misc]
    return filler.unlink


def while_fits(write: Callable[[], object]) -> None:
    """Write until the disk is full."""
    try:
        while True:
            write()
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017  # what ends the loop


def read_only(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Make the file system read-only, as the kernel does after a disk error."""
    mount("--bind", str(path.parent), str(path.parent))
    stack.callback(unmount, path.parent)
    mount("-o", "remount,ro,bind", str(path.parent))
    return lambda: mount("-o", "remount,rw,bind", str(path.parent))


def mounted(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Mount the file alone, as containers are often told to."""
    mount("--bind", str(path), str(path))
    stack.callback(unmount, path)
    return lambda: unmount(path)


def folder_locked(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Take away the permission to write in the folder."""
    path.parent.chmod(0o500)
    stack.callback(path.parent.chmod, 0o700)
    return lambda: path.parent.chmod(0o700)


def folder_closed(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Take away the permission to enter the folder."""
    path.parent.chmod(0o000)
    stack.callback(path.parent.chmod, 0o700)
    return lambda: path.parent.chmod(0o700)


def folder_gone(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Move the folder away."""
    kept = path.parent.with_name("kept")
    path.parent.rename(kept)
    return lambda: kept.rename(path.parent)


def others_file(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Give the file to another user, so that it can't be read."""
    give_to(path, 0o600)
    return lambda: os.chown(path, 0, 0)


def others_file_in_others_folder(path: Path, stack: ExitStack) -> Callable[[], object]:
    """Give file and folder to another user; as in /tmp, all may write there and replace nothing."""
    give_to(path, 0o644)
    give_to(path.parent, 0o1777)
    return lambda: (os.chown(path.parent, 0, 0), os.chown(path, 0, 0))


def replaced_by(make: Callable[[Path], object], remove: Callable[[Path], object]) -> Break:
    """Put something else where the file was."""

    def replace(path: Path, stack: ExitStack) -> Callable[[], object]:
        kept = path.with_name("kept")
        path.rename(kept)
        make(path)

        def repair() -> None:
            assert stat.S_IFMT(path.lstat().st_mode) != stat.S_IFREG or path.stat().st_size
            remove(path)
            kept.rename(path)

        return repair

    return replace


def make_device(path: Path) -> None:
    """Make a device that never ends, like /dev/zero."""
    if os.getuid() != 0:
        pytest.skip("only root may make a device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


BROKEN: dict[str, tuple[Break, str, int, str, int]] = {
    # how: (what breaks it, fault of the matrix, exit status, code, exchanges made in vain)
    "a full disk": (full, "disk-full", 74, "disk_full", 1),
    "read-only": (read_only, "disk-read-only", 74, "read_only", 0),
    "a mounted file": (mounted, "mounted-file", 74, "mount_point", 0),
    "a locked folder": (folder_locked, "no-permission", 77, "permission_denied", 1),
    "a closed folder": (folder_closed, "no-permission", 77, "permission_denied", 0),
    "no folder": (folder_gone, "no-folder", 74, "no_directory", 0),
    "another's file": (others_file, "wrong-owner", 77, "permission_denied", 0),
    "another's folder": (others_file_in_others_folder, "wrong-owner", 77, "permission_denied", 1),
    "a link": (
        replaced_by(lambda path: path.symlink_to("kept"), Path.unlink),
        "target-replaced",
        74,
        "symlink",
        0,
    ),
    "a dangling link": (
        replaced_by(lambda path: path.symlink_to("nothing"), Path.unlink),
        "target-replaced",
        74,
        "symlink",
        0,
    ),
    "a folder": (replaced_by(Path.mkdir, Path.rmdir), "target-replaced", 74, "is_directory", 0),
    "a pipe": (replaced_by(os.mkfifo, Path.unlink), "target-replaced", 74, "not_a_file", 0),
    "a device": (replaced_by(make_device, Path.unlink), "target-replaced", 74, "not_a_file", 0),
    "a foreign file": (
        replaced_by(lambda path: path.write_text("precious"), Path.unlink),
        "foreign-file",
        74,
        "foreign_file",
        0,
    ),
}
WHILE_RUNNING = (
    "a full disk",
    "read-only",
    "a mounted file",
    "a locked folder",
    "a link",
    "a dangling link",
    "a folder",
)


class Case(NamedTuple):
    """A way to break a place and what comes of it."""

    how: Break
    status: int
    code: str
    wasted: int


def cases(names: Iterable[str]) -> list[object]:
    """Return the cases of these names, each marked with the fault that it shows."""
    return [
        pytest.param(Case(how, *outcome), marks=pytest.mark.fault(fault), id=name)
        for name in names
        for how, fault, *outcome in [BROKEN[name]]
    ]


@pytest.fixture
def unprivileged() -> list[str]:
    """Return what starts a program without root's rights; permission bits don't bind root."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        missing("setpriv is not installed")
    return ["setpriv", "--bounding-set=-all"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Store the old record in a folder of its own."""
    folder = tmp_path / "run"
    folder.mkdir()
    return stored(folder, "json")


@contextmanager
def broken(how: Break, path: Path) -> Iterator[Callable[[], object]]:
    """Break the place of a file; what it gives repairs that."""
    with ExitStack() as stack:
        yield how(path, stack)


@pytest.mark.parametrize("case", cases(BROKEN))
def test_once_meets_a_broken_place(
    tmp_path: Path, path: Path, unprivileged: list[str], case: Case
) -> None:
    """The token that was there outlasts the fault, nothing else is touched, and the cure cures."""
    sink = file_sink(str(path), layout_of("json"))
    with TokenServer() as server, broken(case.how, path) as repair:
        config = configure(tmp_path, server.url, path)
        assert once(config, *unprivileged) == (case.status, [case.code])
        assert len(server.requests) == case.wasted
        repair()
        assert sink.read() == OLD
        assert names_in(path.parent) == expected_names("json")

        assert once(config, *unprivileged) == (0, [])
        assert sink.read() not in (None, OLD)


@pytest.mark.parametrize("case", cases(WHILE_RUNNING))
def test_run_meets_a_broken_place(
    tmp_path: Path, path: Path, unprivileged: list[str], case: Case
) -> None:
    """A place that breaks while the scheduler runs is told, and used again when it is repaired.

    What an operator need not cure is tried again unasked, and with the very token in hand.
    """
    with TokenServer() as server:
        config = configure(tmp_path, server.url, path)
        with Job(config, *unprivileged) as job:
            job.told("token.delivered")
            with broken(case.how, path) as repair:
                job.send(signal.SIGUSR1)
                job.told("token.delivery_failed", code=case.code)
                assert len(server.requests) == 1 + case.wasted
                repair()
                if case.code != "disk_full":
                    job.send(signal.SIGUSR1)
                told = job.told("token.delivered")
                found = file_sink(str(path), layout_of("json")).read()
                assert found is not None
                assert found.receipt.fingerprint == told["fingerprint"]
                if case.code == "disk_full":
                    assert len(server.requests) == 1 + case.wasted
            job.send(signal.SIGTERM)
            assert job.end() == 0

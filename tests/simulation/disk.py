"""The real file sink on a real folder, with faults in its system calls.

The module `os` is the door between the kernel and both job/files.py and job/sinks/file.py. While a
world runs, another module stands in that door: it does the real thing, after the time and the
faults that the world decides. A killed process does nothing more, except that its open files are
closed as the kernel would close them; `flock` is real.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sinks import file_sink

from job import files
from job.core.ports import Sink
from job.core.tokens import OutputFormat
from job.sinks import file
from simulation.process import Process
from simulation.stores import Place

CALL_S = 0.002
SLOW_S = (0.5, 4.0)
OPERATOR = ("denied", "gone", "read_only")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class DiskStore:
    """One target file in a folder of its own."""

    def __init__(self, place: Place, folder: str, layout: OutputFormat) -> None:
        self.place = place
        self.path = os.path.join(folder, "token")
        self.since = 0.0
        self._layout = layout

    def sink(self, process: Process) -> Sink:
        """As job/compose/refreshers.py does at each start, remove first what dead writers left."""
        file.sweep([self.path])
        return file_sink(self.path, self._layout, sleep=process.wait)

    def texts(self) -> Iterator[tuple[str, float]]:
        if os.path.exists(self.path):
            yield self._text(), self.since

    def renamed(self, now: float) -> None:
        """Look at what readers find now: never a part of a text."""
        self.since = now
        self.place.stored(self._text())

    def _text(self) -> str:
        with open(self.path, encoding="utf-8") as reader:
            return reader.read()


class FaultyOs:
    """The module `os` as the process that runs now meets it."""

    def __init__(self, store: DiskStore, running: Callable[[], Process]) -> None:
        self._store = store
        self._running = running

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the module has
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        writes = bool(flags & WRITING)
        self._call({"denied": errno.EACCES, "gone": errno.ENOENT, "flaky": errno.EIO})
        if writes:
            self._call({"read_only": errno.EROFS, "full": errno.EDQUOT})
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def stat(self, path: str) -> os.stat_result:
        self._call({"gone": errno.ENOENT})
        return os.stat(path)

    def fchown(self, descriptor: int, owner: int, group: int) -> None:
        self._call({})

    def fchmod(self, descriptor: int, mode: int) -> None:
        self._call({})
        os.fchmod(descriptor, mode)

    def fsync(self, descriptor: int) -> None:
        """Take the time of a sync; power is never lost here, so none is made."""
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._call({"lost_answer": errno.EIO})
        else:
            self._call({"full": errno.ENOSPC, "throttled": errno.EIO, "flaky": errno.EIO})

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._call({"flaky": errno.EIO})
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if new == os.path.basename(self._store.path):
            self._store.renamed(self._running().timeline.now)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        if self._running().is_alive:
            os.unlink(path, dir_fd=dir_fd)

    def _call(self, numbers: dict[str, int]) -> None:
        """Let a call take its time and fail with the number of the active fault, if any."""
        process, place = self._running(), self._store.place
        fault = place.fault(process.timeline.now)
        process.spend(place.rng.uniform(*SLOW_S) if fault == "slow" else CALL_S)
        if fault in numbers:
            place.trouble(process, fault, for_operator=fault in OPERATOR)
            raise OSError(numbers[fault], "simulated")


@contextmanager
def disk_calls(store: DiskStore, running: Callable[[], Process]) -> Iterator[None]:
    """Put the faulty module into the door until the end of the block."""
    faulty = FaultyOs(store, running)
    with mock.patch.object(file, "os", faulty), mock.patch.object(files, "os", faulty):
        yield

"""The file store: readers find the old text or the new one, whole, through crashes and full disks.

The guarantee is the order of steps in job/files.py. What belongs beside a text is in a sidecar file
without secrets, published just before the text. It includes the receipt of the previous token, so
that after a crash between the two the stored token is still known.
"""

import errno
import fcntl
import grp
import math
import os
import pwd
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Conflict, Stored
from job.core.secret import Secret
from job.core.tokens import FormatName, is_ours
from job.files import close_quietly, read_regular, write_atomically
from job.sinks.settings import Place, SinkSettings
from job.values import FilePath

SIDECAR_SUFFIX = ".freshtoken.json"
BUDGET_SUFFIX = ".budget"
"""The budget file beside NAME is `.NAME.budget` (job/limits/budget_file.py)."""
MAX_BYTES = 1_048_576
LOCK_POLL_S = 0.05
LOOKS = 10
"""A reader may be delayed between a text and its sidecar while both are replaced twice."""
MAX_ID = 2**32 - 2
"""chown(2) takes 32 bits, and all ones mean "leave it"."""

_O_PATH = getattr(os, "O_PATH", 0)  # Linux only
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)

_DENIED = ("permission_denied", "give this user access to it and to {folder}, or run as its owner")
_NO_DIRECTORY = ("no_directory", "create the folder: install -d -m 0700 {folder}")
_NOT_A_FILE = ("not_a_file", "it is not a regular file: set `path` to one")
_REFUSALS: Mapping[int, tuple[str, str]] = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: ("read_only", "mount it writable, or choose a path on a writable file system"),
    errno.ENOENT: _NO_DIRECTORY,
    errno.ENOTDIR: _NO_DIRECTORY,
    errno.ELOOP: ("symlink", "set `path` to the file itself: links are not followed for writing"),
    errno.EISDIR: ("is_directory", "set `path` to a file inside it"),
    errno.ENXIO: _NOT_A_FILE,
    errno.ENODEV: _NOT_A_FILE,
    errno.EBUSY: ("mount_point", "mount the directory instead: a mounted file can't be replaced"),
    errno.ENAMETOOLONG: ("name_too_long", "choose a shorter name"),
}
"""What an operator has to repair, by errno(3); everything else may pass by itself."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileSinkSettings(SinkSettings, frozen=True, kw_only=True, tag="file"):
    """A local file, replaced atomically."""

    title = "a file"
    variable = "file:PATH"
    read_interval_s = 2.0
    lock_reaches_all_writers = True

    path: FilePath
    """The file. Its folder must exist."""
    format: FormatName = "json"
    """The layout of the file."""
    template: str | None = None
    """For format template: text with {access_token}, {token_type}, {expires_at}, {obtained_at},
    {scope}, {name}."""
    mode: str = "0600"
    """The permission bits, in octal."""
    owner: str | None = None
    """The owning user, by name or number."""
    group: str | None = None
    """The owning group, by name or number."""
    overwrite: bool = False
    """Replace a file that freshtoken has not written."""

    @property
    def place(self) -> Place:
        """Return the file, whichever way its path goes."""
        return "file", os.path.normpath(self.path)

    @property
    def local_path(self) -> str:
        """Return the file."""
        return self.path

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with path and mode, too."""
        yield from super().problems()
        if not self.path or self.path.endswith("/"):
            yield "path", "must name a file"
        if not re.fullmatch(r"0?[0-7]{3}", self.mode):
            yield "mode", 'must be permission bits in octal, such as "0640"'

    def unwritable(self) -> str | None:
        """Return that this user may not write into the folder, if so."""
        folder, _ = _split(self.path)
        if os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return None
        return f"{folder} can't be written by this user; give the permission, or run as another"


class FileStore:
    """A local file, replaced atomically, with a sidecar and a lock file beside it.

    The mode is set whatever the umask. If a rival holds the lock file, the wait is `lock_timeout_s`
    seconds, with `sleep` between attempts. The revision is the text.
    """

    __slots__ = ("_lock_timeout_s", "_path", "_settings", "_sleep")
    in_one_step = False

    def __init__(
        self,
        settings: FileSinkSettings,
        *,
        lock_timeout_s: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Touch nothing yet."""
        self._settings = settings
        self._path = settings.path
        self._lock_timeout_s = lock_timeout_s
        self._sleep = sleep

    @property
    def label(self) -> str:
        """Return the file's name in events. It is computed: there may be 100 000 of them."""
        return f"file:{self._path}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock file `.NAME.lock` beside the target; if the holder dies it is free."""
        with _translated(self._path):
            if _is_mounted(self._path):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            lock = _open_lock(self._path)
        try:
            with _translated(self._path):
                self._wait_for(lock)
            yield
        finally:
            close_quietly(lock)

    def load(self) -> Stored:
        """Return the text and what its sidecar says; empty if there is no file."""
        with _translated(self._path):
            text = _read_text(self._path)
            for _ in range(LOOKS):
                # The text first: when it is there, its sidecar was there before.
                before, sidecar = text, self._path + SIDECAR_SUFFIX
                beside = _read_text(sidecar) if text and not is_ours(text) else ""
                text = _read_text(self._path) if beside else before
                if text == before:
                    break
        return Stored(Secret(before), beside)

    def replace(self, text: Secret, beside: str, expected: Stored) -> None:
        """Publish the sidecar, if there is one, and then the text."""
        folder, name = _split(self._path)
        texts = {name + SIDECAR_SUFFIX: beside} if beside else {}
        texts[name] = text.reveal()
        contents = {name: text.encode() for name, text in texts.items()}
        if (size := max(map(len, contents.values()))) > MAX_BYTES:
            reason = f"its text would have {size} bytes, and no more than {MAX_BYTES} are read back"
            raise _rejected("too_large", self._path, reason, "ask for a smaller scope")
        with _translated(self._path):
            if _read_text(self._path) != expected.text.reveal():
                raise Conflict
            owner = _number(self._settings.owner, lambda name: pwd.getpwnam(name).pw_uid)
            group = _number(self._settings.group, lambda name: grp.getgrnam(name).gr_gid)
            mode = int(self._settings.mode, 8)
            write_atomically(folder, contents, mode=mode, owner=owner, group=group)

    def foreign(self) -> SinkRejected:
        """Return the refusal to replace a file of somebody else."""
        reason = "it holds something that freshtoken has not written"
        cure = "move it away, or set `overwrite = true`"
        return _rejected("foreign_file", self._path, reason, cure)

    def _wait_for(self, lock: int) -> None:
        for _ in range(1 + math.ceil(self._lock_timeout_s / LOCK_POLL_S)):
            if _try_lock(lock):
                return
            self._sleep(LOCK_POLL_S)
        reason = f"another process has held its lock for {self._lock_timeout_s:g} s"
        cure = f"see which: fuser {shlex.quote(_lock_path(self._path))}"
        raise SinkUnavailable("locked", f"{self._path}: {reason}; {cure}")


def sweep(paths: Iterable[str]) -> int:
    """Remove the temporary files that dead writers left beside these targets; return how many.

    A target whose lock is held has a living writer and is left alone. What can't be read is left
    for the first write to report.
    """
    folders: dict[str, set[str]] = {}
    for path in paths:
        folder, name = _split(path)
        folders.setdefault(folder, set()).add(name)
    return sum(_sweep_folder(folder, names) for folder, names in folders.items())


def _sweep_folder(folder: str, names: set[str]) -> int:
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for temporary in [entry.name for entry in entries if entry.name.endswith(".tmp")]:
            target = _target_of(temporary, names)
            if target:
                removed += _remove_if_dead(os.path.join(folder, temporary), f"{folder}/{target}")
    return removed


def _target_of(temporary: str, names: set[str]) -> str | None:
    found = _TEMPORARY.fullmatch(temporary)
    if found is None:
        return None
    name = found["name"]
    budget = name.removeprefix(".").removesuffix(BUDGET_SUFFIX)
    return next((n for n in (name, name.removesuffix(SIDECAR_SUFFIX), budget) if n in names), None)


def _remove_if_dead(temporary: str, target: str) -> bool:
    with suppress(OSError):
        lock = _open_lock(target)
        try:
            if _try_lock(lock):
                os.unlink(temporary)
                return True
        finally:
            close_quietly(lock)
    return False


def _split(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    return folder or ".", name


def _lock_path(path: str) -> str:
    folder, name = _split(path)
    return os.path.join(folder, f".{name}.lock")


def _open_lock(path: str) -> int:
    return os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_mounted(path: str) -> bool:
    """Tell whether the file itself is a mount point, before a token is requested for it in vain.

    Neither st_dev nor st_ino shows it (a bind mount within one file system changes neither), but
    the number of its mount does (proc(5), fdinfo). Where there is none, rename(2) fails with EBUSY.
    """
    try:
        own = _mount_of(path, os.O_NOFOLLOW)
        return own != _mount_of(_split(path)[0], os.O_DIRECTORY)
    except (OSError, StopIteration):
        return False


def _mount_of(path: str, flags: int) -> bytes:
    """Return the number of the mount on which a file is, as proc(5) writes it."""
    descriptor = os.open(path, _O_PATH | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as facts:
            return next(line for line in facts if line.startswith(b"mnt_id:"))
    finally:
        close_quietly(descriptor)


def _read_text(path: str) -> str:
    """Return a file's text up to MAX_BYTES, empty if there is no file in an existing folder."""
    content = read_regular(path, MAX_BYTES)
    if content is None:
        os.stat(_split(path)[0])
        return ""
    return content.decode(errors="replace")


def _number(name: str | None, look_up: Callable[[str], int]) -> int:
    """Return a user's or group's number, -1 (chown(2): leave it) for None."""
    if name is None:
        return -1
    if name.isdecimal() and int(name) <= MAX_ID:
        return int(name)
    try:
        return look_up(name)
    except (KeyError, ValueError):
        cure = "create it, or correct `owner` and `group`"
        what = f"the user or group {name!r} does not exist on this machine; {cure}"
        raise SinkRejected("unknown_owner", what) from None


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Raise an OSError of the block as the SinkError that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise _sink_error(error, path) from None


def _sink_error(error: OSError, path: str) -> SinkError:
    number = error.errno or errno.EIO
    place = path if error.filename in (None, path) else f"{path} ({error.filename})"
    reason = os.strerror(number)
    if number in _REFUSALS:
        code, cure = _REFUSALS[number]
        cure = cure.format(folder=shlex.quote(_split(path)[0]))
        return _rejected(code, place, reason, cure, permission=_REFUSALS[number] is _DENIED)
    if number in _FULL:
        return SinkUnavailable("disk_full", f"{place}: {reason}; free some, or raise the quota")
    return SinkUnavailable("io_error", f"{place}: {reason}; look for disk errors in the kernel log")


def _rejected(
    code: str, place: str, reason: str, cure: str, *, permission: bool = False
) -> SinkRejected:
    return SinkRejected(code, f"{place}: {reason}; {cure}", permission=permission)

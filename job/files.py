"""Private files: reading only regular ones, and replacing them whole or not at all."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress

READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without O_NONBLOCK, a named pipe would hang the open."""
CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_regular(path: str, limit: int) -> bytes | None:
    """Return the first `limit` bytes of a regular file, or None if nothing is at `path`.

    Raises OSError for anything else: a link (ELOOP), a folder (EISDIR), a device, a pipe or a
    socket (ENXIO).
    """
    try:
        file = os.open(path, READING)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        with open(file, "rb", closefd=False) as reader:
            return reader.read(min(status.st_size, limit))
    finally:
        close_quietly(file)


def write_atomically(
    folder: str,
    contents: Mapping[str, bytes],
    *,
    mode: int = 0o600,
    owner: int = -1,
    group: int = -1,
) -> None:
    """Replace files of a folder, each whole or not at all, in the order of `contents` (by name).

    Whatever the umask, nobody can open one before it has its mode, owner and group (-1 leaves
    them). All are durable at the end. Raises OSError; then some files, from the first one on, may
    have been replaced. A writer that dies leaves `.NAME.<16 hex digits>.tmp`.
    """
    temporaries = {f".{name}.{os.urandom(8).hex()}.tmp": name for name in contents}
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for temporary, name in temporaries.items():
            _write_new(temporary, descriptor, contents[name], mode, (owner, group))
        for temporary, name in temporaries.items():
            os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        _sync_folder(descriptor)
    finally:
        for temporary in temporaries:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=descriptor)
        close_quietly(descriptor)


def close_quietly(file: int) -> None:
    """Close a descriptor that nothing was written to: even if close(2) fails, it is closed."""
    with suppress(OSError):
        os.close(file)


def _write_new(
    name: str, folder: int, content: bytes, mode: int, owner_and_group: tuple[int, int]
) -> None:
    """Write and sync a new file that nobody can open before its owner, group and mode are right."""
    owner, group = owner_and_group
    with open(os.open(name, CREATING, mode & 0o600, dir_fd=folder), "wb") as file:
        # The group before the mode that admits it; the owner last, because after it a writer that
        # has only CAP_CHOWN may not call fchmod(2).
        os.fchown(file.fileno(), -1, group)
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), owner, -1)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if os.fstat(file.fileno()).st_size != len(content):
            # A file system may report more than it wrote; a torn file must not be published.
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _sync_folder(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems can't sync a folder (fsync(2), EINVAL); the rename is valid.
        if error.errno != errno.EINVAL:
            raise

import contextlib
import errno
import grp
import itertools
import json
import os
import pwd
import secrets
import socket
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from fakes import START, record, token
from sinks import file_sink, file_store

from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.tokens import OutputFormat, record_of
from job.sinks.file import MAX_BYTES, sweep
from job.sinks.record_sink import RecordSink

ROOT = Path(__file__).parent.parent
JSON = OutputFormat("json", "tiki")
RAW = OutputFormat("raw", "tiki")
LATER = START + 2000
HOLDER = """
import sys
sys.path.insert(0, "tests")
from sinks import file_store
with file_store(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
WRITER = """
import sys
sys.path.insert(0, "tests")
from fakes import record
from job.core.errors import SinkRejected
from job.core.tokens import OutputFormat
from sinks import file_sink
try:
    file_sink(sys.argv[1], OutputFormat("json", "tiki")).write(record())
except SinkRejected as error:
    print(error.code)
"""

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can do this")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file in a folder of its own."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder / "tiki.json"


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Mount file systems, as far as that is allowed here, until the end of the test."""
    with contextlib.ExitStack() as unmounting:

        def mount(*arguments: str) -> None:
            command = ["/bin/mount", *arguments]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode:
                pytest.skip("mounting is not permitted here")
            if "remount" not in "".join(arguments):
                unmounting.callback(subprocess.run, ["/bin/umount", arguments[-1]], check=True)

        yield mount


def mode_of(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> set[str]:
    """Return what a folder holds."""
    return {entry.name for entry in folder.iterdir()}


def rejection_of(act: Callable[[], object]) -> SinkRejected:
    """Return the refusal that an action ends in."""
    with pytest.raises(SinkRejected) as caught:
        act()
    return caught.value


@contextlib.contextmanager
def umask(bits: int) -> Iterator[None]:
    """Set the umask for a while."""
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o000])
def test_the_mode_is_what_was_asked_for(path: Path, bits: int, mode: int) -> None:
    """The value and its sidecar get the mode whatever the umask; the lock file stays private."""
    with umask(bits):
        file_sink(str(path), RAW, mode=mode).write(record())

    sidecar = path.with_name("tiki.json.freshtoken.json")
    assert (mode_of(path), mode_of(sidecar)) == (mode, mode)
    assert mode_of(path.with_name(".tiki.json.lock")) == 0o600 & ~bits


def test_nobody_else_may_read_by_default(path: Path) -> None:
    """A token is private unless the operator says otherwise, also where a public file was."""
    path.touch(mode=0o644)
    file_sink(str(path), JSON).write(record())

    assert mode_of(path) == 0o600


def test_the_owner_is_named_or_numbered(path: Path) -> None:
    """Names and numbers mean the same."""
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    file_sink(str(path), JSON, owner=user, group=group).write(record())
    file_sink(str(path), JSON, owner=str(os.getuid()), group=str(os.getgid())).write(
        record("tok-2", LATER)
    )

    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


@only_root
def test_the_file_is_given_away(path: Path) -> None:
    """Root writes for another user and group, with the mode they need."""
    file_sink(str(path), RAW, mode=0o640, owner="1234", group="4321").write(record())

    sidecar = path.with_name("tiki.json.freshtoken.json")
    for file in (path, sidecar):
        status = file.stat()
        assert (status.st_uid, status.st_gid, mode_of(file)) == (1234, 4321, 0o640)


@pytest.mark.fault("wrong-owner")
@pytest.mark.parametrize("name", ["no-such-name", "4294967295", ""])
@pytest.mark.parametrize("setting", ["owner", "group"])
def test_an_unknown_owner_is_refused(path: Path, setting: str, name: str) -> None:
    """A name that means nobody stops the write before anything is written."""
    sink = file_sink(str(path), JSON, **{setting: name})  # type: ignore[arg-type]
    refused = rejection_of(lambda: sink.write(record()))

    assert refused.code == "unknown_owner"
    assert repr(name) in refused.message
    assert names_in(path.parent) == {".tiki.json.lock"}


def test_a_relative_path_is_in_the_working_folder(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path without a folder works like any other."""
    monkeypatch.chdir(path.parent)
    sink = file_sink("tiki.json", JSON)
    sink.write(record())

    assert (path.exists(), sink.read(), sink.label) == (True, record(), "file:tiki.json")


def test_nothing_but_the_token_stays(path: Path) -> None:
    """A write leaves the value, its sidecar and the lock file, and no open file."""
    before = os.listdir("/proc/self/fd")
    sink = file_sink(str(path), RAW)
    with sink.claim():
        sink.read()
        sink.write(record())

    expected = {"tiki.json", "tiki.json.freshtoken.json", ".tiki.json.lock"}
    assert names_in(path.parent) == expected
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_sink_is_small(path: Path) -> None:
    """A hundred thousand of them fit in one process."""
    store = file_store(path)
    sink = RecordSink(store, JSON)

    assert [one for one in (store, sink) if hasattr(one, "__dict__")] == []
    assert sys.getsizeof(store) + sys.getsizeof(sink) < 200


@pytest.mark.slow
def test_nothing_but_the_settings_library_is_loaded() -> None:
    """A run that only looks at a file pays for no third-party package but the one for settings."""
    code = f"""
import sys
sys.path[:0] = {[str(ROOT), str(Path(msgspec.__file__).parent.parent)]!r}
import job.sinks.file
roots = {{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names
print(*sorted(roots - {{"__main__", "typing_extensions"}}))
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True)
    assert done.stdout == b"job msgspec\n"


# What else may be at the path


@pytest.mark.fault("corrupt-document")
def test_an_empty_file_is_nothing(path: Path) -> None:
    """A file made by touch is no token, and nobody's."""
    path.touch()
    sink = file_sink(str(path), JSON)
    assert sink.read() is None

    sink.write(record())
    assert sink.read() == record()


@pytest.mark.fault("foreign-file")
@pytest.mark.parametrize("layout", [JSON, RAW])
@pytest.mark.parametrize(
    "content",
    [b"precious", b"{}", b'{"freshtoken": 1}', b"\xff\x00", b"[" * 10_000, b"x" * (MAX_BYTES + 9)],
)
def test_a_foreign_file_is_refused(path: Path, layout: OutputFormat, content: bytes) -> None:
    """What freshtoken has not written is neither read nor replaced, whatever it is."""
    path.write_bytes(content)
    sink = file_sink(str(path), layout)
    for act in (sink.read, lambda: sink.write(record())):
        refused = rejection_of(act)
        assert (refused.code, refused.exit_code) == ("foreign_file", 74)
    assert path.read_bytes() == content
    assert names_in(path.parent) == {"tiki.json", ".tiki.json.lock"}


@pytest.mark.fault("foreign-file")
def test_a_foreign_sidecar_does_not_vouch(path: Path) -> None:
    """A file of that name which freshtoken has not written says nothing about the value."""
    path.write_text("precious")
    path.with_name("tiki.json.freshtoken.json").write_text("{}")

    assert rejection_of(file_sink(str(path), RAW).read).code == "foreign_file"


@pytest.mark.parametrize(("before", "after"), [(JSON, RAW), (RAW, JSON)])
def test_the_format_may_be_changed(path: Path, before: OutputFormat, after: OutputFormat) -> None:
    """A file in another format of ours is not foreign: it is replaced."""
    file_sink(str(path), before).write(record())
    sink = file_sink(str(path), after)
    assert sink.read() is None

    sink.write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.fault("corrupt-document")
def test_a_document_that_was_edited_is_none(path: Path) -> None:
    """A document of ours whose token is not the one it names is no record, and not foreign."""
    sink = file_sink(str(path), JSON)
    sink.write(record())
    document = json.loads(path.read_text()) | {"access_token": "edited"}
    path.write_text(json.dumps(document))
    assert sink.read() is None

    sink.write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.fault("kill-during-write")
@pytest.mark.parametrize("first", [False, True])
def test_a_crash_between_the_sidecar_and_the_value_heals(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """The sidecar of a token that never came still knows the token before; both are replaced."""
    sink, real = file_sink(str(path), RAW), os.rename
    if not first:
        sink.write(record())

    def rename(source: str, target: str, **more: int) -> None:
        if target == "tiki.json":
            raise KeyboardInterrupt
        real(source, target, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            sink.write(record("tok-2", LATER))
    sink = file_sink(str(path), RAW)
    assert sink.read() == (None if first else record())

    sink.write(record("tok-3", LATER))
    assert sink.read() == record("tok-3", LATER)


@pytest.mark.fault("corrupt-document")
def test_a_value_of_an_unknown_token_is_none(path: Path) -> None:
    """A value that its sidecar does not know is no record, and not foreign: it is replaced."""
    sink = file_sink(str(path), RAW)
    sink.write(record())
    path.write_text("tok-9")
    assert sink.read() is None

    sink.write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.fault("target-replaced")
@pytest.mark.parametrize("dangling", [False, True])
def test_a_symlink_is_refused(path: Path, *, dangling: bool) -> None:
    """A link is not followed: it stays, and so does what it points to."""
    real = path.with_name("real.json")
    if not dangling:
        real.write_text("precious")
    path.symlink_to(real)
    sink = file_sink(str(path), JSON, overwrite=True)
    for act in (sink.read, lambda: sink.write(record())):
        assert rejection_of(act).code == "symlink"
    assert (path.is_symlink(), real.exists()) == (True, not dangling)


@pytest.mark.fault("target-replaced")
def test_a_symlink_in_place_of_the_lock_is_refused(path: Path) -> None:
    """Nobody can make us create or lock another file."""
    path.with_name(".tiki.json.lock").symlink_to(path.with_name("elsewhere"))

    refused = rejection_of(lambda: file_sink(str(path), JSON).write(record()))
    assert (refused.code, ".tiki.json.lock" in refused.message) == ("symlink", True)
    assert not path.with_name("elsewhere").exists()


def test_a_linked_folder_is_followed(path: Path) -> None:
    """Folders may be links, as /run often is."""
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    file_sink(str(link / "tiki.json"), JSON).write(record())

    assert path.exists()


@pytest.mark.fault("target-replaced")
def test_a_directory_is_refused(path: Path) -> None:
    """A folder is no file."""
    path.mkdir()
    sink = file_sink(str(path), JSON, overwrite=True)
    for act in (sink.read, lambda: sink.write(record())):
        assert rejection_of(act).code == "is_directory"


def bind(path: Path) -> None:
    """Make a socket; its address must be short, so it is bound in its folder."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def make_device(path: Path) -> None:
    """Make a device like /dev/zero, which has no end."""
    if os.getuid() != 0:
        pytest.skip("only root can do this")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


@pytest.mark.fault("target-replaced")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [os.mkfifo, bind, make_device])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_file_is_refused(
    path: Path, make: Callable[[Path], object], *, overwrite: bool
) -> None:
    """A pipe without a writer hangs nobody, a device is not read to its end; neither is removed."""
    make(path)
    sink = file_sink(str(path), JSON, overwrite=overwrite)
    for act in (sink.read, lambda: sink.write(record())):
        refused = rejection_of(act)
        assert (refused.code, "not a regular file" in refused.message) == ("not_a_file", True)
    assert not path.is_file()


@pytest.mark.fault("foreign-file")
@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_huge_file_is_not_read_into_memory(path: Path, layout: OutputFormat) -> None:
    """Of a foreign file, however large, a beginning is looked at; then it is left alone."""
    with path.open("wb") as file:
        file.truncate(1 << 40)
    sink = file_sink(str(path), layout)
    tracemalloc.start()
    try:
        for act in (sink.read, lambda: sink.write(record())):
            assert rejection_of(act).code == "foreign_file"
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BYTES
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 1 << 40


@pytest.mark.fault("corrupt-document")
@pytest.mark.parametrize("keep", [1, 20, -2])
def test_a_document_that_was_cut_is_no_token(path: Path, keep: int) -> None:
    """What can't be read as ours any more is refused like a foreign file, and kept to be seen."""
    sink = file_sink(str(path), JSON)
    sink.write(record())
    cut = path.read_bytes()[:keep]
    path.write_bytes(cut)

    assert rejection_of(sink.read).code == "foreign_file"
    assert rejection_of(lambda: sink.write(record("tok-2", LATER))).code == "foreign_file"
    assert path.read_bytes() == cut
    file_sink(str(path), JSON, overwrite=True).write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.fault("corrupt-document")
@pytest.mark.parametrize("damage", [b"", b"tok", b"\xff\x00tok-1", b"tok-1\n"])
def test_a_value_that_was_cut_is_no_token(path: Path, damage: bytes) -> None:
    """A damaged value beside a receipt of ours is no record, and is replaced."""
    sink = file_sink(str(path), RAW)
    sink.write(record())
    path.write_bytes(damage)
    assert sink.read() is None

    sink.write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.parametrize("layout", [JSON, RAW])
def test_a_token_that_could_not_be_read_back_is_not_written(
    path: Path, layout: OutputFormat
) -> None:
    """A text beyond what is read would look foreign from then on: the old token stays instead."""
    sink = file_sink(str(path), layout)
    sink.write(record())

    refused = rejection_of(lambda: sink.write(record("x" * (MAX_BYTES + 1), LATER)))
    assert (refused.code, refused.exit_code) == ("too_large", 74)
    assert sink.read() == record()
    sink.write(record("tok-2", LATER))
    assert sink.read() == record("tok-2", LATER)


@pytest.mark.fault("no-folder")
@pytest.mark.parametrize("parent", ["missing folder", "file"])
def test_a_missing_folder_is_named_with_its_cure(path: Path, parent: str) -> None:
    """No folder is made unasked; the message holds the command that makes it."""
    path.with_name("file").touch()
    folder = path.with_name(parent)
    sink = file_sink(str(folder / "tiki.json"), JSON)
    for act in (sink.read, lambda: sink.write(record()), lambda: sink.claim().__enter__()):
        refused = rejection_of(act)
        assert refused.code == "no_directory"
        quoted = f"'{folder}'" if " " in parent else str(folder)
        assert refused.message.endswith(f"install -d -m 0700 {quoted}")


def test_a_long_name_is_refused(path: Path) -> None:
    """A name that leaves no room for the temporary file is said to be too long."""
    sink = file_sink(str(path.with_name("n" * 250)), JSON)

    assert rejection_of(lambda: sink.write(record())).code == "name_too_long"


# Faults


@pytest.mark.fault("no-permission")
def test_a_lack_of_permission_is_told_apart(path: Path) -> None:
    """A folder that is not ours ends in exit code 77, and nothing changes."""
    sink = file_sink(str(path), JSON)
    sink.write(record())
    path.parent.chmod(0o500)
    uid = os.geteuid()
    os.seteuid(uid or 65534)
    try:
        refused = rejection_of(lambda: sink.write(record("tok-2", LATER)))
    finally:
        os.seteuid(uid)
        path.parent.chmod(0o700)

    assert (refused.code, refused.exit_code) == ("permission_denied", 77)
    assert file_sink(str(path), JSON).read() == record()


@pytest.mark.fault("disk-error")
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, (SinkRejected, "permission_denied", 77)),
        (errno.EPERM, (SinkRejected, "permission_denied", 77)),
        (errno.EROFS, (SinkRejected, "read_only", 74)),
        (errno.EBUSY, (SinkRejected, "mount_point", 74)),
        (errno.ENOSPC, (SinkUnavailable, "disk_full", 74)),
        (errno.EDQUOT, (SinkUnavailable, "disk_full", 74)),
        (errno.EIO, (SinkUnavailable, "io_error", 74)),
        (errno.EXDEV, (SinkUnavailable, "io_error", 74)),
        (None, (SinkUnavailable, "io_error", 74)),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "rename", "fchmod"])
def test_every_os_error_has_a_meaning(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int | None,
    expected: tuple[type[SinkError], str, int],
) -> None:
    """Whichever step fails, the error says who has to act, and all is as it was before."""
    sink = file_sink(str(path), RAW)
    sink.write(record())
    before = names_in(path.parent)

    def fail(*_: object, **__: object) -> None:
        raise OSError(*([number, os.strerror(number)] if number else []))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(SinkError) as caught:
            sink.write(record("tok-2", LATER))

    error = caught.value
    assert (type(error), error.code, error.exit_code) == expected
    assert str(path) in error.message
    assert (names_in(path.parent), sink.read()) == (before, record())


@pytest.mark.fault("short-write")
def test_a_write_that_loses_bytes_is_no_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has not what it said it wrote gets no torn token published."""
    sink, real = file_sink(str(path), JSON), os.fsync
    sink.write(record())

    def fsync(file: int) -> None:
        real(file)
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.ftruncate(file, 5)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SinkUnavailable) as caught:
            sink.write(record("tok-2", LATER))
    assert caught.value.code == "io_error"
    assert (sink.read(), names_in(path.parent)) == (record(), {"tiki.json", ".tiki.json.lock"})


@pytest.mark.fault("disk-error")
def test_a_close_that_fails_is_no_crash(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was only read, locked or synced is closed for good, whatever close(2) says of it."""
    real = os.close

    def close(file: int) -> None:
        real(file)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    sink = file_sink(str(path), RAW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        sink.write(record())
        assert sink.read() == record()


def test_a_folder_that_cant_be_synced_is_no_fault(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems refuse to sync a folder (EINVAL): the token is there all the same."""
    real = os.fsync

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    sink = file_sink(str(path), JSON)
    sink.write(record())

    assert sink.read() == record()


@pytest.mark.fault("disk-error")
def test_an_unsynced_folder_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write is done when it is durable: any other failure to sync the folder is reported."""
    real = os.fsync

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SinkUnavailable) as caught:
        file_sink(str(path), JSON).write(record())
    assert caught.value.code == "io_error"


@pytest.mark.fault("disk-full")
@only_root
def test_a_full_disk_keeps_the_old_token(path: Path, mount: Callable[..., None]) -> None:
    """No space: the old token is whole, the temporary file is gone, and it heals by itself."""
    mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", str(path.parent))
    sink = file_sink(str(path), JSON)
    sink.write(record())
    large = record(secrets.token_hex(16_000), LATER)

    with pytest.raises(SinkUnavailable) as caught:
        sink.write(large)
    assert caught.value.code == "disk_full"
    assert (sink.read(), names_in(path.parent)) == (record(), {"tiki.json", ".tiki.json.lock"})
    sink.write(record("tok-2", LATER))


@pytest.mark.fault("disk-read-only")
@only_root
def test_a_read_only_file_system_is_named(path: Path, mount: Callable[..., None]) -> None:
    """A write to a read-only mount is refused; what is there can still be read."""
    file_sink(str(path), JSON).write(record())
    mount("--bind", str(path.parent), str(path.parent))
    mount("-o", "remount,ro,bind", str(path.parent))
    sink = file_sink(str(path), JSON)

    assert rejection_of(lambda: sink.write(record("tok-2", LATER))).code == "read_only"
    assert sink.read() == record()


@pytest.mark.fault("mounted-file")
@only_root
def test_a_mounted_file_is_refused_before_a_token_is_minted(
    path: Path, mount: Callable[..., None]
) -> None:
    """A single-file bind mount can't be replaced: the claim says so, with the cure."""
    odd = path.with_name("a b\\c.json")
    earlier = file_sink(str(odd), JSON)
    earlier.write(record())
    mount("--bind", str(odd), str(odd))
    sink = file_sink(str(odd), JSON)

    refused = rejection_of(lambda: sink.claim().__enter__())
    assert refused.code == "mount_point"
    assert "mount the directory instead" in refused.message
    assert sink.read() == record()
    # One that has replaced the file before finds out by the write, and at the claim from then on.
    refusals = (lambda: earlier.write(record("tok-2", LATER)), lambda: earlier.claim().__enter__())
    assert [rejection_of(refusal).code for refusal in refusals] == ["mount_point"] * 2


@pytest.mark.fault("mounted-file")
@only_root
@pytest.mark.slow
def test_a_mounted_file_is_refused_where_mounts_cant_be_listed(path: Path) -> None:
    """Without /proc the rename itself tells (EBUSY), and no temporary file stays."""
    path.touch()
    script = 'mount -t tmpfs tmpfs /proc && mount --bind "$1" "$1" && exec "$0" -c "$2" "$1"'
    command = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script]
    done = subprocess.run(
        [*command, sys.executable, str(path), WRITER],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )
    if done.returncode:
        pytest.skip("mounting is not permitted here")

    assert done.stdout == "mount_point\n"
    assert names_in(path.parent) == {"tiki.json", ".tiki.json.lock"}


# The lock


@pytest.mark.fault("dead-lock-holder")
@pytest.mark.slow
def test_a_rival_process_is_waited_for(path: Path) -> None:
    """While another process holds the claim we look again and again, then say who to look for."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        naps: list[float] = []
        sink = file_sink(str(path), JSON, lock_timeout_s=0.2, sleep=naps.append)

        with pytest.raises(SinkUnavailable) as caught:
            sink.write(record())
        assert (caught.value.code, naps) == ("locked", [0.05] * 5)
        assert str(path.with_name(".tiki.json.lock")) in caught.value.message
        assert sink.read() is None

        holder.kill()
        holder.wait(timeout=10)
        # A dead holder blocks nobody.
        sink.write(record())
    assert sink.read() == record()


def test_a_claim_begins_when_the_rival_lets_go(path: Path) -> None:
    """Two sinks of one process exclude each other as well; the second goes on after the first."""
    first, second = file_sink(str(path), JSON), contextlib.ExitStack()
    second.enter_context(file_sink(str(path), JSON).claim())
    sink = file_sink(str(path), JSON, sleep=lambda _: second.close())

    with sink.claim():
        with pytest.raises(SinkUnavailable):
            file_sink(str(path), JSON, lock_timeout_s=0).write(record("tok-9"))
        sink.write(record())
    first.write(record("tok-2", LATER))
    assert first.read() == record("tok-2", LATER)


def test_an_interrupted_wait_leaves_no_file_open(path: Path) -> None:
    """A signal that ends the wait for a rival lets go of the lock file."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with file_sink(str(path), JSON).claim():
        before = os.listdir("/proc/self/fd")
        with pytest.raises(KeyboardInterrupt):
            file_sink(str(path), JSON, sleep=interrupt).write(record())
        assert len(os.listdir("/proc/self/fd")) == len(before)


# What crashes leave


@pytest.mark.fault("kill-during-write")
def test_sweep_removes_what_dead_writers_left(path: Path, tmp_path: Path) -> None:
    """Temporary files of these targets go; all others stay, a living writer's first of all."""
    ours = [
        f".tiki.json.{'0' * 16}.tmp",
        f".tiki.json.freshtoken.json.{'a' * 16}.tmp",
        f".odd .0123456789abcdef.tmp.{'f' * 16}.tmp",
    ]
    others = [
        f".other.json.{'0' * 16}.tmp",
        f".tiki.json.{'0' * 15}.tmp",
        f".tiki.json.{'G' * 16}.tmp",
        "tiki.json.tmp",
        f".busy.{'0' * 16}.tmp",
        f".blocked.{'0' * 16}.tmp",
    ]
    for name in ours + others:
        path.with_name(name).touch()
    path.with_name(".blocked.lock").mkdir()
    targets = ["tiki.json", "odd .0123456789abcdef.tmp", "busy", "blocked"]
    paths = [str(path.with_name(name)) for name in targets]

    with file_sink(str(path.with_name("busy")), JSON).claim():
        assert sweep([*paths, str(tmp_path / "missing" / "tiki.json")]) == 3
        assert sweep(paths) == 0
    left = {name for name in names_in(path.parent) if name.endswith(".tmp")}
    assert left == set(others)
    assert sweep([str(path.with_name("busy"))]) == 1


def test_sweep_looks_into_the_working_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path without a folder is swept like any other."""
    monkeypatch.chdir(path.parent)
    path.with_name(f".tiki.json.{'0' * 16}.tmp").touch()

    assert sweep(iter(["tiki.json"])) == 1


@pytest.mark.fault("busy-reader")
def test_a_reader_ends_beside_a_writer_that_never_rests(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each look finds another text, there is no record in the end, and nothing foreign."""
    sink, real, texts = file_sink(path, RAW), os.open, itertools.count()
    sink.write(record())

    def opened(name: str, flags: int, *more: object, **where: object) -> int:
        if name == str(path):
            path.write_text(f"tok-{next(texts)}")
        return real(name, flags, *more, **where)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(os, "open", opened)
    assert sink.read() is None


@pytest.mark.fault("busy-reader")
@pytest.mark.parametrize("layout", [JSON, RAW])
@pytest.mark.slow
def test_a_busy_reader_sees_no_torn_token(path: Path, layout: OutputFormat) -> None:
    """Thousands of reads beside a writer that never rests: each finds one whole record."""
    writer, reader = file_sink(str(path), layout), file_sink(str(path), layout)
    written = [record_of(token(secrets.token_hex(n), START + n), "key") for n in range(1, 800, 40)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for each in written:
                writer.read()
                writer.write(each)

    writer.write(written[0])
    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [reader.read() for _ in range(5000)]
    finally:
        stop.set()
        thread.join(timeout=10)

    assert [each for each in seen if each not in written] == []
    assert len({each.receipt.fingerprint for each in seen if each}) > 1

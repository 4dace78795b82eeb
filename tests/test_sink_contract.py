"""What every sink promises (job/sinks/__init__.py), in every format."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws import Faults, refuse
from fakes import START, record, token

from job.core.errors import SinkError, SinkRejected, SinkUnavailable
from job.core.ports import Sink, Superseded
from job.core.tokens import FormatName, OutputFormat, Record, record_of
from job.sinks.file import FileSink
from job.sinks.secrets_manager import SecretsManagerSink

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

TEMPLATE = '{{"bearer": "{access_token}", "kind": "{token_type}", "until": {expires_at}}}\n'
FORMATS: tuple[FormatName, ...] = ("json", "raw", "header", "env", "template")
SECRET_ID = "prod/tiki"
LATER = START + 2000


class FilePlace:
    """A place for file sinks."""

    keeps_all = True

    def __init__(self, folder: Path, kind: FormatName) -> None:
        self.path = folder / "token"
        self.layout = OutputFormat(kind, "tiki", TEMPLATE if kind == "template" else "")

    def sink(self, **settings: bool) -> FileSink:
        return FileSink(str(self.path), self.layout, **settings)

    def value(self) -> str | None:
        """Return what a reader of this place finds."""
        return self.path.read_text() if self.path.exists() else None

    def generation(self) -> object:
        """Return what changes with every write."""
        return self.path.stat().st_ino, self.path.stat().st_mtime_ns

    def beside(self) -> str:
        """Return all that is stored beside the value."""
        others = [path for path in self.path.parent.iterdir() if path != self.path]
        return " ".join(f"{path.name} {path.read_text()}" for path in others)

    def put_foreign(self, text: str) -> None:
        self.path.write_text(text)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Let no write of more than a few bytes succeed: a lowered file size limit (EFBIG)."""
        resource = pytest.importorskip("resource")
        signal = pytest.importorskip("signal")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every access until an operator acts."""
        away = self.path.parent.with_name("away")
        os.rename(self.path.parent, away)
        try:
            yield
        finally:
            os.rename(away, self.path.parent)


class SecretPlace:
    """A place for Secrets Manager sinks: one secret of the emulated AWS."""

    def __init__(
        self,
        aws: "SecretsManagerClient",
        faults: Faults,
        kind: FormatName,
        more: dict[str, Any],
    ) -> None:
        self.aws = aws
        self.faults = faults
        self.layout = OutputFormat(kind, "tiki", TEMPLATE if kind == "template" else "")
        self.more = more
        self.keeps_all = kind == "json" or "json_key" in more

    def sink(self, **settings: bool) -> SecretsManagerSink:
        chosen = {"create": True} | self.more | settings
        return SecretsManagerSink(SECRET_ID, self.layout, lambda: self.aws, **chosen)

    def value(self) -> str | None:
        try:
            text = self.aws.get_secret_value(SecretId=SECRET_ID)["SecretString"]
        except self.aws.exceptions.ResourceNotFoundException:
            return None
        return json.loads(text).get("token") if "json_key" in self.more else text

    def generation(self) -> object:
        return self.aws.describe_secret(SecretId=SECRET_ID)["VersionIdsToStages"]

    def beside(self) -> str:
        described = self.aws.describe_secret(SecretId=SECRET_ID)
        return json.dumps(described.get("Tags")) + described["Name"]

    def put_foreign(self, text: str) -> None:
        value = json.dumps({"token": text}) if "json_key" in self.more else text
        self.aws.create_secret(Name=SECRET_ID, SecretString=value)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        operations = ("PutSecretValue", "CreateSecret")
        for operation in operations:
            self.faults.plan(operation, refuse("ThrottlingException"))
        yield

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        for operation in ("GetSecretValue", "PutSecretValue", "DescribeSecret"):
            self.faults.plan(operation, refuse("AccessDeniedException"))
        yield
        for planned in self.faults.planned.values():
            planned.clear()


Place = FilePlace | SecretPlace
SECRETS: dict[str, dict[str, Any]] = {
    "secret": {},
    "json_key": {"json_key": "token"},
    "plain": {"compare_and_swap": False},
}
# In these two the format decides no more than where the receipt goes.
PLACES = [(where, kind) for where in ("json_key", "plain") for kind in ("json", "raw")]
PLACES += [(where, kind) for where in ("file", "secret") for kind in FORMATS]


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest) -> Place:
    """Run the test with each kind of sink, in each format."""
    where, kind = request.param
    if where == "file":
        folder = request.getfixturevalue("tmp_path") / "folder"
        folder.mkdir()
        return FilePlace(folder, kind)
    faults = request.getfixturevalue("faults")
    return SecretPlace(request.getfixturevalue("aws"), faults, kind, SECRETS[where])


def shown(place: Place, stored: Record) -> Record:
    """Return what a place gives back of a record: tags keep the receipt alone."""
    if place.keeps_all:
        return stored
    bare = token(
        stored.token.access_token.reveal(),
        stored.token.requested_at,
        stored.token.lifetime,
        expiry_source="",
    )
    return record_of(bare, stored.receipt.request_key)


def test_an_empty_place_reads_as_none(place: Place) -> None:
    """Nothing stored is no error: it is None, and reading leaves it so."""
    assert place.sink().read() is None
    assert place.value() is None


def test_what_is_written_is_read(place: Place) -> None:
    """A record comes back as it was, to the writer and to a process that starts later."""
    stored = record_of(token(secrets.token_urlsafe(), scope="a b", token_type="Bearer"), "key")
    if not place.keeps_all:
        stored = record(stored.token.access_token.reveal())
    sink = place.sink()

    with sink.claim():
        sink.read()
        sink.write(stored)

    assert (sink.read(), place.sink().read()) == (shown(place, stored), shown(place, stored))


def test_readers_find_the_token_in_its_format(place: Place) -> None:
    """The place holds the very text that the format promises."""
    place.sink().write(record("tok-1"))

    value, kind = place.value(), place.layout.kind
    if kind == "json":
        document = json.loads(value) if isinstance(value, str) else value
        assert (document["access_token"], document["expires_at"]) == ("tok-1", START + 3600)
    else:
        assert (
            value
            == {
                "raw": "tok-1",
                "header": "Authorization: Bearer tok-1\n",
                "env": f"ACCESS_TOKEN=tok-1\nTOKEN_TYPE=Bearer\nEXPIRES_AT={START + 3600}\n",
                "template": f'{{"bearer": "tok-1", "kind": "Bearer", "until": {START + 3600}}}\n',
            }[kind]
        )


def test_writing_twice_is_writing_once(place: Place) -> None:
    """A repeated write changes nothing, whoever repeats it."""
    sink = place.sink()
    sink.write(record())
    before = place.generation()

    sink.write(record())
    place.sink().write(record())
    reader = place.sink()
    reader.read()
    reader.write(record())

    assert place.generation() == before


def test_a_newer_record_replaces(place: Place) -> None:
    """The newest token is what readers find."""
    sink = place.sink()
    sink.write(record("tok-1"))
    with sink.claim():
        sink.read()
        sink.write(record("tok-2", LATER))

    assert place.sink().read() == shown(place, record("tok-2", LATER))


def test_a_failing_write_leaves_the_old_token(place: Place) -> None:
    """A store that can't take the record keeps the one it had, and takes the new one later."""
    sink = place.sink()
    sink.write(record("tok-1"))
    before = place.value()
    sink.read()

    with place.full(), pytest.raises(SinkUnavailable) as caught:
        sink.write(record("tok-2", LATER))
    assert (place.value(), caught.value.retryable, caught.value.exit_code) == (before, True, 74)

    sink.write(record("tok-2", LATER))
    assert place.sink().read() == shown(place, record("tok-2", LATER))


def test_a_refusal_names_its_place_and_its_cure(place: Place) -> None:
    """What an operator has to cure is SinkRejected, with a code, a place and something to do."""
    sink = place.sink(create=False) if isinstance(place, SecretPlace) else place.sink()
    sink.write(record()) if isinstance(place, FilePlace) else place.put_foreign("x")
    with place.refusing(), pytest.raises(SinkRejected) as caught:
        sink.write(record("tok-2", LATER))

    assert caught.value.code in {"no_directory", "access_denied"}
    assert sink.label.partition(":")[2] in caught.value.message
    assert ("allow " in caught.value.message) or ("install -d " in caught.value.message)


def test_a_foreign_value_is_never_overwritten(place: Place) -> None:
    """What freshtoken has not written stays, unless `overwrite` says otherwise."""
    place.put_foreign("precious")
    actions: list[Callable[[Sink], object]] = [lambda s: s.read()]
    if place_checks_before_writing(place):
        actions.append(lambda s: s.write(record()))
    for act in actions:
        with pytest.raises(SinkRejected) as caught:
            act(place.sink())
        assert caught.value.code in {"foreign_file", "foreign_secret"}
        assert "overwrite = true" in caught.value.message
    assert place.value() == "precious"

    sink = place.sink(overwrite=True)
    assert sink.read() is None
    sink.write(record())
    assert place.sink().read() == shown(place, record())


def place_checks_before_writing(place: Place) -> bool:
    """One plain put, for a principal that may not read, can't look before it."""
    return isinstance(place, FilePlace) or place.more.get("compare_and_swap", True)


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place[0] != "plain"], ids="-".join, indirect=True
)
def test_an_older_record_never_replaces_a_rivals_newer_one(place: Place) -> None:
    """Of two writers the newer token wins; the loser gets it, once, and is then free again."""
    slow, fast = place.sink(), place.sink()
    slow.write(record("tok-0", START - 10))
    slow.read()
    fast.write(record("tok-2", START + 2))

    with pytest.raises(Superseded) as caught:
        slow.write(record("tok-1", START + 1))
    assert caught.value.winner == shown(place, record("tok-2", START + 2))
    assert place.sink().read() == shown(place, record("tok-2", START + 2))

    # A clock that was ahead must not block the place for ever.
    slow.write(record("tok-1", START + 1))
    assert place.sink().read() == shown(place, record("tok-1", START + 1))


def test_what_was_read_may_be_replaced_whatever_its_date(place: Place) -> None:
    """A record from a clock that was ahead is no obstacle to a writer that has seen it."""
    place.sink().write(record("tok-1", START + 10**6))
    sink = place.sink()
    sink.read()
    sink.write(record("tok-2", START))

    assert place.sink().read() == shown(place, record("tok-2", START))


def test_nothing_beside_the_value_is_secret(place: Place) -> None:
    """Labels, reprs, sidecars, tags, lock files and errors show no token."""
    first, second = secrets.token_urlsafe(), secrets.token_urlsafe()
    sink = place.sink()
    sink.write(record(first))
    with place.full(), pytest.raises(SinkError) as caught:
        sink.write(record(second, LATER))
    sink.write(record(second, LATER))
    error = caught.value

    texts = [sink.label, repr(sink), place.beside(), str(error), repr(error), repr(vars(error))]
    assert [text for text in texts if first in text or second in text] == []
    assert error.__cause__ is None

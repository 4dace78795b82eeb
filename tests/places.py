"""Places for stores: what tests/test_sink_contract.py needs to know of a kind besides its store."""

import contextlib
import json
import os
import re
import sqlite3
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sinks import file_store, secret_store

from job.core.ports import Store
from job.core.secret import Secret
from job.core.tokens import FormatName, OutputFormat
from job.sinks.file import FileStore
from job.sinks.record_sink import RecordSink
from job.sinks.secrets_manager import SecretsManagerStore

TEMPLATE = '{{"bearer": "{access_token}", "kind": "{token_type}", "until": {expires_at}}}\n'
FORMATS: tuple[FormatName, ...] = ("json", "raw", "header", "env", "template")
GUIDE = Path(__file__).parent.parent / "docs" / "extending.md"


class Place:
    """One place of a kind, empty at first, and what can befall it.

    A kind gives `store`, `full` and `refusing`; the rest is worked out from its store, and a kind
    gives more of it where readers look in another way.
    """

    formats: ClassVar[tuple[FormatName, ...]] = FORMATS
    refusal: ClassVar[tuple[str, str]]
    """The code that `refusing` gives, and a part of its cure."""
    orders_writers: ClassVar[bool] = True
    """Whether a rival's write is a Conflict."""

    def __init__(self, request: pytest.FixtureRequest, kind: FormatName) -> None:
        self.layout = OutputFormat(kind, "tiki", TEMPLATE if kind == "template" else "")
        self.fixture = request.getfixturevalue

    @property
    def keeps_all(self) -> bool:
        """Tell whether all of a token comes back, or just what its receipt has."""
        return True

    def store(self) -> Store:
        """Return a store on this place, as another process has it."""
        raise NotImplementedError

    def full(self) -> contextlib.AbstractContextManager[None]:
        """Let writes fail meanwhile, for a cause that passes by itself."""
        raise NotImplementedError

    def refusing(self) -> contextlib.AbstractContextManager[None]:
        """Refuse every access meanwhile, for a cause that an operator has to see to."""
        raise NotImplementedError

    def sink(self, *, overwrite: bool = False) -> RecordSink:
        return RecordSink(self.store(), self.layout, overwrite=overwrite)

    def value(self) -> str | None:
        """Return what a reader of this place finds."""
        return self.store().load().text.reveal() or None

    def generation(self) -> object:
        """Return what changes with every write."""
        return self.store().load().revision

    def beside(self) -> str:
        """Return all that is stored beside the value."""
        return self.store().load().beside

    def put_foreign(self, text: str) -> None:
        """Store a text as somebody else does."""
        store = self.store()
        with store.lock():
            store.replace(Secret(text), "", store.load())


class FilePlace(Place):
    """A file in a folder of its own."""

    refusal = ("no_directory", "install -d ")

    def __init__(self, request: pytest.FixtureRequest, kind: FormatName) -> None:
        super().__init__(request, kind)
        self.path = self.fixture("tmp_path") / "folder" / "token"
        self.path.parent.mkdir()

    def store(self) -> FileStore:
        return file_store(self.path)

    def value(self) -> str | None:
        return self.path.read_text() if self.path.exists() else None

    def generation(self) -> object:
        return self.path.stat().st_ino, self.path.stat().st_mtime_ns

    def beside(self) -> str:
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
        away = self.path.parent.with_name("away")
        os.rename(self.path.parent, away)
        try:
            yield
        finally:
            os.rename(away, self.path.parent)


class SecretPlace(Place):
    """One secret of the emulated AWS."""

    refusal = ("access_denied", "allow ")
    secret_id = "prod/tiki"
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, request: pytest.FixtureRequest, kind: FormatName) -> None:
        super().__init__(request, kind)
        self.aws = self.fixture("aws")
        self.faults = self.fixture("faults")

    @property
    def keeps_all(self) -> bool:
        return self.layout.kind == "json" or "json_key" in self.settings

    def store(self) -> SecretsManagerStore:
        settings = {"create": True} | dict(self.settings)
        return secret_store(self.secret_id, lambda: self.aws, **settings)

    def value(self) -> str | None:
        try:
            text: str = self.aws.get_secret_value(SecretId=self.secret_id)["SecretString"]
        except self.aws.exceptions.ResourceNotFoundException:
            return None
        return json.loads(text).get("token") if "json_key" in self.settings else text

    def generation(self) -> object:
        return self.aws.describe_secret(SecretId=self.secret_id)["VersionIdsToStages"]

    def beside(self) -> str:
        described = self.aws.describe_secret(SecretId=self.secret_id)
        return json.dumps(described.get("Tags")) + described["Name"]

    def put_foreign(self, text: str) -> None:
        value = json.dumps({"token": text}) if "json_key" in self.settings else text
        self.aws.create_secret(Name=self.secret_id, SecretString=value)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        from aws import refuse  # noqa: PLC0415  # loads boto3

        for operation in ("PutSecretValue", "CreateSecret"):
            self.faults.plan(operation, refuse("ThrottlingException"))
        yield

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        from aws import refuse  # noqa: PLC0415  # loads boto3

        for operation in ("GetSecretValue", "PutSecretValue", "DescribeSecret"):
            self.faults.plan(operation, *[refuse("AccessDeniedException")] * 2)
        yield
        for planned in self.faults.planned.values():
            planned.clear()


class JsonKeyPlace(SecretPlace):
    """A key of a secret; the format decides no more than where the receipt goes."""

    formats = ("json", "raw")
    settings: ClassVar[Mapping[str, Any]] = {"json_key": "token"}


class PlainPutPlace(SecretPlace):
    """A secret that is put, by a principal that may do nothing else."""

    formats = ("json", "raw")
    settings: ClassVar[Mapping[str, Any]] = {"compare_and_swap": False}
    orders_writers = False


def guide_examples() -> list[str]:
    """Return the code that docs/extending.md shows: of a store, of a source, of an auth method."""
    found = re.findall(
        r"^ *```python\n(.*?)^ *```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [textwrap.dedent(source) for source in found]


def example(number: int, names: Mapping[str, Any]) -> dict[str, Any]:
    """Run one of these and return its names; `names` are there before."""
    ran = dict(names)
    exec(compile(guide_examples()[number], GUIDE.name, "exec"), ran)  # noqa: S102  # our own page
    return ran


class ExamplePlace(Place):
    """A row of a SQLite table, kept by the store that docs/extending.md shows."""

    refusal = ("no_database", "create it: ")

    def __init__(self, request: pytest.FixtureRequest, kind: FormatName) -> None:
        super().__init__(request, kind)
        self.path = self.fixture("tmp_path") / "tokens.db"
        names = example(0, {"__name__": "sqlite_store"})
        self.settings = names["SqliteSinkSettings"](path=str(self.path), row="tiki")
        self.make = names["SqliteStore"]
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            database.execute(names["TABLE"])

    def store(self) -> Store:
        store: Store = self.make(self.settings, timeout_s=0.0)
        return store

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path)) as rival:
            rival.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        away = self.path.with_name("away")
        os.rename(self.path, away)
        yield
        os.rename(away, self.path)

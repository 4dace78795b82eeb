"""Fixtures shared by several test files."""

import gc
import logging
import os
import signal
import urllib.request
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

SHOWN = pytest.StashKey[dict[str, set[str]]]()
"""For each row of the fault matrix the tests that are marked to show it; and all files of tests."""
FILES = pytest.StashKey[set[str]]()
HERE = Path(__file__).parent

if TYPE_CHECKING:
    from aws import Faults, FaultyAws
    from mypy_boto3_secretsmanager import SecretsManagerClient


def pytest_configure() -> None:
    """Give the programs that tests start the default of every signal, whoever started the tests.

    A child ignores what is ignored here (nohup ignores SIGHUP, and a shell SIGINT in the
    background); a signal that has a handler here has its default there.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector the thousands of tests, none of which is garbage."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which faults the tests show and which are slow, before any is left out of this run."""
    shown: dict[str, set[str]] = {}
    for item in items:
        for mark in item.iter_markers("fault"):
            name = f"{item.path.relative_to(HERE)}::{getattr(item, 'originalname', item.name)}"
            shown.setdefault(mark.args[0], set()).add(name)
        if "moto_url" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    config.stash[SHOWN] = shown
    config.stash[FILES] = {str(path.relative_to(HERE)) for path in {item.path for item in items}}


@pytest.fixture
def clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start in an empty folder, without our variables, and undo what logging lost."""
    for name in list(os.environ):
        if name.startswith("FRESHTOKEN_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ONE_SECRET", "s3cret")
    monkeypatch.chdir(tmp_path)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a verb in this process; its exit status, standard output and standard error."""
    from job.cli import exit_status  # noqa: PLC0415  # only for who asks for it

    def invoke(*args: str) -> tuple[int, str, str]:
        status = exit_status(args)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return invoke


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Start an AWS emulator on a free port of the loopback interface; the URL of its API."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  # costs a second to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def _client(moto_url: str) -> Iterator["SecretsManagerClient"]:
    from aws import make_client  # noqa: PLC0415  # loads boto3

    client = make_client(moto_url)
    yield client
    client.close()


@pytest.fixture
def aws(moto_url: str, _client: "SecretsManagerClient") -> "SecretsManagerClient":
    """Give a client of an emulated AWS that holds nothing yet."""
    request = urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")  # noqa: S310  # the loopback address above
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # the same
        return _client


@pytest.fixture
def faults(aws: "SecretsManagerClient") -> Iterator["Faults"]:
    """Watch the client's calls and play the faults that a test plans."""
    from aws import faults_of  # noqa: PLC0415  # loads boto3

    with faults_of(aws) as watching:
        yield watching


@pytest.fixture
def faulty_aws(moto_url: str, aws: "SecretsManagerClient") -> Iterator["FaultyAws"]:
    """Give an endpoint of AWS that holds nothing yet, and plays faults on the wire."""
    from aws import FaultyAws  # noqa: PLC0415  # loads boto3

    with FaultyAws(moto_url) as running:
        yield running


@pytest.fixture
def aws_environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give boto3's own chain fake credentials, and nothing of this machine's configuration."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-key")
    return monkeypatch

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import START, FakeClock
from token_server import TokenServer, answer

from job.compose.observers import Observers
from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.config import Config
from job.core.errors import ConfigError
from job.core.events import (
    Event,
    HookFailed,
    HookRan,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenRefreshed,
)
from job.inventory.kinds import load

PATIENCE_S = 10.0
ENVIRON = {"CLIENT_SECRET": "s3cret", "HMAC": "key", "PATH": os.environ["PATH"], "MORE": "more"}
DELIVERED = TokenDelivered("tiki", "file:/a", "9f2c", 1)
BASE = """
[tokens.tiki]
provider = "tiki"
client_id = "id"
client_secret = { env = "CLIENT_SECRET" }
sinks = [{ type = "file", path = "tiki.json" }]
"""


class Place:
    """The observers of the configuration of a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "freshtoken.toml"
        self.events: list[Event] = []
        self.clock = FakeClock()
        self.refreshers = RefresherSet(Tools(ENVIRON, "host", self.clock))
        self.observers = Observers(self.refreshers, self.events.append)

    def config(self, text: str) -> Config:
        """Read a configuration, and put its refreshers in force."""
        self.path.write_text(text)
        config = load(str(self.path), ENVIRON)
        self.refreshers.update(config.tokens)
        return config

    def follow(self, text: str) -> None:
        """Follow a configuration."""
        self.observers.follow(self.config(text), lambda: True)

    def tell(self, *events: Event) -> list[Event]:
        """Let these happen, and return what hooks made of them."""
        for event in events:
            self.observers.observe(event)
            self.observers.settle(PATIENCE_S)
        told, self.events[:] = list(self.events), []
        return told


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Give observers that are stopped in the end."""
    made = Place(tmp_path)
    yield made
    made.observers.stop(PATIENCE_S)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def status(port: int) -> Mapping[str, Any]:
    """Ask for the status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=9) as reply:
        document: dict[str, Any] = json.load(reply)
        return document


def is_silent(port: int) -> bool:
    """Tell whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=9).close()
    except ConnectionRefusedError:
        return True
    return False


def test_nobody_watches_unless_asked(place: Place) -> None:
    """Without hooks and HTTP an event is nobody's business."""
    place.observers.settle(0.0)
    place.follow(BASE)
    assert place.tell(DELIVERED) == []


@pytest.mark.slow
def test_http_follows_the_configuration(place: Place) -> None:
    """It is served where the configuration says, moved by a reload, and ended by one."""
    first, second = free_port(), free_port()
    http = '[http]\nlisten = "127.0.0.1:{}"\n'
    place.follow(http.format(first) + BASE)
    (token,) = status(first)["tokens"]
    assert (token["name"], token["provider"], token["state"]) == ("tiki", "tiki", "unknown")
    place.tell(TokenRefreshed("tiki", "9f2c", START + 60, "expires_in", START, 5, 1))
    (token,) = status(first)["tokens"]
    assert token["attempts"][0]["outcome"] == "ok"
    place.follow(http.format(second) + BASE)
    assert status(second)["tokens"][0]["attempts"][0]["outcome"] == "ok"
    assert is_silent(first)
    place.follow(BASE)
    assert is_silent(second)


@pytest.mark.slow
def test_an_address_that_cannot_be_had_changes_nothing(place: Place) -> None:
    """The reload is refused with address and cure, and the old address answers on."""
    first = free_port()
    place.follow(f'[http]\nlisten = "127.0.0.1:{first}"\n' + BASE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            place.follow(f'[http]\nlisten = "127.0.0.1:{port}"\n' + BASE)
    (problem,) = caught.value.problems
    assert problem == (
        f"http.listen: 127.0.0.1:{port} can't be bound (Address already in use); choose another "
        "address, or end the process that has it"
    )
    with pytest.raises(ConfigError, match="can't be bound"):
        place.follow('[http]\nlisten = "no such host:80"\n' + BASE)
    assert status(first)["ready"] is False


def test_a_command(place: Place) -> None:
    """It runs with the environment, but without the variables that hold secrets."""
    command = ["sh", "-c", "echo $CLIENT_SECRET $HMAC $MORE"]
    place.follow(BASE + f"on_refresh = {{ command = {json.dumps(command)} }}\n")
    assert place.tell(DELIVERED) == [
        HookRan("tiki", "command:sh", "refreshed", 0, "key more"),
    ]


def test_a_command_beside_a_webhook(place: Place) -> None:
    """It does not get the secret that signs the webhook of the same event either."""
    command = ["sh", "-c", "echo $HMAC $MORE"]
    webhook = '{ webhook = "http://127.0.0.1:9/", hmac_secret = { env = "HMAC" } }'
    hooks = f"[{{ command = {json.dumps(command)} }}, {webhook}]"
    place.follow(BASE + f"on_refresh = {hooks}\n")
    place.observers.observe(DELIVERED)
    place.observers.stop(PATIENCE_S)
    ran = [event for event in place.events if isinstance(event, HookRan)]
    assert [(event.hook, event.output) for event in ran] == [("command:sh", "more")]


def test_several_hooks(place: Place, tmp_path: Path) -> None:
    """A list has each of them run; a signal is sent to the process of a file."""
    got: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: got.append(number))
    (tmp_path / "own.pid").write_text(str(os.getpid()))
    hooks = '[{ command = ["false"] }, { signal = { pidfile = "own.pid", name = "USR2" } }]'
    place.follow(BASE + f"on_refresh = {hooks}\n")
    place.observers.observe(DELIVERED)
    place.observers.stop(PATIENCE_S)
    signal.signal(signal.SIGUSR2, before)
    ran = [event for event in place.events if isinstance(event, HookRan)]
    failed = [event for event in place.events if isinstance(event, HookFailed)]
    assert [event.hook for event in ran] == ["signal:own.pid"]
    assert {event.hook for event in failed} <= {"command:false"}
    assert got == [signal.SIGUSR2]


@pytest.mark.parametrize("signed", [True, False])
def test_a_webhook(place: Place, signed: bool) -> None:  # noqa: FBT001  # a column
    """It goes out without the client's own certificate and secret."""
    secret = ', hmac_secret = { env = "HMAC" }' if signed else ""
    with TokenServer(answer(204)) as server:
        place.follow(BASE + f'on_trouble = {{ webhook = "{server.url}"{secret} }}\n')
        told = place.tell(TokenAtRisk("tiki", "file:/a", START + 9, 1, 300))
        assert told == [HookRan("tiki", "webhook:127.0.0.1", "at_risk", 0, "HTTP 204")]
    (seen,) = server.requests
    assert ("freshtoken-signature" in seen.headers) is signed
    assert "authorization" not in seen.headers


def test_trouble_ends_when_readers_are_well(place: Place) -> None:
    """A token that is not at risk any more, or not there any more, has recovered."""
    place.follow(BASE + 'on_trouble = { command = ["true"] }\n')
    at_risk = TokenAtRisk("tiki", "file:/a", START + 9, 1, 300)
    adopted = TokenAdopted("tiki", "9f2c", START + 60, START + 9, "file:/a")
    told = [event.occasion for event in place.tell(at_risk, adopted) if isinstance(event, HookRan)]
    assert told == ["at_risk", "recovered"]


def test_hooks_follow_the_configuration(place: Place) -> None:
    """After a reload the new hooks run, and none for a token that is gone."""
    place.follow(BASE + 'on_refresh = { command = ["true"] }\n')
    assert [type(event) for event in place.tell(DELIVERED)] == [HookRan]
    place.follow(BASE + 'on_refresh = { command = ["echo", "new"] }\n')
    assert [event.hook for event in place.tell(DELIVERED) if isinstance(event, HookRan)] == [
        "command:echo"
    ]
    place.follow(BASE.replace("tokens.tiki", "tokens.other"))
    assert place.tell(DELIVERED) == []


def test_one_pass(place: Place, tmp_path: Path) -> None:
    """`once` serves nothing, and counts on from the file of the run before."""
    path = str(tmp_path / "m.prom")
    config = place.config('[http]\nlisten = "127.0.0.1:1"\n' + BASE)
    for _ in range(2):
        observers = Observers(place.refreshers, place.events.append)
        observers.follow_once(config, path)
        observers.observe(DELIVERED)
        observers.count().write(path)
    writes = 'freshtoken_sink_writes_total{outcome="success",sink="file:/a",token="tiki"} 2.0'
    assert writes in (tmp_path / "m.prom").read_text()
    place.observers.follow_once(config, None)
    assert place.tell(DELIVERED) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http = 5\n" + BASE, 'http: must be a table: [http] with listen = "127.0.0.1:9464"'),
        ("[http]\n" + BASE, "http.listen: is missing; it must be text in quotes"),
        ('[http]\nlisten = "x:1"\nport = 1\n' + BASE, "http.port: unknown key; see"),
        ('[http]\nlisten = "9464"\n' + BASE, "http.listen: must be HOST:PORT, such as"),
        ('[http]\nlisten = "a:99999"\n' + BASE, "http.listen: must be HOST:PORT, such as"),
        ('[http]\nlisten = "a/b:1"\n' + BASE, "http.listen: must be HOST:PORT, such as"),
        ('[http]\nlisten = ":1"\n' + BASE, "http.listen: must be HOST:PORT, such as"),
        ('[http]\nlisten = "u@a:1"\n' + BASE, "http.listen: must be HOST:PORT, such as"),
        (BASE + 'on_refresh = "ls"\n', "tokens.tiki.on_refresh: must be { command ="),
        (BASE + 'on_refresh = ["ls"]\n', "tokens.tiki.on_refresh[1]: must be { command ="),
        (BASE + "on_refresh = {}\n", "tokens.tiki.on_refresh: needs exactly one of command"),
        (
            BASE + 'on_trouble = [{ command = ["a"], webhook = "https://a" }]\n',
            "tokens.tiki.on_trouble[1]: needs exactly one of command, webhook and signal",
        ),
        (
            BASE + 'on_trouble = { webhook = "http://a.example" }\n',
            "tokens.tiki.on_trouble.webhook: sends the secret without TLS",
        ),
        (
            BASE + 'on_trouble = { command = ["a"], hmac_secret = { env = "HMAC" } }\n',
            "tokens.tiki.on_trouble.hmac_secret: goes with webhook",
        ),
        (
            BASE + 'on_trouble = { webhook = "https://a", hmac_secret = {} }\n',
            "tokens.tiki.on_trouble.hmac_secret: needs exactly one of env",
        ),
        (
            BASE + 'on_trouble = { webhook = "https://a", hmac_secret = "hunter2" }\n',
            "tokens.tiki.on_trouble.hmac_secret: must say where the secret is, not hold it",
        ),
        (
            BASE + 'on_trouble = { signal = { pidfile = "a", name = "HUPP" } }\n',
            "tokens.tiki.on_trouble.signal.name: is not a signal; write HUP",
        ),
        (
            BASE + 'on_trouble = { signal = "HUP" }\n',
            'tokens.tiki.on_trouble.signal: must be { pidfile = "/path", name = "HUP" }',
        ),
        (
            BASE + 'on_trouble = { command = ["a"], timeout = 0 }\n',
            "tokens.tiki.on_trouble.timeout: must be over 0",
        ),
        (
            BASE + 'on_trouble = { command = ["a"], timeout = "soon" }\n',
            "tokens.tiki.on_trouble.timeout: is not a duration",
        ),
    ],
)
def test_mistakes(place: Place, text: str, problem: str) -> None:
    """Each is told with its place and its cure, and no secret in it."""
    with pytest.raises(ConfigError) as caught:
        place.config(text)
    (told,) = caught.value.problems
    assert told.startswith(problem)
    assert "hunter2" not in told


@pytest.mark.parametrize("name", ["HUP", "SIGHUP"])
def test_names_of_signals(place: Place, name: str) -> None:
    """With or without SIG."""
    place.config(BASE + f'on_refresh = {{ signal = {{ pidfile = "a", name = "{name}" }} }}\n')


def test_http_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without a file can be probed too."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "FRESHTOKEN_PROVIDER": "tiki",
        "FRESHTOKEN_CLIENT_ID": "id",
        "FRESHTOKEN_CLIENT_SECRET": "s3cret",
        "FRESHTOKEN_SINK": "file:tiki.json",
        "FRESHTOKEN_HTTP_LISTEN": "[::1]:9464",
    }
    config = load(None, environ)
    assert config.http is not None
    assert config.http.listen == "[::1]:9464"
    with pytest.raises(ConfigError, match="FRESHTOKEN_HTTP_LISTEN: must be HOST:PORT"):
        load(None, environ | {"FRESHTOKEN_HTTP_LISTEN": "9464"})

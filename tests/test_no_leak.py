"""A canary is driven through every failure, and then looked for in all that comes out."""

import base64
import gc
import io
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
import token_server
from fakes import FakeClock, MemorySink, ScriptedSource
from fakes import token as some_token
from running import PATIENCE_S, ROOT
from sinks import file_sink, secret_sink
from token_server import Step, TokenServer, answer, cut, refusal, token

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import system_clock
from job.core.events import Event, JobCrashed, TokenDeliveryFailed, TokenRefreshFailed
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.secret import Secret
from job.core.tokens import OutputFormat
from job.inventory.kinds import load
from job.observe.log import LogFormat, log_observer
from job.runners.daemon import Daemon
from job.runners.once import Pass

if TYPE_CHECKING:
    from aws import Faults
    from mypy_boto3_secretsmanager import SecretsManagerClient

PIECE = 12
UNLIMITED = '[defaults]\nmax_rate = "1000/s"\nmax_concurrency = 64\n'
"""Else the tokens, which all ask one server, would wait for their turn at the usual rate."""
FORMATS: tuple[LogFormat, ...] = ("json", "console")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def libraries_may_log_again() -> Iterator[None]:
    """Undo what a log does to the logging of this whole process."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


# The canary


def pieces(text: str) -> set[str]:
    """Cut a text into all its parts of PIECE characters."""
    return {text[start : start + PIECE] for start in range(len(text) - PIECE + 1)}


def in_base64(core: str) -> set[str]:
    """Encode a text at each place that it can have inside a longer one; edges are left out."""
    whole = (base64.b64encode(b"x" * before + core.encode()).decode() for before in range(3))
    plain = {inner for text in whole for inner in pieces(text[4:-4])}
    return plain | {piece.translate(str.maketrans("+/", "-_")) for piece in plain}


@dataclass
class Canary:
    """Values made for one test: what must not be seen, whole or in part, in any encoding."""

    secret: str = field(default_factory=lambda: ':+%&=/ "\\é$'.join(cores(2)), repr=False)
    tokens: list[str] = field(default_factory=list, repr=False)

    def token(self) -> str:
        """Make an access token to look for."""
        self.tokens.append("^#!:".join(cores(2)))
        return self.tokens[-1]

    def seen_in(self, text: str) -> list[str]:
        """Tell which of the values a text shows, without showing them."""
        named = {"the client secret": self.secret}
        named |= {f"token {number}": value for number, value in enumerate(self.tokens, 1)}
        return [name for name, value in named.items() if any(n in text for n in needles(value))]


def cores(count: int) -> list[str]:
    """Make random texts that no encoding but Base64 changes."""
    return [secrets.token_hex(16) for _ in range(count)]


def needles(value: str) -> Iterator[str]:
    """Yield what must not be found: every part of the random cores of a value, and its Base64."""
    for core in value.replace('"\\é$', "^#!:").replace(":+%&=/ ", "").split("^#!:"):
        yield from pieces(core)
        yield from in_base64(core)


def test_the_canary_is_found_in_every_form() -> None:
    """Promise: this test sees what it looks for."""
    canary = Canary()
    basic = base64.b64encode(f"id:{quote_plus(canary.secret)}".encode()).decode()
    for text in (
        canary.secret,
        quote_plus(canary.secret),
        quote(canary.secret, safe=""),
        json.dumps(canary.secret),
        repr(canary.secret),
        base64.b64encode(canary.secret.encode()).decode(),
        base64.urlsafe_b64encode(b"x" + canary.secret.encode()).decode(),
        basic,
        canary.secret[5:25],
        canary.secret.encode().decode("latin-1"),
    ):
        assert canary.seen_in(f"before {text} after") == ["the client secret"]
    assert canary.seen_in(canary.token()) == ["token 1"]
    assert Canary().seen_in(canary.secret) == []


# What a server does


def echoes(canary: Canary, auth: str) -> list[tuple[Step, int]]:
    """Play every way in which a server gives the secret back; each with the failures it causes."""
    secret = canary.secret
    basic = base64.b64encode(f"client:{quote_plus(secret)}".encode()).decode()
    form = f"grant_type=client_credentials&client_id=c&client_secret={quote_plus(secret)}"
    shown = [
        secret,
        quote_plus(secret),
        quote(secret),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode(),
        json.dumps(secret)[1:-1],
        f"Authorization: Basic {basic}" if auth == "basic" else form,
        f"{'x' * 190}{secret}",
    ]
    page = f"<html><body><h1>Error</h1><p>client_secret={secret}</p></body></html>"
    rejected = [
        *(answer(400, {"error": "invalid_request", "error_description": text}) for text in shown),
        refusal(401, secret),
        refusal(400, {"message": secret, "errors": [{"code": "x", "message": secret}]}),
        answer(401, {"error": "invalid_client", "error_debug": secret, "message": secret}),
        answer(403, page, {"Content-Type": "text/html"}),
        answer(502, page, {"Content-Type": "text/html"}),
        answer(200, page, {"Content-Type": "text/html"}),
        answer(200, secret),
        answer(200, {"secret": secret}),
        answer(302, b"", {"Location": f"/login?client_secret={quote_plus(secret)}"}),
        answer(307, b"", {"Location": f"/{quote(secret, safe='')}/token"}),
        answer(401, b"", {"WWW-Authenticate": f'Basic realm="{ascii_of(secret)}"'}),
        answer(429, b"", {"Retry-After": ascii_of(secret), "Date": ascii_of(secret)}),
        answer(400, secret, {"Content-Encoding": ascii_of(secret)}),
        b"HTTP/1.1 400 " + ascii_of(secret).encode() + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 " + ascii_of(secret).encode() + b" OK\r\n\r\n",
        ascii_of(secret).encode() + b"\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nA: b\r\nno colon "
        + ascii_of(secret).replace(":", "").encode()
        + b"\r\nContent-Length: 0\r\n\r\n",
        cut(answer(400, {"error": "invalid_request", "error_description": secret * 3}), 200),
        token_server.reset,
    ]
    return [(step, 1) for step in rejected]


def bad_tokens(canary: Canary, _: str) -> list[tuple[Step, int]]:
    """Play answers that hold a token, but none that can be published."""
    values = iter([canary.token() for _ in range(13)])
    steps = [
        token(f"{next(values)} {canary.token()}"),
        token(f"{next(values)}\r\nX-Injected: 1"),
        token(next(values), token_type="mac"),
        token(next(values), expires_in=0),
        token(next(values), expires_in=-1),
        token(next(values), error="server_error", error_description="later"),
        answer(200, {"token": next(values), "accessToken": next(values)}),
        answer(200, [next(values)]),
        cut(token(next(values)), 150),
        answer(200, {"access_token": {"value": next(values)}}),
    ]
    swapped = next(values)
    steps.append(token("Bearer", token_type=swapped))
    told = next(values)
    steps.append(token(told, error="access_denied", error_description=f"{told} is not for you"))
    return [(step, 1) for step in steps]


def good_token(canary: Canary, _: str) -> list[tuple[Step, int]]:
    """Play one success."""
    return [(token(canary.token()), 0)]


def ascii_of(text: str) -> str:
    """Take away what can't stand in a header."""
    return text.replace("é", "")


SCRIPTS = {"echoes": echoes, "bad_tokens": bad_tokens, "good_token": good_token}


# What is driven


@dataclass
class World:
    """A folder with a configuration whose tokens play one script between them."""

    folder: Path
    canary: Canary
    server: TokenServer
    tokens: int
    failures: int

    @property
    def config(self) -> str:
        """Return the path of the configuration."""
        return str(self.folder / "freshtoken.toml")

    def composed(self) -> tuple[RefresherSet, dict[str, Refresher]]:
        """Build what `run` and `once` build."""
        composed = RefresherSet(Tools({}, "host", system_clock))
        return composed, composed.update(load(self.config, {}, with_secrets=True).tokens)

    def files(self) -> str:
        """Return all that is in the folder beside the client secret and the tokens' own files."""
        kept = [path for path in sorted(self.folder.iterdir()) if path.is_file()]
        texts = [path.read_text() for path in kept if path.suffix not in {".secret", ".token"}]
        return "\n".join([*(path.name for path in kept), *texts])


def world_of(
    folder: Path, steps: list[tuple[Step, int]], canary: Canary, auth: str = "basic"
) -> World:
    """Write the configuration for a script; the server is not yet started."""
    server = TokenServer(*(step for step, _ in steps))
    (folder / "client.secret").write_text(canary.secret)
    tables = [
        f'[tokens.t{number}]\ntoken_url = "{server.url}"\nclient_id = "client"\n'
        'client_secret = { file = "client.secret" }\n'
        f'auth_method = "client_secret_{auth}"\n'
        f'[[tokens.t{number}.sinks]]\ntype = "file"\npath = "t{number}.token"\nformat = "raw"\n'
        for number in range(len(steps))
    ]
    (folder / "freshtoken.toml").write_text("\n".join([UNLIMITED, *tables]))
    return World(folder, canary, server, len(steps), sum(failures for _, failures in steps))


@pytest.fixture(params=["echoes basic", "echoes post", "bad_tokens post", "good_token basic"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Give each script a folder, a canary and a running server."""
    canary = Canary()
    script, auth = request.param.split()
    made = world_of(tmp_path, SCRIPTS[script](canary, auth), canary, auth)
    with made.server:
        yield made


def job_objects(*roots: object) -> Iterator[object]:
    """Yield every object of this package that can be reached from some others."""
    seen, todo = set[int](), list(roots)
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type) or len(seen) > 100_000:
            continue
        seen.add(id(one))
        ours = type(one).__module__.partition(".")[0] == "job"
        if ours:
            yield one
        if ours or isinstance(one, dict | list | tuple | set) or callable(one):
            todo += gc.get_referents(one)


def shown(objects: Iterable[object]) -> str:
    """Show objects in every way in which a program shows them without meaning to."""
    return "\n".join(f"{one!r} {one} {one:}" for one in objects)


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", FORMATS)
def test_one_pass_leaks_nothing(world: World, log_format: LogFormat) -> None:
    """Promise: whatever servers answer, the log at debug level and all objects are clean."""
    log = io.StringIO()
    composed, refreshers = world.composed()
    report = log_observer(log, log_format, "debug", composed.live_secrets)
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)
        report(event)

    outcomes = Pass(refreshers.values(), observe, force=False, timeout_s=PATIENCE_S).run()
    assert len(outcomes) == world.tokens
    assert sum(isinstance(event, TokenRefreshFailed) for event in events) == world.failures
    assert log.getvalue().count("\n") == len(events)
    assert world.canary.seen_in(log.getvalue()) == []
    assert world.canary.seen_in(repr(events)) == []
    assert world.canary.seen_in(repr([outcome.as_json() for outcome in outcomes])) == []
    objects = list(job_objects(composed, refreshers))
    kinds = {type(one).__name__ for one in objects}
    assert {
        "Refresher",
        "State",
        "RefresherSet",
        "RecordSink",
        "FileStore",
        "WatchedSecret",
        "Secret",
    } <= kinds
    assert world.canary.seen_in(shown(objects)) == []
    assert world.canary.seen_in(world.files()) == []


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", FORMATS)
def test_the_daemon_leaks_nothing(world: World, log_format: LogFormat) -> None:
    """Promise: the scheduler process shows no more than one pass does."""
    log, ended = io.StringIO(), threading.Semaphore(0)
    composed, refreshers = world.composed()
    report = log_observer(log, log_format, "debug", composed.live_secrets)

    def observe(event: Event) -> None:
        report(event)
        if event.name in {"token.refresh_failed", "token.delivered", "job.crashed"}:
            ended.release()

    daemon = Daemon(refreshers, observe, lambda _: composed.update(load(world.config, {}).tokens))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    seen = [ended.acquire(timeout=PATIENCE_S) for _ in range(world.tokens)]
    daemon.obey("stop", "done")
    thread.join(PATIENCE_S)
    assert all(seen)
    assert "job.crashed" not in log.getvalue()
    assert log.getvalue().count("token.refresh_failed") >= world.failures
    assert world.canary.seen_in(log.getvalue()) == []
    assert world.canary.seen_in(shown(job_objects(daemon, composed))) == []


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", FORMATS)
def test_the_command_leaks_nothing(world: World, log_format: LogFormat) -> None:
    """Promise: neither standard output nor standard error of the real program shows a secret."""
    done = program("once", "--json", config=world.config, log_format=log_format)
    assert done.returncode == (0 if not world.failures else done.returncode) != 70
    printed = json.loads(done.stdout)["tokens"]
    assert sum(one["outcome"] == "failed" for one in printed.values()) == world.failures
    assert len(printed) == world.tokens
    assert done.stderr.count("token.refresh_failed") == world.failures
    assert world.canary.seen_in(done.stdout + done.stderr) == []
    assert world.canary.seen_in(world.files()) == []


def program(
    *args: str, config: str, log_format: LogFormat, prelude: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, at debug level."""
    code = f"{prelude}\nfrom job.cli import main\nmain()"
    options = ("--config", config, "--log-level", "debug", "--log-format", log_format)
    return subprocess.run(
        [sys.executable, "-c", code, *options, *args],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "*"},
    )


# Bugs


BROKEN = """
import requests.adapters
def send(self, request, **options):
    held = request.headers.get("Authorization"), request.body
    raise LookupError(f"no way to send {held}") from ValueError(held)
requests.adapters.HTTPAdapter.send = send
"""


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", FORMATS)
def test_a_bug_leaks_nothing(tmp_path: Path, log_format: LogFormat) -> None:
    """Promise: an exception that nobody foresaw shows its places, not its message or locals."""
    canary = Canary()
    world = world_of(tmp_path, good_token(canary, "basic") * 2, canary)
    with world.server:
        done = program("once", config=world.config, log_format=log_format, prelude=BROKEN)
    assert done.returncode == 70
    assert "LookupError" in done.stderr
    assert done.stderr.count("job.crashed") == 2
    assert "Traceback" not in done.stderr
    assert canary.seen_in(done.stdout + done.stderr) == []


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", FORMATS)
def test_a_bug_in_a_source_leaks_nothing_from_the_daemon(log_format: LogFormat) -> None:
    """Promise: neither the log nor the event of a crash holds what the exception held."""
    canary, log, crashed = Canary(), io.StringIO(), threading.Event()
    told: list[Event] = []

    def fetch() -> None:
        held = canary.secret
        raise RuntimeError([held, canary.token()]) from ValueError(held)

    refresher = Refresher(
        "t", ScriptedSource(fetch), [MemorySink()], Plan(Policy(), "seed"), "key", FakeClock()
    )
    report = log_observer(log, log_format, "debug", lambda _: ())

    def observe(event: Event) -> None:
        told.append(event)
        report(event)
        if isinstance(event, JobCrashed):
            crashed.set()

    daemon = Daemon({"t": refresher}, observe, lambda _: {}, tick_s=0.02)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    found = crashed.wait(PATIENCE_S)
    daemon.obey("stop", "done")
    thread.join(PATIENCE_S)
    assert found
    assert "test_no_leak.py" in log.getvalue()
    assert canary.seen_in(log.getvalue() + repr(told)) == []


# Sinks


@pytest.mark.fault("secret-in-output")
def test_files_that_fail_leak_nothing(tmp_path: Path) -> None:
    """Promise: what a file sink says of its troubles holds neither old nor new content."""
    canary = Canary()
    sinks = [
        'path = "no-such-folder/t.token"',
        'path = "folder.token"',
        'path = "foreign.token"',
        'path = "a.token"\nowner = "no-such-user"',
        'path = "b.token"\nformat = "template"\ntemplate = "x {access_token}"\ngroup = "none"',
    ]
    (tmp_path / "folder.token").mkdir()
    (tmp_path / "foreign.token").write_text(f'{{"password": "{canary.token()}"}}')
    (tmp_path / "client.secret").write_text(canary.secret)
    config = tmp_path / "freshtoken.toml"
    with TokenServer(token(canary.token())) as server:
        config.write_text(
            "\n".join(
                f'[tokens.t{number}]\ntoken_url = "{server.url}"\nclient_id = "c"\n'
                'client_secret = { file = "client.secret" }\n'
                f'[[tokens.t{number}.sinks]]\ntype = "file"\n{sink}\n'
                for number, sink in enumerate(sinks)
            )
        )
        done = program("once", config=str(config), log_format="json")
        assert len(server.requests) == 2
    assert done.returncode in {74, 77}
    assert done.stderr.count("token.delivery_failed") == len(sinks)
    assert canary.seen_in(done.stdout + done.stderr) == []


@pytest.mark.fault("secret-in-output")
def test_a_store_that_echoes_leaks_nothing(tmp_path: Path) -> None:
    """Promise: what AWS, or something that poses as AWS, says is never passed on."""
    canary = Canary()
    stolen = canary.token()
    body = {"__type": "AccessDeniedException", "message": f"{canary.secret} {stolen}"}
    steps = [
        answer(400, body, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-Echo": stolen}),
        answer(400, body | {"__type": stolen}),
        answer(200, f"<html>{stolen}</html>"),
    ]
    with TokenServer(token(canary.token())) as server, TokenServer(*steps) as aws:
        (tmp_path / "client.secret").write_text(canary.secret)
        (tmp_path / "freshtoken.toml").write_text(
            "\n".join(
                f'[tokens.t{number}]\ntoken_url = "{server.url}"\nclient_id = "c"\n'
                'client_secret = { file = "client.secret" }\n'
                f'[[tokens.t{number}.sinks]]\ntype = "aws_secrets_manager"\n'
                f'secret_id = "t{number}"\nregion = "eu-central-1"\n'
                f'endpoint_url = "http://127.0.0.1:{aws.port}"\n'
                for number in range(3)
            )
        )
        prelude = (
            "import os\n"
            f"os.environ.update(AWS_ACCESS_KEY_ID='id', AWS_SECRET_ACCESS_KEY={stolen!r})\n"
            "for name in ('AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE'):\n"
            "    os.environ[name] = os.devnull"
        )
        config = str(tmp_path / "freshtoken.toml")
        done = program("once", config=config, log_format="json", prelude=prelude)
    assert done.returncode in {74, 77}
    assert done.stderr.count("token.delivery_failed") >= 3
    assert canary.seen_in(done.stdout + done.stderr) == []


@pytest.mark.fault("secret-in-output")
def test_calls_that_fail_in_boto3_leak_nothing(
    aws: "SecretsManagerClient", faults: "Faults"
) -> None:
    """Promise: an exception of boto3 that prints the value it refuses is not passed on."""
    from aws import fail, refuse  # noqa: PLC0415  # loads boto3
    from botocore.exceptions import ParamValidationError  # noqa: PLC0415  # the same

    canary, log = Canary(), io.StringIO()
    value = canary.token()
    aws.create_secret(Name="t", SecretString="{}")
    effects = [
        fail(ParamValidationError(report=f"Invalid length for SecretString, value: {value}")),
        fail(RuntimeError(value)),
        refuse("ValidationException", f"1 validation error at {value}"),
        refuse("InternalServiceError", value, 500),
        refuse(value, value),
    ]
    report = log_observer(log, "json", "debug", lambda _: ())
    for effect in effects:
        faults.plan("PutSecretValue", effect)
        sink = secret_sink("t", OutputFormat("raw", "t"), lambda: aws)
        source, plan = ScriptedSource(some_token(value)), Plan(Policy(), "seed")
        refresher = Refresher("t", source, [sink], plan, "key", FakeClock())
        (outcome,) = Pass([refresher], report, force=True, timeout_s=PATIENCE_S).run()
        assert any(isinstance(event, TokenDeliveryFailed) for event in outcome.events)
        assert canary.seen_in(shown(job_objects(refresher)) + repr(outcome)) == []
    assert log.getvalue().count("token.delivery_failed") == len(effects)
    assert canary.seen_in(log.getvalue()) == []


@pytest.mark.fault("secret-in-output")
def test_receipts_hold_no_secret(aws: "SecretsManagerClient", tmp_path: Path) -> None:
    """Promise: a sidecar file and the ids of a secret's versions may be read by anybody."""
    canary = Canary()
    layout, clock = OutputFormat("raw", "t"), FakeClock()
    sinks = [
        file_sink(str(tmp_path / "t.token"), layout),
        secret_sink("t", layout, lambda: aws, create=True),
    ]
    source = ScriptedSource(some_token(canary.token()), some_token(canary.token(), life=4000))
    refresher = Refresher("t", source, sinks, Plan(Policy(), "seed"), "key", clock)
    for _ in range(2):
        refresher.step(force=True)
        clock.advance(60.0)
    assert (tmp_path / "t.token").read_text() == canary.tokens[1]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".t.token.lock", "t.token", "t.token.freshtoken.json"]
    beside = "".join((tmp_path / name).read_text() for name in names if name != "t.token")
    described = aws.describe_secret(SecretId="t")
    assert all("-key-" in version for version in described["VersionIdsToStages"])
    assert canary.seen_in(beside + repr(described)) == []


@pytest.mark.fault("secret-in-output")
def test_a_reload_in_the_middle_of_a_line_costs_no_line(tmp_path: Path) -> None:
    """Promise: the secrets to mask are looked up in one configuration, the old or the new one."""
    canary = Canary()
    world = world_of(tmp_path, good_token(canary, "basic") * 3, canary)
    with world.server:
        composed, refreshers = world.composed()
        Pass(refreshers.values(), lambda _: None, force=False, timeout_s=PATIENCE_S).run()
    live = composed.live_secrets(None)
    first = [next(live), next(live)]
    config = Path(world.config)
    config.write_text(config.read_text().partition("[tokens.t1]")[0])
    assert list(composed.update(load(world.config, {}).tokens)) == ["t0"]
    shown_at_all = {secret.reveal() for secret in [*first, *live]}
    assert {canary.secret, canary.tokens[0]} <= shown_at_all


# Configuration


def table(**keys: str) -> str:
    """Write a token's table from texts in TOML."""
    written = {
        "token_url": '"http://127.0.0.1:9/token"',
        "client_id": '"c"',
        "client_secret": '{ file = "x" }',
    } | keys
    lines = [f"{key} = {value}" for key, value in written.items()]
    return "\n".join(["[tokens.t]", *lines, "[[tokens.t.sinks]]", 'type = "file"', 'path = "t"'])


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("verb", ["once", "check", "status", "run", "get"])
def test_a_wrong_configuration_leaks_nothing(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: a secret that somebody wrote into the file itself is never printed."""
    from job.cli import exit_status  # noqa: PLC0415  # beside its only user

    canary = Canary()
    secret = json.dumps(canary.secret, ensure_ascii=False)
    bare = cores(1)[0]
    canary.tokens.append(bare)
    wrong = [
        table(client_secret=secret),
        table(client_secret=f"[{secret}]"),
        table(client_secret=f"{{ value = {secret} }}"),
        table(client_secret=f"{{ env = {secret} }}"),
        table(client_secret=f"{{ env = {json.dumps(bare)} }}"),
        table(client_secret=f"{{ file = {secret}, env = {secret} }}"),
        table(client_secret=f"{{ command = {secret} }}"),
        table(secret=secret),
        table(min_validity=secret),
        table(timeout=secret),
        table(auth_method=secret),
        table(provider=secret),
        table(scope=f"[{secret}]"),
        table(scope=secret),
        table(token_url=json.dumps(f"https://c:{bare}@127.0.0.1:9/token")),
        table(token_url=json.dumps(f"https://127.0.0.1:9/token#{bare}")),
        table(token_url=json.dumps(f"ftp://127.0.0.1:9/{bare}")),
        table(extra_params=f"{{ client_secret = {secret} }}"),
        table(headers=f"{{ Authorization = {secret} }}"),
        table(headers=f"{{ X-Key = {json.dumps(canary.secret + chr(10))} }}"),
        table(proxy=json.dumps(f"http://u:{bare}@")),
        table() + f"\nmode = {secret}",
        table() + f'\nformat = "template"\ntemplate = {secret}',
        table(client_secret="'") + bare,
        table(client_secret=bare),
        table() + f"\n{bare}",
        f"[[tokens]]\nt = {secret}",
    ]
    config = tmp_path / "freshtoken.toml"
    args = [
        verb,
        "--config",
        str(config),
        "--log-level",
        "debug",
        *(["t"] if verb == "get" else []),
    ]
    leaks = []
    for number, text in enumerate(wrong):
        config.write_text(text)
        status = exit_status(args)
        printed = capsys.readouterr()
        if status == 0 or canary.seen_in(printed.out + printed.err):
            leaks.append((number, status, canary.seen_in(printed.out + printed.err)))
    assert leaks == []


@pytest.mark.fault("secret-in-output")
def test_secret_sources_that_fail_leak_nothing(tmp_path: Path) -> None:
    """Promise: neither the arguments nor the output of a command that fails are shown."""
    canary = Canary()
    hidden = json.dumps(canary.token())
    sources = [
        '{ file = "missing" }',
        f'{{ command = ["{tmp_path}/missing", {hidden}] }}',
        f'{{ command = ["false", {hidden}] }}',
        f'{{ command = ["sh", "-c", "echo $0; echo $0 >&2; exit 3", {hidden}] }}',
        f'{{ command = ["sh", "-c", "kill -9 $$", {hidden}] }}',
        '{ command = ["head", "-c", "70000", "/dev/zero"] }',
    ]
    config = tmp_path / "freshtoken.toml"
    config.write_text(
        "\n".join(
            table(client_secret=source)
            .replace("tokens.t", f"tokens.t{number}")
            .replace('path = "t"', f'path = "t{number}"')
            for number, source in enumerate(sources)
        )
    )
    done = program("once", config=str(config), log_format="json")
    assert done.returncode == 78
    assert done.stderr.count("client_secret_unavailable") == len(sources)
    assert canary.seen_in(done.stdout + done.stderr) == []


# The whole process


@pytest.mark.fault("secret-in-output")
def test_the_scheduler_process_leaks_nothing(tmp_path: Path) -> None:
    """Promise: `run` shows no secret from its first line to its last, nor in its arguments."""
    canary = Canary()
    steps = [step for script in SCRIPTS.values() for step in script(canary, "basic")]
    world = world_of(tmp_path, steps, canary)
    argv = [sys.executable, "-m", "job", "run", "--config", world.config, "--log-level", "debug"]
    with world.server, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT) as job:
        try:
            assert job.stderr
            lines, ended = [], 0
            watchdog = threading.Timer(PATIENCE_S, job.kill)
            watchdog.start()
            for line in job.stderr:
                lines.append(line)
                ended += json.loads(line)["event"] in {"token.refresh_failed", "token.delivered"}
                if ended >= world.tokens:
                    break
            arguments = Path(f"/proc/{job.pid}/cmdline").read_text()
            job.send_signal(signal.SIGTERM)
            lines += job.stderr
            watchdog.cancel()
            watchdog.join()
        finally:
            job.kill()
    assert job.returncode == 0
    assert ended >= world.tokens
    assert canary.seen_in("".join(lines) + arguments) == []
    assert canary.seen_in(world.files()) == []


def test_a_secret_shows_itself_to_nobody() -> None:
    """Promise: a Secret in any container, message or format is a mask."""
    canary = Canary()
    value = Secret(canary.secret)
    texts = [
        f"{value} {value!r} {value!s} {value:>40}",
        "%s %r" % (value, value),  # noqa: UP031  # the old way is used by libraries
        repr([value, {"k": value}, (value,)]),
        str(ValueError(value)),
        json.dumps({"v": value}, default=str),
    ]
    assert canary.seen_in("".join(texts)) == []

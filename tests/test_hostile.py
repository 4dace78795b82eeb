"""What servers, files, stores and environments may hold, made up: no crash, no hang, no leak.

HOSTILE_EXAMPLES=5000 makes a long run of it, each time with other examples.
"""

import contextlib
import io
import json
import logging
import math
import os
import secrets
import socket
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from fakes import START, FakeClock, MemorySink, ScriptedSource, record, token
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loading import tokens_of
from sinks import file_sink
from token_server import TokenServer

from job.config.settings import CommonSettings, TokenSettings
from job.core.errors import ConfigError, EndpointUnavailable, ExchangeError, JobError, SinkRejected
from job.core.events import Event
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Record, parse, record_of, render, render_receipt
from job.credentials.settings import AssertionSettings, SecretSettings
from job.http.transport import MAX_BODY_BYTES, Transport
from job.inventory.kinds import load
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse
from job.observe.log import log_observer
from job.sinks.file import SIDECAR_SUFFIX, FileSinkSettings
from job.sinks.secret_text import SecretText
from job.sinks.secrets_manager import SecretsManagerSinkSettings

T = TypeVar("T")
E = TypeVar("E", bound=JobError)

SECRET = secrets.token_hex(12)
TEN_YEARS_S = 315_360_000
LAYOUTS = (
    OutputFormat("json", "tiki"),
    OutputFormat("raw", "tiki"),
    OutputFormat("header", "tiki"),
    OutputFormat("env", "tiki"),
    OutputFormat("template", "tiki", "{token_type}|{scope}|{access_token}|{expires_at}|{name}"),
)
LONG = os.environ.get("HOSTILE_EXAMPLES")


def examples(number: int) -> settings:
    """Try so many examples, always the same; or more of them and others, where that is asked."""
    return settings(
        max_examples=int(LONG) if LONG else number,
        derandomize=not LONG,
        database=None,
        deadline=timedelta(seconds=5),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(autouse=True)
def libraries_may_log_again() -> Iterator[None]:
    """Undo what making a log does to the logging of this whole process."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


# What hostile things are made of

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 1, 10**20, 10**400, 1e308, 2**63])
STRINGS = st.text() | st.sampled_from(
    ["", " ", "\0", "\ud800", "a\r\nb", "3600", "1e999", "-1", "9" * 5000, SECRET, f"x {SECRET}"]
)
LEAVES = st.none() | st.booleans() | NUMBERS | STRINGS
MEMBERS = (
    "access_token",
    "token_type",
    "expires_in",
    "expires_at",
    "expires_on",
    "refresh_in",
    "scope",
    "error",
    "error_description",
    "extra",
    "freshtoken",
    "obtained_at",
    "previous",
    "message",
    "response",
    "errors",
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=8)
# An answer that is nearly right gets further than noise does.
ANSWERS = st.builds(
    lambda good, bad: good | bad,
    st.fixed_dictionaries({"access_token": st.just("tok-1") | STRINGS, "expires_in": NUMBERS}),
    OBJECTS,
)


def cut_and_flipped(content: bytes, keep: int, flip: int) -> bytes:
    """Damage bytes: keep a beginning, with one byte changed."""
    damaged = bytearray(content[: keep % (len(content) + 1)])
    if damaged:
        damaged[flip % len(damaged)] ^= 1 + flip % 255
    return bytes(damaged)


def bytes_of(objects: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Write values as JSON, in some encoding, whole or damaged; or make any bytes at all."""
    encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    whole = st.builds(
        lambda value, encoding, ascii_only: json.dumps(value, ensure_ascii=ascii_only).encode(
            encoding, "replace"
        ),
        objects,
        encodings,
        st.booleans(),
    )
    damaged = st.builds(cut_and_flipped, whole, st.integers(0), st.integers(0))
    return whole | damaged | st.binary()


def is_harmless(text: str) -> bool:
    """Tell whether a message may be shown: short, on one line, and without the secret."""
    return SECRET not in text and text.isprintable() and len(text) < 1000


def result_of(function: Callable[[], T], error: type[E]) -> T | E:
    """Return what a function returns, or the error of ours that it raises: there is no other."""
    try:
        return function()
    except error as raised:
        return raised


# Token answers

HEADER_TEXTS = st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(
    ["-1", "1e9", "9" * 31, "Wed, 21 Oct 2099 07:28:00 GMT", "Thu, 01 Jan 1970 00:00:00 -9999"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "age", "location", "content-type"]), HEADER_TEXTS
)
STATUSES = st.sampled_from([200, 201, 204, 301, 307, 400, 401, 403, 429, 500, 503])
RULES = st.builds(
    ResponseRules,
    lifetime=st.none() | st.integers(1, TEN_YEARS_S),
    jwt_expiry=st.booleans(),
    keep_extra=st.lists(st.sampled_from(MEMBERS)).map(tuple),
)


def verdict(reply: TokenResponse, rules: ResponseRules = ResponseRules()) -> None:  # noqa: B008  # immutable
    """Read an answer: a token that can be stored and read back, or an error that may be shown."""
    got = result_of(lambda: read_token(reply, rules), ExchangeError)
    if isinstance(got, ExchangeError):
        assert is_harmless(str(got))
        assert got.retry_after is None or 0 <= got.retry_after < math.inf
        return
    assert 1 <= got.lifetime <= TEN_YEARS_S
    stored = record_of(got, "key")
    for layout in LAYOUTS:
        found = parse(render(stored, layout), layout, render_receipt(stored, layout))
        assert found is not None
        assert found.receipt == stored.receipt


@pytest.mark.fault("hostile-answer")
@examples(150)
@given(STATUSES, HEADERS, bytes_of(ANSWERS) | bytes_of(OBJECTS), RULES)
@example(301, {}, b'{"access_token": "\\ud800"}', ResponseRules())
@pytest.mark.slow
def test_any_answer_is_a_token_or_an_error(
    status: int, headers: dict[str, str], body: bytes, rules: ResponseRules
) -> None:
    """Promise: whatever a server says, there is a token worth storing or a typed error."""
    verdict(TokenResponse(status, headers, body, START, (Secret(SECRET),)), rules)


WORST = {
    "brackets": b"[" * MAX_BODY_BYTES,
    "objects": b'{"a":' * (MAX_BODY_BYTES // 5),
    "digits": b'{"access_token": "t", "expires_in": ' + b"9" * 1_000_000 + b"}",
    "quotes": b'"' * MAX_BODY_BYTES,
    "backslashes": b'{"error": "' + b"\\" * 1_000_000 + b'"}',
    "a form": b"a=&" * (MAX_BODY_BYTES // 3),
    "a short form": b"a=&" * 21_000 + b"x",
    "percent signs": b'{"error": "x", "error_description": "' + b"%25" * 300_000 + b'"}',
    "percent signs around a secret": b'{"error": "x", "error_description": "'
    + b"%2525" * 100_000
    + b"".join(b"%%%02x" % byte for byte in SECRET.encode())
    + b'"}',
    "dots": b'{"access_token": "' + b"." * 1_000_000 + b'"}',
    "nearly a JWT": b'{"error": "x", "message": "' + b"eyJ-" * 250_000 + b'"}',
    "many members": b"{" + b",".join(b'"%d":0' % n for n in range(80_000)) + b"}",
    "spaces": b" " * MAX_BODY_BYTES,
    "a long scope": b'{"access_token": "t", "scope": "' + b"a " * 500_000 + b'"}',
}


@pytest.mark.fault("hostile-answer")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("shape", WORST)
@pytest.mark.slow
def test_the_worst_shapes_cost_no_time(shape: str, status: int) -> None:
    """Promise: a body of the largest size in the shape that is dearest to read takes a moment."""
    verdict(
        TokenResponse(status, {}, WORST[shape], START, (Secret(SECRET),)),
        ResponseRules(jwt_expiry=True),
    )


LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 307 Away",
        b"HTTP/1.1 400 Bad",
        b"HTTP/1.1 999 Odd",
        b"HTTP/1.1 -1 Odd",
        b"HTTP/9 200",
        b"HTTP/1.1",
        b"",
    ]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            b"Content-Length: 30",
            b"Content-Length: -1",
            b"Content-Length: 1, 2",
            b"Content-Length: " + b"9" * 30,
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Content-Encoding: gzip",
            b"Content-Encoding: br",
            b"Content-Type: text/html; charset=\xff",
            b"Location: http://[",
            b"Location: \xff\xfe",
            b"Set-Cookie: a=b",
            b"Connection: upgrade",
            b" folded",
            b"no colon",
            b"\x00: \x00",
        ]
    )
    | st.binary(max_size=30),
    max_size=4,
)
CHUNKS = st.sampled_from(
    [
        b"",
        b"0\r\n\r\n",
        b"5\r\n{\r\n",
        b"-1\r\n",
        b"fffffffffffff\r\nx",
        b"2;x=y\r\n{}\r\n0\r\n\r\n",
    ]
)
WIRE = st.builds(
    lambda line, fields, body: b"\r\n".join([line, *fields, b"", body]),
    LINES | st.binary(max_size=20),
    FIELDS,
    CHUNKS | bytes_of(ANSWERS),
)


@pytest.fixture(scope="module")
def said() -> Iterator[tuple[str, list[bytes]]]:
    """Start a server that says what the list holds; the address to ask at."""
    what = [b""]

    def play(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(what[0])

    with TokenServer(play) as server:
        yield server.url, what


@pytest.mark.fault("hostile-answer")
@examples(60)
@given(wire=WIRE)
@pytest.mark.slow
def test_any_bytes_on_the_wire_are_an_answer_or_an_error(
    said: tuple[str, list[bytes]], wire: bytes
) -> None:
    """Promise: an exchange ends in time, with an answer or a typed error, whatever comes."""
    url, what = said
    what[0] = wire
    request = requests.Request("POST", url, headers={"Authorization": SECRET}).prepare()
    reply = result_of(lambda: Transport(5.0).send(request), ExchangeError)
    if isinstance(reply, ExchangeError):
        assert is_harmless(str(reply))
        assert (reply.__cause__, reply.__context__) == (None, None)
    else:
        verdict(TokenResponse(*reply, START, (Secret(SECRET),)))


# Waits that servers wish for


@examples(50)
@given(st.none() | st.floats(0, allow_infinity=False), st.integers(1, 5))
def test_no_wish_of_a_server_stops_the_work(wish: float | None, failures: int) -> None:
    """Promise: an absurd Retry-After is a wait that ends, and can be told and logged."""
    error = EndpointUnavailable("http_503", "busy", http_status=503, retry_after=wish)
    source, clock = ScriptedSource(*[error] * failures, token("tok-9")), FakeClock()
    refresher = refresher_of(source, MemorySink(), clock)
    for _ in range(failures):
        assert "token.refresh_failed" in told(refresher.step())
        assert refresher.wait_s() <= 2 * 86_400
        clock.advance(max(refresher.wait_s(), 0.0) + 1.0)


# What is stored

DATES = NUMBERS | STRINGS | st.sampled_from([START, START + 3600, START - 3600, 253_402_300_799])


@st.composite
def documents(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """Make a document of ours and change some of it, mostly so that it still proves itself."""
    value = draw(st.just("tok-1") | STRINGS)
    whole = json.loads(render(record("tok-1", key="key"), LAYOUTS[0]))
    whole["access_token"] = value
    with contextlib.suppress(UnicodeError):
        whole["freshtoken"]["fingerprint"] = Secret(value).fingerprint()
    whole |= draw(st.dictionaries(st.sampled_from(["obtained_at", "expires_at"]), DATES))
    whole |= draw(st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=2))
    ours = draw(st.dictionaries(st.sampled_from(["fingerprint", "version", "name"]), VALUES))
    if isinstance(whole["freshtoken"], dict):
        whole["freshtoken"] |= ours
    return whole


STORED = bytes_of(documents()) | bytes_of(OBJECTS)


def refresher_of(source: ScriptedSource, sink: Any, clock: FakeClock) -> Refresher:  # noqa: ANN401  # a sink of any kind
    """Make a refresher of one sink."""
    return Refresher("tiki", source, [sink], Plan(Policy(), "host"), "key", clock)


def told(events: tuple[Event, ...]) -> str:
    """Log events as JSON; each has to be a line, and none may show the secret."""
    stream = io.StringIO()
    observe = log_observer(stream, "json", "debug", lambda _: ())
    for event in events:
        observe(event)
    lines = stream.getvalue().splitlines()
    assert len([json.loads(line) for line in lines]) == len(events)
    assert SECRET not in stream.getvalue()
    return stream.getvalue()


def is_good(found: Record) -> bool:
    """Tell whether a record can be used: a header carries it, and its receipt is true of it."""
    value = found.token.access_token
    return (
        value.reveal().isascii()
        and value.reveal().isprintable()
        and found.receipt.fingerprint == value.fingerprint()
        and 0 <= found.token.requested_at <= found.token.expires_at
    )


@pytest.mark.fault("foreign-file")
@pytest.mark.fault("corrupt-document")
@examples(150)
@given(
    layout=st.sampled_from(LAYOUTS),
    content=STORED | STRINGS.map(lambda text: text.encode(errors="replace")),
    beside=st.none() | STORED | st.just(render_receipt(record(), LAYOUTS[1]).encode()),
)
@pytest.mark.slow
def test_any_file_is_a_record_or_replaced_or_refused(
    tmp_path: Path, layout: OutputFormat, content: bytes, beside: bytes | None
) -> None:
    """Promise: what is at a file's place is never taken for a token, nor destroyed, by mistake."""
    path, new = tmp_path / "value", record("tok-new", START + 3000)
    path.write_bytes(content)
    sidecar = Path(f"{path}{SIDECAR_SUFFIX}")
    sidecar.unlink(missing_ok=True)
    if beside is not None:
        sidecar.write_bytes(beside)

    sink = file_sink(str(path), layout)
    found = result_of(sink.read, SinkRejected)
    refresher = refresher_of(ScriptedSource(new.token), sink, FakeClock(START + 3000.0))
    said = told(refresher.step())
    assert 0 <= max(refresher.wait_s(), 0.0) < TEN_YEARS_S * 1000
    if isinstance(found, SinkRejected):
        assert found.code == "foreign_file"
        assert '"foreign_file"' in said
        assert path.read_bytes() == content
    else:
        held = sink.read()
        assert held is not None
        assert found is None or is_good(found)
        assert '"token.delivered"' in said or held == found


@pytest.mark.fault("foreign-secret")
@examples(150)
@given(
    layout=st.sampled_from(LAYOUTS),
    text=STORED.map(lambda content: content.decode(errors="replace")) | STRINGS,
    version=st.text("0123456789abcdef-", max_size=64)
    | st.builds(
        "{}-{}-key-{:x}-{:x}".format,
        st.just("0123456789ab"),
        st.sampled_from([Secret("tok-1").fingerprint(), "0" * 12]),
        st.integers(0, 2**80),
        st.integers(0, 2**80),
    ),
    key=st.none() | st.sampled_from(MEMBERS),
)
@pytest.mark.slow
def test_any_secret_is_a_record_or_replaced_or_refused(
    layout: OutputFormat, text: str, version: str, key: str | None
) -> None:
    """Promise: whatever a secret and its version's id hold, reading it ends well."""
    secret, new = SecretText("prod/token", key), record("tok-new", START + 3000)
    receipt = "" if layout.carries_receipt else render_receipt(new, layout)

    def found_in(content: str, version_id: str) -> Record | None:
        value, beside = secret.parts(content, version_id)
        return parse(value, layout, beside)

    found = result_of(lambda: found_in(text, version), SinkRejected)
    written = result_of(lambda: secret.joined(render(new, layout), receipt, text), SinkRejected)
    if isinstance(written, SinkRejected):
        assert written.code in {"not_json", "too_large"}
        assert is_harmless(str(written))
        return
    assert found is None or (isinstance(found, Record) and is_good(found))
    again = found_in(written, secret.version_id(receipt, "the one before"))
    assert again is not None
    assert again.receipt == new.receipt


# Configuration

ONE: Mapping[str, Any] = {
    "token_url": "https://as.example/token",
    "client_id": "id",
    "client_secret": {"env": "ONE_SECRET"},
    "sinks": [{"type": "file", "path": "/run/one.json"}],
}
SINKS = {
    "file": ({"type": "file", "path": "one"}, FileSinkSettings),
    "aws": ({"type": "aws_secrets_manager", "secret_id": "one"}, SecretsManagerSinkSettings),
}
SECRETS = {
    "client_secret": SecretSettings,
    "private_key": SecretSettings,
    "client_assertion": AssertionSettings,
}
WILD: tuple[Any, ...] = (
    "",
    " ",
    "\0",
    "x\r\ny",
    SECRET,
    f"https://user:{SECRET}@[",
    "{",
    "{0.__class__}",
    "-5m",
    "9" * 400,
    0,
    -1,
    10**30,
    math.nan,
    math.inf,
    -0.5,
    True,
    [],
    [SECRET, 1],
    [[]],
    {},
    {SECRET[:0] or "a": SECRET},
    {"env": SECRET},
    {"env": 1, "file": []},
    {"command": []},
    tomllib.loads("a = 2026-01-01T00:00:00Z")["a"],
)


COMMON = CommonSettings.__struct_fields__


def places() -> list[tuple[str, ...]]:
    """Return every key that a token has, down into its sinks and secrets."""
    found = [(key,) for key in TokenSettings.__struct_fields__]
    found += [("sinks", kind, key) for kind, (_, t) in SINKS.items() for key in t.__struct_fields__]
    return found + [(name, key) for name, t in SECRETS.items() for key in t.__struct_fields__]


def with_wild(place: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return a good token's table with one value that is anything."""
    match place:
        case (key,):
            return {**ONE, key: value}
        case ("sinks", kind, key):
            return {**ONE, "sinks": [SINKS[kind][0] | {key: value}]}
        case (name, key):
            return {**ONE, name: {"env": "ONE_SECRET", key: value}}
    raise AssertionError


def examined(raw: Mapping[str, Any]) -> None:
    """Take a configuration, or refuse it in words that may be shown."""
    taken = result_of(lambda: tokens_of(raw, "/run", {"ONE_SECRET": "x"}), ConfigError)
    if isinstance(taken, ConfigError):
        assert taken.problems
        assert [line for line in taken.problems if not is_harmless(line)] == []


@pytest.mark.fault("hostile-configuration")
@pytest.mark.parametrize("value", WILD, ids=lambda value: type(value).__name__)
@pytest.mark.slow
def test_a_wild_value_at_every_key_is_taken_or_refused(value: object) -> None:
    """Promise: any value of any type at any key is settings or a problem with its place."""
    examined({"tokens": {f"t{n}": with_wild(p, value) for n, p in enumerate(places())}})
    examined({"tokens": {"one": ONE}, "defaults": dict.fromkeys(COMMON, value)})


TOML_VALUES = st.recursive(
    # No file can hold half a character: TOML is UTF-8, and forbids the escape.
    st.booleans() | NUMBERS | STRINGS.filter("\ud800".__ne__) | st.sampled_from(WILD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.fault("hostile-configuration")
@examples(60)
@given(
    st.dictionaries(st.sampled_from(places()), TOML_VALUES, min_size=1, max_size=4),
    st.text(max_size=9) | st.just("one"),
    st.dictionaries(st.text(), TOML_VALUES, max_size=2),
)
@example({("provider",): []}, "\x9b", {})
@pytest.mark.slow
def test_several_wild_values_are_taken_or_refused(
    wild: dict[tuple[str, ...], object], name: str, top: dict[str, object]
) -> None:
    """Promise: several mistakes at once, of any kind, are problems and nothing else."""
    table: dict[str, Any] = {}
    for place, value in wild.items():
        table |= {key: v for key, v in with_wild(place, value).items() if v is not ONE.get(key)}
    examined(top | {"tokens": {name: {**ONE, **table}}})


@pytest.mark.fault("hostile-configuration")
@examples(80)
@given(
    content=st.binary()
    | st.text().map(lambda text: text.encode(errors="replace"))
    | st.builds(
        cut_and_flipped,
        st.just(
            b'[defaults]\ntimeout = "5s"\n[tokens.one]\ntoken_url = "https://as.example/t"\n'
            b'client_id = "id"\nclient_secret = { env = "ONE" }\n'
            b'[[tokens.one.sinks]]\ntype = "file"\npath = "one.json"\n'
        ),
        st.integers(0),
        st.integers(0),
    )
)
def test_any_file_is_a_configuration_or_refused(tmp_path: Path, content: bytes) -> None:
    """Promise: whatever the bytes of the file, they are a configuration or a list of problems."""
    path = tmp_path / "freshtoken.toml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        load(str(path), {})


ENVIRONMENT = st.dictionaries(
    st.sampled_from(
        [
            "FRESHTOKEN_PROVIDER",
            "FRESHTOKEN_TOKEN_URL",
            "FRESHTOKEN_ISSUER",
            "FRESHTOKEN_CLIENT_ID",
            "FRESHTOKEN_CLIENT_SECRET",
            "FRESHTOKEN_CLIENT_SECRET_FILE",
            "FRESHTOKEN_AUTH_METHOD",
            "FRESHTOKEN_SCOPE",
            "FRESHTOKEN_AUDIENCE",
            "FRESHTOKEN_MIN_VALIDITY",
            "FRESHTOKEN_SINK",
            "FRESHTOKEN_FORMAT",
            "FRESHTOKEN_NAME",
            "FRESHTOKEN_PROVIDER_PARAMS",
            "FRESHTOKEN_CLIENT_SECERT",
        ]
    ),
    st.binary(max_size=20).map(lambda value: os.fsdecode(value.replace(b"\0", b"")))
    | st.sampled_from(["tiki", "https://as.example/t", "file:/run/a", "file:", ",", "5m", SECRET]),
)


@pytest.mark.fault("hostile-configuration")
@examples(100)
@given(environ=ENVIRONMENT)
@example(environ={"FRESHTOKEN_SINK": "\udc80"})
@pytest.mark.slow
def test_any_environment_is_a_configuration_or_refused(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Promise: whatever the variables hold, they describe a token or are refused by name."""
    with contextlib.chdir(tmp_path):
        taken = result_of(lambda: load(None, environ, with_secrets=True), ConfigError)
    if isinstance(taken, ConfigError):
        assert [line for line in taken.problems if not is_harmless(line)] == []


def test_these_tests_see_what_they_look_for() -> None:
    """A message with the secret, with a line break or without an end is not harmless."""
    assert is_harmless("the server is busy")
    for text in (f"x{SECRET}", "two\nlines", "x" * 1000):
        assert not is_harmless(text)
    with pytest.raises(AssertionError):
        verdict(TokenResponse(200, {}, b'{"access_token": "t"}', START), ResponseRules(lifetime=0))

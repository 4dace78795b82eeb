"""What `check --online` tries, against servers of this machine."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import START, FakeClock, record
from hydra_server import Client, HydraServer
from loading import tokens_of
from sinks import file_sink
from token_server import TokenServer, answer, authority, refusal

from job.compose.tools import Tools
from job.config import Config
from job.core.secret import Secret
from job.verbs.preflight import PreflightResult, preflight

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

ENVIRON = {"ONE_SECRET": "s3cret"}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Undo what silences libraries in a real process."""
    yield
    logging.disable(logging.NOTSET)


def findings(
    folder: Path,
    url: str,
    environ: Mapping[str, str] = ENVIRON,
    clock: FakeClock | None = None,
    **keys: Any,  # noqa: ANN401  # settings are of many types
) -> list[PreflightResult]:
    """Probe one token."""
    table = {
        "token_url": url,
        "client_id": "id",
        "client_secret": {"env": "ONE_SECRET"},
        "sinks": [{"type": "file", "path": "one.json"}],
    } | keys
    given = {key: value for key, value in table.items() if value is not None}
    config = Config(tokens_of({"tokens": {"one": given}}, str(folder)), "here")
    now = clock or FakeClock()
    return list(preflight("one", config.tokens["one"], Tools(environ, "host", now)))


def endpoint(folder: Path, step: bytes) -> PreflightResult:
    """Return the finding about an endpoint that gives this answer."""
    with TokenServer(step) as server:
        return next(f for f in findings(folder, server.url) if f.what == "endpoint")


def test_all_is_well_with_a_server_of_the_real_kind(tmp_path: Path) -> None:
    """Everything is found good, nothing is minted, nothing is written."""
    with HydraServer([Client("id", Secret("s3cret"))], 60) as server:
        found = findings(tmp_path, server.token_url)
        assert server.exchanges("id") == 0
    assert found[:2] == [
        PreflightResult("client secret", good=True, text="its source gives one"),
        PreflightResult(
            "endpoint",
            good=True,
            text="127.0.0.1 answers (HTTP 400 to an empty request, as it should)",
        ),
    ]
    assert found[-1] == PreflightResult(
        "sink", good=True, text=f"file:{tmp_path}/one.json holds no token yet"
    )
    assert list(tmp_path.iterdir()) == []


def discovered(folder: Path, *script: bytes, **more: object) -> list[PreflightResult]:
    """Probe a token of an issuer whose metadata hold `more`."""
    with TokenServer() as server:
        issuer = f"http://127.0.0.1:{server.port}"
        document = {"issuer": issuer, "token_endpoint": f"{issuer}/token"} | more
        server.add(*script, answer(200, document), refusal(400, "invalid_request"))
        found = findings(folder, "", token_url=None, issuer=issuer)
        url, place = f"{issuer}/token", f"{issuer}/.well-known/oauth-authorization-server"
        return [
            PreflightResult(f.what, f.good, f.text.replace(place, "PLACE").replace(url, "URL"))
            for f in found
            if f.what in {"discovery", "endpoint"}
        ]


def test_discovery(tmp_path: Path) -> None:
    """What the issuer says is told, and the endpoint that it names is tried."""
    endpoint = PreflightResult(
        "endpoint",
        good=True,
        text="127.0.0.1 answers (HTTP 400 to an empty request, as it should)",
    )
    assert discovered(tmp_path) == [
        PreflightResult(
            "discovery",
            good=True,
            text="PLACE names URL, which takes client_secret_basic; client_secret_basic is used",
        ),
        endpoint,
    ]
    methods = ["client_secret_basic", "client_secret_post"]
    grants = {"token_endpoint_auth_methods_supported": methods, "grant_types_supported": ["x"]}
    assert discovered(tmp_path, **grants) == [
        PreflightResult(
            "discovery",
            good=True,
            text="PLACE names URL, which takes client_secret_basic, client_secret_post; "
            "client_secret_post is used; client_credentials is not among the grants that it lists",
        ),
        endpoint,
    ]


def test_discovery_that_fails(tmp_path: Path) -> None:
    """What is wrong with the metadata is told; there is no endpoint to try then."""
    (finding,) = discovered(tmp_path, issuer="https://other.example")
    assert (finding.what, finding.good) == ("discovery", False)
    assert "names another issuer, https://other.example" in finding.text


def test_neither_client_nor_grant_is_sent(tmp_path: Path) -> None:
    """The request can neither mint a token nor count as a failed login."""
    with TokenServer(refusal(400, "invalid_request")) as server:
        findings(tmp_path, server.url, headers={"x-merchant-id": "7"})
    (seen,) = server.requests
    assert (seen.method, seen.pairs) == ("POST", ())
    assert "authorization" not in seen.headers
    assert seen.headers["x-merchant-id"] == "7"


@pytest.mark.parametrize("status", [400, 401, 403, 415])
def test_an_endpoint_that_says_no_is_there(tmp_path: Path, status: int) -> None:
    """A token endpoint refuses a request without a client."""
    assert endpoint(tmp_path, answer(status)) == PreflightResult(
        "endpoint",
        good=True,
        text=f"127.0.0.1 answers (HTTP {status} to an empty request, as it should)",
    )


def test_an_endpoint_that_says_no_with_success_is_there(tmp_path: Path) -> None:
    """A provider that answers everything with HTTP 200 is asked in its own way, and says no."""
    ways = {"http_method": "GET", "request_format": "query"}
    with TokenServer(answer(200, {"errcode": 41002, "errmsg": "appid missing"})) as server:
        found = {f.what: f.good for f in findings(tmp_path, server.url, **ways)}
        (seen,) = server.requests
    assert (found["endpoint"], seen.method, seen.path, seen.pairs) == (True, "GET", "/token", ())


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (answer(200, {"ok": True}), "the answer holds no access_token; check token_url (HTTP 200)"),
        (answer(404), "there is no token endpoint at this address; check token_url (HTTP 404)"),
        (answer(405), "this address takes no such method; check token_url and http_method"),
        (answer(503), "the server cannot answer now (HTTP 503)"),
        (answer(200, "<html>"), "the answer holds no access_token; check token_url (HTTP 200)"),
        (answer(307, headers={"Location": "/token/"}), "the server redirects"),
    ],
)
def test_an_answer_that_no_token_endpoint_gives_is_a_problem(
    tmp_path: Path, step: bytes, text: str
) -> None:
    """A wrong path, a login page or a redirect is found before the first exchange."""
    found = endpoint(tmp_path, step)
    assert not found.good
    assert found.text.startswith(text)


def test_a_server_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """Connection failures are told with their cure, and nothing is said of the clock."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = findings(tmp_path, f"http://127.0.0.1:{port}/token")
    text = f"127.0.0.1:{port} refuses connections; check token_url, or whether the server runs"
    assert found[1:-1] == [PreflightResult("endpoint", good=False, text=text)]


def test_a_certificate_of_nobody_is_a_problem(tmp_path: Path) -> None:
    """TLS is verified as it will be in an exchange, with the CA of the configuration."""
    ca_file, tls = authority(tmp_path)
    with TokenServer(refusal(401, "invalid_client"), tls=tls) as server:
        untrusted = findings(tmp_path, server.url)[1]
        trusted = findings(tmp_path, server.url, ca_file=ca_file)[1]
    assert (untrusted.what, untrusted.good) == ("endpoint", False)
    assert untrusted.text.startswith(f"no TLS connection to 127.0.0.1:{server.port}")
    assert (trusted.what, trusted.good) == ("endpoint", True)


@pytest.mark.parametrize(
    ("behind_s", "good", "text"),
    [
        (0, True, "this machine's is the same as the server's"),
        (1, True, "this machine's is the same as the server's"),
        (-12, True, "this machine's is 12 s behind the server's"),
        (30, True, "this machine's is 30 s ahead of the server's"),
        (31, False, "this machine's is 31 s ahead of the server's"),
        (-86_400, False, "this machine's is 86400 s behind the server's"),
    ],
)
def test_the_clock_is_compared_with_the_servers(
    tmp_path: Path, behind_s: int, text: str, *, good: bool
) -> None:
    """A clock that would misjudge an expiry is a problem."""
    date = formatdate(START - behind_s, usegmt=True)
    with TokenServer(answer(400, headers={"Date": date})) as server:
        found = findings(tmp_path, server.url)
    assert found[2] == PreflightResult("clock", good=good, text=text)


@pytest.mark.parametrize("headers", [{}, {"Date": "soon"}, {"Age": "5"}])
def test_a_date_that_says_nothing_is_not_judged(tmp_path: Path, headers: dict[str, str]) -> None:
    """Without a date of the server's own, no finding is made up."""
    date = {"Date": formatdate(START, usegmt=True)} if "Age" in headers else {}
    with TokenServer(answer(400, headers=date | headers)) as server:
        found = findings(tmp_path, server.url)
    assert [finding.what for finding in found] == ["client secret", "endpoint", "sink"]


def test_a_secret_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The source of the secret is asked as an exchange would ask it."""
    with TokenServer(answer(400)) as server:
        found = findings(tmp_path, server.url, client_secret={"command": ["false"]})
    assert found[0] == PreflightResult(
        "client secret",
        good=False,
        text="no secret: the command false ended with status 1; run it by hand",
    )


def test_a_client_without_a_proof_has_none_to_try(tmp_path: Path) -> None:
    """With `none` nothing is said of a secret."""
    table = {
        "token_url": "http://127.0.0.1:9/token",
        "client_id": "id",
        "auth_method": "none",
        "sinks": [{"type": "file", "path": "one.json"}],
    }
    config = Config(tokens_of({"tokens": {"one": table}}, str(tmp_path)), "here")
    clock = FakeClock()
    found = list(preflight("one", config.tokens["one"], Tools({}, "host", clock)))
    assert [finding.what for finding in found] == ["endpoint", "sink"]


def test_sinks_are_read(tmp_path: Path) -> None:
    """A sink with a token, one of somebody else and one in no folder are told apart."""
    with TokenServer(answer(400)) as server:
        paths = ("one.json", "foreign.json", "nowhere/one.json")
        sinks = [{"type": "file", "path": path} for path in paths]
        (tmp_path / "foreign.json").write_text("mine")
        store(tmp_path, server.url)
        found = findings(tmp_path, server.url, sinks=sinks)[-3:]
    assert [finding.good for finding in found] == [True, False, False]
    assert found[0].text == f"file:{tmp_path}/one.json holds a token"
    assert found[1].text.startswith(f"{tmp_path}/foreign.json: it holds something")
    assert "create the folder" in found[2].text


def store(folder: Path, url: str) -> None:
    """Put a token where the sink of the configuration is."""
    from job.core.tokens import OutputFormat  # noqa: PLC0415

    file_sink(str(folder / "one.json"), OutputFormat("json", "one")).write(record(key=url))


@pytest.mark.usefixtures("aws_environ")
def test_a_secret_of_aws_is_read(
    tmp_path: Path, aws: "SecretsManagerClient", moto_url: str
) -> None:
    """A sink in AWS is asked as a refresh would ask it: there, or missing with the cure."""
    aws.create_secret(Name="there")
    there, missing = (
        {
            "type": "aws_secrets_manager",
            "secret_id": name,
            "region": "eu-central-1",
            "endpoint_url": moto_url,
        }
        for name in ("there", "missing")
    )
    with TokenServer(answer(400)) as server:
        found = findings(tmp_path, server.url, sinks=[there, missing])[-2:]
    assert found[0] == PreflightResult(
        "sink", good=True, text="aws-secrets-manager:there holds no token yet"
    )
    assert (found[1].good, "missing" in found[1].text) == (False, True)


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """Give a folder that this process may read and not write, also where tests run as root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65_534)
        yield folder
        if user == 0:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_a_problem(unwritable: Path) -> None:
    """A right to read is not enough for a sink."""
    with TokenServer(answer(400)) as server:
        (found,) = findings(unwritable, server.url)[-1:]
    assert found == PreflightResult(
        "sink",
        good=False,
        text=f"{unwritable} can't be written by this user; give the permission, or run as another",
    )

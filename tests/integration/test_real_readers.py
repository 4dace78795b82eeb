"""Real readers use a token that is replaced again and again, and never meet one that has expired.

`SOAK_SECONDS` says how long they look: 20 unless it is set.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from aws import REGION
from consumers import Api, examples, need, placed
from hydra_server import Client, HydraServer
from running import PATIENCE_S, Job, missing, paced, until

from freshtoken_reader import TokenAuth
from job.core.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

HERE = Path(__file__).parent
SOAK_SECONDS = paced(float(os.environ.get("SOAK_SECONDS", "20")))
LIFETIME = paced(12)
MIN_VALIDITY = paced(4)
PAUSE_SECONDS = {"/cli": 2.0}
"""The aws CLI takes a second of a processor, the others next to nothing: 0.25."""
FILES = {"tiki.json": "json", "tiki.header": "header", "tiki.token": "raw"}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(SOAK_SECONDS + 600)]


@dataclass
class World:
    """A job that keeps a short-lived token in files and in AWS, and an API that takes it."""

    folder: Path
    aws_url: str
    server: HydraServer
    api: Api
    job: Job

    def example(self, language: str, heading: str, number: int, path: str = "") -> str:
        """Return an example of the page for this world; `path` names the reader to the API."""
        return placed(examples(language, heading)[number], self.folder, f"{self.api.url}{path}")

    def found(self, path: str) -> list[str | None]:
        """Return the tokens that came by this path, None for each that was refused."""
        return [token for seen, token in tuple(self.api.seen) if seen == path]


@pytest.fixture
def world(
    tmp_path: Path,
    moto_url: str,
    aws: "SecretsManagerClient",
    aws_environ: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[World]:
    """Start all of it, and wait until the first token is everywhere."""
    del aws  # it has emptied the emulator
    caplog.set_level("WARNING", logger="werkzeug")
    aws_environ.setenv("AWS_ENDPOINT_URL", moto_url)
    aws_environ.setenv("AWS_DEFAULT_REGION", REGION)
    aws_environ.setenv("AWS_REGION", REGION)
    client = Client("tiki", Secret(secrets.token_urlsafe(24)))
    (tmp_path / "tiki.secret").write_text(client.secret.reveal())
    config = tmp_path / "freshtoken.toml"
    with (
        HydraServer([client], LIFETIME) as server,
        Api(server.is_valid) as api,
    ):
        config.write_text(configuration(server.token_url))
        with Job(config) as job:
            for _ in range(len(FILES) + 2):
                job.told("token.delivered")
            yield World(tmp_path, moto_url, server, api, job)


def configuration(token_url: str) -> str:
    """Write freshtoken.toml, with the hook and the sink that the page shows for nginx."""
    (nginx,) = examples("toml", "nginx")
    shown = nginx.replace("/run/freshtoken/", "").replace("/run/", "")
    head = f"""[tokens.tiki]
token_url = "{token_url}"
client_id = "tiki"
client_secret = {{ file = "tiki.secret" }}
min_validity = "{MIN_VALIDITY}s"
retry_budget = "1s"
"""
    files = "".join(
        f'[[tokens.tiki.sinks]]\ntype = "file"\npath = "{name}"\nformat = "{layout}"\n'
        for name, layout in FILES.items()
    )
    secret = '[[tokens.tiki.sinks]]\ntype = "aws_secrets_manager"\ncreate = true\n'
    return (
        shown.replace("[tokens.tiki]\n", head, 1)
        + files
        + secret
        + 'secret_id = "prod/tiki/access-token"\n'
    )


@contextlib.contextmanager
def started(argv: list[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a program and leave nothing of it behind."""
    with (
        log.open("w") as output,
        subprocess.Popen(argv, stdout=output, stderr=output, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def prometheus(world: World) -> Iterator[subprocess.Popen[str]]:
    """Scrape the API each second, with the configuration of the page."""
    program = need("prometheus")
    config = yaml.safe_load(world.example("yaml", "Prometheus", 0))
    (scrape,) = config["scrape_configs"]
    scrape |= {"scheme": "http", "static_configs": [{"targets": [world.api.address]}]}
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    path = world.folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    argv = [program, f"--config.file={path}", "--web.listen-address=127.0.0.1:0"]
    argv.append(f"--storage.tsdb.path={world.folder}/tsdb")
    with started(argv, world.folder / "prometheus.log") as process:
        yield process


NGINX = """daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/nginx.sock;
        {location}
    }}
}}
"""


@contextlib.contextmanager
def nginx(world: World) -> Iterator[subprocess.Popen[str]]:
    """Add the token on the way to the API, with the configuration of the page."""
    program = need("nginx")
    location = world.example("nginx", "nginx", 0)
    config = world.folder / "nginx.conf"
    config.write_text(NGINX.format(folder=world.folder, location=location))
    argv = [program, "-p", str(world.folder), "-c", str(config)]
    with started(argv, world.folder / "nginx.log") as process:
        assert until((world.folder / "nginx.sock").exists, process)
        yield process


def shell(script: str) -> None:
    """Run a script as the page tells."""
    command = ["sh", "-e", "-u"]
    subprocess.run(command, input=script, text=True, timeout=PATIENCE_S, check=True)


def through_aws(world: World, script: str) -> str:
    """Return a script whose aws CLI calls the emulator: an old one knows no AWS_ENDPOINT_URL."""
    need("jq")
    return script.replace("aws ", f"{need('aws')} --endpoint-url {world.aws_url} ", 1)


def readers(world: World) -> dict[str, Callable[[], object]]:
    """Give the readers that are asked again and again, by the path that they call."""
    secret = "prod/tiki/access-token"
    curl = world.example("sh", "Curl and shell", 0, "curl")
    cli = through_aws(world, world.example("sh", "Curl and shell", 3, "cli"))
    through_nginx = f"curl --silent --show-error --fail --unix-socket {world.folder}/nginx.sock"
    of_file = TokenAuth.from_file(f"{world.folder}/tiki.json", min_validity=MIN_VALIDITY)
    of_aws = TokenAuth.from_secrets_manager(secret, min_validity=MIN_VALIDITY)
    library = world.example("python", "Python", 3, "library")
    caching: dict[str, Any] = {}
    exec(library.replace("=240", f"={MIN_VALIDITY - 1}"), caching)  # noqa: S102  # our page

    def get(
        path: str, auth: Callable[[requests.PreparedRequest], requests.PreparedRequest]
    ) -> None:
        answer = requests.get(f"{world.api.url}{path}", auth=auth, timeout=PATIENCE_S)
        answer.raise_for_status()

    def by_library(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {caching['token']()}"
        return request

    return {
        "/curl": lambda: shell(curl),
        "/cli": lambda: shell(cli),
        "/nginx": lambda: shell(f"{through_nginx} http://localhost/partner/nginx"),
        "/auth-file": lambda: get("auth-file", of_file),
        "/auth-aws": lambda: get("auth-aws", of_aws),
        "/library": lambda: get("library", by_library),
    }


def read_again_and_again(
    act: Callable[[], object], pause: float, stop: threading.Event, wrong: list[str]
) -> None:
    """Read until it is enough; keep what was wrong."""
    while not stop.wait(pause):
        try:
            act()
        except (requests.RequestException, subprocess.SubprocessError) as error:
            wrong.append(repr(error))


def watch(world: World) -> list[str]:
    """Let all readers read for SOAK_SECONDS and return what was wrong."""
    stop, wrong = threading.Event(), list[str]()
    threads = [
        threading.Thread(
            target=read_again_and_again, args=(act, PAUSE_SECONDS.get(path, 0.25), stop, wrong)
        )
        for path, act in readers(world).items()
    ]
    for thread in threads:
        thread.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        world.job.process.wait(SOAK_SECONDS)  # it does not end
    stop.set()
    for thread in threads:
        thread.join()
    return wrong


def test_no_reader_meets_an_expired_token(world: World) -> None:
    """The aws CLI, AWS's caching library, curl, Prometheus, nginx and TokenAuth, all at once."""
    with prometheus(world) as scraping, nginx(world) as proxy:
        wrong = watch(world)
        assert (scraping.poll(), proxy.poll(), world.job.process.poll()) == (
            None,
            None,
            None,
        )
    paths = ("/curl", "/cli", "/nginx", "/auth-file", "/auth-aws", "/library", "/metrics")
    found = {path: world.found(path) for path in paths}
    tokens = {path: len(set(each)) for path, each in found.items()}
    reads = {path: len(each) for path, each in found.items()}
    sys.stdout.write(f"{world.server.exchanges('tiki')} tokens, seen {tokens}, reads {reads}\n")
    assert wrong == []
    assert {path: each.count(None) for path, each in found.items()} == dict.fromkeys(paths, 0)
    assert {path for path, count in tokens.items() if count < SOAK_SECONDS / LIFETIME} == set()


@pytest.mark.parametrize(
    ("number", "path"), [(1, "with-httpx"), (3, "with-the-library")], ids=["httpx", "library"]
)
def test_python_reads_from_aws(world: World, number: int, path: str) -> None:
    """The examples for Python that read AWS send the token of the secret."""
    exec(world.example("python", "Python", number, path), {})  # noqa: S102  # our page
    assert len(world.found(f"/{path}")) == 1
    assert None not in world.found(f"/{path}")


@pytest.mark.parametrize("number", [0, 1], ids=["file", "aws"])
def test_node_reads(world: World, number: int) -> None:
    """The examples for Node.js send the token of the file and of the secret."""
    node = need("node")
    if not (HERE / "node_modules" / "@aws-sdk" / "client-secrets-manager").is_dir():
        missing("the AWS SDK is not installed: run `npm ci` in tests/integration")
    subprocess.run(
        [node, "--input-type=module", "-"],
        input=world.example("js", "Node.js", number, "node"),
        text=True,
        cwd=HERE,
        timeout=PATIENCE_S,
        check=True,
    )
    assert len(world.found("/node")) == 1
    assert None not in world.found("/node")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Systemd finds nothing to say about the path unit and its service."""
    program = need("systemd-analyze")
    path, service = examples("ini", "systemd path unit")
    (tmp_path / "tiki-reader.path").write_text(path)
    (tmp_path / "tiki-reader-restart.service").write_text(service)
    told = subprocess.run(
        [program, "verify", "./tiki-reader.path", "./tiki-reader-restart.service"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=PATIENCE_S,
        check=True,
    )
    assert told.stdout + told.stderr == ""

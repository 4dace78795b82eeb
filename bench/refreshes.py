"""Rows of CPU per refresh, beside bare loops of the same requests and writes."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from figures import Figure, ratio
from processes import (
    WORKERS,
    Cost,
    Failed,
    Programs,
    argv,
    environment,
    server,
    side_by_side,
    this_python,
)
from short import AWS_SINK, FILE_SINK, configuration

PLAIN = "CPU per refresh, file sink / requests + file write"
TLS = "CPU per refresh, file sink, over TLS / the same"


def into_file(programs: Programs, folder: Path, rounds: int, count: int) -> Iterator[Figure]:
    """Measure refreshes into a file against requests.post and an atomic write."""
    env, python = environment(folder), programs.job / "python"
    with server("token_server.py", env, "1", python=python) as url:
        mine, theirs = _file_loops(python, env, url, rounds, count)
    yield ratio(PLAIN, mine, theirs, 1.25, count)
    if shutil.which("openssl") is None:
        yield Figure(TLS, None, "", 1.25, "not measured: openssl not installed")
        return
    with server("tls_token_server.py", env, str(folder), python=python) as url:
        trusting = env | {"REQUESTS_CA_BUNDLE": str(folder / "ca.pem")}
        few = max(count // 5, 1)
        mine, theirs = _file_loops(python, trusting, url, rounds, few)
    yield ratio(TLS, mine, theirs, 1.25, few)


def _file_loops(
    python: Path, env: Mapping[str, str], url: str, rounds: int, count: int
) -> list[Cost]:
    folder = Path(env["HOME"])
    config = configuration(folder, url, FILE_SINK)
    ours = argv(python, WORKERS / "refreshes.py", config, count)
    bare = argv(python, WORKERS / "bare_file.py", url, folder / "bare.json", count)
    return side_by_side(rounds, lambda: _loop(ours, env), lambda: _loop(bare, env))


def into_secrets_manager(
    programs: Programs, folder: Path, rounds: int, count: int
) -> Iterator[Figure]:
    """Measure refreshes into Secrets Manager against requests.post and boto3 by hand."""
    env, python = environment(folder), programs.job / "python"
    with (
        server("token_server.py", env, "1", python=python) as url,
        server("aws_server.py", env, python=this_python()) as aws_url,
    ):
        config = configuration(folder, url, AWS_SINK.format(name="ours", url=aws_url))
        ours = argv(python, WORKERS / "refreshes.py", config, count)
        bare = argv(python, WORKERS / "bare_aws.py", url, aws_url)
        mine, swap, put = side_by_side(
            rounds,
            lambda: _loop(ours, env),
            lambda: _loop([*bare, "swap", str(count)], env),
            lambda: _loop([*bare, "put", str(count)], env),
        )
    name = "CPU per refresh, Secrets Manager / requests + "
    yield ratio(name + "the same 3 calls", mine, swap, 1.15, count)
    yield ratio(name + "one blind put", mine, put, None, count)


def _loop(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Run a worker and return the CPU seconds that it printed."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr[-2000:])
    return float(done.stdout)

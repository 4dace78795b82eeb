"""Rows of `once`, beside what it replaces, and of the memory of `run`."""

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from figures import Figure, ratio
from processes import (
    Programs,
    argv,
    cpu_of,
    environment,
    memory_mb,
    running,
    server,
    side_by_side,
    this_python,
    wait_for,
)

START_S = 20.0
PIPELINE = """\
curl -sS -u "client-0:$BENCH_SECRET" -d grant_type=client_credentials "$TOKEN_URL" |
jq -r .access_token |
aws --endpoint-url "$AWS_URL" secretsmanager put-secret-value --secret-id bench/pipeline \
    --secret-string file:///dev/stdin >/dev/null
"""
CREATE = """\
aws --endpoint-url "$AWS_URL" secretsmanager create-secret --name bench/pipeline \
    --secret-string - >/dev/null
"""
FILE_SINK = 'type = "file"\npath = "token.json"\n'
AWS_SINK = """\
type = "aws_secrets_manager"
secret_id = "bench/{name}"
endpoint_url = "{url}"
create = true
"""


def configuration(folder: Path, token_url: str, sink: str, name: str = "token") -> Path:
    """Write the configuration of one token with one sink."""
    path = folder / f"{name}.toml"
    path.write_text(
        f'[tokens.{name}]\ntoken_url = "{token_url}"\nclient_id = "client-0"\n'
        f'client_secret = {{ env = "BENCH_SECRET" }}\n\n[[tokens.{name}.sinks]]\n{sink}'
    )
    return path


def once(programs: Programs, folder: Path, rounds: int) -> Iterator[Figure]:
    """Measure `once` against the AWS command line alone, and against it behind curl and jq."""
    env, job, aws = environment(folder), programs.job, programs.aws
    with (
        server("token_server.py", env, "1", python=job / "python") as token_url,
        server("aws_server.py", env, python=this_python()) as aws_url,
    ):
        run = argv(job / "freshtoken", "once", "--config")
        idle = [*run, str(configuration(folder, token_url, FILE_SINK))]
        sink = AWS_SINK.format(name="once", url=aws_url)
        forced = [*run, str(configuration(folder, token_url, sink, "aws")), "--force"]
        yield from _against_version(idle, aws, env, rounds)
        more = {"PATH": f"{aws}:{env['PATH']}", "TOKEN_URL": token_url, "AWS_URL": aws_url}
        yield from _against_pipeline(idle, forced, env | more, rounds)


def _against_version(
    idle: list[str], aws: Path, env: Mapping[str, str], rounds: int
) -> Iterator[Figure]:
    version = argv(aws / "aws", "--version")
    ours, theirs = side_by_side(rounds, lambda: cpu_of(idle, env), lambda: cpu_of(version, env))
    yield ratio("CPU of `once`, nothing due / `aws --version`", ours, theirs, 0.5)


def _against_pipeline(
    idle: list[str], forced: list[str], env: Mapping[str, str], rounds: int
) -> Iterator[Figure]:
    nothing_due = "CPU of `once`, nothing due / curl, jq and aws put-secret-value"
    same_work = "CPU of `once --force` into Secrets Manager / the same pipeline"
    if lacking := [tool for tool in ("curl", "jq") if shutil.which(tool) is None]:
        reason = f"not measured: {' and '.join(lacking)} not installed"
        yield Figure(nothing_due, None, "", 0.25, reason)
        yield Figure(same_work, None, "", None, reason)
        return
    cpu_of(["sh", "-c", CREATE], env)
    ours, theirs, working = side_by_side(
        rounds,
        lambda: cpu_of(idle, env),
        lambda: cpu_of(["sh", "-c", PIPELINE], env),
        lambda: cpu_of(forced, env),
    )
    yield ratio(nothing_due, ours, theirs, 0.25)
    yield ratio(same_work, working, theirs, None)


def memory(programs: Programs, folder: Path, settle_s: float) -> Iterator[Figure]:
    """Measure what `run` holds in memory with one token in a file, soon after its first refresh."""
    env, job = environment(folder), programs.job
    with server("token_server.py", env, "1", python=job / "python") as token_url:
        config = configuration(folder, token_url, FILE_SINK, "run")
        log = folder / "run.log"
        with running(argv(job / "freshtoken", "run", "--config", config), env, log) as process:
            wait_for(process, log, "token.delivered", 1, START_S)
            time.sleep(settle_s)
            now, peak = memory_mb(process.pid), memory_mb(process.pid, "VmHWM")
    detail = f"resident {settle_s:g} s after the first refresh; at most {peak:.1f} MB so far"
    yield Figure("Memory of `run`, one token, file sink", now, "MB", 45, detail)

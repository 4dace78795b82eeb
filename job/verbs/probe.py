"""`probe`: get two tokens, to find out what the server does."""

import json
import os
import sys
from dataclasses import asdict

import click

from job.compose.job import Job, Options
from job.core.errors import ExchangeError
from job.verbs.common import chosen_names, command


@command("config")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask before a token is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def probe(options: Options, name: str, *, yes: bool, as_json: bool) -> int:
    """Get two tokens, to tell what the server does.

    It prints which settings the server needs, and writes nothing. It asks before it does, because
    a new token may kill the one that readers have.

    \b
    Examples:
      freshtoken probe tiki
      freshtoken probe tiki --yes --json

    \b
    Exit status:
      0   the server gave two tokens
      75  the token endpoint is unreachable, or failing for now
      77  the server rejected us: credentials, permissions
      78  the configuration can't be used
    """  # noqa: D301
    from job.verbs.probe_report import report, warning  # noqa: PLC0415

    job = Job(options, os.environ)
    config = job.load(with_secrets=True)
    chosen_names([name], config.tokens)
    settings = config.tokens[name]
    if not yes:
        _ask(warning(name, settings))
    from job.compose.token_source import exchange_of  # noqa: PLC0415  # as below
    from job.verbs.probe_exchange import exchange_twice, survival  # noqa: PLC0415  # requests, after the question

    job.tools.limiters.place(config.tokens.values())
    try:
        settled, exchange = exchange_of(settings, job.tools)
        limiter = job.tools.limiters.limiter(name, settings)
        first, second = exchange_twice(exchange, limiter.exchange)
    except ExchangeError as error:
        click.echo(f"{name}: {error}", err=True)
        return error.exit_code
    survived = survival(exchange, first.token, second.token, settings.probe_url)
    seen = report(first, second, survived, settled, exchange.rules)
    click.echo(json.dumps(asdict(seen)) if as_json else "\n".join([name, *seen.lines(name)]))
    return 0


def _ask(warning: str) -> None:
    """Have a person at the terminal agree; raises click's Abort, and UsageError without one."""
    if not sys.stdin.isatty():
        raise click.UsageError("probe asks before it does, and there is no terminal: add --yes")
    click.confirm(f"{warning}\nGo on?", abort=True, err=True)
